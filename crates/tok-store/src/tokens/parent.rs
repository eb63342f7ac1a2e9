//! What a token that is being made rests on, at the moment at which that happens: the token that it is made through, and
//! whom it is to act for.

use diesel::prelude::*;
use tok_model::decide::{Need, Permit};
use tok_model::kind::Role;
use tok_model::token::Owner;
use uuid::Uuid;

use super::parent_revoked;
use crate::error::StoreError;
use crate::schema::{members, tokens, users, workspaces};
use crate::tx::WriteTx;

diesel::alias!(tokens as parents: Parents);

/// The parent of the row at hand, if it is live and, should it be given up for a successor, is not outlived by the row; nobody ends it then before this transaction is over. Whoever wants to,
/// waits, and finds the row at hand among those that end with it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn parent_kept_live() -> _ {
    parents
        .filter(parents.field(tokens::id).nullable().eq(tokens::parent_id))
        .filter(parents.field(tokens::revoked_at).is_null())
        .filter(
            parents
                .field(tokens::grace_ends_at)
                .is_null()
                .or(parents.field(tokens::grace_ends_at).ge(tokens::expires_at))
                .assume_not_null(),
        )
        .select(parents.field(tokens::id))
        .for_key_share()
        .single_value()
}

/// Whom the token shall act for exists, and if that is a workspace, its maker is still a maintainer of it (or a manager);
/// nobody changes that before this transaction is over.
pub(super) fn owner_keeps(tx: &mut WriteTx<'_>, permit: &Permit) -> Result<(), StoreError> {
    let (Need::Mint(request) | Need::Import(request)) = permit.need() else {
        return Err(StoreError::Permit("making a token"));
    };
    let gone = |what: &str| StoreError::Conflict { what: what.to_owned() };
    let workspace = match request.owner {
        Owner::User(id) => {
            let row = users::table.find(id.as_uuid()).filter(users::deleted_at.is_null());
            let found = row.select(users::id).for_share().first::<Uuid>(tx.connection()).optional()?;
            return found.map(drop).ok_or_else(|| gone("the user that the token was to act for was just deleted"));
        }
        Owner::Workspace(id) => id.as_uuid(),
    };
    let row = workspaces::table.find(workspace).filter(workspaces::deleted_at.is_null());
    row.select(workspaces::id)
        .for_share()
        .first::<Uuid>(tx.connection())
        .optional()?
        .ok_or_else(|| gone("the workspace that the token was to act for was just deleted"))?;
    let Some((maker, _)) = &permit.actor().user else { return Ok(()) };
    let manager = users::table.find(maker.as_uuid()).filter(users::deleted_at.is_null()).filter(users::manager);
    if manager.select(users::id).for_share().first::<Uuid>(tx.connection()).optional()?.is_some() {
        return Ok(());
    }
    let place = members::table.find((workspace, maker.as_uuid())).filter(members::role.eq(Role::Maintainer.as_str()));
    let kept = place.select(members::user_id).for_share().first::<Uuid>(tx.connection()).optional()?;
    kept.map(drop).ok_or_else(|| gone("you are no maintainer of that workspace any more"))
}

/// No cut-off of its owner ended this parent; nobody makes one before this transaction is over.
pub(super) fn parents_owner_keeps(tx: &mut WriteTx<'_>, parent: Uuid) -> Result<(), StoreError> {
    let of_user = uncut_by_user(parent).for_key_share().first::<Uuid>(tx.connection()).optional()?;
    let kept = match of_user {
        Some(id) => Some(id),
        None => uncut_by_workspace(parent).for_key_share().first::<Uuid>(tx.connection()).optional()?,
    };
    kept.map(drop).ok_or_else(parent_revoked)
}

/// This token of a user, if it is live and no cut-off of the user ended it. The user comes first, and so is locked first.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn uncut_by_user(parent: Uuid) -> _ {
    let after =
        users::cutoff_before.is_null().or(users::cutoff_before.le(tokens::created_at.nullable()).assume_not_null());
    users::table
        .inner_join(tokens::table.on(tokens::user_id.eq(users::id.nullable())))
        .filter(tokens::id.eq(parent))
        .filter(tokens::revoked_at.is_null())
        .filter(after)
        .select(tokens::id)
}

/// This token of a workspace, if it is live and no cut-off of the workspace ended it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn uncut_by_workspace(parent: Uuid) -> _ {
    let after = workspaces::cutoff_before
        .is_null()
        .or(workspaces::cutoff_before.le(tokens::created_at.nullable()).assume_not_null());
    workspaces::table
        .inner_join(tokens::table.on(tokens::workspace_id.eq(workspaces::id.nullable())))
        .filter(tokens::id.eq(parent))
        .filter(tokens::revoked_at.is_null())
        .filter(after)
        .select(tokens::id)
}
