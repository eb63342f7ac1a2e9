//! A socket for the job's own git: each repository that git asks for is exchanged when it is asked for, and kept while it
//! is good.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

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
type Slot = Arc<Mutex<Option<ExchangedToken>>>;

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
        if let Some(kept) = &*held
            && kept.expires_at - (self.clock)() >= LEAST_LEFT
            && wish.failed() != Some(kept.id)
        {
            return Ok(kept.clone());
        }
        *held = None;
        let exchanged = self.exchange(wish.repo.clone(), permission).await?;
        *held = Some(exchanged.clone());
        Ok(exchanged)
    }

    async fn exchange(&self, repo: RepoPath, permission: Option<Permission>) -> Result<ExchangedToken, String> {
        let token = self.identity.token().await.map_err(|failure| failure.sentence())?;
        let mut client = self.client().await.map_err(|fault| sentence(&fault))?;
        let wish = Exchange { token, repository: Some(repo), permission };
        client.exchange(wish).await.map_err(|fault| {
            // One identity token for the whole job, and it is spent.
            if fault.code == FaultCode::InvalidGrant && !self.identity.renews() {
                return format!(
                    "{}; this CI system gives a job one identity token, so put all that needs it behind one `tok ci exec`",
                    fault.message
                );
            }
            sentence(&fault)
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
            if held.as_ref().is_some_and(|kept| kept.secret.expose_secret() == text) {
                *held = None;
            }
        }
    }
}

fn sentence(fault: &Fault) -> String {
    Failure::from(fault.clone()).sentence()
}
