//! Reading the audit trail.

use tok_api::convert::{AuditFilter, AuditRecord, PageAsk, PageOf};
use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Caller, Need};
use tok_model::id::TokenId;
use tok_model::page::Cursor;
use tok_store::audit::{Filter, Line};

use super::Service;
use super::tokens::page_size;
use crate::fault::IntoFault;

impl Service {
    /// One page of the trail, newest first: everything for managers, one's own for others.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        page: PageAsk,
    ) -> Result<PageOf<AuditRecord>, Fault> {
        // What is still on its way is part of the answer.
        self.flush_uses().await.map_err(IntoFault::into_fault)?;
        let permit = match self.permit(caller, Need::Server) {
            Ok(permit) => permit,
            Err(_) => {
                let permit = self.permit(caller, Need::OwnAudit)?;
                let own = caller.user().map(|user| &user.name);
                // Of others one sees nothing, not even whether there are any.
                if filter.user.as_ref().is_some_and(|wanted| Some(wanted) != own) {
                    return Ok(PageOf { rows: Vec::new(), next_cursor: None });
                }
                permit
            }
        };
        let token = match filter.reference()? {
            Some(reference) => Some(self.show_token(caller, reference).await?.id),
            None => None,
        };
        let user = match &filter.user {
            None => None,
            Some(name) => {
                let name = name.clone();
                let wanted = name.clone();
                let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
                Some(user.ok_or_else(|| Fault::new(FaultCode::NotFound, format!("no user is named {name}")))?.id)
            }
        };
        let beyond =
            page.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(|why| Fault::field("cursor", why))?;
        let wanted = Filter {
            token,
            user,
            repo: filter.repository,
            since: filter.since,
            beyond,
            oldest_first: filter.oldest_first,
        };
        let size = page_size(page.size)?.rows();
        let mut lines =
            self.run(move |store| store.read(|tx| tok_store::audit::list(tx, &permit, &wanted, size + 1))).await?;
        let more = lines.len() > usize::from(size);
        lines.truncate(usize::from(size));
        let next_cursor = lines.last().filter(|_| more).map(|line| line.cursor().to_string());
        Ok(PageOf { rows: lines.into_iter().map(record).collect(), next_cursor })
    }
}

fn record(line: Line) -> AuditRecord {
    let detail =
        if line.times > 1 { format!("{} ×{}", line.detail, line.times).trim().to_owned() } else { line.detail };
    AuditRecord {
        id: line.id.to_string(),
        at: line.at,
        action: line.action,
        outcome: line.outcome,
        actor_user: Some(line.actor_name),
        actor_uid: line.actor_uid.and_then(|uid| u32::try_from(uid).ok()),
        subject_user: line.subject_name,
        token_id: line.token_id.or(line.actor_token_id).map(TokenId::from_uuid),
        token_prefix: line.token_prefix,
        parent_id: line.parent_id.map(TokenId::from_uuid),
        address: line.address,
        user_agent: line.agent,
        repository: line.repo,
        workspace: line.workspace,
        git_command: line.command,
        detail: Some(detail).filter(|text| !text.is_empty()),
    }
}
