//! Reading the trail: by when things happened, or by when they were written, for those who follow it.

use diesel::prelude::*;
use tok_model::audit::{Action, Outcome};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::name::RepoPath;
use tok_model::page::Cursor;
use uuid::Uuid;

use super::line::Line;
use super::seal::settled;
use super::trail::Trail;
use crate::error::StoreError;
use crate::pool::Store;
use crate::schema::audit;
use crate::tx::ReadTx;

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// That concern this token, or were done with it.
    pub token: Option<TokenId>,
    /// Done by one of these users, or to them; empty is by anybody.
    pub users: Vec<UserId>,
    /// That concern this repository.
    pub repo: Option<RepoPath>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of this act.
    pub action: Option<Action>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// Beyond this line in the order asked for, as the last page's cursor says.
    pub beyond: Option<Cursor>,
    /// From the oldest to the newest.
    pub oldest_first: bool,
}

/// Lines of the trail, at most `limit`. With a manager's permit all of them, else those of the caller: of the user, or of
/// the token that acts for no user.
pub fn list(tx: &mut ReadTx<'_>, permit: &Permit, filter: &Filter, limit: u16) -> Result<Vec<Line>, StoreError> {
    let mut query = wanted(permit, filter)?;
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
    Ok(query.limit(i64::from(limit)).select(Line::as_select()).load(tx.connection())?)
}

/// The line's number in a cursor made by [`Line::cursor`]; of any other the last there can be.
fn number(cursor: Cursor) -> i64 {
    i64::try_from(cursor.id().as_u64_pair().1).unwrap_or(i64::MAX)
}

/// Done to this token, with it, or with what was made through it.
#[diesel::dsl::auto_type(no_type_alias)]
fn concerns(token: TokenId) -> _ {
    let token: Uuid = token.as_uuid();
    // Said as the index says it, which leaves out lines that name a token twice.
    let done_with = audit::actor_token_id.eq(token).and(audit::actor_token_id.is_distinct_from(audit::token_id));
    audit::token_id.eq(token).or(done_with).or(audit::parent_id.eq(token)).assume_not_null()
}

type Wanted = audit::BoxedQuery<'static, diesel::pg::Pg>;

/// What the permit lets its holder see, narrowed by the filter: everything of it but the order.
fn wanted(permit: &Permit, filter: &Filter) -> Result<Wanted, StoreError> {
    let mut query = audit::table.into_boxed();
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
    if !filter.users.is_empty() {
        let users: Vec<Uuid> = filter.users.iter().map(|user| user.as_uuid()).collect();
        let by = audit::actor_user_id.eq_any(users.clone());
        query = query.filter(by.or(audit::subject_user_id.eq_any(users)).assume_not_null());
    }
    if let Some(repo) = &filter.repo {
        query = query.filter(audit::repo.eq(repo.to_string()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit::at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit::at.lt(until));
    }
    if let Some(action) = filter.action {
        query = query.filter(audit::action.eq(action.as_str()));
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(audit::outcome.eq(outcome.as_str()));
    }
    Ok(query)
}

/// How far somebody who follows the trail has come: behind this line in the order of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    xact: i64,
    id: i64,
}

impl Follow {
    /// Before the first line there is.
    pub const START: Self = Self { xact: -1, id: -1 };

    /// From a cursor that [`Follow::cursor`] made; nothing for any other.
    pub fn from_cursor(cursor: Cursor) -> Option<Self> {
        let (xact, id) = cursor.id().as_u64_pair();
        let number = |part: u64| i64::try_from(part.checked_sub(1)?).ok();
        (cursor.at() == Timestamp::UNIX_EPOCH).then_some(())?;
        Some(Self { xact: number(xact)?, id: number(id)? })
    }

    /// As one opaque word.
    pub fn cursor(self) -> Cursor {
        let part = |number: i64| u64::try_from(number).unwrap_or(0) + 1;
        Cursor::new(Timestamp::UNIX_EPOCH, Uuid::from_u64_pair(part(self.xact), part(self.id)))
    }
}

/// What has come since.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The lines, in the order of writing.
    pub lines: Vec<Line>,
    /// Where to go on.
    pub next: Follow,
    /// Whether there are more at once.
    pub more: bool,
}

/// The lines that were written since, in the order of writing, at most `limit`: each exactly once, although those who
/// write do not wait for each other. A line is shown when nothing before it can appear any more. From nowhere, and without
/// a time to begin at, the last `limit` lines.
pub fn follow(
    tx: &mut ReadTx<'_>,
    trail: &Trail,
    permit: &Permit,
    filter: &Filter,
    from: Option<Follow>,
    limit: u16,
) -> Result<Followed, StoreError> {
    let bound = settled(tx.connection())?;
    // Everything below the bound has been seen when the last page is.
    let end = Follow { xact: bound - 1, id: i64::MAX - 1 };
    let mut query = wanted(permit, filter)?.filter(audit::xact.lt(bound));
    if !trail.foreign().is_empty() {
        query = query.filter(audit::chain.ne_all(trail.foreign().to_vec()));
    }
    if from.is_none() && filter.since.is_none() {
        let order = (audit::xact.desc(), audit::id.desc());
        let newest = query.order(order).limit(i64::from(limit)).select(Line::as_select());
        let mut lines: Vec<Line> = newest.load(tx.connection())?;
        lines.reverse();
        return Ok(Followed { lines, next: end, more: false });
    }
    let from = from.unwrap_or(Follow::START);
    query = query.filter(audit::xact.ge(from.xact)).filter(audit::xact.gt(from.xact).or(audit::id.gt(from.id)));
    let order = (audit::xact.asc(), audit::id.asc());
    let lines: Vec<Line> =
        query.order(order).limit(i64::from(limit)).select(Line::as_select()).load(tx.connection())?;
    let more = lines.len() >= usize::from(limit);
    // Never back: a replica or a restored database may count from lower.
    let ahead = if (end.xact, end.id) < (from.xact, from.id) { from } else { end };
    let next = match lines.last() {
        Some(last) if more => Follow { xact: last.xact, id: last.id },
        _ => ahead,
    };
    Ok(Followed { lines, next, more })
}

/// The moment of the newest line of the trail.
pub fn newest(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    store.read(|tx| {
        let newest = audit::table.select(audit::at).order(audit::at.desc()).limit(1);
        Ok(newest.first(tx.connection()).optional()?)
    })
}
