//! What git asks of a helper.

use std::fmt;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::STATE_PREFIX;
use super::draft::{Draft, LARGEST_REQUEST};
use super::lines::{Lines, Malformed, print};
use crate::challenge::TokChallenge;
use crate::kind::TokenKind;
use crate::url::{GitPath, Origin, OriginRefusal, PathRefusal};

/// What git said it understands, besides what every git understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `authtype`, `credential` and `ephemeral` (git 2.46).
    pub authtype: bool,
    /// `state[]` and `continue` (git 2.46).
    pub state: bool,
}

/// A request of git, read whole and checked. Protocol and host are never empty, and no value has a control character.
#[derive(Clone)]
pub struct CredentialRequest {
    pub(super) protocol: String,
    pub(super) host: String,
    pub(super) path: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) password_expiry_utc: Option<i64>,
    pub(super) oauth_refresh_token: Option<SecretString>,
    pub(super) authtype: Option<String>,
    pub(super) credential: Option<SecretString>,
    pub(super) ephemeral: bool,
    pub(super) continued: bool,
    pub(super) capabilities: Capabilities,
    pub(super) state: Vec<String>,
    pub(super) wwwauth: Vec<String>,
}

impl CredentialRequest {
    /// Reads git's lines up to a blank line or the end. Keys it does not know are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut draft = Draft::default();
        for line in Lines::new(bytes, LARGEST_REQUEST)? {
            let (key, value) = line?;
            draft.take(key, value)?;
        }
        draft.finish()
    }

    /// The URL's scheme as git wrote it; never empty. `cert`, `smtp` and others occur.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Host and port as git wrote them; never empty.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The server that it is about, for an exact comparison.
    pub fn origin(&self) -> Result<Origin, OriginRefusal> {
        Origin::from_credential(&self.protocol, &self.host)
    }

    /// The path, if git was told to send it (`credential.useHttpPath`). Empty and absent differ.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The path, read by the same rules as the server reads its URLs.
    pub fn git_path(&self) -> Option<Result<GitPath, PathRefusal>> {
        self.path().map(GitPath::from_credential)
    }

    /// The user name of the URL or of the credential. Empty and absent differ.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password that was used or typed.
    pub fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// When the password ends, in Unix seconds; nothing for never, as git reads zero and nonsense.
    pub fn password_expiry_utc(&self) -> Option<i64> {
        self.password_expiry_utc
    }

    /// A refresh token that some helper gave with the password.
    pub fn oauth_refresh_token(&self) -> Option<&SecretString> {
        self.oauth_refresh_token.as_ref()
    }

    /// The scheme of [`credential`](Self::credential), such as `Bearer`.
    pub fn authtype(&self) -> Option<&str> {
        self.authtype.as_deref()
    }

    /// What was sent after the scheme in the `Authorization` header.
    pub fn credential(&self) -> Option<&SecretString> {
        self.credential.as_ref()
    }

    /// Whether the credential must not be kept.
    pub fn ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Whether git echoed a `continue`. It means nothing in a request.
    pub fn continued(&self) -> bool {
        self.continued
    }

    /// What this git understands.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What is left of our own `state[]` values behind [`STATE_PREFIX`]. Anybody can write them: never trust one.
    pub fn own_state(&self) -> impl Iterator<Item = &str> {
        self.state.iter().filter_map(|value| value.strip_prefix(STATE_PREFIX))
    }

    /// The server's `WWW-Authenticate` values in order (git 2.41).
    pub fn wwwauth(&self) -> &[String] {
        &self.wwwauth
    }

    /// Our server's challenge, if it is among them.
    pub fn challenge(&self) -> Option<TokChallenge> {
        TokChallenge::from_wwwauth(&self.wwwauth)
    }

    /// Whether the credential in it came from tok: by the state that travelled with it, or by the form of the token.
    pub fn answered_by_tok(&self) -> bool {
        let ours = |secret: &SecretString| secret.expose_secret().starts_with(TokenKind::Git.prefix());
        self.own_state().next().is_some()
            || self.password.as_ref().is_some_and(ours)
            || self.credential.as_ref().is_some_and(ours)
    }

    /// The request in its normal form: the keys we know, in a fixed order. It reads back as the same request.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        print("", "", |visit| self.each(visit))
    }

    /// Every line of the normal form, in order. Capabilities come before what depends on them.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&str, &str)) {
        for (known, offered) in [("authtype", self.capabilities.authtype), ("state", self.capabilities.state)] {
            if offered {
                visit("capability[]", known);
            }
        }
        visit("protocol", &self.protocol);
        visit("host", &self.host);
        let expiry = self.password_expiry_utc.map(|seconds| seconds.to_string());
        for (key, value) in [
            ("path", self.path.as_deref()),
            ("username", self.username.as_deref()),
            ("password", self.password.as_ref().map(ExposeSecret::expose_secret)),
            ("password_expiry_utc", expiry.as_deref()),
            ("oauth_refresh_token", self.oauth_refresh_token.as_ref().map(ExposeSecret::expose_secret)),
            ("authtype", self.authtype.as_deref()),
            ("credential", self.credential.as_ref().map(ExposeSecret::expose_secret)),
            ("ephemeral", self.ephemeral.then_some("1")),
            ("continue", self.continued.then_some("1")),
        ] {
            if let Some(value) = value {
                visit(key, value);
            }
        }
        for (key, values) in [("state[]", &self.state), ("wwwauth[]", &self.wwwauth)] {
            for value in values {
                visit(key, value);
            }
        }
    }
}

impl fmt::Debug for CredentialRequest {
    /// Where it goes, and nothing else: user names, paths and states are nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRequest")
            .field("protocol", &self.protocol)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CredentialRequest, Malformed> {
        CredentialRequest::parse(text.as_bytes())
    }

    #[test]
    fn a_request_of_git_is_read_and_printed_in_its_normal_form() {
        let request = parse(
            "capability[]=authtype\ncapability[]=state\ncapability[]=telepathy\nprotocol=https\nhost=git.example.com:8443\n\
             path=acme/app.git\nusername=ann\nwwwauth[]=Basic realm=\"x\"\nwwwauth[]=\nwwwauth[]=Bearer realm=\"tok\", \
             scope=\"repo:write\"\nstate[]=osx:1\nstate[]=tok:n=1\nfuture=x\r\n\nhost=ignored\n",
        )
        .unwrap();
        assert_eq!(request.origin(), Origin::parse("https://git.example.com:8443"));
        assert_eq!(request.git_path().unwrap().unwrap().to_string(), "/acme/app.git");
        assert_eq!(request.capabilities(), Capabilities { authtype: true, state: true });
        assert_eq!(request.own_state().collect::<Vec<_>>(), ["n=1"]);
        assert_eq!(request.challenge().unwrap().right, Some(crate::scope::RepoRight::Write));
        assert_eq!(
            str::from_utf8(&request.to_bytes()).unwrap(),
            "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.com:8443\npath=acme/app.git\n\
             username=ann\nstate[]=osx:1\nstate[]=tok:n=1\nwwwauth[]=Bearer realm=\"tok\", scope=\"repo:write\"\n"
        );
    }

    #[test]
    fn our_own_answers_are_known_again_and_nothing_secret_prints() {
        let request = |extra: &str| parse(&format!("protocol=https\nhost=h\nusername=ann\n{extra}\n")).unwrap();
        for (extra, ours) in [
            ("state[]=tok:n=1", true),
            ("password=tokgit_abc", true),
            ("credential=tokgit_abc", true),
            ("password=tokpat_abc", false),
            ("password=hunter2", false),
            ("state[]=osx:tok:", false),
        ] {
            let request = request(extra);
            assert_eq!(request.answered_by_tok(), ours, "{extra}");
            assert_eq!(format!("{request:?}"), "CredentialRequest { protocol: \"https\", host: \"h\", .. }");
        }
    }
}
