//! A token and its trail in one statement: what a mint costs is one round trip and one write to the disk.
//!
//! The statement is a transaction of its own. It does what [`create`](super::create) and
//! [`WriteTx::commit`](crate::WriteTx::commit) do, no less: the rows, the check that the parent is live, and the line of
//! the trail all happen, or none of them does.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tok_model::audit::AuditEvent;
use tok_model::decide::{Need, Permit};
use tok_model::id::TokenId;
use tok_model::token::Owner;

use super::NewToken;
use super::parent::{uncut_by_user, uncut_by_workspace};
use crate::audit::{NewLine, Trail};
use crate::error::StoreError;
use crate::schema::{audit, tokens};

/// Two inserts and the check. A parent that is not live makes the check divide by zero, which undoes all of it:
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
        out.push_sql("WITH token AS (");
        self.token.walk_ast(out.reborrow())?;
        out.push_sql("), line AS (");
        self.line.walk_ast(out.reborrow())?;
        out.push_sql(") SELECT 1 / count(*) FROM (");
        self.live_parent.walk_ast(out.reborrow())?;
        out.push_sql(") AS parent");
        Ok(())
    }
}

impl<T, L, P> QueryId for Minting<T, L, P> {
    type QueryId = ();
    // Told apart by its text, which is the same for all mints of a kind, so that it is prepared once a connection.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, L, P> RunQueryDsl<PgConnection> for Minting<T, L, P> {}

/// Makes the token that `permit` allows, through `parent`, and writes `event` down. A conflict, and nothing made, if the
/// parent is not live any more.
pub(crate) fn mint(
    connection: &mut PgConnection,
    trail: &Trail,
    permit: &Permit,
    new: NewToken,
    parent: TokenId,
    event: &AuditEvent,
) -> Result<(), StoreError> {
    let row = super::row_for(permit, NewToken { parent: Some(parent), ..new })?;
    let line = NewLine::new(event, permit.at(), 1, trail);
    let token = diesel::insert_into(tokens::table).values(&row);
    let line = diesel::insert_into(audit::table).values(&line);
    let Need::Mint(request) = permit.need() else { return Err(StoreError::Permit("making a token")) };
    let outlives = tokens::grace_ends_at.is_null().or(tokens::grace_ends_at.ge(row.expires_at)).assume_not_null();
    // Whoever mints for git acts for the same owner as the token they do it through.
    let done = match request.owner {
        Owner::User(_) => {
            let live_parent = uncut_by_user(parent.as_uuid()).filter(outlives).for_key_share();
            Minting { token, line, live_parent }.execute(connection)
        }
        Owner::Workspace(_) => {
            let live_parent = uncut_by_workspace(parent.as_uuid()).filter(outlives).for_key_share();
            Minting { token, line, live_parent }.execute(connection)
        }
    };
    // Also after a failure: it may have happened although its answer was lost.
    trail.written();
    match done {
        Ok(_) => Ok(()),
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)) if info.message() == "division by zero" => {
            Err(super::parent_revoked())
        }
        Err(error) => Err(error.into()),
    }
}
