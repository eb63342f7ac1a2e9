//! A socket for the job's own git: each repository that git asks for is exchanged when it is asked for, and kept while it
//! is good.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::convert::{Exchange, ExchangedToken};
use tok_api::fault::{Fault, FaultCode};
use tok_api::local::helper::{Bytes, printed};
use tok_model::clock::Timestamp;
use tok_model::credential::{Answer, CredentialRequest, Given, LEAST_LEFT, Operation, RelayRequest, Wish};
use tok_model::kind::Permission;
use tok_model::name::RepoPath;
use tok_model::url::Origin;
use tokio::sync::Mutex;

use super::identity::Identity;
use crate::exit::Failure;

/// How long git is kept waiting: the runner, and for its first job the server, may have to ask around.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A token with less left ends on the way.
const LAST_MOMENT: TimeDelta = TimeDelta::seconds(5);
/// The user name that git is answered with where the token says all.
const USERNAME: &str = "tok";

/// What the job's git is answered from.
pub(super) struct Door {
    server: Origin,
    identity: Identity,
    clock: fn() -> Timestamp,
    client: Mutex<Option<Client>>,
    slots: Mutex<HashMap<Key, Slot>>,
    /// The other servers that git was told about.
    said: Mutex<HashSet<String>>,
}

/// A repository, and a right if each right has a token of its own.
type Key = (RepoPath, Option<Permission>);
/// Its lock is the single flight.
type Slot = Arc<Mutex<Option<Held>>>;

/// What was exchanged last.
struct Held {
    token: ExchangedToken,
    got: Timestamp,
    /// Git was refused with it.
    refused: bool,
}

impl Held {
    fn new(token: ExchangedToken, got: Timestamp) -> Self {
        Self { token, got, refused: false }
    }

    /// Whether git may be answered with it: for so long yet.
    fn lasts(&self, least: TimeDelta, wish: &Wish, now: Timestamp) -> bool {
        self.token.expires_at - now >= least && !self.refused && wish.failed() != Some(self.token.id)
    }

    /// Why there is no other, for a job whose one identity token was exchanged for it.
    fn was_the_only_one(&self, repo: &RepoPath, now: Timestamp) -> String {
        if self.token.expires_at > now {
            return format!(
                "the server refused the token for {repo} that this job's identity token was exchanged for, and each is exchanged once; `tok audit --repo {repo}` shows why"
            );
        }
        let minutes = (self.token.expires_at - self.got).num_minutes();
        format!(
            "the token for {repo} that this job's identity token was exchanged for ended at {}, after the {minutes} minutes that the trust rule gives it, and each is exchanged once; let the rule give it as long as the job lasts (`tok trust add … --lifetime 1h`)",
            self.token.expires_at.format("%H:%M:%S UTC")
        )
    }
}

impl Door {
    pub(super) fn new(server: Origin, identity: Identity, clock: fn() -> Timestamp) -> Self {
        Self { server, identity, clock, client: Mutex::default(), slots: Mutex::default(), said: Mutex::default() }
    }

    /// Answers one helper.
    pub(super) async fn answer(&self, request: RelayRequest) -> Bytes {
        let credential = request.credential();
        let ours = credential.origin().is_ok_and(|origin| origin == self.server);
        let answer = match request.operation() {
            Operation::Get if !ours => self.elsewhere(credential).await,
            _ if !ours => Answer::empty(),
            Operation::Get => self.get(&request).await,
            Operation::Erase => {
                if let Some(secret) = credential.credential().or(credential.password()) {
                    self.forget(secret.expose_secret()).await;
                }
                Answer::empty()
            }
            Operation::Store => Answer::empty(),
        };
        printed(&answer)
    }

    /// Nothing for another server; if that is one of tok's, the wrong one is named here, which is said once.
    async fn elsewhere(&self, credential: &CredentialRequest) -> Answer {
        match credential.origin() {
            Ok(asked) if credential.challenge().is_some() && self.said.lock().await.insert(asked.to_string()) => {
                let server = &self.server;
                Answer::empty().with_message(&format!(
                    "git asked for {asked}, TOK_SERVER (or --server) is {server}: this job's tokens are for that one alone"
                ))
            }
            _ => Answer::empty(),
        }
    }

    async fn get(&self, request: &RelayRequest) -> Answer {
        let credential = request.credential();
        if let Identity::Stored(token) = &self.identity {
            let answer = Answer::token(credential, USERNAME, token.clone());
            return answer.unwrap_or_else(|why| Answer::refuse(&why.to_string()));
        }
        let wish = match Wish::of(request, &self.server) {
            Ok(wish) => wish,
            Err(answer) => return answer,
        };
        let given = match tokio::time::timeout(PATIENCE, self.token(&wish)).await {
            Ok(Ok(given)) => given,
            Ok(Err(why)) => return Answer::refuse(&why),
            Err(_) => return Answer::refuse(&format!("{} did not answer in time", self.server)),
        };
        let given = Given { username: USERNAME, text: given.secret, id: given.id, expires_at: given.expires_at };
        wish.answer(credential, given).unwrap_or_else(|why| Answer::refuse(&why.to_string()))
    }

    async fn token(&self, wish: &Wish) -> Result<ExchangedToken, String> {
        // Who has one identity token and no more asks for as much as the rule gives, and keeps to that.
        let permission = self.identity.renews().then_some(wish.permission);
        let key = (wish.repo.clone(), permission);
        let slot = Arc::clone(self.slots.lock().await.entry(key).or_default());
        let mut held = slot.lock().await;
        let now = (self.clock)();
        // A short one is better than none, where there is no other.
        let least = if self.identity.renews() { LEAST_LEFT } else { LAST_MOMENT };
        if let Some(kept) = held.as_ref().filter(|kept| kept.lasts(least, wish, now)) {
            return Ok(kept.token.clone());
        }
        match self.exchange(wish.repo.clone(), permission).await {
            Ok(exchanged) => {
                *held = Some(Held::new(exchanged.clone(), now));
                Ok(exchanged)
            }
            Err(fault) => match &*held {
                Some(kept) if kept.lasts(LAST_MOMENT, wish, now) => Ok(kept.token.clone()),
                Some(kept) if fault.spent => Err(kept.was_the_only_one(&wish.repo, now)),
                _ => Err(fault.words),
            },
        }
    }

    async fn exchange(&self, repo: RepoPath, permission: Option<Permission>) -> Result<ExchangedToken, Failed> {
        let token = self.identity.token().await.map_err(|failure| Failed::for_once(failure.sentence()))?;
        let mut client = self.client().await.map_err(|fault| Failed::for_once(sentence(&fault)))?;
        let wish = Exchange { token, repository: Some(repo), permission };
        client.exchange(wish).await.map_err(|fault| {
            // One identity token for the whole job, and it is spent.
            if fault.code == FaultCode::InvalidGrant && !self.identity.renews() {
                let words = format!(
                    "{}; this CI system gives a job one identity token, so put all that needs it behind one `tok ci exec`",
                    fault.message
                );
                return Failed { words, spent: true };
            }
            Failed::for_once(sentence(&fault))
        })
    }

    async fn client(&self) -> Result<Client, Fault> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = Client::remote(&self.server, &Caller::default(), &RemoteOptions::default()).await?;
        Ok(client.insert(made).clone())
    }

    /// Git was refused with it.
    async fn forget(&self, text: &str) {
        let slots: Vec<Slot> = self.slots.lock().await.values().cloned().collect();
        for slot in slots {
            let mut held = slot.lock().await;
            if let Some(kept) = held.as_mut().filter(|kept| kept.token.secret.expose_secret() == text) {
                kept.refused = true;
            }
        }
    }
}

/// Why nothing was exchanged.
struct Failed {
    words: String,
    /// The identity token is not good any more, and there is no other.
    spent: bool,
}

impl Failed {
    fn for_once(words: String) -> Self {
        Self { words, spent: false }
    }
}

fn sentence(fault: &Fault) -> String {
    Failure::from(fault.clone()).sentence()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        let lines = b"protocol=https\nhost=git.example.com\npath=acme/app.git\n";
        let credential = CredentialRequest::parse(lines).unwrap();
        Wish::of(&RelayRequest::new(Operation::Get, credential), &"x").map_err(drop).unwrap()
    }

    #[test]
    fn a_token_is_used_to_its_end_where_there_is_no_other_and_then_its_lifetime_is_named() {
        let now = Timestamp::UNIX_EPOCH + TimeDelta::days(20_000);
        let later = |seconds| now + TimeDelta::seconds(seconds);
        let token = ExchangedToken {
            secret: "tokgit_x".into(),
            id: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap(),
            expires_at: later(600),
            repository: "acme/app".parse().unwrap(),
            permission: Permission::Write,
        };
        let mut held = Held::new(token, now);
        assert!(held.lasts(LEAST_LEFT, &wish(), later(540)) && !held.lasts(LEAST_LEFT, &wish(), later(541)));
        assert!(held.lasts(LAST_MOMENT, &wish(), later(595)) && !held.lasts(LAST_MOMENT, &wish(), later(596)));
        let repo = wish().repo;
        let over = held.was_the_only_one(&repo, later(700));
        assert!(over.contains("after the 10 minutes") && over.contains("--lifetime"), "{over}");
        held.refused = true;
        assert!(!held.lasts(LAST_MOMENT, &wish(), now), "git was refused with it");
        let refused = held.was_the_only_one(&repo, now);
        assert!(refused.contains("refused") && !refused.contains("--lifetime"), "{refused}");
    }
}
