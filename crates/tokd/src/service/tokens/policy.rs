//! What the server's own policy does to tokens that exist.

use chrono::TimeDelta;
use tok_api::fault::Fault;
use tok_model::clock::{Lifetime, Timestamp};
use tok_model::kind::TokenKind;
use tok_model::policy::Policy;
use tok_model::token::Token;
use tok_store::{Store, StoreError};

use crate::service::Service;

/// How long git tokens that ended are kept to be looked at.
const GIT_KEPT: TimeDelta = TimeDelta::days(30);

/// Brings tokens that exist under this policy: what was made to live longer than a maximum ends when the maximum says, and
/// what nobody used for too long is ended.
pub fn apply(store: &Store, policy: &Policy, now: Timestamp) -> Result<(), StoreError> {
    for kind in TokenKind::every() {
        let Some(lifetimes) = policy.of(kind) else { continue };
        if let Lifetime::For(idle) = lifetimes.idle {
            let ended = tok_store::tokens::end_idle(store, kind, idle, now)?;
            if ended > 0 {
                tracing::info!("{ended} tokens ended: {kind} tokens that were not used for {idle}, and their children");
            }
        }
        // After that: what rested too long ended for that, and not by a maximum that came later.
        if let Lifetime::For(most) = lifetimes.most {
            let done = tok_store::tokens::clamp(store, kind, most, now)?;
            if done.shortened > 0 {
                tracing::info!("{} {kind} tokens end earlier now: they live for {most} at most", done.shortened);
            }
        }
    }
    Ok(())
}

impl Service {
    /// A token as this server's policy sees it.
    pub(in crate::service) fn dated(&self, token: Token) -> Token {
        Token { idle_ends_at: self.policy.kinds.idle_ends_at(&token), ..token }
    }

    /// Ends what rested too long by now, removes git tokens that ended long ago, and forgets idempotency keys of yesterday.
    pub async fn keep_up(&self) -> Result<(), Fault> {
        let (policy, now) = (self.policy.kinds, self.now());
        // What is used now is in use, whether or not that was written down yet.
        self.flush_uses().await.map_err(crate::fault::IntoFault::into_fault)?;
        self.run_long_and_forget(move |store| {
            apply(store, &policy, now)?;
            let removed = tok_store::tokens::purge_git(store, GIT_KEPT, now)?;
            tok_store::device_logins::purge(store, now)?;
            let forgotten = tok_store::tokens::forget_keys(store, now)?;
            tracing::debug!(
                removed,
                forgotten,
                "Looked for tokens that rested too long, old git tokens and idempotency keys"
            );
            Ok(())
        })
        .await
    }
}
