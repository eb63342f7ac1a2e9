//! What a token that is being made rests on, at the moment at which that happens: the token that it is made through, and
//! whom it is to act for.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::kind::Role;
use tok_model::token::Owner;
use uuid::Uuid;

use super::parent_revoked;
use crate::error::StoreError;
use crate::prepared::{Among, among};
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
    Kept::of(tx, std::iter::once(permit))?.keep(permit).map(drop)
}

/// Of those for whom tokens are to be made, and of those who make them, what is there and stays so before this
/// transaction is over: by as few statements as one of them takes, each of which locks in the order of IDs.
pub(super) struct Kept {
    /// With their names.
    users: BTreeMap<Uuid, String>,
    /// With their names.
    workspaces: BTreeMap<Uuid, String>,
    managers: BTreeSet<Uuid>,
    /// Workspace and maintainer.
    maintainers: BTreeSet<(Uuid, Uuid)>,
}

impl Kept {
    pub(super) fn of<'p>(tx: &mut WriteTx<'_>, permits: impl Iterator<Item = &'p Permit>) -> Result<Self, StoreError> {
        let (mut users, mut workspaces, mut makers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for permit in permits {
            let (Need::Mint(request) | Need::Import(request)) = permit.need() else { continue };
            match request.owner {
                Owner::User(id) => _ = users.insert(id.as_uuid()),
                Owner::Workspace(id) => {
                    workspaces.insert(id.as_uuid());
                    makers.extend(permit.actor().user.as_ref().map(|(maker, _)| maker.as_uuid()));
                }
            }
        }
        let users = kept_users(tx, users)?;
        let workspaces = kept_workspaces(tx, workspaces)?;
        let managers = kept_managers(tx, makers.clone())?;
        let maintainers = kept_maintainers(tx, &workspaces, &makers - &managers)?;
        Ok(Self { users, workspaces, managers, maintainers })
    }

    /// Whether the token that this permit allows can be made, and for whom: the name of its owner.
    pub(super) fn keep(&self, permit: &Permit) -> Result<&str, StoreError> {
        let (Need::Mint(request) | Need::Import(request)) = permit.need() else {
            return Err(StoreError::Permit("making a token"));
        };
        let conflict = |what: &str| StoreError::Conflict { what: what.to_owned() };
        let workspace = match request.owner {
            Owner::User(id) => {
                let name = self.users.get(&id.as_uuid()).map(String::as_str);
                return name.ok_or_else(|| conflict("the user that the token was to act for was just deleted"));
            }
            Owner::Workspace(id) => id.as_uuid(),
        };
        let Some(name) = self.workspaces.get(&workspace) else {
            return Err(conflict("the workspace that the token was to act for was just deleted"));
        };
        let Some((maker, _)) = &permit.actor().user else { return Ok(name) };
        let maker = maker.as_uuid();
        if self.managers.contains(&maker) || self.maintainers.contains(&(workspace, maker)) {
            return Ok(name);
        }
        Err(conflict("you are no maintainer of that workspace any more"))
    }
}

fn kept_users(tx: &mut WriteTx<'_>, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, String>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = users::table.filter(these(users::id, ids)).filter(users::deleted_at.is_null());
    let kept = rows.order(users::id).select((users::id, users::name)).for_share();
    let kept = kept.load::<(Uuid, String)>(tx.connection())?;
    Ok(kept.into_iter().collect())
}

fn kept_workspaces(tx: &mut WriteTx<'_>, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, String>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = workspaces::table.filter(these(workspaces::id, ids)).filter(workspaces::deleted_at.is_null());
    let kept = rows.order(workspaces::id).select((workspaces::id, workspaces::name)).for_share();
    let kept = kept.load::<(Uuid, String)>(tx.connection())?;
    Ok(kept.into_iter().collect())
}

fn kept_managers(tx: &mut WriteTx<'_>, makers: BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, StoreError> {
    if makers.is_empty() {
        return Ok(makers);
    }
    let rows = users::table.filter(these(users::id, makers)).filter(users::deleted_at.is_null());
    let managers = rows.filter(users::manager).order(users::id).select(users::id).for_share();
    Ok(managers.load::<Uuid>(tx.connection())?.into_iter().collect())
}

fn kept_maintainers(
    tx: &mut WriteTx<'_>,
    workspaces: &BTreeMap<Uuid, String>,
    makers: BTreeSet<Uuid>,
) -> Result<BTreeSet<(Uuid, Uuid)>, StoreError> {
    if workspaces.is_empty() || makers.is_empty() {
        return Ok(BTreeSet::new());
    }
    let places = members::table
        .filter(these(members::workspace_id, workspaces.keys().copied().collect()))
        .filter(these(members::user_id, makers))
        .filter(members::role.eq(Role::Maintainer.as_str()))
        .order((members::workspace_id, members::user_id))
        .select((members::workspace_id, members::user_id))
        .for_share();
    Ok(places.load::<(Uuid, Uuid)>(tx.connection())?.into_iter().collect())
}

fn these<C>(column: C, ids: BTreeSet<Uuid>) -> Among<SqlUuid, C, Uuid> {
    among(column, ids.into_iter().collect())
}

/// No cut-off of its owner ended this parent; nobody makes one before this transaction is over.
pub(super) fn parents_owner_keeps(tx: &mut WriteTx<'_>, parent: Uuid, version: Option<i32>) -> Result<(), StoreError> {
    let kept = kept_parents(tx, BTreeSet::from([parent]))?;
    let as_decided = kept.get(&parent).is_some_and(|parent| parent.is_version(version));
    as_decided.then_some(()).ok_or_else(parent_revoked)
}

/// A token that others are made through, as it stays for now.
#[derive(Debug)]
pub(super) struct KeptParent {
    /// For whom it acts, and so does what is minted through it for git.
    pub(super) owner_name: String,
    /// When it ends, if it was given up for a successor.
    pub(super) grace_ends_at: Option<Timestamp>,
    version: i32,
}

impl KeptParent {
    /// Whether it still is what was decided about.
    pub(super) fn is_version(&self, decided: Option<i32>) -> bool {
        decided.is_none_or(|decided| decided == self.version)
    }
}

type ParentRow = (Uuid, String, Option<Timestamp>, i32);

fn kept_parent((id, owner_name, grace_ends_at, version): ParentRow) -> (Uuid, KeptParent) {
    (id, KeptParent { owner_name, grace_ends_at, version })
}

/// Those of these tokens that are live and that no cut-off of their owner ended; nobody ends or changes them before this transaction is over. Locked in the order of IDs, as by whoever ends
/// tokens.
pub(super) fn kept_parents(
    tx: &mut WriteTx<'_>,
    mut wanted: BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, KeptParent>, StoreError> {
    let mut kept: BTreeMap<Uuid, KeptParent> = BTreeMap::new();
    if !wanted.is_empty() {
        let of_users = of_uncut_users().filter(these(tokens::id, wanted.clone())).order(tokens::id);
        let of_users =
            of_users.select((tokens::id, users::name, tokens::grace_ends_at, tokens::version)).for_key_share();
        kept.extend(of_users.load::<ParentRow>(tx.connection())?.into_iter().map(kept_parent));
        wanted.retain(|parent| !kept.contains_key(parent));
    }
    if !wanted.is_empty() {
        let of_workspaces = of_uncut_workspaces().filter(these(tokens::id, wanted)).order(tokens::id);
        let of_workspaces = of_workspaces
            .select((tokens::id, workspaces::name, tokens::grace_ends_at, tokens::version))
            .for_key_share();
        kept.extend(of_workspaces.load::<ParentRow>(tx.connection())?.into_iter().map(kept_parent));
    }
    Ok(kept)
}

/// This token of a user, if it is live and no cut-off of the user ended it. The user comes first, and so is locked first.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn uncut_by_user(parent: Uuid) -> _ {
    of_uncut_users().filter(tokens::id.eq(parent)).select(tokens::id)
}

/// This token of a workspace, if it is live and no cut-off of the workspace ended it.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn uncut_by_workspace(parent: Uuid) -> _ {
    of_uncut_workspaces().filter(tokens::id.eq(parent)).select(tokens::id)
}

#[diesel::dsl::auto_type]
fn of_uncut_users() -> _ {
    let after =
        users::cutoff_before.is_null().or(users::cutoff_before.le(tokens::created_at.nullable()).assume_not_null());
    users::table
        .inner_join(tokens::table.on(tokens::user_id.eq(users::id.nullable())))
        .filter(tokens::revoked_at.is_null())
        .filter(after)
}

#[diesel::dsl::auto_type]
fn of_uncut_workspaces() -> _ {
    let after = workspaces::cutoff_before
        .is_null()
        .or(workspaces::cutoff_before.le(tokens::created_at.nullable()).assume_not_null());
    workspaces::table
        .inner_join(tokens::table.on(tokens::workspace_id.eq(workspaces::id.nullable())))
        .filter(tokens::revoked_at.is_null())
        .filter(after)
}
