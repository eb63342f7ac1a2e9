//! Listing tokens page by page, and finding the one somebody points at.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::UserId;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::page::{Cursor, PageSize};
use tok_model::token::{Owner, Reference, Standing, Token};
use uuid::Uuid;

use super::{OwnedRow, into_token, whose, with_owner_names};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::ReadTx;

/// Whose tokens a permit reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's: a manager asks.
    Everybodys,
    /// One owner's.
    Of(Owner),
}

/// Which of the tokens that a permit reaches are wanted. The default wants all but the git tokens that ended.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this owner only.
    pub owner: Option<Owner>,
    /// Of this kind only. Naming `git` shows those that ended, too.
    pub kind: Option<TokenKind>,
    /// Standing so, at the time of the permit.
    pub standing: Option<Standing>,
    /// Never used since they were made.
    pub never_used: bool,
    /// Active now, and ending within this time.
    pub expiring_within: Option<TimeDelta>,
    /// With this label.
    pub label: Option<Label>,
}

/// One page, newest first. The second part is where the next page begins, `None` on the last one; it stays right while
/// tokens come and go, since it is a place in the order and not a count of rows.
pub fn list(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    filter: &Filter,
    size: PageSize,
    after: Option<Cursor>,
) -> Result<(Vec<Token>, Option<Cursor>), StoreError> {
    let now = permit.at();
    let mut query = with_owner_names().into_boxed();
    for owner in [reach(permit)?, filter.owner].into_iter().flatten() {
        query = match owner {
            Owner::User(id) => query.filter(tokens::user_id.eq(id.as_uuid())),
            Owner::Workspace(id) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
        };
    }
    query = match filter.kind {
        Some(kind) => query.filter(tokens::kind.eq(kind.as_str())),
        // Every fetch leaves a git token behind; once ended they are the trail's business, not the list's.
        None if filter.standing.is_none() => query.filter(
            tokens::kind
                .ne(TokenKind::Git.as_str())
                .or(tokens::revoked_at.is_null().and(tokens::expires_at.gt(now)).assume_not_null()),
        ),
        None => query,
    };
    let ended = || tokens::expires_at.is_not_null().and(tokens::expires_at.assume_not_null().le(now));
    query = match filter.standing {
        None => query,
        Some(Standing::Revoked) => query.filter(tokens::revoked_at.is_not_null()),
        Some(Standing::Expired) => query.filter(tokens::revoked_at.is_null()).filter(ended()),
        Some(Standing::Active) => query.filter(tokens::revoked_at.is_null()).filter(diesel::dsl::not(ended())),
    };
    if filter.never_used {
        query = query.filter(tokens::last_used_at.is_null());
    }
    if let Some(within) = filter.expiring_within {
        query = query
            .filter(tokens::revoked_at.is_null())
            .filter(tokens::expires_at.gt(now))
            .filter(tokens::expires_at.le(now + within));
    }
    if let Some(label) = &filter.label {
        query = query.filter(tokens::labels.contains(vec![label.as_str()]));
    }
    if let Some(after) = after {
        let earlier =
            tokens::created_at.lt(after.at()).or(tokens::created_at.eq(after.at()).and(tokens::id.lt(after.id())));
        // Said apart from the rest, the time is where the index is entered: no page costs more than the first.
        query = query.filter(tokens::created_at.le(after.at())).filter(earlier);
    }
    let rows = i64::from(size.rows());
    let mut found = query
        .order((tokens::created_at.desc(), tokens::id.desc()))
        .limit(rows + 1)
        .load::<OwnedRow>(tx.connection())?;
    let more = found.len() > usize::from(size.rows());
    found.truncate(usize::from(size.rows()));
    let found: Vec<Token> = found.into_iter().map(into_token).collect::<Result<_, _>>()?;
    let next = found.last().filter(|_| more).map(|last| Cursor::new(last.created_at, last.id.as_uuid()));
    Ok((found, next))
}

/// The most matches that [`find`] returns: enough to show that a prefix is ambiguous.
pub(super) const MOST_MATCHES: i64 = 10;

/// The tokens that a reference points at, newest first: none, one, or several if it is ambiguous.
pub fn find(tx: &mut ReadTx<'_>, permit: &Permit, reference: &Reference) -> Result<Vec<Token>, StoreError> {
    let mut query = with_owner_names().into_boxed();
    if let Some(owner) = reach(permit)? {
        query = match owner {
            Owner::User(id) => query.filter(tokens::user_id.eq(id.as_uuid())),
            Owner::Workspace(id) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
        };
    }
    query = match reference {
        Reference::Id(id) => query.filter(tokens::id.eq(id.as_uuid())),
        Reference::IdPrefix(digits) => query.filter(tokens::id.between(padded(digits, '0'), padded(digits, 'f'))),
        Reference::TokenPrefix(prefix) => query.filter(tokens::shown_prefix.like(format!("{}%", escaped(prefix)))),
        // Names are used again; the one that people mean is the one that works.
        Reference::Name(name) => query
            .filter(tokens::name.eq(name))
            .filter(tokens::revoked_at.is_null())
            .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(permit.at()).assume_not_null())),
    };
    query
        .order((tokens::created_at.desc(), tokens::id.desc()))
        .limit(MOST_MATCHES)
        .load::<OwnedRow>(tx.connection())?
        .into_iter()
        .map(into_token)
        .collect()
}

/// How many tokens work at the time of the permit, which is a manager's.
pub fn count_live(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<i64, StoreError> {
    if *permit.need() != Need::Server {
        return Err(StoreError::Permit("counting everybody's tokens"));
    }
    let now: Timestamp = permit.at();
    let ended = tokens::expires_at.is_not_null().and(tokens::expires_at.assume_not_null().le(now));
    Ok(tokens::table
        .filter(tokens::revoked_at.is_null())
        .filter(diesel::dsl::not(ended))
        .count()
        .get_result(tx.connection())?)
}

/// How many tokens of each of these users work at the time of the permit. Users without any are not in the answer. The
/// permit is a manager's, or for the profile of the one user who is asked about.
pub fn count_live_by_user(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    users: &[UserId],
) -> Result<BTreeMap<UserId, i64>, StoreError> {
    match permit.need() {
        Need::Server => {}
        Need::Profile { user } if users.iter().all(|wanted| wanted == user) => {}
        _ => return Err(StoreError::Permit("counting these users' tokens")),
    }
    let now: Timestamp = permit.at();
    let ended = tokens::expires_at.is_not_null().and(tokens::expires_at.assume_not_null().le(now));
    let wanted: Vec<Uuid> = users.iter().map(|user| user.as_uuid()).collect();
    let counts: Vec<(Option<Uuid>, i64)> = tokens::table
        .filter(tokens::user_id.eq_any(wanted))
        .filter(tokens::revoked_at.is_null())
        .filter(diesel::dsl::not(ended))
        .group_by(tokens::user_id)
        .select((tokens::user_id, diesel::dsl::count_star()))
        .load(tx.connection())?;
    Ok(counts.into_iter().filter_map(|(user, count)| user.map(|user| (UserId::from_uuid(user), count))).collect())
}

fn reach(permit: &Permit) -> Result<Option<Owner>, StoreError> {
    Ok(match whose(permit, "seeing tokens")? {
        Whose::Everybodys => None,
        Whose::Of(owner) => Some(owner),
    })
}

/// The first or last UUID that begins with these digits, so that a prefix is a range of the primary key.
fn padded(digits: &str, with: char) -> Uuid {
    let mut whole: String = digits.chars().filter(|c| *c != '-').collect();
    while whole.len() < 32 {
        whole.push(with);
    }
    Uuid::try_parse(&whole).unwrap_or_default()
}

/// `_` stands for any character in LIKE, and every prefix of ours has one.
fn escaped(prefix: &str) -> String {
    prefix.replace('\\', r"\\").replace('_', r"\_").replace('%', r"\%")
}
