//! The audit trail.

use tok_api::convert::{AuditFilter, PageAsk, TrailCheck};
use tok_api::wire::v1;
use tonic::{Request, Response};
use v1::audit_service_server::AuditService;

use super::{Door, Reply};

#[tonic::async_trait]
impl AuditService for Door {
    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Reply<v1::ListEventsReply> {
        let caller = self.caller(&request).await?;
        let (filter, page): (AuditFilter, PageAsk) = request.into_inner().try_into()?;
        Ok(Response::new(self.service.list_audit(&caller, filter, page).await?.into()))
    }

    async fn verify(&self, request: Request<v1::VerifyTrailRequest>) -> Reply<v1::VerifyTrailReply> {
        let caller = self.caller(&request).await?;
        let check = TrailCheck::try_from(request.into_inner())?;
        Ok(Response::new(self.service.verify_trail(&caller, check).await?.into()))
    }
}
