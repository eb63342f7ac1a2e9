//! Tokens and their trail, committed together: one token in one statement, several that wait in one transaction.
//!
//! Either way does what [`create`](super::create) and [`WriteTx::commit`](crate::WriteTx::commit) do, no less: the row,
//! the check that the parent is live, and the line of the trail all happen, or none of them does.

use std::collections::{BTreeMap, BTreeSet};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Nullable, Text};
use tok_model::audit::AuditEvent;
use tok_model::clock::Timestamp;
use tok_model::decide::Permit;
use tok_model::token::Token;
use uuid::Uuid;

use super::row::TokenRow;
use super::{NewToken, into_token, owner_names, parent_revoked, row_for};
use crate::error::StoreError;
use crate::schema::{audit, tokens};
use crate::tx::{ReadTx, WriteTx};

/// A token to be made, with what the trail shall say of it.
#[derive(Debug)]
pub struct Mint {
    /// What allows it: grant, owner, expiry and addresses are the permit's.
    pub permit: Permit,
    /// The rest of the token. Its parent, if it has one, has to be live when it is made.
    pub new: NewToken,
    /// The line of the trail.
    pub event: AuditEvent,
}

/// Two inserts and the check. A parent that is not live makes the check divide by zero, which undoes all of it:
/// PostgreSQL has no other way to refuse a statement from within.
struct Minting<T, L, P> {
    token: T,
    line: L,
    live_parent: Option<P>,
}

impl<T, L, P> QueryFragment<Pg> for Minting<T, L, P>
where
    T: QueryFragment<Pg>,
    L: QueryFragment<Pg>,
    P: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH token (user_name, workspace_name) AS (");
        self.token.walk_ast(out.reborrow())?;
        out.push_sql("), line AS (");
        self.line.walk_ast(out.reborrow())?;
        out.push_sql(") SELECT user_name, workspace_name, 1 / ");
        match &self.live_parent {
            Some(parent) => {
                out.push_sql("(SELECT count(*) FROM (");
                parent.walk_ast(out.reborrow())?;
                out.push_sql(") AS parent)");
            }
            None => out.push_sql("1::bigint"),
        }
        out.push_sql(" FROM token");
        Ok(())
    }
}

impl<T, L, P> QueryId for Minting<T, L, P> {
    type QueryId = ();
    // Told apart by its text, which is the same for all mints of a kind, so that it is prepared once a connection.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, L, P> Query for Minting<T, L, P> {
    type SqlType = (Nullable<Text>, Nullable<Text>, BigInt);
}

impl<T, L, P> RunQueryDsl<PgConnection> for Minting<T, L, P> {}

/// Makes one token, by one statement. A conflict, and nothing made, if its parent is not live any more.
pub(crate) fn mint(connection: &mut PgConnection, mint: &Mint) -> Result<Token, StoreError> {
    let row = row_for(&mint.permit, mint.new.clone())?;
    let line = crate::audit::line(&mint.event, mint.permit.at());
    let statement = Minting {
        token: diesel::insert_into(tokens::table).values(&row).returning(owner_names()),
        line: diesel::insert_into(audit::table).values(&line),
        live_parent: row.parent_id.map(|parent| {
            tokens::table
                .filter(tokens::id.eq(parent))
                .filter(tokens::revoked_at.is_null())
                .filter(tokens::grace_ends_at.is_null().or(tokens::grace_ends_at.ge(row.expires_at)).assume_not_null())
                .select(tokens::id)
                .for_key_share()
        }),
    };
    match statement.get_result::<(Option<String>, Option<String>, i64)>(connection) {
        Ok((user, workspace, _)) => into_token((row, user, workspace)),
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)) if info.message() == "division by zero" => {
            Err(parent_revoked())
        }
        Err(error) => Err(error.into()),
    }
}

/// The token that an earlier try of this mint has made.
pub(crate) fn made_before(connection: &mut PgConnection, mint: &Mint) -> Result<Option<Token>, StoreError> {
    let found = super::by_digests(&mut ReadTx::new(connection), &[mint.new.digest])?;
    Ok(found.into_iter().map(|(_, token, _)| token).find(|token| token.id == mint.new.id))
}

/// Makes several tokens with one commit; the answers are in the order of `mints`. A parent that is not live any more
/// refuses only what was to be made through it. If the whole fails, nothing was made.
pub(crate) fn mint_together(
    mut tx: WriteTx<'_>,
    mints: &[&Mint],
) -> Result<Vec<Result<Token, StoreError>>, StoreError> {
    let rows: Vec<_> = mints.iter().map(|mint| row_for(&mint.permit, mint.new.clone())).collect();
    let live = kept_live(&mut tx, rows.iter().flatten().filter_map(|row| row.parent_id).collect())?;
    let allowed = |row: TokenRow| match row.parent_id {
        Some(parent) if !live.get(&parent).is_some_and(|grace| outlives(*grace, &row)) => Err(parent_revoked()),
        _ => Ok(row),
    };
    let (mut made, mut lines) = (Vec::with_capacity(mints.len()), Vec::with_capacity(mints.len()));
    let mut outcomes = Vec::with_capacity(mints.len());
    for (mint, row) in mints.iter().zip(rows) {
        outcomes.push(row.and_then(allowed).map(|row| {
            made.push(row);
            lines.push((&mint.event, mint.permit.at(), 1));
        }));
    }
    if made.is_empty() {
        // Nothing is changed, so nothing is written down.
        return Ok(outcomes.into_iter().map(|refused| refused.and_then(|()| Err(parent_revoked()))).collect());
    }
    let names = insert(&mut tx, &made)?;
    tx.commit_lines(lines)?;
    let mut made = made.into_iter().zip(names);
    Ok(outcomes
        .into_iter()
        .map(|outcome| {
            outcome?;
            let (row, (user, workspace)) = made.next().ok_or(StoreError::Statement(DieselError::NotFound))?;
            into_token((row, user, workspace))
        })
        .collect())
}

/// Those of these tokens that are live, with the end of those that were given up for a successor; nobody ends them before
/// this transaction is over. Locked in the order of IDs, as by whoever ends tokens: two that meet here cannot wait for
/// each other.
fn kept_live(tx: &mut WriteTx<'_>, parents: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Option<Timestamp>>, StoreError> {
    if parents.is_empty() {
        return Ok(BTreeMap::new());
    }
    let live = tokens::table
        .filter(tokens::id.eq_any(parents.into_iter().collect::<Vec<_>>()))
        .filter(tokens::revoked_at.is_null())
        .order(tokens::id)
        .select((tokens::id, tokens::grace_ends_at))
        .for_key_share();
    Ok(live.load::<(Uuid, Option<Timestamp>)>(tx.connection())?.into_iter().collect())
}

/// Whether a parent that was given up for a successor, if it was, is there for as long as what is made through it.
fn outlives(grace_ends_at: Option<Timestamp>, row: &TokenRow) -> bool {
    grace_ends_at.is_none_or(|grace| row.expires_at.is_some_and(|end| grace >= end))
}

type Names = (Option<String>, Option<String>);

/// Inserts these rows, and gives the names of their owners in the same order.
fn insert(tx: &mut WriteTx<'_>, mut rows: &[TokenRow]) -> Result<Vec<Names>, StoreError> {
    let mut names: Vec<Names> = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        rows = crate::batch::first_rows!(rows, |some| {
            let inserted = diesel::insert_into(tokens::table).values(some).returning(owner_names());
            names.append(&mut inserted.get_results(tx.connection())?);
        });
    }
    Ok(names)
}
