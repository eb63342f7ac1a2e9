//! Tokens that change by being presented: each use is the store's business, and to present what was given up is an alarm.

use std::sync::Arc;

use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Need, Refusal, Rule, decide};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::token::TokenState;
use tok_store::StoreError;
use tok_store::tokens::{Counted, FirstUse};

use super::Presented;
use crate::service::{Service, tokens};

impl Service {
    /// Lets somebody in whose token changes by that: a use is counted, or a first use written down. Whoever presents a
    /// token that was given up for its successor raises the alarm.
    pub(super) async fn admit(
        &self,
        caller: Caller,
        wanted: Option<(&RepoPath, RepoRight)>,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        let Bearer::Token(token) = &caller.bearer else { return Ok(Ok(caller)) };
        let (token, actor, now) = (Arc::clone(token), caller.actor(), self.now());
        if let TokenState::Rotated { grace_ends_at, .. } = &token.state
            && *grace_ends_at <= now
        {
            self.alarm(&caller).await?;
            return Ok(Err(Rule::Rotated(*grace_ends_at).into()));
        }
        // Whoever asks for the decision next is told why not.
        if decide(&caller, Need::Identity, now).is_err() {
            return Ok(Ok(caller));
        }
        if token.first_use_due {
            let (used, actor) = (Arc::clone(&token), actor.clone());
            let noted = self
                .executor
                .run(move |store| store.write(|tx| tok_store::tokens::first_use(tx, &used, &actor, now)))
                .await;
            // It may have ended another's grace, and what was made through that one.
            if token.predecessor.is_some() {
                self.forget_all();
            }
            if noted? == FirstUse::TooLate {
                return Ok(Err(Rule::Revoked(now).into()));
            }
        }
        let need = |(repo, right): (&RepoPath, RepoRight)| Need::Repository { repo: repo.clone(), right };
        if token.use_limit.is_none() || wanted.is_some_and(|wanted| decide(&caller, need(wanted), now).is_err()) {
            return Ok(Ok(caller));
        }
        let counted = self
            .executor
            .run(move |store| store.write(|tx| tok_store::tokens::count_use(tx, &token, &actor, now)))
            .await?;
        Ok(match counted {
            Counted::LetIn => Ok(caller),
            Counted::NoneLeft => Err(Rule::UsedUp.into()),
        })
    }

    /// Ends the family of a token that was presented after it had been given up.
    async fn alarm(&self, caller: &Caller) -> Result<(), StoreError> {
        let Bearer::Token(token) = &caller.bearer else { return Ok(()) };
        let (token, actor, now) = (Arc::clone(token), caller.actor(), self.now());
        let (id, shown, from) = (token.id, token.shown_prefix.clone(), caller.source.describe());
        let ended =
            self.executor.run(move |store| store.write(|tx| tok_store::tokens::reuse(tx, &token, &actor, now))).await;
        self.forget_all();
        let ended = ended?;
        tracing::warn!(token.id = %id, %from, ended, "{shown}… was presented after it had been rotated away; its family ended");
        Ok(())
    }

    /// The caller behind a token that is presented to rotate something under an idempotency key. If that is the very token
    /// that an earlier request under this key gave up, and nobody has used what that one made, then its reply was lost:
    /// the request is judged as if that one had not happened.
    pub async fn caller_rotating(
        &self,
        presented: Presented,
        source: Source,
        key: &str,
    ) -> Result<Result<Caller, Refusal>, StoreError> {
        let unknown = match self.caller_at_once(presented, source) {
            Ok(said) => return Ok(said),
            Err(unknown) => unknown,
        };
        let facts = match self.look_up(&unknown).await? {
            Ok(facts) => facts,
            Err(missing) => return Ok(self.nobody(missing, unknown.source)),
        };
        let given_up =
            matches!(&facts.token.state, TokenState::Rotated { grace_ends_at, .. } if *grace_ends_at <= self.now());
        if !given_up {
            return self.look_up_caller(unknown, None).await;
        }
        let mut caller = facts.of_caller(unknown.source);
        let Bearer::Token(token) = &mut caller.bearer else { return Ok(Ok(caller)) };
        let (presented, name, key, now) = (Arc::clone(token), tokens::asker(token), key.to_owned(), self.now());
        let unanswered = self
            .executor
            .run(move |store| store.read(|tx| tok_store::tokens::unanswered_rotation(tx, &name, &key, &presented, now)))
            .await?;
        if unanswered {
            Arc::make_mut(token).state = TokenState::Live;
            return Ok(Ok(caller));
        }
        self.admit(caller, None).await
    }
}
