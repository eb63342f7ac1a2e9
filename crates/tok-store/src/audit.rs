//! The audit trail: written with each change, and in batches for uses.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::name::RepoPath;
use tok_model::page::Cursor;
use uuid::Uuid;

use crate::error::StoreError;
use crate::schema::{audit, tokens};
use crate::tx::{ReadTx, WriteTx};

/// A line of the trail as it was written. Texts, not types: what names meant then may be nobody's name now.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = audit, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the columns, described in the migration")]
pub struct Line {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub action: String,
    pub outcome: String,
    pub actor_user_id: Option<Uuid>,
    pub actor_name: String,
    pub actor_uid: Option<i64>,
    pub actor_token_id: Option<Uuid>,
    pub address: Option<String>,
    pub agent: Option<String>,
    pub token_id: Option<Uuid>,
    pub token_prefix: Option<String>,
    pub parent_id: Option<Uuid>,
    pub subject_user_id: Option<Uuid>,
    pub subject_name: Option<String>,
    pub workspace: Option<String>,
    pub repo: Option<String>,
    pub command: Option<String>,
    pub detail: String,
    pub times: i32,
}

// A statement with DEFAULT in it is another one for each row, and never a prepared one; what is None here is NULL.
#[derive(Insertable)]
#[diesel(table_name = audit, treat_none_as_default_value = false)]
pub(crate) struct NewLine {
    at: Timestamp,
    action: &'static str,
    outcome: &'static str,
    actor_user_id: Option<Uuid>,
    actor_name: String,
    actor_uid: Option<i64>,
    actor_token_id: Option<Uuid>,
    address: Option<String>,
    agent: Option<String>,
    token_id: Option<Uuid>,
    token_prefix: Option<String>,
    parent_id: Option<Uuid>,
    subject_user_id: Option<Uuid>,
    subject_name: Option<String>,
    workspace: Option<String>,
    repo: Option<String>,
    command: Option<String>,
    detail: String,
    times: i32,
}

impl NewLine {
    fn new(event: &AuditEvent, at: Timestamp, times: i32) -> Self {
        let actor = &event.actor;
        Self {
            at,
            action: event.action.as_str(),
            outcome: event.outcome.as_str(),
            actor_user_id: actor.user.as_ref().map(|(id, _)| id.as_uuid()),
            actor_name: actor.describe(),
            actor_uid: actor.source.uid.map(i64::from),
            actor_token_id: actor.token.map(TokenId::as_uuid),
            address: actor.source.address.map(|a| a.to_canonical().to_string()),
            agent: actor.source.agent.clone(),
            token_id: event.token.map(TokenId::as_uuid),
            token_prefix: event.token_prefix.clone().or_else(|| actor.token_prefix.clone()),
            parent_id: actor.parent.map(TokenId::as_uuid),
            subject_user_id: event.subject.as_ref().map(|(id, _)| id.as_uuid()),
            subject_name: event.subject.as_ref().map(|(_, name)| name.to_string()),
            workspace: event.workspace.as_ref().map(ToString::to_string),
            repo: event.repo.as_ref().map(ToString::to_string),
            command: event.command.clone(),
            detail: event.detail.clone(),
            times,
        }
    }
}

/// An event as the line that a mint inserts with its token.
pub(crate) fn line(event: &AuditEvent, at: Timestamp) -> NewLine {
    NewLine::new(event, at, 1)
}

pub(crate) fn append<'e>(
    tx: &mut ReadTx<'_>,
    events: impl IntoIterator<Item = (&'e AuditEvent, Timestamp, i32)>,
) -> Result<(), StoreError> {
    let lines: Vec<NewLine> = events.into_iter().map(|(event, at, times)| NewLine::new(event, at, times)).collect();
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        rest = crate::batch::first_rows!(rest, |some| {
            diesel::insert_into(audit::table).values(some).execute(tx.connection())?;
        });
    }
    Ok(())
}

/// A use of a token, with its time: uses are written in batches, some time after they happened.
#[derive(Debug, Clone)]
pub struct Use {
    /// When it was used (for several: the last time).
    pub at: Timestamp,
    /// How often, alike in everything else.
    pub times: i32,
    /// What the trail says of it; an [`Action::TokenUse`] with a token.
    pub event: AuditEvent,
}

/// Writes uses to the trail, and to each token its last use, at most once a minute.
pub fn record_uses(mut tx: WriteTx<'_>, uses: &[Use]) -> Result<(), StoreError> {
    let Some((last, rest)) = uses.split_last() else { return Ok(()) };
    let mut latest: std::collections::BTreeMap<Uuid, &Use> = std::collections::BTreeMap::new();
    for used in uses.iter().filter(|u| u.event.action == Action::TokenUse) {
        if let Some(id) = used.event.token {
            let entry = latest.entry(id.as_uuid()).or_insert(used);
            if entry.at < used.at {
                *entry = used;
            }
        }
    }
    // Always in the order of IDs, so that two daemons that write the same tokens cannot wait for each other.
    for (id, used) in latest {
        let stale = tokens::last_used_at
            .is_null()
            .or(tokens::last_used_at.lt(used.at - TimeDelta::seconds(60)).assume_not_null());
        diesel::update(tokens::table.filter(tokens::id.eq(id)).filter(stale))
            .set((
                tokens::last_used_at.eq(used.at),
                tokens::last_used_ip.eq(used.event.actor.source.address.map(|a| a.to_canonical().to_string())),
                tokens::last_used_agent.eq(used.event.actor.source.agent.as_deref()),
                tokens::last_used_repo.eq(used.event.repo.as_ref().map(ToString::to_string)),
            ))
            .execute(tx.connection())?;
    }
    append(&mut tx, rest.iter().map(|used| (&used.event, used.at, used.times)))?;
    tx.commit_times(&AuditEvents::from(last.event.clone()), last.at, last.times)
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// That concern this token, or were done with it.
    pub token: Option<TokenId>,
    /// Done by this user, or to them.
    pub user: Option<UserId>,
    /// That concern this repository.
    pub repo: Option<RepoPath>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Beyond this line in the order asked for, as the last page's cursor says.
    pub beyond: Option<Cursor>,
    /// From the oldest to the newest.
    pub oldest_first: bool,
}

/// Lines of the trail, at most `limit`. With a manager's permit all of them, else those of the caller: of the user, or of
/// the token that acts for no user.
pub fn list(tx: &mut ReadTx<'_>, permit: &Permit, filter: &Filter, limit: u16) -> Result<Vec<Line>, StoreError> {
    let mut query = audit::table.select(Line::as_select()).into_boxed();
    match permit.need() {
        Need::Server => {}
        Need::OwnAudit => {
            query = match (&permit.actor().user, permit.actor().token) {
                (Some((user, _)), _) => {
                    let user = user.as_uuid();
                    query.filter(audit::actor_user_id.eq(user).or(audit::subject_user_id.eq(user)).assume_not_null())
                }
                // A token that acts for a workspace has no user; what it sees is what was done with it.
                (None, Some(token)) => query.filter(concerns(token)),
                (None, None) => return Err(StoreError::Permit("reading the trail")),
            };
        }
        _ => return Err(StoreError::Permit("reading the trail")),
    }
    if let Some(token) = filter.token {
        query = query.filter(concerns(token));
    }
    if let Some(user) = filter.user {
        let user = user.as_uuid();
        query = query.filter(audit::actor_user_id.eq(user).or(audit::subject_user_id.eq(user)).assume_not_null());
    }
    if let Some(repo) = &filter.repo {
        query = query.filter(audit::repo.eq(repo.to_string()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit::at.ge(since));
    }
    // By when it happened, not by when it was written down: uses are written some time after.
    if let Some(last) = filter.beyond {
        let (at, id) = (last.at(), number(last));
        let same = audit::at.eq(at);
        query = if filter.oldest_first {
            query.filter(audit::at.gt(at).or(same.and(audit::id.gt(id))))
        } else {
            query.filter(audit::at.lt(at).or(same.and(audit::id.lt(id))))
        };
    }
    query = if filter.oldest_first {
        query.order((audit::at.asc(), audit::id.asc()))
    } else {
        query.order((audit::at.desc(), audit::id.desc()))
    };
    Ok(query.limit(i64::from(limit)).load(tx.connection())?)
}

impl Line {
    /// Where the page that ends with this line ends.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.at, Uuid::from_u64_pair(0, self.id.unsigned_abs()))
    }
}

/// The line's number in a cursor made by [`Line::cursor`]; of any other the last there can be.
fn number(cursor: Cursor) -> i64 {
    i64::try_from(cursor.id().as_u64_pair().1).unwrap_or(i64::MAX)
}

/// Done to this token, with it, or with what was made through it.
#[diesel::dsl::auto_type(no_type_alias)]
fn concerns(token: TokenId) -> _ {
    let token: Uuid = token.as_uuid();
    audit::token_id.eq(token).or(audit::actor_token_id.eq(token)).or(audit::parent_id.eq(token)).assume_not_null()
}
