//! The audit trail.

use std::time::Duration;

use tonic::Request;

use super::{Client, call, unreadable};
use crate::convert::{AuditFilter, AuditRecord, PageAsk, PageOf, TrailCheck, TrailReport};
use crate::fault::Fault;
use crate::wire::v1;

/// How long a verification may take: it reads the whole trail.
const VERIFY_DEADLINE: Duration = Duration::from_secs(3600);

impl Client {
    /// Lists what happened.
    pub async fn list_events(&mut self, filter: AuditFilter, page: PageAsk) -> Result<PageOf<AuditRecord>, Fault> {
        let reply = call!(self.audit, list_events, filter.into_request(page));
        let note = Some(reply.note).filter(|note| !note.is_empty());
        let page = PageOf::from_wire(reply.events, reply.next_cursor).map_err(unreadable)?;
        Ok(PageOf { note, ..page })
    }

    /// Recomputes the chains of the trail and says whether anything was changed, added or taken out. For managers.
    pub async fn verify_trail(&mut self, check: TrailCheck) -> Result<TrailReport, Fault> {
        let mut request = Request::new(v1::VerifyTrailRequest::from(check));
        request.set_timeout(VERIFY_DEADLINE);
        call!(self.audit, verify, request).try_into().map_err(unreadable)
    }
}
