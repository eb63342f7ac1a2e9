//! Ending tokens.

use tok_api::convert::{RevokedToken, TokenRecord};
use tok_api::fault::Fault;
use tok_model::decide::{Caller, Need};
use tok_model::token::{Reference, Standing};

use crate::service::Service;

impl Service {
    /// Ends a token and all that were made through it, at once. A dry run only says what it would be.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        reference: Reference,
        reason: Option<String>,
        dry_run: bool,
    ) -> Result<RevokedToken, Fault> {
        if let Some(reason) = &reason {
            tok_model::token::check_description(reason).map_err(|why| Fault::field("reason", why))?;
        }
        let now = self.now();
        let (permit, token) = self.resolve(caller, reference, |owner| Need::EndTokens { owner }).await?;
        let already = token.standing(now) == Standing::Revoked;
        if already || dry_run {
            return Ok(RevokedToken {
                token: TokenRecord::of(&token, now),
                minted_revoked: 0,
                already_revoked: already,
                restorable_until: None,
                note: None,
            });
        }
        let ended = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let ended = tok_store::tokens::revoke(&mut tx, &permit, token.id, reason.as_deref())?;
                    let events = ended.events(&permit, reason.as_deref());
                    tx.commit(events, permit.at())?;
                    Ok(ended)
                })
            })
            .await?;
        Ok(RevokedToken {
            token: TokenRecord::of(&ended.token, now),
            minted_revoked: u32::try_from(ended.descendants.len()).unwrap_or(u32::MAX),
            already_revoked: false,
            restorable_until: None,
            note: None,
        })
    }
}
