//! Tokens: looked up by digest, made, listed, ended.

mod chosen;
mod cutoff;
mod idempotency;
mod insert;
mod line;
mod list;
mod lookup;
mod made_by;
mod mint;
mod modify;
mod parent;
mod policy;
mod restore;
mod revoke;
mod rotate;
mod row;
mod sessions;
mod uses;

use diesel::prelude::*;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, UserId};
use tok_model::label::Label;
use tok_model::secret::{Digest, PepperId};
use tok_model::token::{Owner, Token};
use uuid::Uuid;

pub(crate) use chosen::no_token_named;
pub use chosen::{Present, Stored, by_login, by_stored_id, imported_before, present, renew_hash};
pub use cutoff::{CutOff, cut_off};
pub use idempotency::{Claim, Key, Replaced, claim, forget_keys, keep, unanswered_rotation};
pub use line::unchanged;
pub use list::{Filter, MOST_MATCHES, Whose, count_live, count_live_by_user, find, find_ended, list};
pub use lookup::{Found, by_digests, look_up, owner_now};
pub(crate) use made_by::{end_made_by, end_these};
pub use mint::Mint;
pub(crate) use mint::{made_before, mint, mint_together};
pub use modify::{Modified, Shape, made_by_the_daemon, modify};
pub use policy::{Clamp, clamp, end_idle, purge_git};
pub use restore::{Restored, UNDO_WINDOW, came_back, restorable, restore};
pub(crate) use revoke::end_all_of;
pub use revoke::{EndedMany, Revoked, Selection, revoke, revoke_selected, selected};
pub use rotate::{FirstUse, Rotated, first_use, others_of_family, reuse, rotate, successors_since};
pub use sessions::{SignedOut, is_in_browser, keep_in_browser};
pub(crate) use sessions::{sign_out, stays_in_browser};
pub use uses::{Counted, count_use};

use crate::error::StoreError;
use crate::schema::{last_uses, tokens, users, workspaces};
use crate::tx::{ReadTx, WriteTx};
use chosen::login_free;
use cutoff::Side;
use line::{clamp_descendants, end_descendants, end_git_descendants, locked, parents_end};
use parent::{owner_keeps, parent_kept_live, parents_owner_keeps};
use revoke::{end, live_children, live_line};
use row::{GrantColumns, LastUseRow, TokenRow};

/// What shows the tokens there are.
const LISTED: &str = "`tok token list` shows IDs and prefixes";

/// What the decision about a token lets somebody do with tokens: whose they may touch.
fn whose(permit: &Permit, what: &'static str) -> Result<Whose, StoreError> {
    match permit.need() {
        Need::Server => Ok(Whose::Everybodys),
        Need::SeeTokens { owner } | Need::EndTokens { owner } | Need::ChangeTokens { owner } => Ok(Whose::Of(*owner)),
        _ => Err(StoreError::Permit(what)),
    }
}

/// What the store may know of a new token's secret.
#[derive(Debug, Clone)]
pub enum StoredSecret {
    /// Found by its digest: what tok made, and random secrets of other systems.
    Digest {
        /// The digest.
        digest: Digest,
        /// Under which pepper.
        pepper: PepperId,
    },
    /// Found by the token's name: what somebody chose. A PHC string of argon2id, or bcrypt's own form.
    Hash(String),
}

/// A token to be made: what its permit does not say already.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its ID.
    pub id: TokenId,
    /// What the store may know of its secret.
    pub secret: StoredSecret,
    /// The system it was imported from.
    pub imported_from: Option<&'static str>,
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
    /// The version of that token on which it was decided: if it has another by now, nothing is made. `None`: any will do,
    /// since what it may do is its owner's to say, as with a local login.
    pub parent_version: Option<i32>,
    /// For a session that the local socket opens: the user ID it is the login of.
    pub local_uid: Option<u32>,
}

/// Makes the token that `permit` allows: grant, owner, expiry and addresses are the permit's. A conflict if its parent was
/// ended since that was decided, or its maker put out of the workspace that it was to act for.
pub fn create(tx: &mut WriteTx<'_>, permit: &Permit, new: NewToken) -> Result<Token, StoreError> {
    let version = new.parent_version;
    let row = row_for(permit, new)?;
    owners_keep(tx, permit, &row, version)?;
    insert(tx, row)
}

/// The same under an idempotency key, which was [claimed](claim) in this transaction: its first use will be written down.
pub fn create_under_key(tx: &mut WriteTx<'_>, permit: &Permit, new: NewToken, key: &Key) -> Result<Token, StoreError> {
    let version = new.parent_version;
    let row = TokenRow { first_use_due: true, ..row_for(permit, new)? };
    owners_keep(tx, permit, &row, version)?;
    let token = insert(tx, row)?;
    keep(tx, key, token.id, permit.at())?;
    Ok(token)
}

/// Owners before tokens, as whoever ends tokens goes, so that the two wait for each other in one order.
fn owners_keep(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    row: &TokenRow,
    parent_version: Option<i32>,
) -> Result<(), StoreError> {
    owner_keeps(tx, permit)?;
    if row.secret_hash.is_some() {
        login_free(tx, &row.name, (row.user_id, row.workspace_id), permit.at())?;
    }
    row.parent_id.map_or(Ok(()), |parent| parents_owner_keeps(tx, parent, parent_version))
}

fn insert(tx: &mut WriteTx<'_>, row: TokenRow) -> Result<Token, StoreError> {
    let ((user, workspace), parent) = diesel::insert_into(tokens::table)
        .values(&row)
        .returning((owner_names(), parent_kept_live()))
        .get_result::<((Option<String>, Option<String>), Option<Uuid>)>(tx.connection())?;
    if parent != row.parent_id {
        return Err(parent_revoked());
    }
    row.into_token(user.or(workspace).unwrap_or_default())
}

fn parent_revoked() -> StoreError {
    StoreError::Conflict {
        what: "the token that this one was to be made through has just been revoked, or changed; try again".to_owned(),
    }
}

/// The row of the token that `permit` allows.
fn row_for(permit: &Permit, new: NewToken) -> Result<TokenRow, StoreError> {
    let (Need::Mint(request) | Need::Import(request)) = permit.need() else {
        return Err(StoreError::Permit("making a token"));
    };
    let actor = permit.actor();
    let (user_id, workspace_id) = match request.owner {
        Owner::User(id) => (Some(id.as_uuid()), None),
        Owner::Workspace(id) => (None, Some(id.as_uuid())),
    };
    let columns = GrantColumns::from(&request.grant);
    let (digest, pepper_id, secret_hash) = match new.secret {
        StoredSecret::Digest { digest, pepper } => (Some(digest.as_bytes().to_vec()), Some(pepper.0), None),
        StoredSecret::Hash(hash) => (None, None, Some(hash)),
    };
    Ok(TokenRow {
        id: new.id.as_uuid(),
        digest,
        pepper_id,
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
        // Of a manager who acts as somebody else, that one has no token to know of; the trail says who it was.
        created_by_token_prefix: actor.token_prefix.clone().filter(|_| actor.source.behind.is_none()),
        created_from: actor.source.describe(),
        created_agent: actor.source.agent.clone(),
        expires_at: request.expires_at.map(as_kept),
        revoked_at: None,
        revoked_by: None,
        revoke_reason: None,
        secret_hash,
        imported_from: new.imported_from.map(str::to_owned),
        labels: new.labels.iter().map(ToString::to_string).collect(),
        max_uses: new.max_uses,
        uses: 0,
        predecessor_id: None,
        rotated_at: None,
        rotated_by: None,
        grace_ends_at: None,
        successor_id: None,
        revoke_act: None,
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

fn by_id(tx: &mut ReadTx<'_>, id: TokenId) -> Result<Option<Token>, StoreError> {
    with_owner_names()
        .filter(tokens::id.eq(id.as_uuid()))
        .first::<OwnedRow>(tx.connection())
        .optional()?
        .map(into_token)
        .transpose()
}

/// A token to be looked at or ended.
fn shown_by_id(tx: &mut ReadTx<'_>, id: TokenId) -> Result<Option<Token>, StoreError> {
    let row = with_owner_names().filter(tokens::id.eq(id.as_uuid())).first::<OwnedRow>(tx.connection()).optional()?;
    Ok(row.map(shown))
}

/// A token's row, its owner's, and its last use's.
type OwnedRow = (TokenRow, Option<Side>, Option<Side>, Option<LastUseRow>);

#[diesel::dsl::auto_type]
fn with_owner_names() -> _ {
    let row: diesel::dsl::AsSelect<TokenRow, diesel::pg::Pg> = TokenRow::as_select();
    let user = (users::name, users::cutoff_before, users::cutoff_at, users::cutoff_by, users::cutoff_reason);
    let workspace = (
        workspaces::name,
        workspaces::cutoff_before,
        workspaces::cutoff_at,
        workspaces::cutoff_by,
        workspaces::cutoff_reason,
    );
    let last_use = (last_uses::at, last_uses::address, last_uses::agent, last_uses::repo);
    with_owners().left_join(last_uses::table.on(last_uses::token_id.eq(tokens::id))).select((
        row,
        user.nullable(),
        workspace.nullable(),
        last_use.nullable(),
    ))
}

/// Tokens with the rows of their owners.
#[diesel::dsl::auto_type]
fn with_owners() -> _ {
    tokens::table
        .left_join(users::table.on(tokens::user_id.eq(users::id.nullable())))
        .left_join(workspaces::table.on(tokens::workspace_id.eq(workspaces::id.nullable())))
}

fn into_token((mut row, user, workspace, last_use): OwnedRow) -> Result<Token, StoreError> {
    let owner_name = owner_seen(&mut row, user, workspace);
    Ok(Token { last_use: last_use.map(row::last_use), ..row.into_token(owner_name)? })
}

/// The same for whoever looks at tokens or ends them: a row that cannot be understood says so and hides no others.
fn shown((mut row, user, workspace, last_use): OwnedRow) -> Token {
    let owner_name = owner_seen(&mut row, user, workspace);
    Token { last_use: last_use.map(row::last_use), ..row.shown(owner_name) }
}

fn owner_seen(row: &mut TokenRow, user: Option<Side>, workspace: Option<Side>) -> String {
    user.or(workspace).map(|owner| cutoff::seen(row, owner)).unwrap_or_default()
}
