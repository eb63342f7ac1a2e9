//! Tokens: looked up by digest, made, listed, ended.

mod idempotency;
mod line;
mod list;
mod lookup;
mod made_by;
mod mint;
mod modify;
mod parent;
mod rotate;
mod row;
mod uses;

use diesel::prelude::*;
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::label::Label;
use tok_model::secret::{Digest, PepperId};
use tok_model::token::{Owner, Token};
use uuid::Uuid;

pub use idempotency::{Claim, Key, Replaced, claim, keep, unanswered_rotation};
pub use list::{Filter, Whose, count_live, count_live_by_user, find, list};
pub use lookup::{Found, by_digests, look_up};
pub(crate) use made_by::end_made_by;
pub use mint::Mint;
pub(crate) use mint::{made_before, mint, mint_together};
pub use modify::{Modified, Shape, made_by_the_daemon, modify};
pub use rotate::{FirstUse, Rotated, first_use, reuse, rotate};
pub use uses::{Counted, USED_UP, count_use};

use crate::error::StoreError;
use crate::schema::{tokens, users, workspaces};
use crate::tx::{ReadTx, WriteTx};
use line::{clamp_descendants, end_descendants, end_git_descendants, locked};
use parent::parent_kept_live;
use row::{GrantColumns, TokenRow};

/// What the decision about a token lets somebody do with tokens: whose they may touch.
fn whose(permit: &Permit, what: &'static str) -> Result<Whose, StoreError> {
    match permit.need() {
        Need::Server => Ok(Whose::Everybodys),
        Need::SeeTokens { owner } | Need::EndTokens { owner } | Need::ChangeTokens { owner } => Ok(Whose::Of(*owner)),
        _ => Err(StoreError::Permit(what)),
    }
}

/// A token to be made: what its permit does not say already.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its ID.
    pub id: TokenId,
    /// What the store may know of its secret.
    pub digest: Digest,
    /// Under which pepper.
    pub pepper: PepperId,
    /// Prefix and first characters of its text.
    pub shown_prefix: String,
    /// What its owner calls it; checked by [`tok_model::token::check_name`].
    pub name: String,
    /// More words on it.
    pub description: String,
    /// Words that it is found by.
    pub labels: Vec<Label>,
    /// How often it may be used.
    pub max_uses: Option<i64>,
    /// The token it is made through, if its maker's authority came from one.
    pub parent: Option<TokenId>,
    /// For a session that the local socket opens: the user ID it is the login of.
    pub local_uid: Option<u32>,
}

/// Makes the token that `permit` allows: grant, owner, expiry and addresses are the permit's. A conflict if its parent was
/// ended since that was decided.
pub fn create(tx: &mut WriteTx<'_>, permit: &Permit, new: NewToken) -> Result<Token, StoreError> {
    let row = row_for(permit, new)?;
    insert(tx, row)
}

/// The same under an idempotency key, which was [claimed](claim) in this transaction: its first use will be written down.
pub fn create_under_key(tx: &mut WriteTx<'_>, permit: &Permit, new: NewToken, key: &Key) -> Result<Token, StoreError> {
    let row = TokenRow { first_use_due: true, ..row_for(permit, new)? };
    let token = insert(tx, row)?;
    keep(tx, key, token.id, permit.at())?;
    Ok(token)
}

fn insert(tx: &mut WriteTx<'_>, row: TokenRow) -> Result<Token, StoreError> {
    let ((user, workspace), parent) = diesel::insert_into(tokens::table)
        .values(&row)
        .returning((owner_names(), parent_kept_live()))
        .get_result::<((Option<String>, Option<String>), Option<Uuid>)>(tx.connection())?;
    if parent != row.parent_id {
        return Err(parent_revoked());
    }
    into_token((row, user, workspace))
}

fn parent_revoked() -> StoreError {
    StoreError::Conflict { what: "the token that this one was to be made through has just been revoked".to_owned() }
}

/// The row of the token that `permit` allows.
fn row_for(permit: &Permit, new: NewToken) -> Result<TokenRow, StoreError> {
    let Need::Mint(request) = permit.need() else { return Err(StoreError::Permit("making a token")) };
    let actor = permit.actor();
    let (user_id, workspace_id) = match request.owner {
        Owner::User(id) => (Some(id.as_uuid()), None),
        Owner::Workspace(id) => (None, Some(id.as_uuid())),
    };
    let columns = GrantColumns::from(&request.grant);
    Ok(TokenRow {
        id: new.id.as_uuid(),
        digest: Some(new.digest.as_bytes().to_vec()),
        pepper_id: Some(new.pepper.0),
        kind: request.grant.kind().to_string(),
        name: new.name,
        description: new.description,
        shown_prefix: new.shown_prefix,
        user_id,
        workspace_id,
        scopes: columns.scopes,
        routes: columns.routes,
        permission: columns.permission,
        within_workspace: columns.within_workspace,
        repos: columns.repos,
        parent_id: new.parent.map(TokenId::as_uuid),
        family_id: new.id.as_uuid(),
        allow_from: request.allow_from.iter().map(ToString::to_string).collect(),
        local_uid: new.local_uid.map(i64::from),
        created_at: as_kept(permit.at()),
        created_by_user_id: actor.user.as_ref().map(|(id, _)| id.as_uuid()),
        created_by_name: actor.describe(),
        created_by_token_prefix: actor.token_prefix.clone(),
        created_from: actor.source.describe(),
        created_agent: actor.source.agent.clone(),
        expires_at: request.expires_at.map(as_kept),
        revoked_at: None,
        revoked_by: None,
        revoke_reason: None,
        last_used_at: None,
        last_used_ip: None,
        secret_hash: None,
        imported_from: None,
        labels: new.labels.iter().map(ToString::to_string).collect(),
        max_uses: new.max_uses,
        uses: 0,
        predecessor_id: None,
        rotated_at: None,
        rotated_by: None,
        grace_ends_at: None,
        successor_id: None,
        revoke_act: None,
        last_used_agent: None,
        last_used_repo: None,
        first_use_due: false,
        version: 1,
        modified_at: None,
    })
}

/// A moment as PostgreSQL keeps it: to the microsecond.
fn as_kept(at: Timestamp) -> Timestamp {
    Timestamp::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// The names of the owner of the row at hand.
#[diesel::dsl::auto_type]
fn owner_names() -> _ {
    let user = users::table.filter(users::id.nullable().eq(tokens::user_id)).select(users::name).single_value();
    let workspace = workspaces::table
        .filter(workspaces::id.nullable().eq(tokens::workspace_id))
        .select(workspaces::name)
        .single_value();
    (user, workspace)
}

/// The live session that the local socket opened for this user and user ID. If there is none, nobody else opens one
/// before this transaction is over: of two first fetches at once, one opens the session and the other finds it.
pub fn local_session(tx: &mut WriteTx<'_>, owner: Owner, uid: u32) -> Result<Option<Token>, StoreError> {
    let Owner::User(user) = owner else { return Ok(None) };
    if let Some(session) = open_session(tx, user, uid)? {
        return Ok(Some(session));
    }
    let user_row = users::table.find(user.as_uuid()).select(users::id).for_no_key_update();
    user_row.first::<Uuid>(tx.connection()).optional()?;
    open_session(tx, user, uid)
}

fn open_session(tx: &mut ReadTx<'_>, user: UserId, uid: u32) -> Result<Option<Token>, StoreError> {
    with_owner_names()
        .filter(tokens::user_id.eq(user.as_uuid()))
        .filter(tokens::local_uid.eq(i64::from(uid)))
        .filter(tokens::revoked_at.is_null())
        .first::<OwnedRow>(tx.connection())
        .optional()?
        .map(into_token)
        .transpose()
}

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
        let ended_with_it = |(id, prefix): &(TokenId, String)| {
            event(*id, prefix).detail(format!("made through {}…, which was revoked", self.token.shown_prefix))
        };
        AuditEvents::new(event(self.token.id, &self.token.shown_prefix), self.descendants.iter().map(ended_with_it))
    }
}

/// Ends a token and every token made through it. A token that was ended already stays as it was, with who and why.
pub fn revoke(tx: &mut WriteTx<'_>, permit: &Permit, id: TokenId, reason: Option<&str>) -> Result<Revoked, StoreError> {
    let owner = match (permit.need(), whose(permit, "ending a token")?) {
        (Need::Server, _) => None,
        (Need::EndTokens { .. }, Whose::Of(owner)) => Some(owner),
        _ => return Err(StoreError::Permit("ending a token")),
    };
    let missing = || StoreError::NotFound { what: format!("no token of yours has the ID {id}") };
    let token = by_id(tx, id)?.filter(|t| owner.is_none_or(|o| o == t.owner)).ok_or_else(missing)?;
    let by = permit.actor().describe();
    let ended = end(tx, vec![id.as_uuid()], &by, reason, permit.at())?;
    if ended.iter().all(|(other, _)| *other != id) {
        return Err(StoreError::Conflict {
            what: format!("the token {} ({}) is revoked already", token.name, token.shown_prefix),
        });
    }
    let token = by_id(tx, id)?.ok_or_else(missing)?;
    let descendants = ended.into_iter().filter(|(other, _)| *other != id).collect();
    Ok(Revoked { token, descendants })
}

/// Ends every live token of an owner, as when a user is deleted. Returns how many.
pub(crate) fn end_all_of(
    tx: &mut WriteTx<'_>,
    owner: Owner,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<usize, StoreError> {
    let live = tokens::table.filter(tokens::revoked_at.is_null()).select(tokens::id);
    let ids: Vec<Uuid> = match owner {
        Owner::User(id) => live.filter(tokens::user_id.eq(id.as_uuid())).load(tx.connection())?,
        Owner::Workspace(id) => live.filter(tokens::workspace_id.eq(id.as_uuid())).load(tx.connection())?,
    };
    Ok(end(tx, ids, by, Some(reason), at)?.len())
}

/// Ends these and all that were made through them. The guard against a second revocation is in the statement itself, so
/// whoever is slower changes nothing.
fn end(
    tx: &mut WriteTx<'_>,
    ids: Vec<Uuid>,
    by: &str,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let mut ended = Vec::new();
    let mut generation = ids;
    while !generation.is_empty() {
        let mut line = Vec::new();
        while !generation.is_empty() {
            let children = live_children(tx, &generation)?;
            line.append(&mut generation);
            generation = children;
        }
        // Locked in the order of IDs, as whoever writes last uses does: two that meet here cannot wait for each other.
        let locked = tokens::table.filter(tokens::id.eq_any(&line)).order(tokens::id).select(tokens::id).for_update();
        locked.load::<Uuid>(tx.connection())?;
        let done: Vec<(Uuid, String)> =
            diesel::update(tokens::table.filter(tokens::id.eq_any(&line)).filter(tokens::revoked_at.is_null()))
                .set((tokens::revoked_at.eq(at), tokens::revoked_by.eq(by), tokens::revoke_reason.eq(reason)))
                .returning((tokens::id, tokens::shown_prefix))
                .get_results(tx.connection())?;
        ended.extend(done.into_iter().map(|(id, prefix)| (TokenId::from_uuid(id), prefix)));
        // What was made through them between the reading and the locking; with the locks held nothing follows.
        generation = live_children(tx, &line)?;
    }
    Ok(ended)
}

fn live_children(tx: &mut ReadTx<'_>, of: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    Ok(tokens::table
        .filter(tokens::parent_id.eq_any(of))
        .filter(tokens::revoked_at.is_null())
        .select(tokens::id)
        .load(tx.connection())?)
}

fn by_id(tx: &mut ReadTx<'_>, id: TokenId) -> Result<Option<Token>, StoreError> {
    with_owner_names()
        .filter(tokens::id.eq(id.as_uuid()))
        .first::<OwnedRow>(tx.connection())
        .optional()?
        .map(into_token)
        .transpose()
}

type OwnedRow = (TokenRow, Option<String>, Option<String>);

#[diesel::dsl::auto_type]
fn with_owner_names() -> _ {
    let row: diesel::dsl::AsSelect<TokenRow, diesel::pg::Pg> = TokenRow::as_select();
    tokens::table
        .left_join(users::table.on(tokens::user_id.eq(users::id.nullable())))
        .left_join(workspaces::table.on(tokens::workspace_id.eq(workspaces::id.nullable())))
        .select((row, users::name.nullable(), workspaces::name.nullable()))
}

fn into_token((row, user, workspace): OwnedRow) -> Result<Token, StoreError> {
    row.into_token(user.or(workspace).unwrap_or_default())
}
