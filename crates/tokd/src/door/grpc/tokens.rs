//! Making, finding, changing and ending tokens.

use secrecy::SecretString;
use tok_api::convert::{CheckedChange, CheckedRotation, NewImport, NewToken, PageAsk, RevokeMany, TokenFilter, parsed};
use tok_api::wire::v1;
use tonic::{Request, Response};
use v1::token_service_server::TokenService;

use super::{Door, Reply};

#[tonic::async_trait]
impl TokenService for Door {
    async fn create(&self, request: Request<v1::CreateTokenRequest>) -> Reply<v1::CreateTokenReply> {
        let caller = self.caller(&request).await?;
        let new = NewToken::asked_from(request.into_inner(), caller.workspace())?;
        Ok(Response::new(self.service.create_token(&caller, new).await?.into()))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Reply<v1::ListTokensReply> {
        let caller = self.caller(&request).await?;
        let (filter, page): (TokenFilter, PageAsk) = request.into_inner().try_into()?;
        Ok(Response::new(self.service.list_tokens(&caller, filter, page).await?.into()))
    }

    async fn show(&self, request: Request<v1::ShowTokenRequest>) -> Reply<v1::ShowTokenReply> {
        let caller = self.caller(&request).await?;
        let reference = parsed("reference", &request.into_inner().reference)?;
        let token = self.service.show_token(&caller, reference).await?;
        Ok(Response::new(v1::ShowTokenReply { token: Some(token.into()) }))
    }

    async fn revoke(&self, request: Request<v1::RevokeTokenRequest>) -> Reply<v1::RevokeTokenReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let reference = parsed("reference", &request.reference)?;
        let reason = Some(request.reason).filter(|reason| !reason.is_empty());
        Ok(Response::new(self.service.revoke_token(&caller, reference, reason, request.dry_run, None).await?.into()))
    }

    async fn list_scopes(&self, request: Request<v1::ListScopesRequest>) -> Reply<v1::ListScopesReply> {
        // Public knowledge: asked before anybody has a user.
        drop(request);
        let scopes = tok_model::scope::Scope::every().map(Into::into).collect();
        Ok(Response::new(v1::ListScopesReply { scopes }))
    }

    async fn modify(&self, request: Request<v1::ModifyTokenRequest>) -> Reply<v1::ModifyTokenReply> {
        let caller = self.caller(&request).await?;
        let change = CheckedChange::try_from(request.into_inner())?;
        let token = self.service.modify_token(&caller, change).await?;
        Ok(Response::new(v1::ModifyTokenReply { token: Some(token.into()) }))
    }

    async fn rotate(&self, request: Request<v1::RotateTokenRequest>) -> Reply<v1::RotateTokenReply> {
        let key = Some(request.get_ref().idempotency_key.as_str()).filter(|key| !key.is_empty());
        let caller = self.caller_rotating(&request, key).await?;
        let rotation = CheckedRotation::try_from(request.into_inner())?;
        Ok(Response::new(self.service.rotate_token(&caller, rotation, None).await?.into()))
    }

    async fn revoke_many(&self, request: Request<v1::RevokeManyRequest>) -> Reply<v1::RevokeManyReply> {
        let caller = self.caller(&request).await?;
        let ask = RevokeMany::try_from(request.into_inner())?;
        Ok(Response::new(self.service.revoke_many(&caller, ask).await?.into()))
    }

    async fn revoke_secret(&self, request: Request<v1::RevokeSecretRequest>) -> Reply<v1::RevokeTokenReply> {
        let caller = self.caller_or_nobody(&request).await?;
        let v1::RevokeSecretRequest { secret, reason } = request.into_inner();
        let (secret, reason) = (SecretString::from(secret), Some(reason).filter(|reason| !reason.is_empty()));
        Ok(Response::new(self.service.revoke_secret(&caller, &secret, reason).await?.into()))
    }

    async fn restore(&self, request: Request<v1::RestoreTokenRequest>) -> Reply<v1::RestoreTokenReply> {
        let caller = self.caller(&request).await?;
        let reference = parsed("reference", &request.into_inner().reference)?;
        Ok(Response::new(self.service.restore_token(&caller, reference).await?.into()))
    }

    async fn import(&self, request: Request<v1::ImportTokensRequest>) -> Reply<v1::ImportTokensReply> {
        let caller = self.caller(&request).await?;
        let new = NewImport::try_from(request.into_inner())?;
        Ok(Response::new(self.service.import_tokens(&caller, new).await?.into()))
    }
}
