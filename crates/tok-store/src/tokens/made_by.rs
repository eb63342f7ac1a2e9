//! Tokens that act for a workspace, by who made them: whoever is shown out must not stay in through a token.

use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::id::{TokenId, UserId, WorkspaceId};
use uuid::Uuid;

use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::WriteTx;

/// Ends the live tokens that act for a workspace (or, with `None`, for any) and that this user made, with all that was
/// made through them. Returns each with its shown prefix.
pub(crate) fn end_made_by(
    tx: &mut WriteTx<'_>,
    maker: UserId,
    within: Option<WorkspaceId>,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let live = tokens::table
        .filter(tokens::created_by_user_id.eq(maker.as_uuid()))
        .filter(tokens::revoked_at.is_null())
        .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(at).assume_not_null()))
        .select(tokens::id);
    let ids: Vec<Uuid> = match within {
        Some(workspace) => live.filter(tokens::workspace_id.eq(workspace.as_uuid())).load(tx.connection())?,
        None => live.filter(tokens::workspace_id.is_not_null()).load(tx.connection())?,
    };
    super::end(tx, ids, by, Some(reason), at)
}

/// Ends those of these tokens that are live, with all that was made through them. Returns each with its shown prefix.
pub(crate) fn end_these(
    tx: &mut WriteTx<'_>,
    ids: Vec<Uuid>,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let live = tokens::table
        .filter(tokens::id.eq_any(ids))
        .filter(tokens::revoked_at.is_null())
        .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(at).assume_not_null()))
        .select(tokens::id);
    let ids: Vec<Uuid> = live.load(tx.connection())?;
    super::end(tx, ids, by, Some(reason), at)
}
