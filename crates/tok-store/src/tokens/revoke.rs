//! Ending tokens: one, those with something in common, those of an owner; always with all that were made through them.

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use tok_model::audit::{Action, Actor, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::token::{Owner, Token};
use uuid::Uuid;

use super::{OwnedRow, Whose, shown, shown_by_id, whose, with_owner_names};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::{ReadTx, WriteTx};

/// The most descendants that the trail names one by one; of more it has the number, and each row says the rest.
const MOST_NAMED: usize = 100;
/// How many of the ended tokens are shown.
const SAMPLE: i64 = 10;
/// How long a statement may take that ends a hundred thousand tokens.
pub(super) const LONG: &str = "SELECT set_config('statement_timeout', '60s', true), set_config('enable_seqscan', 'on', true), \
     set_config('enable_hashjoin', 'on', true), set_config('enable_mergejoin', 'on', true), \
     set_config('enable_material', 'on', true)";

/// What [`revoke`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The token itself, as it is now.
    pub token: Token,
    /// The tokens made through it that ended with it, with their shown prefixes.
    pub descendants: Vec<(TokenId, String)>,
}

impl Revoked {
    /// What the trail shall say of it.
    pub fn events(&self, permit: &Permit, reason: Option<&str>) -> AuditEvents {
        let event = |id, prefix: &str| {
            AuditEvent::done(Action::TokenRevoke, permit.actor().clone())
                .token(id, prefix)
                .detail(reason.unwrap_or_default())
        };
        let itself = event(self.token.id, &self.token.shown_prefix);
        if self.descendants.len() > MOST_NAMED {
            let with = format!("with {} tokens made through it", self.descendants.len());
            let words = reason.map_or_else(|| with.clone(), |reason| format!("{reason} ({with})"));
            return itself.detail(words).into();
        }
        let ended_with_it = |(id, prefix): &(TokenId, String)| {
            event(*id, prefix).detail(format!("made through {}…, which was revoked", self.token.shown_prefix))
        };
        AuditEvents::new(itself, self.descendants.iter().map(ended_with_it))
    }
}

/// Ends a token and every live token made through it. A token that was ended already stays as it was, with who and why.
pub fn revoke(tx: &mut WriteTx<'_>, permit: &Permit, id: TokenId, reason: Option<&str>) -> Result<Revoked, StoreError> {
    let owner = match permit.need() {
        Need::EndHeld if permit.actor().token == Some(id) => None,
        _ => ends(permit)?,
    };
    let missing =
        || StoreError::NotFound { what: format!("no token of yours has the ID {id}"), look: super::LISTED.to_owned() };
    let token = shown_by_id(tx, id)?.filter(|t| owner.is_none_or(|o| o == t.owner)).ok_or_else(missing)?;
    let by = permit.actor().describe();
    let who = Identity::of(permit.actor());
    let act = Act { at: permit.at(), by: &by, who, reason, undo: Some(id.as_uuid()) };
    let ended = end_as(tx, vec![id.as_uuid()], &act)?;
    if ended.iter().all(|(other, _)| *other != id) {
        return Err(StoreError::Conflict {
            what: format!("the token {} ({}) is revoked already", token.name, token.shown_prefix),
        });
    }
    let token = shown_by_id(tx, id)?.ok_or_else(missing)?;
    let descendants = ended.into_iter().filter(|(other, _)| *other != id).collect();
    Ok(Revoked { token, descendants })
}

/// Whose tokens a permit lets somebody end.
pub(super) fn ends(permit: &Permit) -> Result<Option<Owner>, StoreError> {
    match (permit.need(), whose(permit, "ending a token")?) {
        (Need::Server, _) => Ok(None),
        (Need::EndTokens { .. }, Whose::Of(owner)) => Ok(Some(owner)),
        _ => Err(StoreError::Permit("ending a token")),
    }
}

/// What tokens have in common that shall end. Of the live ones that the permit reaches, those that fit each thing said.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Acting for this owner.
    pub owner: Option<Owner>,
    /// With this label.
    pub label: Option<Label>,
    /// This one, which the permit reaches, or made through it, for whomever they act.
    pub parent: Option<TokenId>,
    /// Of this kind.
    pub kind: Option<TokenKind>,
    /// Never used.
    pub never_used: bool,
    /// Made before this moment.
    pub minted_before: Option<Timestamp>,
}

/// What ending many tokens did, or would do.
#[derive(Debug, Clone)]
pub struct EndedMany {
    /// How many ended, those that were made through the selected ones among them.
    pub count: u64,
    /// The newest of them.
    pub sample: Vec<Token>,
}

/// What [`revoke_selected`] would end.
pub fn selected(tx: &mut ReadTx<'_>, permit: &Permit, selection: &Selection) -> Result<EndedMany, StoreError> {
    let fitting = fitting(tx, permit, selection)?;
    let line = live_line(tx, &fitting, permit.at(), false)?;
    Ok(EndedMany { count: line.len() as u64, sample: sample(tx, &line)? })
}

/// Ends every live token that fits, and all that were made through them, as one act under this ID.
pub fn revoke_selected(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    selection: &Selection,
    reason: Option<&str>,
    act: Uuid,
) -> Result<EndedMany, StoreError> {
    diesel::sql_query(LONG).execute(tx.connection())?;
    let fitting = fitting(tx, permit, selection)?;
    let by = permit.actor().describe();
    let who = Identity::of(permit.actor());
    let ended = end_as(tx, fitting, &Act { at: permit.at(), by: &by, who, reason, undo: Some(act) })?;
    let ids: Vec<Uuid> = ended.iter().map(|(id, _)| id.as_uuid()).collect();
    Ok(EndedMany { count: ids.len() as u64, sample: sample(tx, &ids)? })
}

#[derive(QueryableByName)]
pub(super) struct Found {
    #[diesel(sql_type = SqlUuid)]
    pub(super) id: Uuid,
}

/// Each token with its owner.
pub(super) const OWNERS: &str = "LEFT JOIN users ON users.id = tokens.user_id \
    LEFT JOIN workspaces ON workspaces.id = tokens.workspace_id";

/// What of a token's owner ended it, as a condition on a row joined with users and workspaces.
pub(super) const CUT: &str = "(coalesce(tokens.created_at < users.cutoff_before \
    AND (tokens.expires_at IS NULL OR tokens.expires_at > users.cutoff_at), false) \
    OR coalesce(tokens.created_at < workspaces.cutoff_before \
    AND (tokens.expires_at IS NULL OR tokens.expires_at > workspaces.cutoff_at), false))";

fn fitting(tx: &mut ReadTx<'_>, permit: &Permit, selection: &Selection) -> Result<Vec<Uuid>, StoreError> {
    let reach = ends(permit)?;
    if let Some(parent) = selection.parent {
        let parent = shown_by_id(tx, parent)?.filter(|token| reach.is_none_or(|owner| owner == token.owner));
        parent.ok_or_else(|| StoreError::NotFound {
            what: "no token of yours has that ID".to_owned(),
            look: super::LISTED.to_owned(),
        })?;
    }
    // What was made through one's own token is one's to end with it, for whomever it acts.
    let reach = if selection.parent.is_some() { None } else { reach };
    let (mut users, mut workspaces) = (Vec::new(), Vec::new());
    for owner in [reach, selection.owner].into_iter().flatten() {
        match owner {
            Owner::User(id) => users.push(id.as_uuid()),
            Owner::Workspace(id) => workspaces.push(id.as_uuid()),
        }
    }
    if users.len() + workspaces.len() > 1 && selection.owner != reach {
        return Ok(Vec::new());
    }
    // What is NULL is not asked: the planner sees the values, and leaves those conditions out.
    let statement = format!(
        "WITH RECURSIVE tree (id) AS ( \
             SELECT $1 WHERE $1 IS NOT NULL \
             UNION SELECT tokens.id FROM tokens JOIN tree ON tokens.parent_id = tree.id \
             WHERE tokens.kind <> 'git' OR tokens.expires_at > $2 \
         ) \
         SELECT tokens.id FROM tokens {OWNERS} \
         WHERE tokens.revoked_at IS NULL AND (tokens.expires_at IS NULL OR tokens.expires_at > $2) \
           AND (tokens.grace_ends_at IS NULL OR tokens.grace_ends_at > $2) AND NOT {CUT} \
           AND ($1 IS NULL OR tokens.id IN (SELECT id FROM tree)) \
           AND ($3 IS NULL OR tokens.user_id = $3) AND ($4 IS NULL OR tokens.workspace_id = $4) \
           AND ($5 IS NULL OR tokens.labels <> '{{}}' AND tokens.labels @> ARRAY[$5]) AND ($6 IS NULL OR tokens.kind = $6) \
           AND (NOT $7 OR NOT EXISTS (SELECT FROM last_uses WHERE token_id = tokens.id)) AND ($8 IS NULL OR tokens.created_at < $8)"
    );
    let found: Vec<Found> = diesel::sql_query(statement)
        .bind::<Nullable<SqlUuid>, _>(selection.parent.map(TokenId::as_uuid))
        .bind::<Timestamptz, _>(permit.at())
        .bind::<Nullable<SqlUuid>, _>(users.first().copied())
        .bind::<Nullable<SqlUuid>, _>(workspaces.first().copied())
        .bind::<Nullable<Text>, _>(selection.label.as_ref().map(Label::as_str))
        .bind::<Nullable<Text>, _>(selection.kind.map(TokenKind::as_str))
        .bind::<Bool, _>(selection.never_used)
        .bind::<Nullable<Timestamptz>, _>(selection.minted_before)
        .load(tx.connection())?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

pub(super) fn sample(tx: &mut ReadTx<'_>, ids: &[Uuid]) -> Result<Vec<Token>, StoreError> {
    let newest = with_owner_names()
        .filter(tokens::id.eq_any(ids))
        .order((tokens::created_at.desc(), tokens::id.desc()))
        .limit(SAMPLE);
    Ok(newest.load::<OwnedRow>(tx.connection())?.into_iter().map(shown).collect())
}

/// Ends every live token of an owner, as when a user is deleted. Returns how many. It cannot be undone.
pub(crate) fn end_all_of(
    tx: &mut WriteTx<'_>,
    owner: Owner,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<usize, StoreError> {
    diesel::sql_query(LONG).execute(tx.connection())?;
    let unexpired = tokens::expires_at.is_null().or(tokens::expires_at.gt(at).assume_not_null());
    let live = tokens::table.filter(tokens::revoked_at.is_null()).filter(unexpired).select(tokens::id);
    let ids: Vec<Uuid> = match owner {
        Owner::User(id) => live.filter(tokens::user_id.eq(id.as_uuid())).load(tx.connection())?,
        Owner::Workspace(id) => live.filter(tokens::workspace_id.eq(id.as_uuid())).load(tx.connection())?,
    };
    Ok(end(tx, ids, by, Some(reason), at)?.len())
}

/// Whoever acted, as nobody else can be: names and addresses are for people to read. Neither, if it was root, the daemon or
/// a temporary token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// The user.
    pub(super) user: Option<Uuid>,
    /// The token that was used.
    pub(super) token: Option<Uuid>,
}

impl Identity {
    pub(super) fn of(actor: &Actor) -> Self {
        Self { user: actor.user.as_ref().map(|(id, _)| id.as_uuid()), token: actor.token.map(TokenId::as_uuid) }
    }
}

/// An act that ends tokens.
pub(super) struct Act<'a> {
    pub(super) at: Timestamp,
    pub(super) by: &'a str,
    /// Who that is.
    pub(super) who: Identity,
    pub(super) reason: Option<&'a str>,
    /// The name under which it can be undone, if it can.
    pub(super) undo: Option<Uuid>,
}

/// Ends these and all that were made through them, for good: nothing of it can be undone.
pub(super) fn end(
    tx: &mut WriteTx<'_>,
    ids: Vec<Uuid>,
    by: &str,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    end_as(tx, ids, &Act { at, by, who: Identity::default(), reason, undo: None })
}

/// Ends these, whether or not they ran out, and the live ones that were made through them. The guard against a second
/// revocation is in the statement itself, so whoever is slower changes nothing.
pub(super) fn end_as(
    tx: &mut WriteTx<'_>,
    ids: Vec<Uuid>,
    act: &Act<'_>,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let mut ended: Vec<(TokenId, String)> = Vec::new();
    let mut generation = ids;
    while !generation.is_empty() {
        // Locked in the order of IDs: two that meet here cannot wait for each other.
        let line = live_line(tx, &generation, act.at, true)?;
        if line.is_empty() {
            break;
        }
        let done: Vec<(Uuid, String)> =
            diesel::update(tokens::table.filter(tokens::id.eq_any(&line)).filter(tokens::revoked_at.is_null()))
                .set((
                    tokens::revoked_at.eq(act.at),
                    tokens::revoked_by.eq(act.by),
                    tokens::revoked_by_user_id.eq(act.who.user),
                    tokens::revoked_by_token_id.eq(act.who.token),
                    tokens::revoke_reason.eq(act.reason),
                    tokens::revoke_act.eq(act.undo),
                ))
                .returning((tokens::id, tokens::shown_prefix))
                .get_results(tx.connection())?;
        ended.extend(done.into_iter().map(|(id, prefix)| (TokenId::from_uuid(id), prefix)));
        // What was made through them between the reading and the locking; with the locks held nothing follows.
        generation = tokens::table
            .filter(tokens::parent_id.eq_any(&line))
            .filter(tokens::revoked_at.is_null())
            .filter(tokens::expires_at.is_null().or(tokens::expires_at.gt(act.at).assume_not_null()))
            .select(tokens::id)
            .load(tx.connection())?;
    }
    Ok(ended)
}

/// Of these and what was made through them, what nobody ended: these themselves, and the others if they did not run out.
/// Found in one statement, however deep, and locked if it shall be.
pub(super) fn live_line(tx: &mut ReadTx<'_>, ids: &[Uuid], at: Timestamp, lock: bool) -> Result<Vec<Uuid>, StoreError> {
    let locked = if lock { "FOR UPDATE OF tokens" } else { "" };
    // A git token mints nothing: those that ran out, which are many, need not be looked behind.
    let statement = format!(
        "WITH RECURSIVE line (id) AS ( \
             SELECT unnest($1) \
             UNION SELECT tokens.id FROM tokens JOIN line ON tokens.parent_id = line.id \
             WHERE tokens.revoked_at IS NULL AND (tokens.kind <> 'git' OR tokens.expires_at > $2) \
         ) \
         SELECT tokens.id FROM tokens {OWNERS} \
         WHERE tokens.id IN (SELECT id FROM line) AND tokens.revoked_at IS NULL AND NOT {CUT} \
           AND (tokens.expires_at IS NULL OR tokens.expires_at > $2 OR tokens.id = ANY ($1)) \
         ORDER BY tokens.id {locked}"
    );
    let found: Vec<Found> =
        diesel::sql_query(statement).bind::<Array<SqlUuid>, _>(ids).bind::<Timestamptz, _>(at).load(tx.connection())?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

pub(super) fn live_children(tx: &mut ReadTx<'_>, of: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    Ok(tokens::table
        .filter(tokens::parent_id.eq_any(of))
        .filter(tokens::revoked_at.is_null())
        .select(tokens::id)
        .load(tx.connection())?)
}
