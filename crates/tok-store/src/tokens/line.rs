//! The line of a token: what was made through it, at any remove, and what becomes of that when the token changes.

use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::token::{Token, TokenState};
use uuid::Uuid;

use super::{OwnedRow, as_kept, end, into_token, live_children, live_line, with_owner_names};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::{ReadTx, WriteTx};

/// A token, locked together with its parent and its line, in the order of IDs, as whoever ends tokens does: two that meet
/// here cannot wait for each other. Whoever is making a token through one of them is waited for, and what they make is
/// seen afterwards: a weaker lock would let it get away.
pub(super) fn locked(tx: &mut WriteTx<'_>, id: TokenId) -> Result<Option<OwnedRow>, StoreError> {
    let parent: Option<Option<Uuid>> =
        tokens::table.find(id.as_uuid()).select(tokens::parent_id).first(tx.connection()).optional()?;
    let Some(parent) = parent else { return Ok(None) };
    let mut line = descendants(tx, id)?;
    line.push(id.as_uuid());
    line.extend(parent);
    let rows = tokens::table.filter(tokens::id.eq_any(line)).order(tokens::id).select(tokens::id).for_update();
    rows.load::<Uuid>(tx.connection())?;
    Ok(with_owner_names().filter(tokens::id.eq(id.as_uuid())).first::<OwnedRow>(tx.connection()).optional()?)
}

/// Waits for a token's row, and sees that a live one is still of this version, which is what was decided about. A conflict
/// if it is not. (Whoever ends it, or gives it a successor, says themselves that one does not live any more.)
pub fn unchanged(tx: &mut WriteTx<'_>, id: TokenId, version: i32) -> Result<(), StoreError> {
    let Some(now) = locked(tx, id)?.map(into_token).transpose()? else { return Ok(()) };
    if now.state == TokenState::Live { same_version(&now, version) } else { Ok(()) }
}

/// A conflict if the token has another version.
pub(super) fn same_version(token: &Token, version: i32) -> Result<(), StoreError> {
    if token.version == version {
        return Ok(());
    }
    let what = format!("the token {} was changed meanwhile: its version is {} now", token.name, token.version);
    Err(StoreError::Conflict { what })
}

/// When the token that another was made through ends by itself; nothing made through it outlives it. A conflict if it was
/// revoked: what had run out by then was left as it was, and whoever read the clock before that must not prolong it now.
pub(super) fn parents_end(tx: &mut ReadTx<'_>, parent: Option<TokenId>) -> Result<Option<Timestamp>, StoreError> {
    let Some(parent) = parent else { return Ok(None) };
    let Some(parent) = super::by_id(tx, parent)? else { return Ok(None) };
    match &parent.state {
        TokenState::Revoked { .. } => Err(super::parent_revoked()),
        TokenState::Live | TokenState::Rotated { .. } => Ok(parent.ends_at()),
    }
}

/// The live tokens made through a token, at any remove.
fn descendants(tx: &mut ReadTx<'_>, of: TokenId) -> Result<Vec<Uuid>, StoreError> {
    let mut all = Vec::new();
    let mut generation = live_children(tx, &[of.as_uuid()])?;
    while !generation.is_empty() {
        let children = live_children(tx, &generation)?;
        all.append(&mut generation);
        generation = children;
    }
    Ok(all)
}

/// Ends all that was made through a token, at any remove, and did not run out before; leaves the token.
pub(super) fn end_descendants(
    tx: &mut WriteTx<'_>,
    of: TokenId,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let mut line = live_line(tx, &[of.as_uuid()], at, false)?;
    line.retain(|id| *id != of.as_uuid());
    end(tx, line, by, Some(reason), at)
}

/// Ends the git tokens made through a token, at any remove: they are made anew as soon as git wants one.
pub(super) fn end_git_descendants(
    tx: &mut WriteTx<'_>,
    of: TokenId,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let line = descendants(tx, of)?;
    let git: Vec<Uuid> = tokens::table
        .filter(tokens::id.eq_any(line))
        .filter(tokens::kind.eq(TokenKind::Git.as_str()))
        .select(tokens::id)
        .load(tx.connection())?;
    end(tx, git, by, Some(reason), at)
}

/// Nothing made through a token outlives it.
pub(super) fn clamp_descendants(tx: &mut WriteTx<'_>, of: TokenId, latest: Timestamp) -> Result<(), StoreError> {
    let line = descendants(tx, of)?;
    let latest = as_kept(latest);
    let later = tokens::expires_at.is_null().or(tokens::expires_at.gt(latest).assume_not_null());
    diesel::update(tokens::table.filter(tokens::id.eq_any(line)).filter(later))
        .set(tokens::expires_at.eq(latest))
        .execute(tx.connection())?;
    Ok(())
}
