//! Bringing back what one act ended, for a while after it.
//!
//! Only acts of people can be undone, and each is undone whole. What ended for another reason (its owner was deleted, it
//! was used up, it ran out, a policy or an alarm ended it) has no act in its row, and never comes back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Timestamptz, Uuid as SqlUuid};
use tok_model::audit::Actor;
use tok_model::clock::Timestamp;
use tok_model::decide::Permit;
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::token::{Owner, Reference, Standing, Token, TokenState};
use uuid::Uuid;

use super::revoke::{Found, Identity, LONG, end, ends};
use super::{OwnedRow, into_token, shown, shown_by_id, with_owner_names};
use crate::error::StoreError;
use crate::schema::{tokens, users, workspaces};
use crate::tx::{ReadTx, WriteTx};

/// How long after an act it can be undone.
pub const UNDO_WINDOW: TimeDelta = TimeDelta::minutes(15);

/// What came back.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The token that was asked for, as it is now.
    pub token: Token,
    /// How many live again, that one among them.
    pub count: u64,
    /// The act that was undone.
    pub act: Uuid,
    /// All of them.
    back: Vec<Uuid>,
}

/// The tokens that a reference points at among those that were revoked at the time of the permit or not long before.
pub fn restorable(tx: &mut ReadTx<'_>, permit: &Permit, reference: &Reference) -> Result<Vec<Token>, StoreError> {
    let Reference::Name(name) = reference else { return super::find(tx, permit, reference) };
    let mut query = with_owner_names().into_boxed();
    query = match ends(permit)? {
        None => query,
        Some(Owner::User(id)) => query.filter(tokens::user_id.eq(id.as_uuid())),
        Some(Owner::Workspace(id)) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
    };
    let since = permit.at() - UNDO_WINDOW;
    let rows = query
        .filter(tokens::name.eq(name))
        .filter(tokens::revoked_at.is_null().or(tokens::revoked_at.ge(since).assume_not_null()))
        .order((tokens::created_at.desc(), tokens::id.desc()))
        .limit(super::list::MOST_MATCHES.into())
        .load::<OwnedRow>(tx.connection())?;
    let ended = |token: &Token| matches!(&token.state, TokenState::Revoked { at, .. } if *at >= since);
    Ok(rows.into_iter().map(shown).filter(ended).collect())
}

/// The act that ended a token, as far as its row and its owner's say.
struct Ending {
    act: Uuid,
    at: DateTime<Utc>,
    by: String,
    who: Identity,
    /// Whether it was a cut-off of its owner that still stands.
    cut_off: bool,
}

/// Brings a token back with all that ended by the same act. Who does not administer the server undoes only their own acts.
pub fn restore(tx: &mut WriteTx<'_>, permit: &Permit, id: TokenId) -> Result<Restored, StoreError> {
    diesel::sql_query(LONG).execute(tx.connection())?;
    let reach = ends(permit)?;
    let missing =
        || StoreError::NotFound { what: format!("no token of yours has the ID {id}"), look: super::LISTED.to_owned() };
    let token = shown_by_id(tx, id)?.filter(|t| reach.is_none_or(|owner| owner == t.owner)).ok_or_else(missing)?;
    let conflict = |what: String| StoreError::Conflict { what };
    let named = format!("the token {} ({})", token.name, token.shown_prefix);
    let TokenState::Revoked { reason, .. } = &token.state else {
        return Err(conflict(format!("{named} is not revoked, so there is nothing to undo")));
    };
    let Some(ending) = ending(tx, &token)? else {
        let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        return Err(conflict(format!(
            "{named} was not ended by somebody's act{why}, and cannot be restored: make another with `tok token create \
             <name>`; `tok audit --token {}` shows how it ended",
            token.shown_prefix
        )));
    };
    if ending.at + UNDO_WINDOW <= permit.at() {
        return Err(conflict(format!("{named} was revoked more than 15 minutes ago; make a new one")));
    }
    if !may_undo(tx, permit, &ending)? {
        return Err(conflict(format!("{named} was revoked by {}, and only they or a manager can undo it", ending.by)));
    }
    let mut back = Vec::new();
    if ending.cut_off {
        back.append(&mut take_back(tx, token.owner, &ending)?);
    }
    back.append(&mut bring_back(tx, &ending, permit.at())?);
    if ending.cut_off {
        let orphans = end_orphans(tx, token.owner, permit.at())?;
        back.retain(|id| !orphans.contains(id));
    }
    let token = shown_by_id(tx, id)?.ok_or_else(missing)?;
    if token.standing(permit.at()) == Standing::Revoked {
        return Err(conflict(format!(
            "{named} cannot come back: what it rests on is gone (the token that it was made through was revoked, its \
             maker is no maintainer any more, or a later cut-off ended it)"
        )));
    }
    Ok(Restored { token, count: back.len() as u64, act: ending.act, back })
}

/// What works again since a [`restore`], for whoever may not give back more than they have. Git tokens are left out: they
/// reach no further than what they were made through, which is here too or never went.
pub fn came_back(tx: &mut WriteTx<'_>, permit: &Permit, restored: &Restored) -> Result<Vec<Token>, StoreError> {
    ends(permit)?;
    let rows = with_owner_names()
        .filter(tokens::id.eq_any(&restored.back))
        .filter(tokens::kind.ne(TokenKind::Git.as_str()))
        .order(tokens::id)
        .load::<OwnedRow>(tx.connection())?;
    let back = rows.into_iter().map(into_token).collect::<Result<Vec<_>, _>>()?;
    Ok(back.into_iter().filter(|token| token.standing(permit.at()) == Standing::Active).collect())
}

/// Managers undo everybody's acts, users their own. An act of nobody's (somebody held the text of a token, or a workspace's
/// own token did it) is for the owner of that token to undo.
fn may_undo(tx: &mut WriteTx<'_>, permit: &Permit, ending: &Ending) -> Result<bool, StoreError> {
    let Some(reach) = ends(permit)? else { return Ok(true) };
    let Identity { user, token: through } = ending.who;
    let own = permit.actor().user.as_ref().map(|(id, _)| id.as_uuid());
    if user.is_some() && user == own {
        return Ok(true);
    }
    let Some(through) = through else { return Ok(false) };
    // Ended through itself: its text was held.
    if user.is_some() && through != ending.act {
        return Ok(false);
    }
    Ok(shown_by_id(tx, TokenId::from_uuid(through))?.is_some_and(|token| token.owner == reach))
}

fn ending(tx: &mut WriteTx<'_>, token: &Token) -> Result<Option<Ending>, StoreError> {
    type Row = (Option<DateTime<Utc>>, Option<String>, Option<Uuid>, Option<Uuid>, Option<Uuid>);
    let own: Row = tokens::table
        .find(token.id.as_uuid())
        .select((
            tokens::revoked_at,
            tokens::revoked_by,
            tokens::revoke_act,
            tokens::revoked_by_user_id,
            tokens::revoked_by_token_id,
        ))
        .first(tx.connection())?;
    let cut_off = own.0.is_none();
    let row: Row = match token.owner {
        _ if !cut_off => own,
        Owner::User(id) => users::table
            .find(id.as_uuid())
            .select((
                users::cutoff_at,
                users::cutoff_by,
                users::cutoff_act,
                users::cutoff_by_user_id,
                users::cutoff_by_token_id,
            ))
            .first(tx.connection())?,
        Owner::Workspace(id) => workspaces::table
            .find(id.as_uuid())
            .select((
                workspaces::cutoff_at,
                workspaces::cutoff_by,
                workspaces::cutoff_act,
                workspaces::cutoff_by_user_id,
                workspaces::cutoff_by_token_id,
            ))
            .first(tx.connection())?,
    };
    Ok(match row {
        (Some(at), Some(by), Some(act), user, token) => {
            Some(Ending { act, at, by, who: Identity { user, token }, cut_off })
        }
        _ => None,
    })
}

/// Takes a cut-off back, if it still is the owner's latest. Returns the tokens that it had ended by itself alone.
fn take_back(tx: &mut WriteTx<'_>, owner: Owner, ending: &Ending) -> Result<Vec<Uuid>, StoreError> {
    #[derive(QueryableByName)]
    struct Back {
        #[diesel(sql_type = diesel::sql_types::Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let (table, column, id) = match owner {
        Owner::User(id) => ("users", "user_id", id.as_uuid()),
        Owner::Workspace(id) => ("workspaces", "workspace_id", id.as_uuid()),
    };
    let found: Vec<Back> = diesel::sql_query(format!(
        "WITH undone AS ( \
             UPDATE {table} AS o SET cutoff_before = NULL, cutoff_at = NULL, cutoff_by = NULL, cutoff_reason = NULL, \
                 cutoff_act = NULL, cutoff_by_user_id = NULL, cutoff_by_token_id = NULL \
             FROM (SELECT id, cutoff_before, cutoff_at FROM {table} WHERE id = $1 AND cutoff_act = $2 FOR UPDATE) was \
             WHERE o.id = was.id RETURNING was.cutoff_before, was.cutoff_at \
         ) \
         SELECT t.id FROM undone LEFT JOIN tokens t ON t.{column} = $1 AND t.revoked_at IS NULL \
             AND t.created_at < undone.cutoff_before AND (t.expires_at IS NULL OR t.expires_at > undone.cutoff_at)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<SqlUuid, _>(ending.act)
    .load(tx.connection())?;
    // One line without a token says that there was one, and that it had ended none.
    if found.is_empty() {
        return Err(StoreError::Conflict { what: "somebody else has changed the cut-off; look again".to_owned() });
    }
    Ok(found.into_iter().filter_map(|back| back.id).collect())
}

/// Ends what of an owner was made through a token that ended while the cut-off stood: it was not looked at then, since it
/// had ended already. Returns them, with all that were made through them.
fn end_orphans(tx: &mut WriteTx<'_>, owner: Owner, at: Timestamp) -> Result<BTreeSet<Uuid>, StoreError> {
    let (column, id) = match owner {
        Owner::User(id) => ("user_id", id.as_uuid()),
        Owner::Workspace(id) => ("workspace_id", id.as_uuid()),
    };
    let orphans: Vec<Found> = diesel::sql_query(format!(
        "SELECT t.id FROM tokens t JOIN tokens p ON p.id = t.parent_id \
         WHERE t.{column} = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2) \
           AND (p.revoked_at IS NOT NULL OR p.grace_ends_at <= $2)"
    ))
    .bind::<SqlUuid, _>(id)
    .bind::<Timestamptz, _>(at)
    .load(tx.connection())?;
    let orphans = orphans.into_iter().map(|orphan| orphan.id).collect();
    let reason = "the token that it was made through has ended";
    let ended = end(tx, orphans, &Actor::daemon().describe(), Some(reason), at)?;
    Ok(ended.into_iter().map(|(id, _)| id.as_uuid()).collect())
}

/// A token that an act ended.
#[derive(QueryableByName)]
struct Ended {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Nullable<SqlUuid>)]
    parent_id: Option<Uuid>,
    /// Whether its owner is there, no cut-off stands against it, its maker still may have made it, and nothing took its place;
    /// of a git token, whether what it was made through is as it was then, since it reaches as far as that one did.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    may: bool,
    /// Whether what it was made through lives.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    parent_lives: bool,
}

/// Brings back what an act wrote into the rows of tokens: what was made through a token that stays ended stays ended, and
/// so does what its maker or owner could not have now, and a login that was opened anew.
fn bring_back(tx: &mut WriteTx<'_>, ending: &Ending, now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let ended: Vec<Ended> = diesel::sql_query(
        "SELECT t.id, t.parent_id, \
             coalesce(t.created_at >= u.cutoff_before, true) AND coalesce(t.created_at >= w.cutoff_before, true) \
               AND u.deleted_at IS NULL AND w.deleted_at IS NULL \
               AND (t.workspace_id IS NULL OR t.created_by_user_id IS NULL \
                    OR (m.deleted_at IS NULL AND (m.manager OR EXISTS ( \
                        SELECT FROM members WHERE user_id = m.id AND workspace_id = t.workspace_id \
                            AND role = 'maintainer')))) \
               AND (t.local_uid IS NULL OR NOT EXISTS ( \
                    SELECT FROM tokens o WHERE o.user_id = t.user_id AND o.local_uid = t.local_uid \
                        AND o.revoked_at IS NULL)) \
               AND (t.kind <> 'git' OR NOT EXISTS ( \
                    WITH RECURSIVE up (id, parent_id, modified_at) AS ( \
                        SELECT a.id, a.parent_id, a.modified_at FROM tokens a WHERE a.id = t.parent_id \
                        UNION ALL SELECT a.id, a.parent_id, a.modified_at FROM up JOIN tokens a ON a.id = up.parent_id) \
                    SELECT FROM up WHERE up.modified_at >= t.created_at)) AS may, \
             coalesce(p.revoked_at IS NULL AND coalesce(p.grace_ends_at > $3, true) \
               AND coalesce(p.created_at >= pu.cutoff_before, true) \
               AND coalesce(p.created_at >= pw.cutoff_before, true), true) AS parent_lives \
         FROM tokens t \
         LEFT JOIN users u ON u.id = t.user_id LEFT JOIN workspaces w ON w.id = t.workspace_id \
         LEFT JOIN users m ON m.id = t.created_by_user_id \
         LEFT JOIN tokens p ON p.id = t.parent_id \
         LEFT JOIN users pu ON pu.id = p.user_id LEFT JOIN workspaces pw ON pw.id = p.workspace_id \
         WHERE t.revoke_act = $1 AND t.revoked_at = $2 ORDER BY t.id FOR UPDATE OF t",
    )
    .bind::<SqlUuid, _>(ending.act)
    .bind::<Timestamptz, _>(ending.at)
    .bind::<Timestamptz, _>(now)
    .load(tx.connection())?;
    let back = reviving(&ended);
    if back.is_empty() {
        return Ok(back);
    }
    diesel::update(tokens::table.filter(tokens::id.eq_any(&back)).filter(tokens::revoke_act.eq(ending.act)))
        .set((
            tokens::revoked_at.eq(None::<Timestamp>),
            tokens::revoked_by.eq(None::<String>),
            tokens::revoked_by_user_id.eq(None::<Uuid>),
            tokens::revoked_by_token_id.eq(None::<Uuid>),
            tokens::revoke_reason.eq(None::<String>),
            tokens::revoke_act.eq(None::<Uuid>),
            tokens::modified_at.eq(now),
        ))
        .execute(tx.connection())?;
    outlive_no_parent(tx, &back)?;
    Ok(back)
}

/// What came back ends no later than what it was made through, which may have been shortened or given a successor while it
/// was away.
fn outlive_no_parent(tx: &mut WriteTx<'_>, back: &[Uuid]) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH RECURSIVE back (id) AS (SELECT unnest($1)), \
         line (id, ends, gives_up) AS ( \
             SELECT t.id, least(t.expires_at, p.expires_at, p.grace_ends_at), t.grace_ends_at \
             FROM back JOIN tokens t ON t.id = back.id JOIN tokens p ON p.id = t.parent_id \
             WHERE p.id NOT IN (SELECT id FROM back) \
             UNION ALL SELECT t.id, least(t.expires_at, line.ends, line.gives_up), t.grace_ends_at \
             FROM line JOIN tokens t ON t.parent_id = line.id JOIN back ON back.id = t.id \
         ) \
         UPDATE tokens SET expires_at = line.ends FROM line \
         WHERE tokens.id = line.id AND tokens.expires_at IS DISTINCT FROM line.ends",
    )
    .bind::<Array<SqlUuid>, _>(back)
    .execute(tx.connection())?;
    Ok(())
}

/// Of what one act ended, what can live again: parents before children.
fn reviving(ended: &[Ended]) -> Vec<Uuid> {
    let within: BTreeSet<Uuid> = ended.iter().map(|token| token.id).collect();
    let mut children: BTreeMap<Uuid, Vec<&Ended>> = BTreeMap::new();
    let mut next = Vec::new();
    for token in ended.iter().filter(|token| token.may) {
        match token.parent_id.filter(|parent| within.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(token),
            None if token.parent_lives => next.push(token.id),
            None => {}
        }
    }
    let mut back = Vec::new();
    while let Some(id) = next.pop() {
        back.push(id);
        next.extend(children.remove(&id).into_iter().flatten().map(|child| child.id));
    }
    back
}
