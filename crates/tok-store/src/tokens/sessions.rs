//! A user's sessions: which are a browser's, and the end of those that somebody else may have.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz, Uuid as SqlUuid};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::decide::{Need, Permit};
use tok_model::grant::Grant;
use tok_model::id::{TokenId, UserId};
use tok_model::token::Owner;
use uuid::Uuid;

use super::revoke::{Act, CUT, Found, Identity, OWNERS, end_as};
use crate::error::StoreError;
use crate::schema::browser_sessions;
use crate::tx::{ReadTx, WriteTx, exactly};

/// Notes that a session is a browser's, in the transaction that makes it.
pub fn keep_in_browser(tx: &mut WriteTx<'_>, permit: &Permit, session: TokenId) -> Result<(), StoreError> {
    let user = match permit.need() {
        Need::Mint(request) if request.grant == Grant::Session => request.owner,
        _ => return Err(StoreError::Permit("giving a session to a browser")),
    };
    let Owner::User(user) = user else { return Err(StoreError::Permit("giving a workspace's session to a browser")) };
    let written = diesel::insert_into(browser_sessions::table)
        .values((browser_sessions::token_id.eq(session.as_uuid()), browser_sessions::user_id.eq(user.as_uuid())))
        .execute(tx.connection())?;
    exactly(1, written, "the browser's session was not written")
}

/// Whether a session is a browser's, and was not taken from it since. Whether it is live is asked elsewhere.
pub fn is_in_browser(tx: &mut ReadTx<'_>, session: TokenId) -> Result<bool, StoreError> {
    let found: Option<Uuid> = browser_sessions::table
        .find(session.as_uuid())
        .select(browser_sessions::token_id)
        .first(tx.connection())
        .optional()?;
    Ok(found.is_some())
}

/// The same, and it stays so until this transaction ends: whoever takes it away waits, and finds what was done.
pub(crate) fn stays_in_browser(tx: &mut WriteTx<'_>, session: TokenId) -> Result<bool, StoreError> {
    let found: Option<Uuid> = browser_sessions::table
        .find(session.as_uuid())
        .select(browser_sessions::token_id)
        .for_share()
        .first(tx.connection())
        .optional()?;
    Ok(found.is_some())
}

/// What came of the end of a user's sessions.
#[derive(Debug, Clone, Default)]
pub struct SignedOut {
    /// What ended: sessions, and what was made through them, each with its shown prefix.
    pub ended: Vec<(TokenId, String)>,
    /// How many of them are sessions.
    pub sessions: usize,
    /// How many sessions go on besides the one that this was done with, not counting those of users of this machine.
    pub left: usize,
}

impl SignedOut {
    /// This event, and what the trail shall say of each that ended with it, and why.
    pub fn told(&self, event: AuditEvent, why: &str, permit: &Permit) -> AuditEvents {
        let each = |(id, prefix): &(TokenId, String)| {
            AuditEvent::done(Action::TokenRevoke, permit.actor().clone()).token(*id, prefix).detail(why)
        };
        AuditEvents::new(event, self.ended.iter().map(each))
    }
}

/// Ends what the user's browsers were given (or `all` of their sessions), but for the session that the permit's holder uses:
/// what was proved to get it counts no more. It cannot be undone; one that was ended before and is brought back is no
/// browser's either. Sessions of users of this machine go on: who they are the kernel says.
pub(crate) fn sign_out(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    user: UserId,
    all: bool,
    reason: &str,
) -> Result<SignedOut, StoreError> {
    let own = permit.actor().token.map(TokenId::as_uuid);
    let in_browsers = browser_sessions::table.filter(browser_sessions::user_id.eq(user.as_uuid()));
    let taken: Vec<Uuid> = diesel::delete(in_browsers.filter(browser_sessions::token_id.ne(own.unwrap_or_default())))
        .returning(browser_sessions::token_id)
        .get_results(tx.connection())?;
    let (ending, left): (Vec<Uuid>, Vec<Uuid>) =
        live_besides(tx, permit, user, own)?.into_iter().partition(|session| all || taken.contains(session));
    let by = permit.actor().describe();
    let who = Identity::of(permit.actor());
    let sessions = ending.len();
    let ended = end_as(tx, ending, &Act { at: permit.at(), by: &by, who, reason: Some(reason), undo: None })?;
    Ok(SignedOut { ended, sessions, left: left.len() })
}

/// The user's live sessions but for this one, and for those of users of this machine.
fn live_besides(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    user: UserId,
    own: Option<Uuid>,
) -> Result<Vec<Uuid>, StoreError> {
    let found: Vec<Found> = diesel::sql_query(format!(
        "SELECT tokens.id FROM tokens {OWNERS} \
         WHERE tokens.user_id = $1 AND tokens.kind = 'session' AND tokens.local_uid IS NULL \
           AND tokens.revoked_at IS NULL AND (tokens.expires_at IS NULL OR tokens.expires_at > $2) \
           AND (tokens.grace_ends_at IS NULL OR tokens.grace_ends_at > $2) AND NOT {CUT} \
           AND tokens.id IS DISTINCT FROM $3"
    ))
    .bind::<SqlUuid, _>(user.as_uuid())
    .bind::<Timestamptz, _>(permit.at())
    .bind::<Nullable<SqlUuid>, _>(own)
    .load(tx.connection())?;
    Ok(found.into_iter().map(|found| found.id).collect())
}
