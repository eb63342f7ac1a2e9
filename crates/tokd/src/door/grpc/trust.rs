//! Jobs of CI systems.

use secrecy::SecretString;
use tok_api::convert::{Exchange, TrustDraft, parsed};
use tok_api::wire::v1;
use tonic::{Request, Response};
use v1::trust_service_server::TrustService;

use super::{Door, Reply};

#[tonic::async_trait]
impl TrustService for Door {
    async fn add(&self, request: Request<v1::AddTrustRequest>) -> Reply<v1::AddTrustReply> {
        let caller = self.caller(&request).await?;
        let draft = TrustDraft::try_from(request.into_inner())?;
        let trust = self.service.add_trust(&caller, draft).await?;
        Ok(Response::new(v1::AddTrustReply { trust: Some(trust.into()) }))
    }

    async fn list(&self, request: Request<v1::ListTrustsRequest>) -> Reply<v1::ListTrustsReply> {
        let caller = self.caller(&request).await?;
        let trusts = self.service.list_trusts(&caller).await?;
        Ok(Response::new(v1::ListTrustsReply { trusts: trusts.into_iter().map(Into::into).collect() }))
    }

    async fn show(&self, request: Request<v1::ShowTrustRequest>) -> Reply<v1::ShowTrustReply> {
        let caller = self.caller(&request).await?;
        let name = parsed("name", &request.into_inner().name)?;
        let trust = self.service.show_trust(&caller, name).await?;
        Ok(Response::new(v1::ShowTrustReply { trust: Some(trust.into()) }))
    }

    async fn remove(&self, request: Request<v1::RemoveTrustRequest>) -> Reply<v1::RemoveTrustReply> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let name = parsed("name", &request.name)?;
        let (trust, tokens_revoked) = self.service.remove_trust(&caller, name, request.dry_run).await?;
        Ok(Response::new(v1::RemoveTrustReply { trust: Some(trust.into()), tokens_revoked }))
    }

    async fn check(&self, request: Request<v1::CheckIdentityRequest>) -> Reply<v1::CheckIdentityReply> {
        let caller = self.caller(&request).await?;
        let token = SecretString::from(request.into_inner().token);
        Ok(Response::new(self.service.check_identity(&caller, &token).await?.into()))
    }

    async fn exchange(&self, request: Request<v1::ExchangeRequest>) -> Reply<v1::ExchangeReply> {
        // The identity token is all that counts; who else they might be makes no difference.
        let caller = self.caller_or_nobody(&request).await?;
        let wish = Exchange::try_from(request.into_inner())?;
        Ok(Response::new(self.service.exchange(caller.source, wish).await?.into()))
    }
}
