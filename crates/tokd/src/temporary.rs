//! Temporary tokens: a name and a secret that tokd is given when it starts, good for everything until it stops, and kept
//! nowhere. They are how a server gets its first manager, and how a broken set of permissions is mended.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tok_model::secret::{Digest, LONGEST_SECRET, PairOf, Pepper, PepperId};
use tok_model::token::check_name;
use zxcvbn::Score;

use crate::strength;

/// The fewest characters of a temporary token's secret.
const LEAST_CHARACTERS: usize = 8;
/// The systemd credential that holds temporary tokens.
const CREDENTIAL: &str = "bootstrap-token";

/// A temporary token as it was given, not looked at yet.
#[derive(Debug, Clone)]
pub struct Given {
    pair: SecretString,
    /// Where it was given, for messages.
    place: String,
}

/// Why tokd does not start with these temporary tokens. Never has a secret in it.
#[derive(Debug, thiserror::Error)]
pub enum TemporaryError {
    /// With a command that does not serve.
    #[error("--token and --token-file go with `tokd serve` and `tokd dev` only")]
    Command,
    /// The file cannot be read.
    #[error("the file of temporary tokens {path} cannot be read: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("the file of temporary tokens {path} has the mode {mode:04o}, so others may read it: chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not `name:secret`.
    #[error("{place} is not name:secret, as in root:a-long-secret")]
    Form {
        /// Where it was given.
        place: String,
    },
    /// The name cannot be one.
    #[error("{place}: {why}")]
    Name {
        /// Where it was given.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two of a name.
    #[error("two temporary tokens are called {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Too weak for any place.
    #[error(
        "the secret of the temporary token {name:?} is too weak: {why}; `openssl rand -base64 18` makes a good one"
    )]
    Weak {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Good enough for one's own machine only.
    #[error(
        "the secret of the temporary token {name:?} can be guessed, and others can reach this server: take a stronger one (`openssl rand -base64 18` makes one), or listen on 127.0.0.1 without a proxy"
    )]
    Guessable {
        /// The name.
        name: String,
    },
}

/// Everything that was given: on the command line, in a file, and as a systemd credential.
pub fn given(
    arguments: &[SecretString],
    file: Option<&Path>,
    credentials: Option<&Path>,
) -> Result<Vec<Given>, TemporaryError> {
    let mut given: Vec<Given> =
        arguments.iter().map(|pair| Given { pair: pair.clone(), place: "the value of --token".to_owned() }).collect();
    if let Some(path) = file {
        let status = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let mode = status.mode() & 0o777;
        if status.is_file() && mode & 0o077 != 0 {
            return Err(TemporaryError::Exposed { path: path.to_owned(), mode });
        }
        given.extend(read(path)?);
    }
    if let Some(path) = credentials.map(|directory| directory.join(CREDENTIAL)).filter(|path| path.exists()) {
        given.extend(read(&path)?);
    }
    Ok(given)
}

/// One `name:secret` a line; empty lines and those that begin with `#` are left out.
fn read(path: &Path) -> Result<Vec<Given>, TemporaryError> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    Ok(lines
        .map(|(at, line)| Given {
            pair: SecretString::from(line.trim_end_matches('\r')),
            place: format!("line {} of {}", at + 1, path.display()),
        })
        .collect())
}

fn unreadable(path: &Path, source: std::io::Error) -> TemporaryError {
    TemporaryError::File { path: path.to_owned(), source }
}

/// The temporary tokens of a running tokd. Their secrets are not in it: only digests, under a key that was made for it.
pub struct TemporaryTokens {
    key: Pepper,
    kept: Vec<Kept>,
}

struct Kept {
    name: Arc<str>,
    digest: Digest,
}

impl Default for TemporaryTokens {
    fn default() -> Self {
        Self { key: Pepper::random(PepperId(0), &mut UnwrapErr(SysRng)), kept: Vec::new() }
    }
}

impl TemporaryTokens {
    /// Takes what was given, if each is strong enough. `reachable` says that others than this machine's users can try.
    pub fn accept(given: &[Given], reachable: bool) -> Result<Self, TemporaryError> {
        let mut tokens = Self::default();
        for Given { pair, place } in given {
            let form = || TemporaryError::Form { place: place.clone() };
            let (name, secret) = pair.expose_secret().split_once(':').ok_or_else(form)?;
            if name.is_empty() || secret.is_empty() {
                return Err(form());
            }
            check_name(name).map_err(|why| TemporaryError::Name { place: place.clone(), why: why.to_string() })?;
            if tokens.kept.iter().any(|kept| *kept.name == *name) {
                return Err(TemporaryError::Twice { name: name.to_owned() });
            }
            if is_guessable(name, secret)? {
                if reachable {
                    return Err(TemporaryError::Guessable { name: name.to_owned() });
                }
                tracing::warn!(
                    "The secret of the temporary token {name:?} can be guessed: good enough on your own machine, refused anywhere else"
                );
            }
            tokens.kept.push(Kept { name: name.into(), digest: tokens.key.pair(PairOf::Temporary, name, secret) });
        }
        Ok(tokens)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(|kept| &*kept.name)
    }

    /// The temporary token that a name and a secret are. Each is compared to its end, whatever is found.
    pub fn find(&self, name: &str, secret: &str) -> Option<Arc<str>> {
        if self.kept.is_empty() || secret.len() > LONGEST_SECRET {
            return None;
        }
        let digest = self.key.pair(PairOf::Temporary, name, secret);
        let mut found = None;
        for kept in &self.kept {
            if bool::from(kept.digest.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(Arc::clone(&kept.name));
            }
        }
        found
    }
}

/// Whether a secret is only good enough where nobody else can try. An error if it is good for nothing.
fn is_guessable(name: &str, secret: &str) -> Result<bool, TemporaryError> {
    let weak = |why| TemporaryError::Weak { name: name.to_owned(), why };
    if secret.chars().any(char::is_control) {
        return Err(weak("it has a control character in it"));
    }
    if secret.len() > LONGEST_SECRET {
        return Err(weak("it has more than 1024 bytes"));
    }
    if secret == "x-oauth-basic" {
        return Err(weak("git hosting reads `x-oauth-basic` as no password at all"));
    }
    if secret.chars().count() < LEAST_CHARACTERS {
        return Err(weak("it has fewer than 8 characters"));
    }
    let (lower, own) = (secret.to_lowercase(), name.to_lowercase());
    if lower.replace(&own, "").chars().all(|c| !c.is_alphanumeric()) {
        return Err(weak("it is its name and nothing else"));
    }
    let about = [name.to_owned()];
    // The most common passwords with a year or a few digits at their ends are tried right after them.
    let stem = secret.trim_matches(|c: char| !c.is_alphabetic());
    match strength::score(secret, &about) {
        Score::Zero => Err(weak("it is among the first that are tried")),
        Score::One | Score::Two if stem.len() < secret.len() && strength::score(stem, &about) == Score::Zero => {
            Err(weak("it is a common word with digits or signs at its ends, as are among the first that are tried"))
        }
        score => Ok(score < Score::Three),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn accept(pairs: &[&str], reachable: bool) -> Result<TemporaryTokens, TemporaryError> {
        let arguments: Vec<SecretString> = pairs.iter().map(|pair| SecretString::from(*pair)).collect();
        TemporaryTokens::accept(&given(&arguments, None, None)?, reachable)
    }

    #[test]
    fn a_strong_one_works_anywhere_and_the_well_known_one_on_ones_own_machine() {
        let tokens = accept(&["root:root-secret", "ops:violet-tractor-97-moon"], false).unwrap();
        assert_eq!(tokens.names().collect::<Vec<_>>(), ["root", "ops"]);
        assert_eq!(tokens.find("root", "root-secret").as_deref(), Some("root"));
        for (name, secret) in [("root", "root-secre"), ("Root", "root-secret"), ("ops", "root-secret"), ("root", "")] {
            assert!(tokens.find(name, secret).is_none(), "{name}:{secret}");
        }
        assert!(accept(&["ops:violet-tractor-97-moon"], true).is_ok());
        assert!(matches!(accept(&["root:root-secret"], true), Err(TemporaryError::Guessable { .. })));
        // Only the first colon divides.
        assert!(accept(&["a:b:c:violet-tractor"], true).unwrap().find("a", "b:c:violet-tractor").is_some());
        assert!(TemporaryTokens::default().find("root", "root-secret").is_none());
    }

    #[test]
    fn what_is_too_weak_or_no_pair_stops_the_start_and_is_not_repeated() {
        for (pairs, says) in [
            (&["root"][..], "not name:secret"),
            (&["root:"], "not name:secret"),
            (&[":root-secret"], "not name:secret"),
            (&["root:secret7"], "fewer than 8"),
            (&["operator:operator"], "its name and nothing else"),
            (&["root:Root-root-root"], "its name and nothing else"),
            (&["root:password"], "among the first"),
            (&["boot:password1234"], "among the first"),
            (&["boot:Passw0rd2026!"], "among the first"),
            (&["boot:letmein1234"], "among the first"),
            (&["boot:12345678"], "among the first"),
            (&["root:root\u{7}secret-9"], "control character"),
            (&["ro\not:root-secret-9"], "one line"),
            (&["root:root-secret", "root:other-secret"], "two temporary tokens"),
        ] {
            let error = accept(pairs, false).err().unwrap().to_string();
            assert!(error.contains(says), "{pairs:?}: {error}");
            for secret in ["secret7", "root-secret-9", "Root-root", "password"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
    }

    #[test]
    fn a_file_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bootstrap-token");
        std::fs::write(&path, "# for the first day\n\nops:violet-tractor-97-moon\r\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(given(&[], Some(&path), None), Err(TemporaryError::Exposed { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let tokens = TemporaryTokens::accept(&given(&[], Some(&path), None).unwrap(), true).unwrap();
        assert!(tokens.find("ops", "violet-tractor-97-moon").is_some());
        // As systemd hands it over.
        let tokens = TemporaryTokens::accept(&given(&[], None, Some(directory.path())).unwrap(), true).unwrap();
        assert!(tokens.find("ops", "violet-tractor-97-moon").is_some());
        assert!(given(&[], Some(&directory.path().join("nil")), None).is_err());
        assert!(given(&[], None, Some(Path::new("/nonexistent"))).unwrap().is_empty());
    }
}
