//! Making, finding, changing and ending tokens.

use secrecy::{ExposeSecret as _, SecretString};

use super::{Client, answered, call, unreadable};
use crate::convert::{
    CreatedToken, ImportDraft, ImportReport, PageAsk, PageOf, RestoredTokens, RevokeMany, RevokedMany, RevokedToken,
    RotatedToken, Rotation, ScopeRecord, TokenChange, TokenDraft, TokenFilter, TokenRecord,
};
use crate::fault::Fault;
use crate::wire::v1;

impl Client {
    /// Makes a token.
    pub async fn create_token(&mut self, draft: TokenDraft) -> Result<CreatedToken, Fault> {
        let request = v1::CreateTokenRequest::from(draft);
        call!(self.tokens, create, request).try_into().map_err(unreadable)
    }

    /// Lists tokens, newest first.
    pub async fn list_tokens(&mut self, filter: TokenFilter, page: PageAsk) -> Result<PageOf<TokenRecord>, Fault> {
        let reply = call!(self.tokens, list, filter.into_request(page));
        PageOf::from_wire(reply.tokens, reply.next_cursor).map_err(unreadable)
    }

    /// Finds one token by ID, ID prefix or token prefix.
    pub async fn show_token(&mut self, reference: String) -> Result<TokenRecord, Fault> {
        let reply = call!(self.tokens, show, v1::ShowTokenRequest { reference });
        answered(reply.token)
    }

    /// Changes a token; what is not said stays. The answer is the token as it is now.
    pub async fn modify_token(&mut self, change: TokenChange) -> Result<TokenRecord, Fault> {
        let reply = call!(self.tokens, modify, v1::ModifyTokenRequest::from(change));
        answered(reply.token)
    }

    /// Gives a token a successor with the same authority.
    pub async fn rotate_token(&mut self, rotation: Rotation) -> Result<RotatedToken, Fault> {
        call!(self.tokens, rotate, v1::RotateTokenRequest::from(rotation)).try_into().map_err(unreadable)
    }

    /// Revokes a token; with `dry_run` it says what would happen.
    pub async fn revoke_token(
        &mut self,
        reference: String,
        reason: Option<String>,
        dry_run: bool,
    ) -> Result<RevokedToken, Fault> {
        let reason = reason.unwrap_or_default();
        let request = v1::RevokeTokenRequest { reference, reason, dry_run };
        call!(self.tokens, revoke, request).try_into().map_err(unreadable)
    }

    /// Brings in secrets of another system; the report has a line for each entry.
    pub async fn import_tokens(&mut self, draft: ImportDraft) -> Result<ImportReport, Fault> {
        let request = v1::ImportTokensRequest::from(draft);
        call!(self.tokens, import, request).try_into().map_err(unreadable)
    }

    /// Revokes every live token that a selection means; with `dry_run` it says what would happen.
    pub async fn revoke_many(&mut self, ask: RevokeMany) -> Result<RevokedMany, Fault> {
        call!(self.tokens, revoke_many, v1::RevokeManyRequest::from(ask)).try_into().map_err(unreadable)
    }

    /// Revokes the token with this text (RFC 7009). Text that is no token of this server is `not_found`.
    pub async fn revoke_secret(
        &mut self,
        secret: &SecretString,
        reason: Option<String>,
    ) -> Result<RevokedToken, Fault> {
        let secret = secret.expose_secret().to_owned();
        let request = v1::RevokeSecretRequest { secret, reason: reason.unwrap_or_default() };
        call!(self.tokens, revoke_secret, request).try_into().map_err(unreadable)
    }

    /// Brings back a token that was revoked in the last 15 minutes, with all that ended by the same act.
    pub async fn restore_token(&mut self, reference: String) -> Result<RestoredTokens, Fault> {
        let request = v1::RestoreTokenRequest { reference };
        call!(self.tokens, restore, request).try_into().map_err(unreadable)
    }

    /// Lists every scope.
    pub async fn list_scopes(&mut self) -> Result<Vec<ScopeRecord>, Fault> {
        let reply = call!(self.tokens, list_scopes, v1::ListScopesRequest {});
        Ok(reply.scopes.into_iter().map(ScopeRecord::from).collect())
    }
}
