//! What a token may do, and why.

use secrecy::zeroize::Zeroizing;
use tok_api::convert::ExplainAsk;
use tok_api::wire::v1;
use tonic::{Request, Response};
use v1::authorization_service_server::AuthorizationService;

use super::{Door, Reply};

#[tonic::async_trait]
impl AuthorizationService for Door {
    async fn check(&self, request: Request<v1::CheckTokenRequest>) -> Reply<v1::CheckTokenReply> {
        let caller = self.caller(&request).await?;
        let secret = Zeroizing::new(request.into_inner().secret);
        Ok(Response::new(self.service.check_token(&caller, &secret).await?.into()))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Reply<v1::ExplainReply> {
        let caller = self.caller(&request).await?;
        let ask = ExplainAsk::try_from(request.into_inner())?;
        Ok(Response::new(self.service.explain(&caller, ask).await?.into()))
    }

    async fn introspect(&self, request: Request<v1::IntrospectRequest>) -> Reply<v1::IntrospectReply> {
        let caller = self.caller(&request).await?;
        let token = Zeroizing::new(request.into_inner().token);
        Ok(Response::new(self.service.introspect(&caller, &token).await?.into()))
    }
}
