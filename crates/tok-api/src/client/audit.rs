//! The audit trail.

use super::{Client, call, unreadable};
use crate::convert::{AuditFilter, AuditRecord, PageAsk, PageOf};
use crate::fault::Fault;

impl Client {
    /// Lists what happened.
    pub async fn list_events(&mut self, filter: AuditFilter, page: PageAsk) -> Result<PageOf<AuditRecord>, Fault> {
        let reply = call!(self.audit, list_events, filter.into_request(page));
        PageOf::from_wire(reply.events, reply.next_cursor).map_err(unreadable)
    }
}
