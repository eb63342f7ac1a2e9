//! Tokens and their trail, committed together: a git token in one statement, several that wait in one transaction.
//!
//! Either way does what [`create`](super::create) and [`WriteTx::commit`](crate::WriteTx::commit) do, no less: the row,
//! the checks of what it rests on, and the line of the trail all happen, or none of them does.

use std::collections::BTreeMap;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Nullable, Text};
use tok_model::audit::AuditEvent;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::kind::TokenKind;
use tok_model::token::{Owner, Token};
use uuid::Uuid;

use super::insert::insert_many;
use super::parent::{Kept, KeptParent, kept_parents, uncut_by_user, uncut_by_workspace};
use super::row::TokenRow;
use super::{NewToken, owner_names, parent_revoked, row_for};
use crate::audit::{NewLine, Trail};
use crate::error::StoreError;
use crate::schema::{audit, tokens};
use crate::tx::{ReadTx, WriteTx};

/// A token to be made, with what the trail shall say of it.
#[derive(Debug)]
pub struct Mint {
    /// What allows it: grant, owner, expiry and addresses are the permit's.
    pub permit: Permit,
    /// The rest of the token. Its parent, if it has one, has to be live when it is made, and of the version that it names.
    pub new: NewToken,
    /// The line of the trail.
    pub event: AuditEvent,
}

/// Two inserts and the check. A parent that is not live, or is not any more what was decided about, makes the check divide by zero, which undoes all of it:
/// PostgreSQL has no other way to refuse a statement from within.
struct Minting<T, L, P> {
    token: T,
    line: L,
    live_parent: P,
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
        out.push_sql(") SELECT user_name, workspace_name, 1 / (SELECT count(*) FROM (");
        self.live_parent.walk_ast(out.reborrow())?;
        out.push_sql(") AS parent) FROM token");
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

impl Mint {
    /// The owner that this acts for, and the token it is made through, if it is a git token made through one: whoever
    /// mints for git acts for the same owner as that token, so that what it rests on is the token alone.
    fn for_git(&self) -> Option<(Owner, Uuid)> {
        let Need::Mint(request) = self.permit.need() else { return None };
        let parent = self.new.parent.filter(|_| request.grant.kind() == TokenKind::Git)?;
        Some((request.owner, parent.as_uuid()))
    }
}

/// Makes one token: a git token by one statement, any other by a transaction. A conflict, and nothing made, if what it
/// rests on is not there any more.
pub(crate) fn mint(connection: &mut PgConnection, trail: &Trail, mint: &Mint) -> Result<Token, StoreError> {
    let Some((owner, parent)) = mint.for_git() else {
        let mut tx = WriteTx::begin(connection, trail)?;
        let token = super::create(&mut tx, &mint.permit, mint.new.clone())?;
        tx.commit(mint.event.clone(), mint.permit.at())?;
        return Ok(token);
    };
    let row = row_for(&mint.permit, mint.new.clone())?;
    let line = NewLine::new(&mint.event, mint.permit.at(), 1, trail);
    let token = diesel::insert_into(tokens::table).values(&row).returning(owner_names());
    let line = diesel::insert_into(audit::table).values(&line);
    let outlives = tokens::grace_ends_at.is_null().or(tokens::grace_ends_at.ge(row.expires_at)).assume_not_null();
    // One statement for both, with and without a version that it has to be.
    let (least, most) = mint.new.parent_version.map_or((i32::MIN, i32::MAX), |version| (version, version));
    let as_decided = tokens::version.between(least, most);
    let done: QueryResult<(Option<String>, Option<String>, i64)> = match owner {
        Owner::User(_) => {
            let live_parent = uncut_by_user(parent).filter(outlives).filter(as_decided).for_key_share();
            Minting { token, line, live_parent }.get_result(connection)
        }
        Owner::Workspace(_) => {
            let live_parent = uncut_by_workspace(parent).filter(outlives).filter(as_decided).for_key_share();
            Minting { token, line, live_parent }.get_result(connection)
        }
    };
    // Also after a failure: it may have happened although its answer was lost.
    trail.written();
    match done {
        Ok((user, workspace, _)) => {
            trail.tally().count(&mint.event, 1);
            row.into_token(user.or(workspace).unwrap_or_default())
        }
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)) if info.message() == "division by zero" => {
            Err(parent_revoked())
        }
        Err(error) => Err(error.into()),
    }
}

/// The token that an earlier try of this mint has made.
pub(crate) fn made_before(connection: &mut PgConnection, mint: &Mint) -> Result<Option<Token>, StoreError> {
    super::by_id(&mut ReadTx::new(connection), mint.new.id)
}

/// Makes several tokens with one commit; the answers are in the order of `mints`. What is there no more of what one rests
/// on (the token it is made through, whom it acts for, its maker's place there) refuses only that one. If the whole fails,
/// nothing was made.
pub(crate) fn mint_together(
    mut tx: WriteTx<'_>,
    mints: &[&Mint],
) -> Result<Vec<Result<Token, StoreError>>, StoreError> {
    let rows: Vec<_> = mints.iter().map(|mint| row_for(&mint.permit, mint.new.clone())).collect();
    // Owners before tokens, as whoever ends tokens goes.
    let owners = Kept::of(&mut tx, mints.iter().filter(|mint| mint.for_git().is_none()).map(|mint| &mint.permit))?;
    let parents = kept_parents(&mut tx, rows.iter().flatten().filter_map(|row| row.parent_id).collect())?;
    let (mut made, mut lines) = (Vec::with_capacity(mints.len()), Vec::with_capacity(mints.len()));
    let mut answers = Vec::with_capacity(mints.len());
    for (mint, row) in mints.iter().zip(rows) {
        answers.push(row.and_then(|row| allowed(mint, row, &owners, &parents)).map(|(row, owner_name)| {
            made.push(row);
            lines.push((&mint.event, mint.permit.at(), 1));
            owner_name
        }));
    }
    if !made.is_empty() {
        insert_many(&mut tx, &made)?;
        tx.commit_lines(lines)?;
    }
    // Where nothing is changed, nothing is written down.
    let mut made = made.into_iter();
    Ok(answers
        .into_iter()
        .map(|owner_name| {
            let owner_name = owner_name?;
            made.next().ok_or(StoreError::Statement(DieselError::NotFound))?.into_token(owner_name)
        })
        .collect())
}

/// The row with its owner's name, if what it rests on is there.
fn allowed(
    mint: &Mint,
    row: TokenRow,
    owners: &Kept,
    parents: &BTreeMap<Uuid, KeptParent>,
) -> Result<(TokenRow, String), StoreError> {
    let owner_name = mint.for_git().is_none().then(|| owners.keep(&mint.permit)).transpose()?;
    let Some(parent) = row.parent_id else { return Ok((row, owner_name.unwrap_or_default().to_owned())) };
    let kept =
        |parent: &&KeptParent| parent.is_version(mint.new.parent_version) && outlives(parent.grace_ends_at, &row);
    let parent = parents.get(&parent).filter(kept).ok_or_else(parent_revoked)?;
    Ok((row, owner_name.unwrap_or(&parent.owner_name).to_owned()))
}

/// Whether a parent that was given up for a successor, if it was, is there for as long as what is made through it.
fn outlives(grace_ends_at: Option<Timestamp>, row: &TokenRow) -> bool {
    grace_ends_at.is_none_or(|grace| row.expires_at.is_some_and(|end| grace >= end))
}
