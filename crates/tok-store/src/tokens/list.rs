//! Listing tokens page by page, and finding the one somebody points at.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use diesel::dsl::not;
use diesel::prelude::*;
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::UserId;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::page::{Cursor, PageSize};
use tok_model::token::{Owner, Reference, Standing, Token};
use uuid::Uuid;

use super::revoke::CUT;
use super::{OwnedRow, shown, whose, with_owner_names, with_owners};
use crate::error::StoreError;
use crate::prepared::{Anew, AtMost, Written};
use crate::schema::{last_uses, tokens};
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

impl Filter {
    /// Whether it leaves out only what an index leaves out, so that a page is as many rows of it, whatever the values.
    fn is_plain(&self) -> bool {
        let Self { owner: _, kind, standing, never_used, expiring_within, label } = self;
        kind.is_none() && standing.is_none() && !never_used && expiring_within.is_none() && label.is_none()
    }
}

/// What a page and the row behind it are rounded up to where their number is a part of the statement.
const PAGES: [i64; 6] = [2, 21, 51, 101, 251, 1001];

/// One page, newest first; a row that cannot be understood is there and [says so](Token::unreadable). The second part is where the next page begins, `None` on the last one; it stays right while
/// tokens come and go, since it is a place in the order and not a count of rows.
///
/// Every fetch leaves a git token behind, and once ended they are the trail's business, not the list's: unless the filter
/// names them, only live ones are shown. No git token lives for more than an hour, so what is older is read from an index
/// that has none of them, and a page costs the same wherever it is.
pub fn list(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    filter: &Filter,
    size: PageSize,
    after: Option<Cursor>,
) -> Result<(Vec<Token>, Option<Cursor>), StoreError> {
    let wanted = i64::from(size.rows()) + 1;
    let recent = permit.at() - TimeDelta::hours(1);
    let mut found = Vec::new();
    if filter.kind.is_none() && after.is_none_or(|after| after.at() > recent) {
        found = rows(tx, permit, filter, Range::Recent(recent), after, wanted)?;
    }
    let left = wanted - i64::try_from(found.len()).unwrap_or(wanted);
    if left > 0 {
        let range = if filter.kind.is_none() { Range::Kept(recent) } else { Range::All };
        found.extend(rows(tx, permit, filter, range, after, left)?);
    }
    let more = found.len() > usize::from(size.rows());
    found.truncate(usize::from(size.rows()));
    let found: Vec<Token> = found.into_iter().map(shown).collect();
    let next = found.last().filter(|_| more).map(|last| Cursor::new(last.created_at, last.id.as_uuid()));
    Ok((found, next))
}

/// Which part of the tokens is read.
#[derive(Clone, Copy)]
enum Range {
    /// Of whatever kind was asked for.
    All,
    /// Made after this moment; git tokens only as long as they live.
    Recent(Timestamp),
    /// Made at this moment or before, and no git tokens.
    Kept(Timestamp),
}

fn rows(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    filter: &Filter,
    range: Range,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<OwnedRow>, StoreError> {
    let now = permit.at();
    let mut query = with_owner_names().into_boxed();
    for owner in [reach(permit)?, filter.owner].into_iter().flatten() {
        query = match owner {
            Owner::User(id) => query.filter(tokens::user_id.eq(id.as_uuid())),
            Owner::Workspace(id) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
        };
    }
    if let Some(kind) = filter.kind {
        query = query.filter(tokens::kind.eq(kind.as_str()));
        if kind != TokenKind::Git {
            query = query.filter(kept());
        }
    }
    query = match range {
        Range::All => query,
        Range::Recent(moment) => {
            query.filter(tokens::created_at.gt(moment)).filter(kept().or(not(ended(now)).and(not(expired(now)))))
        }
        Range::Kept(moment) => query.filter(tokens::created_at.le(moment)).filter(kept()),
    };
    query = match filter.standing {
        None => query,
        Some(Standing::Revoked) => query.filter(ended(now)),
        Some(Standing::Expired) => query.filter(not(ended(now))).filter(expired(now)),
        Some(Standing::Active) => query.filter(not(ended(now))).filter(not(expired(now))),
    };
    if filter.never_used {
        query = query.filter(last_uses::token_id.nullable().is_null());
    }
    if let Some(within) = filter.expiring_within {
        query = query
            .filter(not(ended(now)))
            .filter(tokens::revoked_at.is_null())
            .filter(tokens::expires_at.gt(now))
            .filter(tokens::expires_at.le(now + within));
    }
    if let Some(label) = &filter.label {
        query = query.filter(labelled()).filter(tokens::labels.contains(vec![label.as_str()]));
    }
    if let Some(after) = after {
        query = query.filter(beyond(after));
    }
    let query = query.order((tokens::created_at.desc(), tokens::id.desc()));
    if !filter.is_plain() {
        return Ok(Anew(query.limit(limit)).load(tx.connection())?);
    }
    let some = PAGES.into_iter().find(|rows| *rows >= limit).unwrap_or(limit);
    let mut found: Vec<OwnedRow> = AtMost::rows(query, some).load(tx.connection())?;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// Further in the order than that row. Compared as one, so that an index finds the place at once.
fn beyond(after: Cursor) -> Written {
    let begin = Written::new("(tokens.created_at, tokens.id) < (").value::<Timestamptz, _>(after.at());
    begin.text(", ").value::<SqlUuid, _>(after.id()).text(")")
}

/// Not a git token. Written out, since that is how the indexes say it.
fn kept() -> Written {
    Written::new("tokens.kind <> 'git'")
}

/// With a label at all. Written out, for the same reason.
fn labelled() -> Written {
    Written::new("tokens.labels <> '{}'")
}

/// Ended by somebody: by its own row, by its owner's cut-off, or by its successor.
fn ended(now: Timestamp) -> Written {
    let condition = Written::new("(tokens.revoked_at IS NOT NULL OR coalesce(tokens.grace_ends_at <= ");
    condition.value::<Timestamptz, _>(now).text(", false) OR ").text(CUT).text(")")
}

/// Ran out.
fn expired(now: Timestamp) -> Written {
    Written::new("coalesce(tokens.expires_at <= ").value::<Timestamptz, _>(now).text(", false)")
}

/// The most matches that [`find`] returns: enough to show that a reference is ambiguous, and to say how much.
pub const MOST_MATCHES: u8 = 100;

/// The tokens that a reference points at, newest first: none, one, or several if it is ambiguous.
pub fn find(tx: &mut ReadTx<'_>, permit: &Permit, reference: &Reference) -> Result<Vec<Token>, StoreError> {
    let mut query = of_reach(permit)?;
    query = match reference {
        Reference::Id(id) => query.filter(tokens::id.eq(id.as_uuid())),
        Reference::IdPrefix(digits) => query.filter(tokens::id.between(padded(digits, '0'), padded(digits, 'f'))),
        Reference::TokenPrefix(prefix) => query.filter(tokens::shown_prefix.like(format!("{}%", escaped(prefix)))),
        // Names are used again; the one that people mean is the one that works.
        Reference::Name(name) => {
            let live = not(ended(permit.at())).and(not(expired(permit.at())));
            query.filter(tokens::name.eq(name)).filter(kept()).filter(live)
        }
    };
    newest(tx, query)
}

/// The tokens of that name, whether or not they work, for where [`find`] finds none that does: whoever asks what became of
/// one has its name. Nothing is found by other references.
pub fn find_ended(tx: &mut ReadTx<'_>, permit: &Permit, reference: &Reference) -> Result<Vec<Token>, StoreError> {
    let Reference::Name(name) = reference else { return Ok(Vec::new()) };
    let query = of_reach(permit)?.filter(tokens::name.eq(name.clone())).filter(kept());
    newest(tx, query)
}

type Rows<'q> = diesel::helper_types::IntoBoxed<'q, with_owner_names, diesel::pg::Pg>;

fn of_reach<'q>(permit: &Permit) -> Result<Rows<'q>, StoreError> {
    let query = with_owner_names().into_boxed();
    Ok(match reach(permit)? {
        None => query,
        Some(Owner::User(id)) => query.filter(tokens::user_id.eq(id.as_uuid())),
        Some(Owner::Workspace(id)) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
    })
}

fn newest(tx: &mut ReadTx<'_>, query: Rows<'_>) -> Result<Vec<Token>, StoreError> {
    let newest = query.order((tokens::created_at.desc(), tokens::id.desc())).limit(MOST_MATCHES.into());
    Ok(newest.load::<OwnedRow>(tx.connection())?.into_iter().map(shown).collect())
}

/// How many tokens work at the time of the permit, which is a manager's.
pub fn count_live(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<i64, StoreError> {
    if *permit.need() != Need::Server {
        return Err(StoreError::Permit("counting everybody's tokens"));
    }
    Ok(with_owners()
        .filter(tokens::revoked_at.is_null())
        .filter(not(ended(permit.at())))
        .filter(not(expired(permit.at())))
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
        Need::Profile { user } | Need::ChangeProfile { user } if users.iter().all(|wanted| wanted == user) => {}
        _ => return Err(StoreError::Permit("counting these users' tokens")),
    }
    let wanted: Vec<Uuid> = users.iter().map(|user| user.as_uuid()).collect();
    let counts: Vec<(Option<Uuid>, i64)> = with_owners()
        .filter(tokens::user_id.eq_any(wanted))
        .filter(tokens::revoked_at.is_null())
        .filter(not(ended(permit.at())))
        .filter(not(expired(permit.at())))
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

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection;
    use diesel::sql_types::BigInt;
    use tok_model::audit::Source;
    use tok_model::decide::{Bearer, Caller, OwnerNow, decide};

    use super::*;
    use crate::testdb::TestDatabase;

    #[derive(QueryableByName)]
    struct Plans {
        #[diesel(sql_type = BigInt)]
        kept: i64,
    }

    const MANY: &str = "
        INSERT INTO users (id, name, manager, created_at) VALUES (gen_random_uuid(), 'ann', false, now());
        INSERT INTO tokens (id, digest, pepper_id, kind, name, description, shown_prefix, user_id, scopes, family_id,
                            allow_from, created_at, created_by_name, created_from)
        SELECT made.id, sha256(made.id::text::bytea), 1, 'personal', 'one of many', '', 'tok_0000', users.id, '{}', made.id,
               '{}', to_timestamp(1800000000 - number), 'ann', 'a test'
        FROM users, (SELECT gen_random_uuid() AS id, number FROM generate_series(1, 5000) AS number) AS made;
        ANALYZE";

    #[test]
    fn a_page_is_planned_once_and_not_each_time() {
        let database = TestDatabase::new(|url| crate::migrate(url).map(drop).map_err(Into::into)).unwrap();
        let mut connection = database.connect().unwrap();
        connection.batch_execute(MANY).unwrap();
        let source = Source { uid: Some(0), ..Source::default() };
        let root = Caller { bearer: Bearer::LocalPeer { manager: true }, owner: OwnerNow::Nobody, source };
        let mut kept = |filter: &Filter| {
            for second in 0..10 {
                let now = Timestamp::from_timestamp(1_800_000_000 + second, 0).unwrap();
                let permit = decide(&root, Need::Server, now).unwrap();
                let (size, after) = (PageSize::try_from(50).unwrap(), Some(Cursor::new(now, Uuid::nil())));
                list(&mut ReadTx::new(&mut connection), &permit, filter, size, after).unwrap();
            }
            let plans = "SELECT coalesce(sum(generic_plans), 0)::bigint AS kept FROM pg_prepared_statements \
                         WHERE statement LIKE '%ORDER BY%'";
            diesel::sql_query(plans).get_result::<Plans>(&mut connection).unwrap().kept
        };
        // It makes five for the values at hand before it thinks of keeping one.
        assert_eq!(kept(&Filter::default()), 5);
        // Of what no index leaves out, the values say which way is short.
        let ending = Filter { expiring_within: Some(TimeDelta::days(1)), ..Filter::default() };
        assert_eq!(kept(&ending), 5);
    }
}
