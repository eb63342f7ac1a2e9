//! Undoing a revocation, for 15 minutes after it.

use tok_api::convert::{RestoredTokens, TokenRecord};
use tok_api::fault::Fault;
use tok_model::audit::{Action, AuditEvent};
use tok_model::decide::{Caller, Need};
use tok_model::token::Reference;

use crate::service::Service;

impl Service {
    /// Brings back a token with all that ended by the same act. It takes the right to end it, and for acts of others the
    /// right to administer the server.
    pub async fn restore_token(&self, caller: &Caller, reference: Reference) -> Result<RestoredTokens, Fault> {
        let need = |owner| Need::EndTokens { owner };
        let (permit, token) = self.resolve_among(caller, reference, need, tok_store::tokens::restorable).await?;
        let id = token.id;
        let at = permit.at();
        let restored = self
            .run_long_and_forget(move |store| {
                store.write(|mut tx| {
                    let restored = tok_store::tokens::restore(&mut tx, &permit, id)?;
                    let event = AuditEvent::done(Action::TokenRestore, permit.actor().clone())
                        .token(id, &restored.token.shown_prefix)
                        .detail(format!("{} tokens came back (act {})", restored.count, restored.act));
                    tx.commit(event, permit.at())?;
                    Ok(restored)
                })
            })
            .await?;
        Ok(RestoredTokens { token: TokenRecord::of(&self.dated(restored.token), at), restored: restored.count })
    }
}
