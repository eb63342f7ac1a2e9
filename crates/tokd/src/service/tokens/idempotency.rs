//! Idempotency keys: who asks under one, for what, and what a retry is told.

use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Bearer, Caller};
use tok_model::token::{Owner, Token};
use tok_store::tokens::{Claim, Key, Replaced};

use crate::service::Service;

impl Service {
    /// A caller's key with the hash of what they ask for. It is hashed under the peppers, as secrets are: what is asked for
    /// may hold one.
    pub(super) fn key(&self, caller: &Caller, key: &str, asked_for: &str) -> Key {
        let current = self.peppers.current();
        let before = self.peppers.every().filter(|pepper| pepper.id() != current.id());
        let request = [current].into_iter().chain(before).map(|pepper| pepper.request_hash(asked_for)).collect();
        let caller = match (&caller.bearer, caller.owner_id()) {
            (_, Some(owner)) => owner_text(owner),
            (Bearer::Temporary { name }, None) => format!("temporary:{name}"),
            (_, None) => caller.source.describe(),
        };
        Key { caller, key: key.to_owned(), request }
    }
}

/// Who asks when they present this token: whoever it acts for, so that a retry may present another token of theirs.
pub(in crate::service) fn asker(token: &Token) -> String {
    owner_text(token.owner)
}

fn owner_text(owner: Owner) -> String {
    match owner {
        Owner::User(id) => format!("user:{id}"),
        Owner::Workspace(id) => format!("workspace:{id}"),
    }
}

/// What is replaced if the request may go on, or why it may not.
pub(super) fn claimed(claim: Claim) -> Result<Option<Replaced>, Fault> {
    let conflict = |message: String| Fault {
        field: Some("idempotency_key".to_owned()),
        ..Fault::new(FaultCode::Conflict, message)
    };
    match claim {
        Claim::Fresh => Ok(None),
        Claim::Retry(replaced) => Ok(Some(replaced)),
        Claim::OtherRequest => Err(conflict("this idempotency key was used for another request".to_owned())
            .hint("repeat a request exactly as it was, and take a fresh key for another one")),
        Claim::Used(prefix) => Err(conflict(format!(
            "what was made under this idempotency key has been used: {prefix}…; nothing was made again"
        ))
        .hint(format!("if its text is lost, end it with `tok token revoke {prefix}`, and take a fresh key"))),
        Claim::Ended(prefix) => Err(conflict(format!(
            "what was made under this idempotency key has ended since: {prefix}…; nothing was made again"
        ))
        .hint("take a fresh key to make another token")),
    }
}
