//! Workspaces and their members.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId, WorkspaceId};
use tok_model::kind::Role;
use tok_model::name::{NameError, UserName, WorkspaceName};
use tok_model::token::Owner;
use uuid::Uuid;

use crate::error::StoreError;
use crate::schema::{members, users, workspaces};
use crate::tx::{ReadTx, WriteTx, exactly};

/// A workspace, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its ID.
    pub id: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// Whose it is, if that user still exists. Always a maintainer of it.
    pub owner: Option<UserName>,
    /// How many members it has.
    pub members: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserName,
    /// As what.
    pub role: Role,
    /// Whether the workspace is theirs.
    pub owner: bool,
    /// Since when.
    pub added_at: DateTime<Utc>,
}

type Row = (Uuid, String, DateTime<Utc>, Option<String>, i64);

fn corrupt(table: &'static str, id: Uuid, why: &impl ToString) -> StoreError {
    StoreError::Corrupt { table, id: id.to_string(), why: why.to_string() }
}

fn into_workspace((id, name, created_at, owner, members): Row) -> Result<Workspace, StoreError> {
    let name = name.parse().map_err(|error: NameError| corrupt("workspaces", id, &error))?;
    let owner = owner.map(|owner| {
        owner.parse().map_err(|error: NameError| corrupt("workspaces", id, &format!("its owner: {error}")))
    });
    let owner = owner.transpose()?;
    Ok(Workspace { id: WorkspaceId::from_uuid(id), name, owner, members, created_at })
}

/// The workspaces that exist, each with its owner's name and the number of its members.
#[diesel::dsl::auto_type]
fn living() -> _ {
    let members_of = members::table.filter(members::workspace_id.eq(workspaces::id)).count();
    workspaces::table
        .left_join(users::table.on(workspaces::owner_id.eq(users::id.nullable()).and(users::deleted_at.is_null())))
        .filter(workspaces::deleted_at.is_null())
        .select((
            workspaces::id,
            workspaces::name,
            workspaces::created_at,
            users::name.nullable(),
            members_of.single_value().assume_not_null(),
        ))
}

/// The names of those of these workspaces that (still) exist, by one statement. A row that cannot be understood is an
/// error for its own workspace.
pub(crate) fn names_now(
    tx: &mut ReadTx<'_>,
    ids: &BTreeSet<WorkspaceId>,
) -> Result<BTreeMap<WorkspaceId, Result<WorkspaceName, StoreError>>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    let rows: Vec<(Uuid, String)> = workspaces::table
        .filter(workspaces::id.eq_any(ids))
        .filter(workspaces::deleted_at.is_null())
        .select((workspaces::id, workspaces::name))
        .load(tx.connection())?;
    let read = |(id, name): (Uuid, String)| {
        let name = name.parse().map_err(|error: NameError| corrupt("workspaces", id, &error));
        (WorkspaceId::from_uuid(id), name)
    };
    Ok(rows.into_iter().map(read).collect())
}

/// A workspace by name; `None` if there is none. Says nothing that a decision about it would hide: ask that first.
pub fn by_name(tx: &mut ReadTx<'_>, name: &WorkspaceName) -> Result<Option<Workspace>, StoreError> {
    let row: Option<Row> = living().filter(workspaces::name.eq(name.as_str())).first(tx.connection()).optional()?;
    row.map(into_workspace).transpose()
}

/// Makes a workspace. Its owner, if it is given one, is a maintainer of it from the start.
pub fn create(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    id: WorkspaceId,
    name: &WorkspaceName,
    owner: Option<&UserName>,
) -> Result<Workspace, StoreError> {
    if *permit.need() != Need::Server {
        return Err(StoreError::Permit("making a workspace"));
    }
    let owner = owner.map(|name| crate::users::existing(tx, name)).transpose()?;
    insert(tx, id, name, owner.as_ref().map(|user| user.id), permit.at())?;
    existing(tx, name)
}

pub(crate) fn insert(
    tx: &mut WriteTx<'_>,
    id: WorkspaceId,
    name: &WorkspaceName,
    owner: Option<UserId>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let written = diesel::insert_into(workspaces::table)
        .values((
            workspaces::id.eq(id.as_uuid()),
            workspaces::name.eq(name.as_str()),
            workspaces::owner_id.eq(owner.map(UserId::as_uuid)),
            workspaces::created_at.eq(at),
        ))
        .execute(tx.connection())?;
    exactly(1, written, "the workspace was not written")?;
    match owner {
        Some(owner) => put_member(tx, id, owner, Role::Maintainer, at),
        None => Ok(()),
    }
}

/// The workspaces that a user is a member of, by name.
pub fn list_of(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Vec<Workspace>, StoreError> {
    let (Need::Profile { user }, Some((own, _))) = (permit.need(), &permit.actor().user) else {
        return Err(StoreError::Permit("listing one's workspaces"));
    };
    if user != own {
        return Err(StoreError::Permit("listing another's workspaces"));
    }
    let theirs = members::table.filter(members::user_id.eq(user.as_uuid())).select(members::workspace_id);
    living()
        .filter(workspaces::id.eq_any(theirs))
        .order(workspaces::name)
        .load::<Row>(tx.connection())?
        .into_iter()
        .map(into_workspace)
        .collect()
}

/// Every workspace, by name: a manager's view.
pub fn list(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Vec<Workspace>, StoreError> {
    if *permit.need() != Need::Server {
        return Err(StoreError::Permit("listing every workspace"));
    }
    living().order(workspaces::name).load::<Row>(tx.connection())?.into_iter().map(into_workspace).collect()
}

/// Deletes a workspace: its tokens are ended, its members and trust rules go, its name is free again; repositories on disk stay.
/// Returns how many tokens ended.
pub fn delete(tx: &mut WriteTx<'_>, permit: &Permit, name: &WorkspaceName) -> Result<(Workspace, usize), StoreError> {
    if *permit.need() != Need::Server {
        return Err(StoreError::Permit("deleting a workspace"));
    }
    let workspace = existing(tx, name)?;
    let reason = format!("the workspace {name} was deleted");
    let by = permit.actor().describe();
    let id = workspace.id.as_uuid();
    // The workspace and its members before its tokens, as whoever makes one goes: the two wait for each other in one order.
    let touched = diesel::update(workspaces::table.find(id).filter(workspaces::deleted_at.is_null()))
        .set(workspaces::deleted_at.eq(permit.at()))
        .execute(tx.connection())?;
    exactly(1, touched, "somebody else deleted the workspace")?;
    diesel::delete(members::table.filter(members::workspace_id.eq(id))).execute(tx.connection())?;
    crate::trusts::delete_of(tx, id)?;
    let ended = crate::tokens::end_all_of(tx, Owner::Workspace(workspace.id), &by, &reason, permit.at())?;
    Ok((workspace, ended))
}

/// A change of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// Whose.
    pub user: UserId,
    /// The membership: as it is now, or as it was if it is gone.
    pub member: Member,
    /// The tokens of the workspace that they made and that ended with their being its maintainer, with their shown
    /// prefixes.
    pub ended: Vec<(TokenId, String)>,
}

/// Adds a member, or gives one another role. Whoever is not (any more) a maintainer keeps no token that acts for it.
pub fn add_member(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    user: &UserName,
    role: Role,
) -> Result<MemberChange, StoreError> {
    let workspace = managed(tx, permit)?;
    let user = crate::users::existing(tx, user)?;
    if role != Role::Maintainer {
        keep_the_owner(&workspace, &user.name)?;
    }
    put_member(tx, workspace.id, user.id, role, permit.at())?;
    let member = member(tx, &workspace, &user)?.ok_or_else(|| no_member(&workspace, &user))?;
    let ended = if role == Role::Maintainer { Vec::new() } else { end_their_tokens(tx, permit, &workspace, &user)? };
    Ok(MemberChange { user: user.id, member, ended })
}

fn end_their_tokens(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    workspace: &Workspace,
    maker: &crate::users::User,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let reason = format!("{}, who made it, is no maintainer of {} any more", maker.name, workspace.name);
    crate::tokens::end_made_by(tx, maker.id, Some(workspace.id), &permit.actor().describe(), &reason, permit.at())
}

/// Removes a member, and ends the tokens of the workspace that they made; takes effect on their next call.
pub fn remove_member(tx: &mut WriteTx<'_>, permit: &Permit, user: &UserName) -> Result<MemberChange, StoreError> {
    let workspace = managed(tx, permit)?;
    let user = crate::users::existing(tx, user)?;
    keep_the_owner(&workspace, &user.name)?;
    let was = member(tx, &workspace, &user)?.ok_or_else(|| no_member(&workspace, &user))?;
    let gone =
        diesel::delete(members::table.find((workspace.id.as_uuid(), user.id.as_uuid()))).execute(tx.connection())?;
    exactly(1, gone, "somebody else removed them")?;
    let ended = end_their_tokens(tx, permit, &workspace, &user)?;
    Ok(MemberChange { user: user.id, member: was, ended })
}

fn no_member(workspace: &Workspace, user: &crate::users::User) -> StoreError {
    StoreError::NotFound {
        what: format!("{} is no member of {}", user.name, workspace.name),
        look: format!("`tok workspace member list {}` shows who is one", workspace.name),
    }
}

/// The members of a workspace, by name.
pub fn list_members(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Vec<Member>, StoreError> {
    let (Need::SeeWorkspace { workspace } | Need::ManageWorkspace { workspace }) = permit.need() else {
        return Err(StoreError::Permit("seeing members"));
    };
    let workspace = existing(tx, workspace)?;
    members::table
        .inner_join(users::table.on(members::user_id.eq(users::id)))
        .filter(members::workspace_id.eq(workspace.id.as_uuid()))
        .order(users::name)
        .select((users::id, users::name, members::role, members::added_at))
        .load::<(Uuid, String, String, DateTime<Utc>)>(tx.connection())?
        .into_iter()
        .map(|(id, name, role, added_at)| {
            let user: UserName = name.parse().map_err(|error: NameError| corrupt("users", id, &error))?;
            Ok(Member {
                owner: workspace.owner.as_ref() == Some(&user),
                user,
                role: role.parse().map_err(|error: tok_model::kind::UnknownWord| corrupt("members", id, &error))?,
                added_at,
            })
        })
        .collect()
}

pub(crate) fn put_member(
    tx: &mut WriteTx<'_>,
    workspace: WorkspaceId,
    user: UserId,
    role: Role,
    at: Timestamp,
) -> Result<(), StoreError> {
    let written = diesel::insert_into(members::table)
        .values((
            members::workspace_id.eq(workspace.as_uuid()),
            members::user_id.eq(user.as_uuid()),
            members::role.eq(role.as_str()),
            members::added_at.eq(at),
        ))
        .on_conflict((members::workspace_id, members::user_id))
        .do_update()
        .set(members::role.eq(role.as_str()))
        .execute(tx.connection())?;
    exactly(1, written, "the member was not written")
}

fn existing(tx: &mut ReadTx<'_>, name: &WorkspaceName) -> Result<Workspace, StoreError> {
    by_name(tx, name)?.ok_or_else(|| StoreError::NotFound {
        what: format!("no workspace is named {name}"),
        look: "`tok workspace list` shows those there are".to_owned(),
    })
}

fn managed(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Workspace, StoreError> {
    let Need::ManageWorkspace { workspace } = permit.need() else {
        return Err(StoreError::Permit("changing members"));
    };
    existing(tx, workspace)
}

fn member(tx: &mut ReadTx<'_>, workspace: &Workspace, user: &crate::users::User) -> Result<Option<Member>, StoreError> {
    let row: Option<(String, DateTime<Utc>)> = members::table
        .find((workspace.id.as_uuid(), user.id.as_uuid()))
        .select((members::role, members::added_at))
        .first(tx.connection())
        .optional()?;
    row.map(|(role, added_at)| {
        let role = role
            .parse()
            .map_err(|error: tok_model::kind::UnknownWord| corrupt("members", user.id.as_uuid(), &error))?;
        Ok(Member { user: user.name.clone(), role, owner: workspace.owner.as_ref() == Some(&user.name), added_at })
    })
    .transpose()
}

/// The owner stays a maintainer.
fn keep_the_owner(workspace: &Workspace, leaving: &UserName) -> Result<(), StoreError> {
    if workspace.owner.as_ref() == Some(leaving) {
        let what = format!("{leaving} owns the workspace {} and stays its maintainer", workspace.name);
        return Err(StoreError::Conflict { what });
    }
    Ok(())
}

/// How many workspaces there are.
pub fn count(tx: &mut ReadTx<'_>) -> Result<i64, StoreError> {
    Ok(workspaces::table.filter(workspaces::deleted_at.is_null()).count().get_result(tx.connection())?)
}
