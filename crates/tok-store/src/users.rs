//! Users.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::decide::{Membership, Need, Permit, UserNow};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::Owner;
use uuid::Uuid;

use crate::error::StoreError;
use crate::schema::{members, users, workspaces};
use crate::tokens::{SignedOut, sign_out};
use crate::tx::{ReadTx, WriteTx, exactly};

/// A user, as lists show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their ID.
    pub id: UserId,
    /// Their login name.
    pub name: UserName,
    /// Whether they may administer the server.
    pub manager: bool,
    /// When they were made.
    pub created_at: DateTime<Utc>,
    /// Since when they may not act, if so.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Whether they can log in with a password.
    pub has_password: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
struct UserRow {
    id: Uuid,
    name: String,
    manager: bool,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
    #[diesel(select_expression = users::password_hash.is_not_null())]
    has_password: bool,
}

impl UserRow {
    fn into_user(self) -> Result<User, StoreError> {
        Ok(User {
            id: UserId::from_uuid(self.id),
            name: name(&self.name, self.id)?,
            manager: self.manager,
            created_at: self.created_at,
            disabled_at: self.disabled_at,
            has_password: self.has_password,
        })
    }
}

fn name(text: &str, id: Uuid) -> Result<UserName, StoreError> {
    text.parse().map_err(|error: tok_model::name::NameError| StoreError::Corrupt {
        table: "users",
        id: id.to_string(),
        why: error.to_string(),
    })
}

/// A user as they are now, with their role everywhere; `None` if there is none (any more).
pub fn now(tx: &mut ReadTx<'_>, id: UserId) -> Result<Option<UserNow>, StoreError> {
    all_now(tx, &BTreeSet::from([id]))?.remove(&id).transpose()
}

/// Several users as they are now, by one statement. Whoever is not (any more) is not in the answer; a row that cannot be
/// understood is an error for its own user.
pub(crate) fn all_now(
    tx: &mut ReadTx<'_>,
    ids: &BTreeSet<UserId>,
) -> Result<BTreeMap<UserId, Result<UserNow, StoreError>>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    // A line for each role, or one without for whoever has none.
    let roles = members::table.inner_join(
        workspaces::table.on(members::workspace_id.eq(workspaces::id).and(workspaces::deleted_at.is_null())),
    );
    let lines: Vec<(UserRow, Option<Role>)> = users::table
        .left_join(roles.on(members::user_id.eq(users::id)))
        .filter(users::id.eq_any(ids))
        .filter(users::deleted_at.is_null())
        .select((UserRow::as_select(), (workspaces::id, workspaces::name, members::role).nullable()))
        .load(tx.connection())?;
    let mut users: BTreeMap<Uuid, (UserRow, Vec<Role>)> = BTreeMap::new();
    for (user, role) in lines {
        users.entry(user.id).or_insert_with(|| (user, Vec::new())).1.extend(role);
    }
    Ok(users.into_iter().map(|(id, (user, roles))| (UserId::from_uuid(id), user_now(&user, &roles))).collect())
}

/// The same by login name, in whatever case it was typed.
pub fn now_by_name(tx: &mut ReadTx<'_>, name: &UserName) -> Result<Option<UserNow>, StoreError> {
    let Some(row) = row_by_name(tx, name)? else { return Ok(None) };
    now(tx, UserId::from_uuid(row.id))
}

fn row_by_name(tx: &mut ReadTx<'_>, name: &UserName) -> Result<Option<UserRow>, StoreError> {
    Ok(users::table
        .filter(crate::lower(users::name).eq(name.as_str().to_ascii_lowercase()))
        .filter(users::deleted_at.is_null())
        .select(UserRow::as_select())
        .first(tx.connection())
        .optional()?)
}

/// A workspace's ID and name, and the role there.
type Role = (Uuid, String, String);

fn user_now(row: &UserRow, roles: &[Role]) -> Result<UserNow, StoreError> {
    let corrupt = |table, id: Uuid, why: String| StoreError::Corrupt { table, id: id.to_string(), why };
    let memberships: BTreeMap<WorkspaceName, Membership> = roles
        .iter()
        .map(|(id, workspace, role)| {
            let workspace = workspace
                .parse()
                .map_err(|error: tok_model::name::NameError| corrupt("workspaces", *id, error.to_string()))?;
            let role = role
                .parse()
                .map_err(|error: tok_model::kind::UnknownWord| corrupt("members", row.id, error.to_string()))?;
            Ok::<_, StoreError>((workspace, Membership { workspace: WorkspaceId::from_uuid(*id), role }))
        })
        .collect::<Result<_, _>>()?;
    let enabled = row.disabled_at.is_none();
    Ok(UserNow {
        id: UserId::from_uuid(row.id),
        name: name(&row.name, row.id)?,
        enabled,
        manager: row.manager,
        memberships,
    })
}

/// Makes a user, and the workspace of the same name that they own.
pub fn create(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    id: UserId,
    workspace: WorkspaceId,
    name: &UserName,
    manager: bool,
) -> Result<User, StoreError> {
    manages(permit, "making a user")?;
    crate::tokens::no_token_named(tx, name.as_str(), permit.at())?;
    let written = diesel::insert_into(users::table)
        .values((
            users::id.eq(id.as_uuid()),
            users::name.eq(name.as_str()),
            users::manager.eq(manager),
            users::created_at.eq(permit.at()),
        ))
        .execute(tx.connection())?;
    exactly(1, written, "the user was not written")?;
    crate::workspaces::insert(tx, workspace, &WorkspaceName::from(name), Some(id), permit.at())?;
    Ok(User { id, name: name.clone(), manager, created_at: permit.at(), disabled_at: None, has_password: false })
}

/// Every user, by name.
pub fn list(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Vec<User>, StoreError> {
    manages(permit, "listing users")?;
    users::table
        .filter(users::deleted_at.is_null())
        .order(users::name)
        .select(UserRow::as_select())
        .load(tx.connection())?
        .into_iter()
        .map(UserRow::into_user)
        .collect()
}

/// One user by name. The permit is a manager's, or for that very user's profile.
pub fn show(tx: &mut ReadTx<'_>, permit: &Permit, name: &UserName) -> Result<User, StoreError> {
    let user = existing(tx, name)?;
    match permit.need() {
        Need::Server => Ok(user),
        Need::Profile { user: own } if *own == user.id => Ok(user),
        _ => Err(StoreError::Permit("seeing that user")),
    }
}

/// Disables a user (their tokens stop working at once and keep; what their browsers were given ends, and a device whose
/// login they approved does not get in any more), or enables them again. Returns the user and what ended.
pub fn set_enabled(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    name: &UserName,
    enabled: bool,
) -> Result<(User, SignedOut), StoreError> {
    manages(permit, "disabling a user")?;
    let user = existing(tx, name)?;
    if user.disabled_at.is_none() == enabled {
        let state = if enabled { "enabled" } else { "disabled" };
        return Err(StoreError::Conflict { what: format!("the user {name} is {state} already") });
    }
    let disabled_at = (!enabled).then_some(permit.at());
    // Only from the state that was seen: of two who do it at once, one does.
    let as_seen = users::table.find(user.id.as_uuid()).filter(users::disabled_at.is_null().eq(!enabled));
    let touched = diesel::update(as_seen.filter(users::deleted_at.is_null()))
        .set(users::disabled_at.eq(disabled_at))
        .execute(tx.connection())?;
    exactly(1, touched, "somebody else changed the user; look again")?;
    let mut signed_out = SignedOut::default();
    if !enabled {
        signed_out = sign_out(tx, permit, user.id, false, "the user was disabled")?;
        crate::device_logins::take_back(tx, user.id)?;
    }
    Ok((User { disabled_at, ..user }, signed_out))
}

/// Deletes a user: their tokens and those they made for workspaces are ended, their memberships go, their name is free
/// again. Returns the user and how many tokens ended. The workspace of the same name stays, with its repositories, for
/// its other members; until it is deleted as well, no new user can have the name, since they would come into what was
/// another's.
pub fn delete(tx: &mut WriteTx<'_>, permit: &Permit, name: &UserName) -> Result<(User, usize), StoreError> {
    manages(permit, "deleting a user")?;
    let user = existing(tx, name)?;
    // The user before their tokens, as whoever opens a login of theirs goes: the two wait for each other in one order.
    let touched = diesel::update(users::table.find(user.id.as_uuid()).filter(users::deleted_at.is_null()))
        .set(users::deleted_at.eq(permit.at()))
        .execute(tx.connection())?;
    exactly(1, touched, "somebody else deleted the user")?;
    diesel::delete(members::table.filter(members::user_id.eq(user.id.as_uuid()))).execute(tx.connection())?;
    let reason = format!("the user {} was deleted", user.name);
    let by = permit.actor().describe();
    let own = crate::tokens::end_all_of(tx, Owner::User(user.id), &by, &reason, permit.at())?;
    let made = crate::tokens::end_made_by(tx, user.id, None, &by, &reason, permit.at())?;
    let ended = own + made.len();
    Ok((user, ended))
}

/// A user's password hash, for the check of a password. `None` is no such user, or no password.
pub fn password_hash(tx: &mut ReadTx<'_>, name: &UserName) -> Result<Option<String>, StoreError> {
    let hash: Option<Option<String>> = users::table
        .filter(crate::lower(users::name).eq(name.as_str().to_ascii_lowercase()))
        .filter(users::deleted_at.is_null())
        .select(users::password_hash)
        .first(tx.connection())
        .optional()?;
    Ok(hash.flatten())
}

/// Sets a user's password to what has this hash, or takes it away. What was proved with the one until now ends: what their
/// browsers were given, but for the session that this is done with, and what they approved for a device that has not come
/// for it yet. Their other sessions end if that is wished. The permit is a manager's, or for that very user's profile to
/// change.
pub fn set_password(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    name: &UserName,
    hash: Option<&str>,
    end_sessions: bool,
) -> Result<(User, SignedOut), StoreError> {
    let user = existing(tx, name)?;
    match permit.need() {
        Need::Server => {}
        Need::ChangeProfile { user: own } if *own == user.id => {}
        _ => return Err(StoreError::Permit("setting that user's password")),
    }
    let touched = diesel::update(users::table.find(user.id.as_uuid()).filter(users::deleted_at.is_null()))
        .set(users::password_hash.eq(hash))
        .execute(tx.connection())?;
    exactly(1, touched, "somebody else deleted the user")?;
    let reason = if hash.is_some() { "a new password was set" } else { "the password was taken away" };
    let signed_out = sign_out(tx, permit, user.id, end_sessions, reason)?;
    crate::device_logins::take_back(tx, user.id)?;
    Ok((User { has_password: hash.is_some(), ..user }, signed_out))
}

/// Puts a stronger hash of the same password in the place of a weaker one. The permit is for that very user's profile to
/// change, as they have who know the password.
pub fn renew_password_hash(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    user: UserId,
    old: &str,
    new: &str,
) -> Result<(), StoreError> {
    if *permit.need() != (Need::ChangeProfile { user }) {
        return Err(StoreError::Permit("renewing the hash of another user's password"));
    }
    let as_seen = users::table.find(user.as_uuid()).filter(users::password_hash.eq(old));
    let touched = diesel::update(as_seen).set(users::password_hash.eq(new)).execute(tx.connection())?;
    exactly(1, touched, "somebody else changed the password")
}

/// Who has a name, or had it when they were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// Their ID.
    pub id: UserId,
    /// When they were deleted, if they were.
    pub deleted_at: Option<DateTime<Utc>>,
}

type BearerRow = (Uuid, Option<DateTime<Utc>>);

impl From<BearerRow> for Bearer {
    fn from((id, deleted_at): BearerRow) -> Self {
        Self { id: UserId::from_uuid(id), deleted_at }
    }
}

/// Who has this name, and who had it before them, the last first: for reading what they did.
pub fn bearers_of_name(tx: &mut ReadTx<'_>, name: &UserName) -> Result<Vec<Bearer>, StoreError> {
    let alike = users::table.filter(crate::lower(users::name).eq(name.as_str().to_lowercase()));
    let found: Vec<BearerRow> = alike
        .select((users::id, users::deleted_at))
        .order((users::deleted_at.desc().nulls_first(), users::id))
        .load(tx.connection())?;
    Ok(found.into_iter().map(Bearer::from).collect())
}

/// The user with this ID, deleted or not: for reading what they did.
pub fn bearer_of_id(tx: &mut ReadTx<'_>, id: UserId) -> Result<Option<Bearer>, StoreError> {
    let row = users::table.find(id.as_uuid()).select((users::id, users::deleted_at));
    Ok(row.first::<BearerRow>(tx.connection()).optional()?.map(Bearer::from))
}

/// How many users there are.
pub fn count(tx: &mut ReadTx<'_>) -> Result<i64, StoreError> {
    Ok(users::table.filter(users::deleted_at.is_null()).count().get_result(tx.connection())?)
}

pub(crate) fn existing(tx: &mut ReadTx<'_>, name: &UserName) -> Result<User, StoreError> {
    let unknown = || StoreError::NotFound {
        what: format!("no user is named {name}"),
        look: "`tok user list` shows the users there are".to_owned(),
    };
    row_by_name(tx, name)?.ok_or_else(unknown)?.into_user()
}

fn manages(permit: &Permit, what: &'static str) -> Result<(), StoreError> {
    if *permit.need() == Need::Server { Ok(()) } else { Err(StoreError::Permit(what)) }
}
