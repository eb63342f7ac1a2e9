//! What a helper answers, and how the helper checks what the daemon answered.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::STATE_PREFIX;
use super::lines::{LONGEST_LINE, Lines, Malformed, escaped, print, printable};
use super::relay::LARGEST_ANSWER;
use super::request::CredentialRequest;
use crate::clock::Timestamp;

/// The keys that an answer may have once.
const SINGLE: [&str; 12] = [
    "protocol",
    "host",
    "path",
    "username",
    "password",
    "password_expiry_utc",
    "oauth_refresh_token",
    "authtype",
    "credential",
    "ephemeral",
    "continue",
    "quit",
];
/// The longest message, in characters before escaping.
const LONGEST_MESSAGE: usize = 2_000;

/// A value cannot stand in git's lines. One bad line would lose all that follow it, so nothing is answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {key} is empty, too long or has a control character, so it cannot be given to git")]
pub struct Unprintable {
    key: &'static str,
}

enum Login {
    Bearer { credential: SecretString },
    Basic { password: SecretString },
}

/// An answer to git, built up and then printed at once.
#[derive(Default)]
pub struct Answer {
    login: Option<(String, Login)>,
    expiry: Option<i64>,
    state: Option<String>,
    again: bool,
    quit: bool,
    message: Option<String>,
}

impl Answer {
    /// Nothing: git goes on to its next helper.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A token, in the best form that this git understands: Bearer and ephemeral, which no other helper writes to disk,
    /// or else as a password. The user name is the one that git asked for, or `username`.
    pub fn token(
        request: &CredentialRequest,
        username: &str,
        token: impl Into<SecretString>,
    ) -> Result<Self, Unprintable> {
        let username = request.username().filter(|name| !name.is_empty()).unwrap_or(username);
        if !request.capabilities().authtype {
            return Self::password(username, token);
        }
        let username = checked("username", username)?.to_owned();
        let credential = token.into();
        checked("token", credential.expose_secret())?;
        Ok(Self { login: Some((username, Login::Bearer { credential })), ..Self::default() })
    }

    /// A user name and a password, for any git.
    pub fn password(username: &str, password: impl Into<SecretString>) -> Result<Self, Unprintable> {
        let username = checked("username", username)?.to_owned();
        let password = password.into();
        checked("password", password.expose_secret())?;
        Ok(Self { login: Some((username, Login::Basic { password })), ..Self::default() })
    }

    /// A final no: git asks no other helper and no person. `message` goes to the person, so say what to do next.
    pub fn refuse(message: &str) -> Self {
        Self { quit: true, ..Self::default() }.with_message(message)
    }

    /// Says when the credential ends.
    #[must_use]
    pub fn until(mut self, end: Timestamp) -> Self {
        self.expiry = Some(end.timestamp());
        self
    }

    /// Sends a state along that git gives back with `store`, `erase` and the next `get`; [`STATE_PREFIX`] is put before it.
    pub fn with_state(mut self, state: &str) -> Result<Self, Unprintable> {
        self.state = Some(format!("{STATE_PREFIX}{}", checked("state", state)?));
        Ok(self)
    }

    /// Has git ask again if the server refuses this credential, instead of failing. Only for a git with the `state`
    /// capability, and never twice in a row.
    #[must_use]
    pub fn ask_again(mut self) -> Self {
        self.again = true;
        self
    }

    /// One line that the helper shows on stderr; git never sees it. Control characters are spelled out.
    #[must_use]
    pub fn with_message(mut self, message: &str) -> Self {
        self.message = Some(escaped(&message.chars().take(LONGEST_MESSAGE).collect::<String>()));
        self
    }

    /// Whether there is nothing to print.
    pub fn is_empty(&self) -> bool {
        self.login.is_none() && self.state.is_none() && self.message.is_none() && !self.again && !self.quit
    }

    /// Git's lines, `message` last. Capabilities come before what depends on them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let expiry = self.expiry.map(|seconds| seconds.to_string());
        print("", "", |visit| {
            if matches!(self.login, Some((_, Login::Bearer { .. }))) {
                visit("capability[]", "authtype");
            }
            if self.state.is_some() || self.again {
                visit("capability[]", "state");
            }
            if let Some((username, login)) = &self.login {
                visit("username", username);
                match login {
                    Login::Bearer { credential } => {
                        visit("authtype", "Bearer");
                        visit("credential", credential.expose_secret());
                        visit("ephemeral", "1");
                    }
                    Login::Basic { password } => visit("password", password.expose_secret()),
                }
                if let Some(expiry) = &expiry {
                    visit("password_expiry_utc", expiry);
                }
            }
            for (key, value) in [
                ("state[]", self.state.as_deref()),
                ("continue", self.again.then_some("1")),
                ("quit", self.quit.then_some("1")),
                ("message", self.message.as_deref()),
            ] {
                if let Some(value) = value {
                    visit(key, value);
                }
            }
        })
    }
}

/// What came back over the socket, checked line by line and divided between git and the person.
pub struct RelayedAnswer {
    git: Zeroizing<Vec<u8>>,
    messages: Vec<String>,
}

impl RelayedAnswer {
    /// Checks a whole answer. One that is cut off in a line, or has any line that git would stumble over, is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::new(bytes, LARGEST_ANSWER)?;
        let mut seen = [false; SINGLE.len()];
        let mut pairs = Vec::new();
        let mut messages = Vec::new();
        for line in &mut lines {
            let (key, value) = line?;
            if let Some((known, seen)) = SINGLE.iter().zip(&mut seen).find(|(known, _)| **known == key)
                && std::mem::replace(seen, true)
            {
                return Err(Malformed::Repeated { key: known });
            }
            if key == "message" {
                messages.push(escaped(value));
            } else {
                pairs.push((key, value));
            }
        }
        if !lines.ended_whole() {
            return Err(Malformed::CutOff);
        }
        let git = print("", "", |visit| pairs.iter().for_each(|(key, value)| visit(key, value)));
        Ok(Self { git, messages })
    }

    /// The lines for git; empty if there are none.
    pub fn for_git(&self) -> &[u8] {
        &self.git
    }

    /// The lines for the person, safe to print on a terminal.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

fn checked<'a>(key: &'static str, value: &'a str) -> Result<&'a str, Unprintable> {
    let fits = !value.is_empty() && value.len() < LONGEST_LINE / 2 && printable(value);
    if fits { Ok(value) } else { Err(Unprintable { key }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn request(extra: &str) -> CredentialRequest {
        CredentialRequest::parse(format!("protocol=https\nhost=h\n{extra}").as_bytes()).unwrap()
    }

    fn printed(answer: &Answer) -> String {
        String::from_utf8(answer.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_new_git_gets_bearer_and_ephemeral() {
        let end = DateTime::from_timestamp(1_800_000_000, 999_000_000).unwrap();
        let git = request("capability[]=authtype\ncapability[]=state\n");
        let answer = Answer::token(&git, "ann", "tokgit_x").unwrap().until(end).with_state("n=1").unwrap().ask_again();
        assert_eq!(
            printed(&answer),
            "capability[]=authtype\ncapability[]=state\nusername=ann\nauthtype=Bearer\ncredential=tokgit_x\nephemeral=1\n\
             password_expiry_utc=1800000000\nstate[]=tok:n=1\ncontinue=1\n"
        );
    }

    #[test]
    fn an_old_git_gets_a_password_and_always_a_user_name() {
        let answer = Answer::token(&request(""), "tok", "tokgit_x").unwrap();
        assert_eq!(printed(&answer), "username=tok\npassword=tokgit_x\n");
        let answer = Answer::token(&request("username=bob\n"), "tok", "tokgit_x").unwrap();
        assert_eq!(printed(&answer), "username=bob\npassword=tokgit_x\n");
        let answer = Answer::token(&request("username=\n"), "tok", "tokgit_x").unwrap();
        assert_eq!(printed(&answer), "username=tok\npassword=tokgit_x\n");
    }

    #[test]
    fn a_final_no_quits_with_one_line() {
        assert_eq!(printed(&Answer::refuse("no\nway \x1b[31m")), "quit=1\nmessage=no\\nway \\u{1b}[31m\n");
        assert!(Answer::empty().is_empty() && printed(&Answer::empty()).is_empty());
        assert!(!Answer::refuse("x").is_empty() && !Answer::empty().with_message("x").is_empty());
    }

    #[test]
    fn what_would_break_the_lines_is_refused() {
        for bad in ["", "a\nb", "a\rb", "a\0b", "\x7f", &"x".repeat(LONGEST_LINE)] {
            assert!(Answer::token(&request(""), "tok", bad).is_err());
            assert!(Answer::token(&request("capability[]=authtype\n"), "tok", bad).is_err());
            assert!(Answer::password(bad, "x").is_err() && Answer::empty().with_state(bad).is_err());
        }
    }

    #[test]
    fn the_helper_divides_an_answer_between_git_and_the_person() {
        let answer = RelayedAnswer::parse(b"quit=1\nmessage=why\nfuture=x\nmessage=then\xc2\x9b\n\nlost=1\n").unwrap();
        assert_eq!(answer.for_git(), b"quit=1\nfuture=x\n");
        assert_eq!(answer.messages(), ["why", "then\\u{9b}"]);
        assert!(RelayedAnswer::parse(b"").unwrap().for_git().is_empty());
        for (bytes, why) in [
            (&b"username=x\npassword=y"[..], Malformed::CutOff),
            (b"username=x\nhello\n", Malformed::NoKey { line: 2 }),
            (b"username=x\npassword=a\rb\n", Malformed::Control { line: 2 }),
            (b"password=x\npassword=y\n", Malformed::Repeated { key: "password" }),
            (b"\xff=x\n", Malformed::NotText { line: 1 }),
        ] {
            assert_eq!(RelayedAnswer::parse(bytes).err(), Some(why));
        }
        assert!(RelayedAnswer::parse(&b"a=b\n".repeat(20_000)).is_err());
    }

    proptest! {
        #[test]
        fn every_answer_passes_the_helper_whole(token in "[!-~]{1,60}", user in "[ -~é]{1,20}", message in any::<String>(), bearer: bool, again: bool) {
            let git = request(if bearer { "capability[]=authtype\n" } else { "" });
            let mut answer = Answer::token(&git, &user, token.as_str()).unwrap();
            if again {
                answer = answer.ask_again();
            }
            let lines = answer.to_bytes();
            let relayed = RelayedAnswer::parse(&answer.with_message(&message).to_bytes()).unwrap();
            prop_assert_eq!(relayed.for_git(), lines.as_slice());
            prop_assert_eq!(relayed.messages().len(), 1);
            prop_assert!(!relayed.messages()[0].contains(char::is_control));
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(answer) = RelayedAnswer::parse(&bytes) {
                prop_assert!(RelayedAnswer::parse(answer.for_git()).is_ok());
            }
        }
    }
}
