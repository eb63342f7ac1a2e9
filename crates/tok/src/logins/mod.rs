//! The logins of this user on this machine: which servers they are known to, as whom, and where the sessions are kept.
//!
//! What is no secret stands in one file, `logins.toml`; the sessions themselves are in the keyring of the desktop
//! ([`keyring`]), or in the same file where there is none. Commands write it, the agent only reads it.

mod choice;
mod file;
mod keyring;
mod place;
mod trouble;
mod words;

use std::fmt;

use clap::ValueEnum;
use secrecy::SecretString;
use serde::Serialize;
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::name::{RepoPath, UserName};
use tok_model::url::Origin;

pub(crate) use self::choice::{Absence, Choice, Rule};
pub(crate) use self::place::LoginsFile;
pub(crate) use self::trouble::{Trouble, TroubleKind};
pub(crate) use self::words::{PathPrefix, Profile};

/// A login: a session on a server, and what git and the CLI use it for.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The server.
    pub(crate) server: Origin,
    /// Who logged in there.
    pub(crate) user: UserName,
    /// The name it was given here, if any. It is then used only where that name is said, or where nothing else fits.
    pub(crate) profile: Option<Profile>,
    /// The session, as a token: what is revoked at the end.
    pub(crate) session: TokenId,
    /// The first characters of its text, as lists show it.
    pub(crate) token_prefix: String,
    /// When it ends by itself, if it does.
    pub(crate) expires_at: Option<Timestamp>,
    /// What it is for; empty: everything on the server.
    pub(crate) paths: Vec<PathPrefix>,
    /// Whether it is meant where several on its server would do.
    pub(crate) default: bool,
    /// Whether it is the one of all defaults that commands mean which name no server.
    pub(crate) default_server: bool,
    /// Where its text is.
    kept: Kept,
}

/// Where the text of a session is.
#[derive(Debug, Clone)]
enum Kept {
    Keyring,
    File(SecretString),
}

/// Where the text of a session is, or should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Storage {
    /// In the keyring of the desktop (Secret Service).
    Keyring,
    /// In a file that only you can read.
    File,
}

impl Storage {
    /// As it stands in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

/// A login before it is kept.
#[derive(Debug, Clone)]
pub(crate) struct NewLogin {
    pub(crate) server: Origin,
    pub(crate) user: UserName,
    pub(crate) profile: Option<Profile>,
    pub(crate) session: TokenId,
    pub(crate) token_prefix: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) paths: Vec<PathPrefix>,
    pub(crate) default: bool,
    pub(crate) secret: SecretString,
}

/// What became of a login that was to be kept.
#[derive(Debug)]
pub(crate) struct Added {
    /// Why it is not in the keyring, if nobody said where it should be.
    pub(crate) no_keyring: Option<Trouble>,
    /// The login of the same user, server and profile that it took the place of.
    pub(crate) replaced: Option<Login>,
}

impl Login {
    /// Where its text is.
    pub(crate) fn storage(&self) -> Storage {
        match self.kept {
            Kept::Keyring => Storage::Keyring,
            Kept::File(_) => Storage::File,
        }
    }

    /// Its text. Asks the keyring, which may ask the user to be unlocked.
    ///
    /// # Errors
    /// If the keyring does not answer, stays locked or has it no more; the trouble says what to do.
    pub(crate) async fn secret(&self) -> Result<SecretString, Trouble> {
        match &self.kept {
            Kept::File(secret) => Ok(secret.clone()),
            Kept::Keyring => keyring::read(&self.key()).await?.ok_or_else(|| {
                Trouble::new(format!("the keyring does not have the session of {self} any more"))
                    .hint(format!("`{}`", self.login_command()))
            }),
        }
    }

    /// Whether it is a session, made for this machine, and not a token that was brought along.
    pub(crate) fn is_session(&self) -> bool {
        self.token_prefix.starts_with(TokenKind::Session.prefix())
    }

    /// Whether it is over.
    pub(crate) fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The command that makes it anew.
    pub(crate) fn login_command(&self) -> String {
        let profile = self.profile.as_ref().map(|name| format!(" --profile {name}")).unwrap_or_default();
        format!("tok login {}{profile}", self.server)
    }

    /// Whether both are of one user, server and profile: then the later takes the earlier's place.
    fn same_place(&self, server: &Origin, user: &UserName, profile: Option<&Profile>) -> bool {
        self.server == *server
            && self.user.as_str().eq_ignore_ascii_case(user.as_str())
            && self.profile.as_ref() == profile
    }

    fn key(&self) -> keyring::Key {
        keyring::Key::new(&self.server, &self.user, self.profile.as_ref())
    }
}

impl fmt::Display for Login {
    /// `alice at https://git.example.com`, with the profile if it has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.user, self.server)?;
        match &self.profile {
            Some(profile) => write!(f, " (profile {profile})"),
            None => Ok(()),
        }
    }
}

/// Every login of this user on this machine, as they were when the file was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins(Vec<Login>);

impl Logins {
    /// Reads the usual file. Without one, or without a home to look in, there are no logins.
    ///
    /// # Errors
    /// If the file is not this user's, or if others can read or change it; the trouble says the command that mends it.
    pub(crate) fn load() -> Result<Self, Trouble> {
        LoginsFile::usual().map_or_else(|| Ok(Self::default()), |file| file.read())
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn all(&self) -> &[Login] {
        &self.0
    }

    /// Those on one server.
    pub(crate) fn on<'a>(&'a self, server: &'a Origin) -> impl Iterator<Item = &'a Login> {
        self.0.iter().filter(move |login| login.server == *server)
    }

    /// The login that a request is made with, and the rule that says so.
    pub(crate) fn for_url(
        &self,
        server: &Origin,
        username: Option<&str>,
        path: Option<&RepoPath>,
        profile: Option<&Profile>,
    ) -> Choice<'_> {
        choice::choose(&self.0, server, username, path, profile)
    }

    /// The login whose server commands go to when nothing names one.
    pub(crate) fn for_commands(&self, profile: Option<&Profile>) -> Choice<'_> {
        choice::choose_for_commands(&self.0, profile)
    }

    /// The server that commands go to when nothing names one.
    ///
    /// # Errors
    /// With every server there is, if that leaves none or several.
    pub(crate) fn server_for_commands(&self, profile: Option<&Profile>) -> Result<&Origin, Vec<&Origin>> {
        choice::server_for_commands(&self.0, profile)
    }
}

impl LoginsFile {
    /// Makes sure that a login could be kept here.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(crate) async fn ready(&self, wanted: Option<Storage>) -> Result<(), Trouble> {
        self.writable()?;
        match wanted {
            Some(Storage::Keyring) => keyring::check().await,
            Some(Storage::File) | None => Ok(()),
        }
    }

    /// Keeps a login: its text in the keyring, or in the file if there is none or if that is where it should be.
    ///
    /// # Errors
    /// If it cannot be kept where it should be, or not at all; nothing has changed then.
    pub(crate) async fn add(&self, new: NewLogin, wanted: Option<Storage>) -> Result<(Login, Added), Trouble> {
        let key = keyring::Key::new(&new.server, &new.user, new.profile.as_ref());
        let in_keyring = match wanted {
            Some(Storage::File) => Err(None),
            Some(Storage::Keyring) | None => keyring::write(&key, &new.secret).await.map_err(Some),
        };
        let (kept, no_keyring) = match in_keyring {
            Ok(()) => (Kept::Keyring, None),
            Err(Some(trouble)) if wanted.is_some() => return Err(trouble),
            Err(trouble) => (Kept::File(new.secret.clone()), trouble),
        };
        let login = Login {
            server: new.server,
            user: new.user,
            profile: new.profile,
            session: new.session,
            token_prefix: new.token_prefix,
            expires_at: new.expires_at,
            paths: new.paths,
            default: new.default,
            default_server: new.default,
            kept,
        };
        let storage = login.storage();
        let replaced = self.change(|logins| put(logins, login.clone()))?;
        if storage == Storage::File && replaced.as_ref().is_some_and(|old| old.storage() == Storage::Keyring) {
            // The old session is about to be revoked; what is left of it harms nobody if the keyring is away.
            let _ = keyring::remove(&key).await;
        }
        Ok((login, Added { no_keyring, replaced }))
    }

    /// Forgets a login. What it was, if it was there.
    ///
    /// # Errors
    /// If the file cannot be written. A keyring that is away is no error: the session in it is as good as revoked, and
    /// the next login takes its place.
    pub(crate) async fn remove(&self, login: &Login) -> Result<Option<Login>, Trouble> {
        let removed = self.change(|logins| {
            let place = logins.iter().position(|kept| {
                kept.session == login.session && kept.same_place(&login.server, &login.user, login.profile.as_ref())
            });
            place.map(|index| logins.remove(index))
        })?;
        if let Some(Kept::Keyring) = removed.as_ref().map(|login| &login.kept) {
            let _ = keyring::remove(&login.key()).await;
        }
        Ok(removed)
    }
}

/// Puts a login in the place of the one before it, if there was one, and else at the end.
fn put(logins: &mut Vec<Login>, login: Login) -> Option<Login> {
    if login.default {
        // One for each server, and one of these for commands that name none: no server's choice is changed by another's.
        for other in logins.iter_mut() {
            other.default &= other.server != login.server;
            other.default_server = false;
        }
    }
    match logins.iter_mut().find(|old| old.same_place(&login.server, &login.user, login.profile.as_ref())) {
        Some(old) => {
            // Being the default is not lost by logging in again.
            let default = login.default || old.default;
            let default_server = login.default_server || old.default_server;
            Some(std::mem::replace(old, Login { default, default_server, ..login }))
        }
        None => {
            logins.push(login);
            None
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Logins that never were.

    use super::*;

    pub(crate) fn login(server: &str, user: &str) -> Login {
        Login {
            server: server.parse().unwrap(),
            user: user.parse().unwrap(),
            profile: None,
            session: "3f2b8c1e-8a55-4d0e-9d0e-0123456789ab".parse().unwrap(),
            token_prefix: "tokses_a1b2".to_owned(),
            expires_at: None,
            paths: Vec::new(),
            default: false,
            default_server: false,
            kept: Kept::File("tokses_secret".into()),
        }
    }

    impl Login {
        pub(crate) fn under(self, profile: &str) -> Self {
            Self { profile: Some(profile.parse().unwrap()), ..self }
        }

        pub(crate) fn only_for(self, paths: &[&str]) -> Self {
            Self { paths: paths.iter().map(|path| path.parse().unwrap()).collect(), ..self }
        }

        pub(crate) fn meant(self) -> Self {
            Self { default: true, default_server: true, ..self }
        }
    }

    impl From<Vec<Login>> for Logins {
        fn from(logins: Vec<Login>) -> Self {
            Self(logins)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::login;
    use super::*;

    #[test]
    fn a_second_login_of_the_same_user_takes_the_place_of_the_first() {
        let mut logins = vec![login("https://a.example", "alice").meant(), login("https://a.example", "bob")];
        let again = login("https://A.example:443", "Alice");
        assert!(put(&mut logins, again).is_some_and(|old| old.user.as_str() == "alice"));
        assert_eq!(logins.len(), 2);
        assert!(logins[0].default, "it stays the default");
        assert!(put(&mut logins, login("https://a.example", "alice").under("work")).is_none());
        assert!(put(&mut logins, login("https://b.example", "alice").meant()).is_none());
        let meant = |logins: &[Login]| -> Vec<(String, bool)> {
            let defaults = logins.iter().filter(|login| login.default);
            defaults.map(|login| (login.to_string(), login.default_server)).collect()
        };
        let both = [("Alice at https://a.example".to_owned(), false), ("alice at https://b.example".to_owned(), true)];
        assert_eq!(meant(&logins), both, "one for each server, and one of them for commands that name none");
        put(&mut logins, login("https://a.example", "bob").meant());
        let both = [("bob at https://a.example".to_owned(), true), ("alice at https://b.example".to_owned(), false)];
        assert_eq!(meant(&logins), both);
    }

    #[test]
    fn nothing_prints_the_session() {
        let login = login("https://a.example", "alice").under("work");
        assert!(!format!("{login:?}{login}").contains("tokses_secret"));
        assert_eq!(login.to_string(), "alice at https://a.example (profile work)");
        assert_eq!(login.login_command(), "tok login https://a.example --profile work");
    }
}
