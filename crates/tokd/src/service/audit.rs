//! The audit trail: reading and following it, verifying it, and what keeps it.

use std::cell::RefCell;

use chrono::TimeDelta;
use tok_api::convert::{AuditFilter, AuditRecord, ChainRecord, PageAsk, PageOf, TrailCheck, TrailReport};
use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Caller, Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::name::UserName;
use tok_model::page::Cursor;
use tok_store::StoreError;
use tok_store::audit::{ChainReport, Filter, Follow, Line, Pruned, Verification, follow};
use tok_store::users::Bearer;

use super::Service;
use super::tokens::page_size;
use crate::fault::IntoFault;

/// How many lines somebody who follows the trail is shown first.
const FIRST_LINES: u32 = 10;

impl Service {
    /// One page of the trail, newest first: everything for managers, one's own for others. Or, for whoever follows it, what
    /// has been written since they last asked.
    pub async fn list_audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        page: PageAsk,
    ) -> Result<PageOf<AuditRecord>, Fault> {
        filter.check_times()?;
        let permit = match self.may(caller, Need::Server) {
            Some(permit) => permit,
            None => {
                let permit = self.permit(caller, Need::OwnAudit)?;
                let own = caller.user().map(|user| &user.name);
                // Of others one sees nothing, not even whether there are any.
                if filter.user.as_ref().is_some_and(|wanted| Some(wanted) != own) {
                    let next_cursor = page.cursor.filter(|_| filter.follow);
                    return Ok(PageOf { rows: Vec::new(), next_cursor, note: None });
                }
                permit
            }
        };
        // What is still on its way is part of the answer.
        self.flush_uses().await.map_err(IntoFault::into_fault)?;
        let token = match filter.reference()? {
            Some(reference) => Some(self.show_token(caller, reference).await?.id),
            None => None,
        };
        let (users, note) = match filter.user {
            Some(name) => {
                let (users, note) = self.bearers(name).await?;
                // Who was here before is for managers to know.
                (users, note.filter(|_| *permit.need() == Need::Server))
            }
            None => (Vec::new(), None),
        };
        let wanted = Filter {
            token,
            users,
            repo: filter.repository,
            since: filter.since,
            until: filter.until,
            action: filter.action,
            outcome: filter.outcome,
            beyond: None,
            oldest_first: filter.oldest_first,
        };
        let cursor =
            page.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(|why| Fault::field("cursor", why))?;
        if filter.follow {
            let page = self.follow_audit(permit, wanted, cursor, page.size).await?;
            return Ok(PageOf { note, ..page });
        }
        let wanted = Filter { beyond: cursor, ..wanted };
        let size = page_size(page.size)?.rows();
        let mut lines =
            self.run(move |store| store.read(|tx| tok_store::audit::list(tx, &permit, &wanted, size + 1))).await?;
        let more = lines.len() > usize::from(size);
        lines.truncate(usize::from(size));
        let next_cursor = lines.last().filter(|_| more).map(|line| line.cursor().to_string());
        Ok(PageOf { rows: lines.into_iter().map(record).collect(), next_cursor, note })
    }

    /// Who has this name; of a name that is nobody's any more, who had it. What is nobody's name may be a user's ID. If
    /// others had the name before, the note says how their part of the trail is found.
    async fn bearers(&self, name: UserName) -> Result<(Vec<UserId>, Option<String>), Fault> {
        let wanted = name.clone();
        let found = self
            .run(move |store| {
                store.read(|tx| match tok_store::users::bearers_of_name(tx, &wanted)? {
                    nobody if nobody.is_empty() => match wanted.as_str().parse() {
                        Ok(id) => Ok(tok_store::users::bearer_of_id(tx, id)?.into_iter().collect()),
                        Err(_) => Ok(nobody),
                    },
                    bearers => Ok(bearers),
                })
            })
            .await?;
        if found.is_empty() {
            return Err(Fault::new(FaultCode::NotFound, format!("no user is named {name}, or ever was"))
                .about("user")
                .hint("`tok user list` shows the users there are"));
        }
        let (now, before): (Vec<Bearer>, Vec<Bearer>) = found.into_iter().partition(|one| one.deleted_at.is_none());
        if now.is_empty() {
            return Ok((before.iter().map(|one| one.id).collect(), None));
        }
        let earlier = |one: &Bearer| {
            let deleted = one.deleted_at.map(|at| at.format(", deleted %Y-%m-%d").to_string()).unwrap_or_default();
            format!("{}{deleted}", one.id)
        };
        let earlier: Vec<String> = before.iter().map(earlier).collect();
        let note = format!(
            "this is what the user did who is named {name} now; others had the name before, and their ID in its place \
             finds what they did: {}",
            earlier.join("; ")
        );
        Ok((now.iter().map(|one| one.id).collect(), Some(note).filter(|_| !earlier.is_empty())))
    }

    async fn follow_audit(
        &self,
        permit: Permit,
        wanted: Filter,
        cursor: Option<Cursor>,
        size: Option<u32>,
    ) -> Result<PageOf<AuditRecord>, Fault> {
        let other = || Fault::field("cursor", "this is the cursor of a list, and no place to follow the trail from");
        let from = cursor.map(|cursor| Follow::from_cursor(cursor).ok_or_else(other)).transpose()?;
        let first = from.is_none() && wanted.since.is_none();
        let size = page_size(size.or(first.then_some(FIRST_LINES)))?.rows();
        let followed = self
            .run(move |store| {
                let trail = store.trail()?;
                store.read(|tx| follow(tx, trail, &permit, &wanted, from, size))
            })
            .await?;
        let next_cursor = Some(followed.next.cursor().to_string());
        Ok(PageOf { rows: followed.lines.into_iter().map(record).collect(), next_cursor, note: None })
    }

    /// Recomputes the trail, in pieces that hold up nobody, and says what is wrong. For managers.
    pub async fn verify_trail(&self, caller: &Caller, check: TrailCheck) -> Result<TrailReport, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        self.flush_uses().await.map_err(IntoFault::into_fault)?;
        self.seal_trail().await.map_err(IntoFault::into_fault)?;
        let noted: Vec<_> = check.heads.into_iter().map(|head| (head.chain, head.hash)).collect();
        let begin = move |store: &tok_store::Store| {
            let trail = store.trail()?;
            store.read(|tx| Verification::begin(tx, trail, &permit, check.chain, noted.clone()))
        };
        let mut verification = RefCell::new(self.run(begin).await?);
        let reports = loop {
            let (under_way, done) = self
                .run(move |store| {
                    let trail = store.trail()?;
                    let done = store.read(|tx| verification.borrow_mut().step(tx, trail))?;
                    Ok((verification, done))
                })
                .await?;
            match done {
                Some(reports) => break reports,
                None => verification = under_way,
            }
        };
        let chains: Vec<ChainRecord> = reports.into_iter().map(chain_record).collect();
        let intact = chains.iter().all(|chain| chain.fault.is_none());
        if !intact {
            let broken = chains.iter().filter(|chain| chain.fault.is_some()).count();
            tracing::error!(broken, "The audit trail does not verify: {broken} of {} chains", chains.len());
        }
        Ok(TrailReport { intact, chains })
    }

    /// Seals what was written to the trail and has settled.
    pub async fn seal_trail(&self) -> Result<usize, StoreError> {
        let now = self.now();
        self.executor.run(move |store| store.seal(now)).await
    }

    /// Seals what killed daemons have left.
    pub async fn seal_abandoned(&self) -> Result<usize, StoreError> {
        let now = self.now();
        self.executor.run(move |store| store.seal_abandoned(now)).await
    }

    /// Prepares the trail's next month and drops those that are older than lines are kept.
    pub async fn keep_trail(&self, keep: Option<TimeDelta>) -> Result<Option<Pruned>, StoreError> {
        let now = self.now();
        self.executor.run(move |store| store.keep_months(keep, now)).await
    }
}

fn record(line: Line) -> AuditRecord {
    // An operation is `Service/Method`; git's commands have no slash in them.
    let (operation, git_command) = line.command.into_iter().partition::<Vec<String>, _>(|text| text.contains('/'));
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
        git_command: git_command.into_iter().next(),
        detail: Some(line.detail).filter(|text| !text.is_empty()),
        actor_token_id: line.actor_token_id.map(TokenId::from_uuid),
        acted_by: line.acted_by,
        operation: operation.into_iter().next(),
        times: u32::try_from(line.times).unwrap_or(1),
    }
}

fn chain_record(report: ChainReport) -> ChainRecord {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    ChainRecord {
        chain: report.chain,
        lines: count(report.lines),
        unsealed: count(report.unsealed),
        pruned: count(report.pruned),
        head: report.head,
        first_at: report.first_at,
        last_at: report.last_at,
        fault: report.fault,
    }
}
