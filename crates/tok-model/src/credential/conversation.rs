//! A helper's conversation with git, as the daemon and a user's agent hold it: what is asked for, how far git's retries
//! have come, and how a token is answered.
//!
//! A second try gets a new token instead of an error, a third a final no. The server's challenge chooses between what
//! the caller may have anyway.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::answer::{Answer, Unprintable};
use super::relay::{Hint, RelayRequest};
use super::request::CredentialRequest;
use crate::clock::Timestamp;
use crate::id::TokenId;
use crate::kind::Permission;
use crate::name::RepoPath;
use crate::scope::RepoRight;
use crate::secret::Plaintext;

/// Git asks a second time after our `continue=1` and no more than that.
const LAST_ROUND: u32 = 2;

/// How far git's retries have come, as our own `state[]` says. It is only ever a counter and a hint of which token
/// failed, so a forged one harms nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    number: u32,
    failed: Option<TokenId>,
}

impl Round {
    fn of(credential: &CredentialRequest) -> Self {
        let state = credential.own_state().last().unwrap_or_default();
        let (number, id) = state.split_once('.').unwrap_or((state, ""));
        Self { number: number.parse().unwrap_or(0), failed: id.parse().ok() }
    }
}

/// What git wants, after everything about it has been read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The repository.
    pub repo: RepoPath,
    /// Read or push.
    pub permission: Permission,
    round: Round,
}

/// A token for git.
#[derive(Debug)]
pub struct Given<'a> {
    /// The user name to answer, unless git named one.
    pub username: &'a str,
    /// Its text.
    pub text: SecretString,
    /// Its ID.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Wish {
    /// What a `get` for one of our own servers wants. `setup` is the address to set git up for.
    ///
    /// # Errors
    /// The answer, if no token can help: git did not say which repository, or it came back too often.
    pub fn of(request: &RelayRequest, setup: &dyn fmt::Display) -> Result<Self, Answer> {
        let credential = request.credential();
        let repo = match credential.git_path() {
            Some(Ok(path)) => path.repo().clone(),
            Some(Err(why)) => return Err(Answer::empty().with_message(&format!("no token for this path: {why}"))),
            None => {
                return Err(Answer::empty().with_message(&format!(
                    "git did not say which repository it wants, and tokens are for one repository each; run: tok git setup {setup}"
                )));
            }
        };
        let round = Round::of(credential);
        if round.number >= LAST_ROUND {
            return Err(Answer::refuse(&format!(
                "the server refused two tokens for {repo}; `tok audit --repo {repo}` shows why"
            )));
        }
        Ok(Self { permission: permission(request, &repo), repo, round })
    }

    /// The token that git was refused with a moment ago, if this is its second try.
    pub fn failed(&self) -> Option<TokenId> {
        self.round.failed
    }

    /// The answer with a token.
    pub fn answer(&self, credential: &CredentialRequest, given: Given<'_>) -> Result<Answer, Unprintable> {
        let answer = Answer::token(credential, given.username, given.text)?.until(given.expires_at);
        if !credential.capabilities().state {
            return Ok(answer);
        }
        let round = self.round.number + 1;
        let answer = answer.with_state(&format!("{round}.{}", given.id))?;
        // Only the first answer asks git to come back: a second refusal is final.
        Ok(if round < LAST_ROUND { answer.ask_again() } else { answer })
    }
}

/// The token that an `erase` says was refused, if it can be one of ours.
pub fn refused(credential: &CredentialRequest) -> Option<Plaintext> {
    let text = credential.credential().or(credential.password())?;
    Plaintext::parse(text.expose_secret()).ok()
}

/// Read or push: what the server's challenge asked for, else what the helper saw git doing, else read. It only ever
/// chooses among what the caller may do.
fn permission(request: &RelayRequest, repo: &RepoPath) -> Permission {
    let about_this = |resource: &Option<RepoPath>| resource.as_ref().is_none_or(|named| named == repo);
    match request.credential().challenge() {
        Some(challenge) if about_this(&challenge.resource) && challenge.right == Some(RepoRight::Write) => {
            Permission::Write
        }
        None if request.hint() == Some(Hint::Push) => Permission::Write,
        Some(_) | None => Permission::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::super::relay::Operation;
    use super::*;

    fn asked(extra: &str) -> RelayRequest {
        let text = format!("protocol=https\nhost=git.example.com\n{extra}");
        RelayRequest::new(Operation::Get, CredentialRequest::parse(text.as_bytes()).unwrap())
    }

    fn wish(extra: &str) -> Result<Wish, String> {
        Wish::of(&asked(extra), &"https://git.example.com")
            .map_err(|answer| String::from_utf8(answer.to_bytes().to_vec()).unwrap())
    }

    const ID: &str = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";

    #[test]
    fn the_challenge_chooses_and_the_hint_only_stands_in_for_it() {
        let challenge = |scope: &str, repo: &str| {
            format!("path=acme/app.git\nwwwauth[]=Bearer realm=\"tok\", scope=\"repo:{scope}\", resource=\"{repo}\"\n")
        };
        assert_eq!(wish(&challenge("write", "acme/app")).unwrap().permission, Permission::Write);
        assert_eq!(wish(&challenge("read", "acme/app")).unwrap().permission, Permission::Read);
        assert_eq!(wish(&challenge("write", "acme/other")).unwrap().permission, Permission::Read);
        let pushing =
            |extra: &str| Wish::of(&asked(extra).with_hint(Some(Hint::Push)), &"x").map_err(drop).unwrap().permission;
        assert_eq!(pushing("path=acme/app.git\n"), Permission::Write);
        assert_eq!(pushing(&challenge("read", "acme/app")), Permission::Read);
        assert_eq!(wish("path=acme/app.git/info/lfs\n").unwrap().repo.to_string(), "acme/app");
    }

    #[test]
    fn what_no_token_can_help_with_is_said_at_once() {
        assert!(wish("").unwrap_err().contains("tok git setup https://git.example.com"));
        assert!(wish("path=acme/../app\n").unwrap_err().starts_with("message=no token for this path"));
        let third = format!("path=acme/app\nstate[]=tok:2.{ID}\n");
        assert!(wish(&third).unwrap_err().starts_with("quit=1\n"));
    }

    #[test]
    fn the_first_answer_asks_git_to_come_back_and_the_second_does_not() {
        let given = |id: &str| Given {
            username: "ann",
            text: "tokgit_x".into(),
            id: id.parse().unwrap(),
            expires_at: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        };
        let said = |extra: &str| {
            let extra = format!("path=acme/app\n{extra}");
            let answer = wish(&extra).unwrap().answer(asked(&extra).credential(), given(ID)).unwrap();
            String::from_utf8(answer.to_bytes().to_vec()).unwrap()
        };
        assert!(said("capability[]=state\n").ends_with(&format!("state[]=tok:1.{ID}\ncontinue=1\n")));
        let state = format!("capability[]=state\nstate[]=tok:1.{ID}\n");
        assert!(said(&state).ends_with(&format!("state[]=tok:2.{ID}\n")));
        assert_eq!(wish(&format!("path=acme/app\n{state}")).unwrap().failed(), Some(ID.parse().unwrap()));
        assert_eq!(said(""), "username=ann\npassword=tokgit_x\npassword_expiry_utc=1800000000\n");
    }
}
