//! Cut-offs: one row ends everything of an owner that was made before a moment, at once, however much it is.
//!
//! The row is the owner's own. What it ended is not touched; whoever reads a token reads its owner, too, and sees it
//! revoked. Only what has to be found ended by its own row is written there: what was made through those tokens later, and
//! tokens that stand in the way of a new one (local logins, and those that own a name).

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use tok_model::clock::Timestamp;
use tok_model::decide::Permit;
use tok_model::token::Owner;
use uuid::Uuid;

use super::revoke::{Act, EndedMany, Found, Identity, LONG, end_as, ends, sample};
use super::row::TokenRow;
use crate::error::StoreError;
use crate::schema::{users, workspaces};
use crate::tx::WriteTx;

/// An owner's name and cut-off: before when, and when, by whom and why it was made.
pub(super) type Side = (String, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<String>, Option<String>);

/// Shows a row that its owner's cut-off ended as ended. Returns the owner's name.
pub(super) fn seen(row: &mut TokenRow, (name, before, at, by, reason): Side) -> String {
    if row.revoked_at.is_none()
        && let (Some(before), Some(at)) = (before, at)
        && row.created_at < before
        && row.expires_at.is_none_or(|end| end > at)
    {
        row.revoked_at = Some(at);
        row.revoked_by = by;
        row.revoke_reason = reason;
    }
    name
}

/// What [`cut_off`] did.
#[derive(Debug, Clone)]
pub struct CutOff {
    /// Whether it is the owner's cut-off now; else one at that moment or later was there.
    pub moved: bool,
    /// What it ended.
    pub many: EndedMany,
}

/// Ends everything that acts for `owner` and was made before `before`, and what was made through it, as one act under
/// this ID. Does nothing if a cut-off at that moment or a later one is there: it never moves back.
pub fn cut_off(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    owner: Owner,
    before: Timestamp,
    reason: Option<&str>,
    act: Uuid,
) -> Result<CutOff, StoreError> {
    if ends(permit)?.is_some_and(|reach| reach != owner) {
        return Err(StoreError::Permit("ending somebody else's tokens"));
    }
    if before > permit.at() {
        return Err(StoreError::Permit("ending what is not made yet"));
    }
    diesel::sql_query(LONG).execute(tx.connection())?;
    let earlier = locked(tx, owner)?;
    if earlier.is_some_and(|earlier| earlier >= before) {
        return Ok(CutOff { moved: false, many: EndedMany { count: 0, sample: Vec::new() } });
    }
    if earlier.is_some() {
        write_down(tx, owner)?;
    }
    let (older, newest) = older(tx, owner, before, permit.at())?;
    let by = permit.actor().describe();
    let act = Act { at: permit.at(), by: &by, who: Identity::of(permit.actor()), reason, undo: Some(act) };
    set(tx, owner, before, &act)?;
    let (in_the_way, younger) = (in_the_way(tx, owner, before, permit.at())?, younger(tx, owner, before, permit.at())?);
    let with_them = end_as(tx, younger, &act)?.len();
    end_alone(tx, &in_the_way, &act)?;
    let count = u64::try_from(older).unwrap_or_default() + with_them as u64;
    Ok(CutOff { moved: true, many: EndedMany { count, sample: sample(tx, &newest)? } })
}

/// The cut-off that an owner has. Waits for whoever makes a token for it now; nobody makes one before this is over.
fn locked(tx: &mut WriteTx<'_>, owner: Owner) -> Result<Option<Timestamp>, StoreError> {
    let found: Option<Option<Timestamp>> = match owner {
        Owner::User(id) => {
            let row = users::table.find(id.as_uuid()).select(users::cutoff_before).for_update();
            row.first(tx.connection()).optional()?
        }
        Owner::Workspace(id) => {
            let row = workspaces::table.find(id.as_uuid()).select(workspaces::cutoff_before).for_update();
            row.first(tx.connection()).optional()?
        }
    };
    found.ok_or_else(|| StoreError::NotFound {
        what: "there is no such user or workspace any more".to_owned(),
        look: "`tok user list` and `tok workspace list` show which there are".to_owned(),
    })
}

fn set(tx: &mut WriteTx<'_>, owner: Owner, before: Timestamp, act: &Act<'_>) -> Result<(), StoreError> {
    match owner {
        Owner::User(id) => diesel::update(users::table.find(id.as_uuid()))
            .set((
                users::cutoff_before.eq(before),
                users::cutoff_at.eq(act.at),
                users::cutoff_by.eq(act.by),
                users::cutoff_by_user_id.eq(act.who.user),
                users::cutoff_by_token_id.eq(act.who.token),
                users::cutoff_reason.eq(act.reason),
                users::cutoff_act.eq(act.undo),
            ))
            .execute(tx.connection())?,
        Owner::Workspace(id) => diesel::update(workspaces::table.find(id.as_uuid()))
            .set((
                workspaces::cutoff_before.eq(before),
                workspaces::cutoff_at.eq(act.at),
                workspaces::cutoff_by.eq(act.by),
                workspaces::cutoff_by_user_id.eq(act.who.user),
                workspaces::cutoff_by_token_id.eq(act.who.token),
                workspaces::cutoff_reason.eq(act.reason),
                workspaces::cutoff_act.eq(act.undo),
            ))
            .execute(tx.connection())?,
    };
    Ok(())
}

/// Writes an earlier cut-off into the rows of what it ended, so that they keep saying when, by whom and why.
fn write_down(tx: &mut WriteTx<'_>, owner: Owner) -> Result<(), StoreError> {
    let (table, column, id) = columns(owner);
    let statement = format!(
        "UPDATE tokens SET revoked_at = o.cutoff_at, revoked_by = o.cutoff_by, revoke_reason = o.cutoff_reason, \
             revoke_act = o.cutoff_act, revoked_by_user_id = o.cutoff_by_user_id, \
             revoked_by_token_id = o.cutoff_by_token_id \
         FROM {table} o, (SELECT id FROM tokens WHERE {column} = $1 AND revoked_at IS NULL ORDER BY id FOR UPDATE) l \
         WHERE o.id = $1 AND tokens.id = l.id AND tokens.revoked_at IS NULL AND tokens.created_at < o.cutoff_before \
           AND (tokens.expires_at IS NULL OR tokens.expires_at > o.cutoff_at)"
    );
    diesel::sql_query(statement).bind::<SqlUuid, _>(id).execute(tx.connection())?;
    Ok(())
}

fn columns(owner: Owner) -> (&'static str, &'static str, Uuid) {
    match owner {
        Owner::User(id) => ("users", "user_id", id.as_uuid()),
        Owner::Workspace(id) => ("workspaces", "workspace_id", id.as_uuid()),
    }
}

/// Of a token of the owner: made before, and live.
const OLDER: &str = "revoked_at IS NULL AND created_at < $2 AND (expires_at IS NULL OR expires_at > $3) \
                     AND (grace_ends_at IS NULL OR grace_ends_at > $3)";

/// How many live tokens of the owner were made before, and the newest of them.
fn older(tx: &mut WriteTx<'_>, owner: Owner, before: Timestamp, at: Timestamp) -> Result<(i64, Vec<Uuid>), StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let (_, column, id) = columns(owner);
    let counted: Count =
        diesel::sql_query(format!("SELECT count(*) AS count FROM tokens WHERE {column} = $1 AND {OLDER}"))
            .bind::<SqlUuid, _>(id)
            .bind::<Timestamptz, _>(before)
            .bind::<Timestamptz, _>(at)
            .get_result(tx.connection())?;
    let newest: Vec<Found> = diesel::sql_query(format!(
        "SELECT id FROM tokens WHERE {column} = $1 AND {OLDER} ORDER BY created_at DESC, id DESC LIMIT 10"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(before)
    .bind::<Timestamptz, _>(at)
    .load(tx.connection())?;
    Ok((counted.count, newest.into_iter().map(|found| found.id).collect()))
}

/// What of it would stand in the way of a new token if its row did not say that it ended.
fn in_the_way(tx: &mut WriteTx<'_>, owner: Owner, before: Timestamp, at: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let (_, column, id) = columns(owner);
    let found: Vec<Found> = diesel::sql_query(format!(
        "SELECT id FROM tokens WHERE {column} = $1 AND {OLDER} AND (local_uid IS NOT NULL OR secret_hash IS NOT NULL)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(before)
    .bind::<Timestamptz, _>(at)
    .load(tx.connection())?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// What was made through it since, or for somebody else.
fn younger(tx: &mut WriteTx<'_>, owner: Owner, before: Timestamp, at: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let (_, column, id) = columns(owner);
    let found: Vec<Found> = diesel::sql_query(format!(
        "SELECT child.id FROM tokens parent JOIN tokens child ON child.parent_id = parent.id \
         WHERE parent.{column} = $1 AND parent.kind <> 'git' AND parent.revoked_at IS NULL AND parent.created_at < $2 \
           AND child.revoked_at IS NULL AND (child.expires_at IS NULL OR child.expires_at > $3) \
           AND (child.created_at >= $2 OR child.{column} IS DISTINCT FROM $1)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(before)
    .bind::<Timestamptz, _>(at)
    .load(tx.connection())?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// Ends these and nothing with them: what was made through them the cut-off ended, or was ended before.
fn end_alone(tx: &mut WriteTx<'_>, ids: &[Uuid], act: &Act<'_>) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE tokens SET revoked_at = $2, revoked_by = $3, revoke_reason = $4, revoke_act = $5, \
             revoked_by_user_id = $6, revoked_by_token_id = $7 \
         FROM (SELECT id FROM tokens WHERE id = ANY ($1) ORDER BY id FOR UPDATE) l \
         WHERE tokens.id = l.id AND tokens.revoked_at IS NULL",
    )
    .bind::<diesel::sql_types::Array<SqlUuid>, _>(ids)
    .bind::<Timestamptz, _>(act.at)
    .bind::<Text, _>(act.by)
    .bind::<Nullable<Text>, _>(act.reason)
    .bind::<Nullable<SqlUuid>, _>(act.undo)
    .bind::<Nullable<SqlUuid>, _>(act.who.user)
    .bind::<Nullable<SqlUuid>, _>(act.who.token)
    .execute(tx.connection())?;
    Ok(())
}
