//! Trust rules, and the exchange of a CI system's identity token.

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::name::TrustName;

use super::{Client, answered, call, unreadable};
use crate::convert::{Exchange, ExchangedToken, IdentityCheck, TrustDraft, TrustRecord};
use crate::fault::Fault;
use crate::wire::v1;

impl Client {
    /// Makes a trust rule.
    pub async fn add_trust(&mut self, draft: TrustDraft) -> Result<TrustRecord, Fault> {
        answered(call!(self.trust, add, v1::AddTrustRequest::from(draft)).trust)
    }

    /// Lists the trust rules by name.
    pub async fn list_trusts(&mut self) -> Result<Vec<TrustRecord>, Fault> {
        let reply = call!(self.trust, list, v1::ListTrustsRequest {});
        reply.trusts.into_iter().map(TrustRecord::try_from).collect::<Result<_, _>>().map_err(unreadable)
    }

    /// Shows a trust rule.
    pub async fn show_trust(&mut self, name: TrustName) -> Result<TrustRecord, Fault> {
        answered(call!(self.trust, show, v1::ShowTrustRequest { name: name.to_string() }).trust)
    }

    /// Removes a trust rule, and says how many live tokens ended with it. A dry run only says what it would remove.
    pub async fn remove_trust(&mut self, name: TrustName, dry_run: bool) -> Result<(TrustRecord, u32), Fault> {
        let reply = call!(self.trust, remove, v1::RemoveTrustRequest { name: name.to_string(), dry_run });
        Ok((answered(reply.trust)?, reply.tokens_revoked))
    }

    /// Asks what the rules make of an identity token, which stays good.
    pub async fn check_identity(&mut self, token: &SecretString) -> Result<IdentityCheck, Fault> {
        let request = v1::CheckIdentityRequest { token: token.expose_secret().to_owned() };
        call!(self.trust, check, request).try_into().map_err(unreadable)
    }

    /// Exchanges an identity token for a git token, once.
    ///
    /// # Errors
    /// `invalid_grant` if the identity token is no good, or was exchanged before; `access_denied` if it is good and no rule
    /// lets it in; `invalid_target` if none gives that repository, or not that much of it.
    pub async fn exchange(&mut self, wish: Exchange) -> Result<ExchangedToken, Fault> {
        call!(self.trust, exchange, v1::ExchangeRequest::from(wish)).try_into().map_err(unreadable)
    }
}
