//! Tokens with chosen and foreign secrets: found by name instead of by digest, and looked at again by ID.

use diesel::dsl::exists;
use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::decide::{OwnerNow, Permit};
use tok_model::id::TokenId;
use tok_model::token::Token;
use uuid::Uuid;

use super::restore::UNDO_WINDOW;
use super::{OwnedRow, into_token, owner_now, with_owner_names};
use crate::error::StoreError;
use crate::schema::{tokens, users};
use crate::tx::{ReadTx, WriteTx, exactly};

/// The most tokens that one name and secret are tried against: the live one, and those before it whose grace lasts.
const MOST_OF_A_NAME: i64 = 4;

/// What there is besides tokens that tok made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Any token with a chosen secret.
    pub chosen: bool,
    /// Any token with a secret of another system that is found by its digest.
    pub foreign: bool,
}

/// A token with all that is needed to judge what was presented for it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The token.
    pub token: Token,
    /// Its owner as of now.
    pub owner: OwnerNow,
    /// The slow hash of its chosen secret, if it has one.
    pub hash: Option<String>,
}

/// Whether there is anything that is not found by the digest of a text of ours.
pub fn present(tx: &mut ReadTx<'_>) -> Result<Present, StoreError> {
    let chosen = exists(tokens::table.filter(tokens::secret_hash.is_not_null()));
    let foreign =
        exists(tokens::table.filter(tokens::imported_from.is_not_null()).filter(tokens::digest.is_not_null()));
    let (chosen, foreign) = diesel::select((chosen, foreign)).get_result(tx.connection())?;
    Ok(Present { chosen, foreign })
}

/// The tokens with a chosen secret that are presented under this name, in whatever case, and were not ended: the newest
/// first, and behind it those whose place it took.
pub fn by_login(tx: &mut ReadTx<'_>, name: &str) -> Result<Vec<Stored>, StoreError> {
    let rows = with_owner_names()
        .filter(crate::lower(tokens::name).eq(crate::lower(name)))
        .filter(tokens::secret_hash.is_not_null())
        .filter(tokens::revoked_at.is_null())
        .order(tokens::created_at.desc())
        .limit(MOST_OF_A_NAME)
        .load::<OwnedRow>(tx.connection())?;
    rows.into_iter().map(|row| stored(tx, row)).collect()
}

/// One token by its ID, as it is now.
pub fn by_stored_id(tx: &mut ReadTx<'_>, id: TokenId) -> Result<Option<Stored>, StoreError> {
    let row = with_owner_names().filter(tokens::id.eq(id.as_uuid())).first::<OwnedRow>(tx.connection()).optional()?;
    row.map(|row| stored(tx, row)).transpose()
}

/// The newest token of this name with a chosen secret that was imported from this system, whether it still works or not:
/// what was brought in once and ended is not brought in again.
pub fn imported_before(tx: &mut ReadTx<'_>, name: &str, from: &str) -> Result<Option<Token>, StoreError> {
    with_owner_names()
        .filter(crate::lower(tokens::name).eq(crate::lower(name)))
        .filter(tokens::secret_hash.is_not_null())
        .filter(tokens::imported_from.eq(from))
        .order(tokens::created_at.desc())
        .first::<OwnedRow>(tx.connection())
        .optional()?
        .map(into_token)
        .transpose()
}

/// Of a user and a token of somebody else's that want the same name at once, one comes first, and the other sees it.
fn hold_login(tx: &mut WriteTx<'_>, name: &str) -> Result<(), StoreError> {
    tx.hold(&format!("login\n{}", name.to_lowercase()))
}

/// A conflict if a token that is presented by its name has the login name of a user who is to be made, and works or can
/// still be brought back: it would pass for theirs.
pub(crate) fn no_token_named(tx: &mut WriteTx<'_>, name: &str, at: Timestamp) -> Result<(), StoreError> {
    hold_login(tx, name)?;
    let unexpired = tokens::expires_at.is_null().or(tokens::expires_at.gt(at).assume_not_null());
    let back = tokens::revoke_act.is_not_null().and(tokens::revoked_at.gt(at - UNDO_WINDOW).assume_not_null());
    let there = tokens::table
        .filter(crate::lower(tokens::name).eq(crate::lower(name)))
        .filter(tokens::secret_hash.is_not_null())
        .filter(tokens::revoked_at.is_null().and(unexpired).or(back));
    if diesel::select(exists(there)).get_result(tx.connection())? {
        return Err(StoreError::Taken {
            field: "name",
            what: "a token with a chosen secret has that name, or had it until a moment ago and can be restored, and it is \
                   presented by its name: choose another name, or revoke it and wait 15 minutes (`tok token list --all-users` \
                   shows it)"
                .to_owned(),
        });
    }
    Ok(())
}

/// A conflict if the name of a token that is presented by its name means somebody else, or will: another user's login name,
/// since nobody shall take one for the other, or the name of somebody else's token that can still be brought back.
pub(super) fn login_free(
    tx: &mut WriteTx<'_>,
    name: &str,
    (user, workspace): (Option<Uuid>, Option<Uuid>),
    at: Timestamp,
) -> Result<(), StoreError> {
    let taken = |what: &str| Err(StoreError::Taken { field: "name", what: what.to_owned() });
    hold_login(tx, name)?;
    let bearer: Option<Uuid> = users::table
        .filter(crate::lower(users::name).eq(crate::lower(name)))
        .filter(users::deleted_at.is_null())
        .select(users::id)
        .first(tx.connection())
        .optional()?;
    if bearer.is_some_and(|bearer| user != Some(bearer)) {
        return taken(
            "that is another user's login name, and a token with a chosen secret is presented by its name: choose another \
             name",
        );
    }
    let held = tokens::table
        .filter(crate::lower(tokens::name).eq(crate::lower(name)))
        .filter(tokens::secret_hash.is_not_null())
        .filter(tokens::revoke_act.is_not_null())
        .filter(tokens::revoked_at.gt(at - UNDO_WINDOW))
        .filter(tokens::user_id.is_distinct_from(user).or(tokens::workspace_id.is_distinct_from(workspace)));
    if diesel::select(exists(held)).get_result(tx.connection())? {
        return taken(
            "somebody else's token with a chosen secret had that name until a moment ago, and can be restored for 15 \
             minutes: choose another name, or wait",
        );
    }
    Ok(())
}

/// Puts a stronger hash of the same secret in the place of a weaker one. The permit is that of the token itself, which has
/// just been presented.
pub fn renew_hash(tx: &mut WriteTx<'_>, permit: &Permit, id: TokenId, old: &str, new: &str) -> Result<(), StoreError> {
    if permit.actor().token != Some(id) {
        return Err(StoreError::Permit("renewing the hash of another token's secret"));
    }
    let as_seen = tokens::table.find(id.as_uuid()).filter(tokens::secret_hash.eq(old));
    let touched = diesel::update(as_seen).set(tokens::secret_hash.eq(new)).execute(tx.connection())?;
    exactly(1, touched, "somebody else changed the secret")
}

fn stored(tx: &mut ReadTx<'_>, row: OwnedRow) -> Result<Stored, StoreError> {
    let hash = row.0.secret_hash.clone();
    let id: Uuid = row.0.id;
    let token = into_token(row)?;
    debug_assert_eq!(token.id.as_uuid(), id);
    let owner = owner_now(tx, &token)?;
    Ok(Stored { token, owner, hash })
}
