//! Undoing a revocation, for 15 minutes after it.

use tok_api::convert::{RestoredTokens, TokenRecord};
use tok_api::fault::Fault;
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::decide::{Caller, MintRequest, Need, Refusal, decide};
use tok_model::kind::TokenKind;
use tok_model::token::{Reference, Token};

use super::modify::as_its_owner;
use super::resolve::or_if_missing;
use crate::fault::IntoFault;
use crate::service::Service;

impl Service {
    /// Brings back a token with all that ended by the same act. It takes the right to end it, and for acts of others the
    /// right to administer the server. Through a token nothing comes back that it could not make: what ended is as good as
    /// not there, and nobody gives more than they have.
    pub async fn restore_token(&self, caller: &Caller, reference: Reference) -> Result<RestoredTokens, Fault> {
        let need = |owner| Need::EndTokens { owner };
        let ended = self.resolve_among(caller, reference.clone(), need, tok_store::tokens::restorable).await;
        // What cannot come back is found all the same, to be told why.
        let (permit, token) = or_if_missing(ended, self.resolve(caller, reference, need)).await?;
        let id = token.id;
        let at = permit.at();
        let narrow = caller.token().is_some_and(|token| token.kind() != TokenKind::Session);
        let bounded = (narrow && *permit.need() != Need::Server).then(|| caller.clone());
        let restored = self
            .run_long_and_forget(move |store| {
                store.write(|mut tx| {
                    let restored = tok_store::tokens::restore(&mut tx, &permit, id)?;
                    if let Some(caller) = &bounded {
                        let back = tok_store::tokens::came_back(&mut tx, &permit, &restored)?;
                        // Without a commit none of it happens.
                        if let Some(beyond) = first_beyond(caller, &back, at) {
                            return Ok(Err(beyond));
                        }
                    }
                    let event = AuditEvent::done(Action::TokenRestore, permit.actor().clone())
                        .token(id, &restored.token.shown_prefix)
                        .detail(format!("{} tokens came back (act {})", restored.count, restored.act));
                    tx.commit(event, permit.at())?;
                    Ok(Ok(restored))
                })
            })
            .await?;
        let restored = restored.map_err(|beyond| {
            let (token, need, refusal) = *beyond;
            self.note_refusal(caller, &need, &refusal);
            as_its_owner(refusal.into_fault(), caller, &token)
        })?;
        Ok(RestoredTokens { token: TokenRecord::of(&self.dated(restored.token), at), restored: restored.count })
    }
}

/// A token that somebody could not make, what making it would have taken, and why they may not.
type Beyond = Box<(Token, Need, Refusal)>;

/// The first of these that the caller could not make.
fn first_beyond(caller: &Caller, back: &[Token], now: Timestamp) -> Option<Beyond> {
    back.iter().find_map(|token| {
        let request = MintRequest {
            owner: token.owner,
            grant: token.grant.clone(),
            expires_at: token.expires_at,
            allow_from: token.allow_from.clone(),
        };
        let need = Need::Mint(request);
        let refusal = decide(caller, need.clone(), now).err()?;
        Some(Box::new((token.clone(), need, refusal)))
    })
}
