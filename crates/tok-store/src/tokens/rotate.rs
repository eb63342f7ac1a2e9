//! Rotation: a token gives its place to a successor, and what happens to whoever still presents it afterwards.

use std::collections::BTreeMap;

use diesel::prelude::*;
use tok_model::audit::{Action, Actor, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::TokenId;
use tok_model::token::{Owner, Token, TokenState};
use uuid::Uuid;

use super::idempotency::Replaced;
use super::line::same_version;
use super::modify::missing;
use super::{
    NewToken, OwnedRow, as_kept, by_id, clamp_descendants, end, end_descendants, insert, into_token, locked,
    owner_keeps, parents_end, row_for, shown, with_owner_names,
};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::{ReadTx, WriteTx};

/// What [`rotate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The successor.
    pub token: Token,
    /// The old one, as it is now.
    pub predecessor: Token,
    /// What ended at once with the old one, with shown prefixes: what was made through it, if it has no grace.
    pub ended: Vec<(TokenId, String)>,
}

/// Makes the token that `permit` allows as the successor of `old`, which works on until `grace_ends_at` at most. It was
/// decided about the old one of this version: a conflict if somebody changed it since. `replaces`
/// is an earlier successor whose text never arrived: this one takes its place, under the terms that stand.
///
/// The successor stands where the old one stood: same family, same parent, which it does not outlive. Everything made through the old one ends when
/// that does.
pub fn rotate(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    (old, version): (TokenId, i32),
    new: NewToken,
    grace_ends_at: Timestamp,
    replaces: Option<TokenId>,
) -> Result<Rotated, StoreError> {
    let Need::Mint(request) = permit.need() else { return Err(StoreError::Permit("rotating a token")) };
    owner_keeps(tx, permit)?;
    let before = locked(tx, old)?.map(into_token).transpose()?.ok_or_else(|| missing(old))?;
    rotatable(&before, permit.at(), replaces)?;
    // What an earlier successor is replaced for was rotated with it, and changes no more.
    if replaces.is_none() {
        same_version(&before, version)?;
    }
    if before.owner != request.owner || !request.grant.within(&before.grant) {
        return Err(StoreError::Permit("rotating a token into another"));
    }
    let mut row = row_for(permit, NewToken { parent: before.parent, ..new })?;
    row.family_id = before.family.as_uuid();
    row.predecessor_id = Some(old.as_uuid());
    row.first_use_due = true;
    let parents_end = parents_end(tx, before.parent)?;
    row.expires_at = [row.expires_at, parents_end].into_iter().flatten().min();
    // A workspace's token that rotates itself does not get away from whoever made it, and goes when they go.
    if row.created_by_user_id.is_none() && before.creator.user.is_some() {
        row.created_by_user_id = before.creator.user.map(tok_model::id::UserId::as_uuid);
        row.created_by_name.clone_from(&before.creator.name);
    }
    let (id, by) = (row.id, permit.actor().describe());
    // The name of a chosen secret is free only once the old one has given it up, and the old one can point at its successor
    // only once that is there: so it gives up first, and points at itself until the next statement but one.
    let terms = match &before.state {
        TokenState::Rotated { at, by, grace_ends_at, .. } => (*at, by.clone(), *grace_ends_at),
        _ => (as_kept(permit.at()), by.clone(), as_kept(grace_ends_at)),
    };
    let place = tokens::table.find(old.as_uuid());
    diesel::update(place)
        .set((
            tokens::rotated_at.eq(terms.0),
            tokens::rotated_by.eq(&terms.1),
            tokens::grace_ends_at.eq(terms.2),
            tokens::successor_id.eq(old.as_uuid()),
            tokens::version.eq(tokens::version + 1),
        ))
        .execute(tx.connection())?;
    let token = insert(tx, row)?;
    diesel::update(place).set(tokens::successor_id.eq(id)).execute(tx.connection())?;
    let ended = if terms.2 <= permit.at() {
        let reason = format!("made through {}…, which was rotated", before.shown_prefix);
        end_descendants(tx, old, &by, &reason, permit.at())?
    } else {
        clamp_descendants(tx, old, terms.2)?;
        Vec::new()
    };
    let predecessor = by_id(tx, old)?.ok_or_else(|| missing(old))?;
    Ok(Rotated { token, predecessor, ended })
}

fn rotatable(token: &Token, now: Timestamp, replaces: Option<TokenId>) -> Result<(), StoreError> {
    let why = match &token.state {
        TokenState::Revoked { .. } => "is revoked".to_owned(),
        TokenState::Rotated { successor, .. } if Some(*successor) == replaces => return Ok(()),
        TokenState::Rotated { successor, .. } => format!("was rotated before: its successor is {successor}"),
        TokenState::Live if token.expires_at.is_some_and(|end| end <= now) => "has expired".to_owned(),
        TokenState::Live => return Ok(()),
    };
    Err(StoreError::Conflict { what: format!("the token {} ({}) {why}", token.name, token.shown_prefix) })
}

impl Rotated {
    /// What the trail shall say of it, and of the successor that it replaces.
    pub fn events(&self, permit: &Permit, replaced: Option<&Replaced>) -> AuditEvents {
        let actor = permit.actor();
        let until = match self.predecessor.works_beside_successor_until() {
            Some(end) if end > permit.at() => format!("works until its first use, {} at the latest", moment(end)),
            _ => "has ended".to_owned(),
        };
        let old = &self.predecessor;
        let rotated = AuditEvent::done(Action::TokenRotate, actor.clone())
            .token(old.id, &old.shown_prefix)
            .detail(format!("its successor is {}… ({}); the old one {until}", self.token.shown_prefix, self.token.id));
        let created = AuditEvent::done(Action::TokenCreate, actor.clone())
            .token(self.token.id, &self.token.shown_prefix)
            .detail(format!("{} token {:?}, successor of {}…", self.token.kind(), self.token.name, old.shown_prefix));
        let ended = ended_with(actor, &self.ended, &format!("made through {}…, which was rotated", old.shown_prefix));
        let replaced = replaced.map(|replaced| replaced.event(permit));
        AuditEvents::new(rotated, [created].into_iter().chain(replaced).chain(ended))
    }
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A line for each token that ended with another.
fn ended_with(actor: &Actor, ended: &[(TokenId, String)], why: &str) -> Vec<AuditEvent> {
    let event = |(id, prefix): &(TokenId, String)| {
        AuditEvent::done(Action::TokenRevoke, actor.clone()).token(*id, prefix).detail(why)
    };
    ended.iter().map(event).collect()
}

/// What a first use came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstUse {
    /// It is written down, by this call or by one that was faster. The token is good.
    Noted,
    /// The token ended a moment before.
    TooLate,
}

/// Writes down that a token was used for the first time, and ends the grace of the token whose place it takes (and of any
/// before that), with all that was made through them. Of two first uses at once one does it, and the other finds it done.
pub fn first_use(mut tx: WriteTx<'_>, token: &Token, actor: &Actor, at: Timestamp) -> Result<FirstUse, StoreError> {
    let first = diesel::update(
        tokens::table
            .filter(tokens::id.eq(token.id.as_uuid()))
            .filter(tokens::first_use_due)
            .filter(tokens::revoked_at.is_null()),
    )
    .set(tokens::first_use_due.eq(false))
    .execute(tx.connection())?;
    if first == 0 {
        let live = by_id(&mut tx, token.id)?.is_some_and(|now| !matches!(now.state, TokenState::Revoked { .. }));
        return Ok(if live { FirstUse::Noted } else { FirstUse::TooLate });
    }
    let mut events = Vec::new();
    for (old, prefix) in in_grace_before(&mut tx, token, at)? {
        diesel::update(tokens::table.find(old.as_uuid()))
            .set(tokens::grace_ends_at.eq(as_kept(at)))
            .execute(tx.connection())?;
        let why = format!("made through {prefix}…, whose grace ended");
        let ended = end_descendants(&mut tx, old, &actor.describe(), &why, at)?;
        let given_up = AuditEvent::done(Action::TokenRotate, actor.clone()).token(old, prefix).detail(format!(
            "its successor {}… was used for the first time, which ended its grace",
            token.shown_prefix
        ));
        events.push(given_up);
        events.extend(ended_with(actor, &ended, &why));
    }
    let mut events = events.into_iter();
    match events.next() {
        Some(first) => tx.commit(AuditEvents::new(first, events), at)?,
        None => tx.commit_noted()?,
    }
    Ok(FirstUse::Noted)
}

/// The tokens before this one in its line of rotations that are still in their grace, locked: usually the one whose place it
/// takes, and those before that if it was rotated again before anybody used it.
fn in_grace_before(tx: &mut WriteTx<'_>, token: &Token, at: Timestamp) -> Result<Vec<(TokenId, String)>, StoreError> {
    let Some(mut before) = token.predecessor else { return Ok(Vec::new()) };
    let in_grace: Vec<(Uuid, String)> = tokens::table
        .filter(of_family(token.family))
        .filter(tokens::grace_ends_at.gt(as_kept(at)))
        .filter(tokens::revoked_at.is_null())
        .filter(tokens::id.ne(token.id.as_uuid()))
        .order(tokens::id)
        .select((tokens::id, tokens::shown_prefix))
        .for_update()
        .load(tx.connection())?;
    if in_grace.is_empty() {
        return Ok(Vec::new());
    }
    let links: BTreeMap<Uuid, Option<Uuid>> = tokens::table
        .filter(of_family(token.family))
        .select((tokens::id, tokens::predecessor_id))
        .load::<(Uuid, Option<Uuid>)>(tx.connection())?
        .into_iter()
        .collect();
    let mut found = Vec::new();
    loop {
        let here = in_grace.iter().find(|(id, _)| *id == before.as_uuid());
        found.extend(here.map(|(id, prefix)| (TokenId::from_uuid(*id), prefix.clone())));
        match links.get(&before.as_uuid()).copied().flatten() {
            Some(earlier) => before = TokenId::from_uuid(earlier),
            None => return Ok(found),
        }
    }
}

/// A token that had been given up for its successor was presented: whoever did so has a secret that nobody should have any
/// more. Ends every live token of its family, and all that was made through them. Says how many; none if somebody was
/// faster, who then wrote it down.
pub fn reuse(mut tx: WriteTx<'_>, presented: &Token, actor: &Actor, at: Timestamp) -> Result<usize, StoreError> {
    let family = live_family(&mut tx, presented)?;
    let now = by_id(&mut tx, presented.id)?.ok_or_else(|| missing(presented.id))?;
    let TokenState::Rotated { grace_ends_at, .. } = &now.state else { return Ok(0) };
    if *grace_ends_at > at {
        return Ok(0);
    }
    let reason = TokenState::reason_of_reuse(&presented.shown_prefix);
    let ended = end(&mut tx, family, &actor.describe(), Some(&reason), at)?;
    // What of the family somebody ended before, be it by a cut-off of its owner, is not to be brought back either.
    let whole = tokens::table.filter(of_family(presented.family));
    let by = actor.describe();
    diesel::update(whole.filter(tokens::revoked_at.is_null()))
        .set((tokens::revoked_at.eq(at), tokens::revoked_by.eq(&by), tokens::revoke_reason.eq(&reason)))
        .execute(tx.connection())?;
    diesel::update(whole).set(tokens::revoke_act.eq(None::<Uuid>)).execute(tx.connection())?;
    let alarm = AuditEvent {
        outcome: tok_model::audit::Outcome::Refused,
        ..AuditEvent::done(Action::TokenReuse, actor.clone())
            .token(presented.id, &presented.shown_prefix)
            .detail(format!("presented after it had been rotated away; {} tokens ended", ended.len()))
    };
    tx.commit(AuditEvents::new(alarm, ended_with(actor, &ended, &reason)), at)?;
    Ok(ended.len())
}

/// The others of a token's line of rotations that nobody ended, oldest first: those that took its place, and those whose
/// place it took. Whether they ran out is to be asked of each.
pub fn others_of_family(tx: &mut ReadTx<'_>, permit: &Permit, of: &Token) -> Result<Vec<Token>, StoreError> {
    if *permit.need() != Need::EndHeld || permit.actor().token != Some(of.id) {
        let reaches = super::revoke::ends(permit)?;
        if reaches.is_some_and(|owner| owner != of.owner) {
            return Err(StoreError::Permit("looking at a family"));
        }
    }
    let others = with_owner_names()
        .filter(of_family(of.family))
        .filter(tokens::id.ne(of.id.as_uuid()))
        .filter(tokens::revoked_at.is_null())
        .order((tokens::created_at, tokens::id));
    let others = others.load::<OwnedRow>(tx.connection())?.into_iter().map(shown);
    Ok(others.filter(|other| !matches!(other.state, TokenState::Revoked { .. })).collect())
}

/// The most successors that [`successors_since`] finds.
const MOST_SUCCESSORS: i64 = 100;

/// What was made at this moment or later by rotating what is older, nobody having ended it; of this owner, if one is named.
/// The newest, and not all if there are very many.
pub fn successors_since(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    owner: Option<Owner>,
    since: Timestamp,
) -> Result<Vec<Token>, StoreError> {
    let reaches = super::revoke::ends(permit)?;
    let mut query = with_owner_names()
        .filter(tokens::family_id.ne(tokens::id))
        .filter(tokens::created_at.ge(since))
        .filter(tokens::revoked_at.is_null())
        .into_boxed();
    for owner in [reaches, owner].into_iter().flatten() {
        query = match owner {
            Owner::User(id) => query.filter(tokens::user_id.eq(id.as_uuid())),
            Owner::Workspace(id) => query.filter(tokens::workspace_id.eq(id.as_uuid())),
        };
    }
    let newest = query.order((tokens::created_at.desc(), tokens::id.desc())).limit(MOST_SUCCESSORS);
    let mut found: Vec<Token> = newest.load::<OwnedRow>(tx.connection())?.into_iter().map(shown).collect();
    // The first of a family is its oldest.
    let families: Vec<Uuid> = found.iter().map(|token| token.family.as_uuid()).collect();
    let older: Vec<Uuid> = tokens::table
        .filter(tokens::id.eq_any(families))
        .filter(tokens::created_at.lt(since))
        .select(tokens::id)
        .load(tx.connection())?;
    found.retain(|token| older.contains(&token.family.as_uuid()));
    Ok(found)
}

/// The first token of this family, whose ID it has, and those that took its place one after the other.
#[diesel::dsl::auto_type(no_type_alias)]
fn of_family(family: TokenId) -> _ {
    let family: Uuid = family.as_uuid();
    // Said as the index says it, which leaves out all that were never rotated.
    tokens::id.eq(family).or(tokens::family_id.eq(family).and(tokens::family_id.ne(tokens::id)))
}

/// Locked in the order of IDs: of two that raise the alarm at once the second finds it raised.
fn live_family(tx: &mut WriteTx<'_>, of: &Token) -> Result<Vec<Uuid>, StoreError> {
    Ok(tokens::table
        .filter(of_family(of.family))
        .filter(tokens::revoked_at.is_null())
        .order(tokens::id)
        .select(tokens::id)
        .for_update()
        .load(tx.connection())?)
}
