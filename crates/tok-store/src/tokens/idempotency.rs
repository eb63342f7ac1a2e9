//! Idempotency keys: a retry after a lost reply leaves exactly one live token.
//!
//! The text of a token is kept nowhere, so a retry cannot be told it again. It gets another token instead, and the first
//! one, which nobody has used and nobody knows, ends.

use chrono::TimeDelta;
use diesel::prelude::*;
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::decide::Permit;
use tok_model::id::TokenId;
use tok_model::token::{Token, TokenState};
use uuid::Uuid;

use super::{as_kept, end, into_token, locked};
use crate::error::StoreError;
use crate::pool::Store;
use crate::schema::idempotency;
use crate::tx::{ReadTx, WriteTx};

/// How long a key is kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// A key under which something is asked for.
#[derive(Debug, Clone)]
pub struct Key {
    /// Who asks: the user, workspace, temporary token or local user ID, as text.
    pub caller: String,
    /// The key, as the caller chose it.
    pub key: String,
    /// What was asked for, hashed: first as it is hashed now, then as it may have been hashed before.
    pub request: Vec<[u8; 32]>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: this is the first request under it.
    Fresh,
    /// It was used for this very request, and what that made has ended now, since nobody had used it: make it again.
    Retry(Replaced),
    /// It was used for another request.
    OtherRequest,
    /// What was made under it has been used, so its text arrived.
    Used(String),
    /// What was made under it has ended since, for another reason.
    Ended(String),
}

/// What a retry replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The token whose text never arrived.
    pub id: TokenId,
    /// Its shown prefix.
    pub shown_prefix: String,
}

impl Replaced {
    /// What the trail shall say of it.
    pub fn event(&self, permit: &Permit) -> AuditEvent {
        AuditEvent::done(Action::TokenRevoke, permit.actor().clone())
            .token(self.id, &self.shown_prefix)
            .detail(REPLACED)
    }
}

const REPLACED: &str = "replaced by a retry";

/// Looks a key up, and holds it until this transaction is over: of several that retry at once each finds what the one
/// before it made. An unused token that was made under it for the same request ends here.
pub fn claim(tx: &mut WriteTx<'_>, key: &Key, by: &str, at: Timestamp) -> Result<Claim, StoreError> {
    tx.hold(&format!("{}\n{}", key.caller, key.key))?;
    let Some((request, made)) = kept_since(tx, &key.caller, &key.key, as_kept(at) - KEPT)? else {
        return Ok(Claim::Fresh);
    };
    if !key.request.iter().any(|asked| asked.as_slice() == request) {
        return Ok(Claim::OtherRequest);
    }
    let Some(token) = locked(tx, made)?.map(into_token).transpose()? else { return Ok(Claim::Fresh) };
    match &token.state {
        TokenState::Revoked { .. } => Ok(Claim::Ended(token.shown_prefix)),
        TokenState::Live if token.first_use_due => {
            end(tx, vec![made.as_uuid()], by, Some(REPLACED), at)?;
            Ok(Claim::Retry(Replaced { id: made, shown_prefix: token.shown_prefix }))
        }
        TokenState::Live | TokenState::Rotated { .. } => Ok(Claim::Used(token.shown_prefix)),
    }
}

/// Forgets the keys that are older than they are kept. Returns how many. What a key is remembered for has its own lines in the
/// trail, so this has none.
pub fn forget_keys(store: &Store, at: Timestamp) -> Result<usize, StoreError> {
    let old = idempotency::table.filter(idempotency::created_at.le(as_kept(at) - KEPT));
    store.write(|mut tx| {
        let forgotten = diesel::delete(old).execute(tx.connection())?;
        tx.commit_noted()?;
        Ok(forgotten)
    })
}

/// Keeps what was made under a key that was [claimed](claim) in this transaction.
pub fn keep(tx: &mut WriteTx<'_>, key: &Key, made: TokenId, at: Timestamp) -> Result<(), StoreError> {
    let request = key.request.first().map(|hash| hash.to_vec()).unwrap_or_default();
    diesel::insert_into(idempotency::table)
        .values((
            idempotency::caller.eq(&key.caller),
            idempotency::key.eq(&key.key),
            idempotency::request.eq(&request),
            idempotency::token_id.eq(made.as_uuid()),
            idempotency::created_at.eq(as_kept(at)),
        ))
        .on_conflict((idempotency::caller, idempotency::key))
        .do_update()
        .set((
            idempotency::token_id.eq(made.as_uuid()),
            idempotency::request.eq(&request),
            idempotency::created_at.eq(as_kept(at)),
        ))
        .execute(tx.connection())?;
    Ok(())
}

/// The token that a key made as the successor of `presented`, if nobody has used it: then whoever presents the old one
/// under this key did not get the new one, and asks again.
pub fn unanswered_rotation(
    tx: &mut ReadTx<'_>,
    caller: &str,
    key: &str,
    presented: &Token,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let TokenState::Rotated { successor, .. } = &presented.state else { return Ok(false) };
    if kept_since(tx, caller, key, as_kept(at) - KEPT)?.is_none_or(|(_, made)| made != *successor) {
        return Ok(false);
    }
    let made = super::by_id(tx, *successor)?;
    Ok(made.is_some_and(|made| made.state == TokenState::Live && made.first_use_due))
}

fn kept_since(
    tx: &mut ReadTx<'_>,
    caller: &str,
    key: &str,
    since: Timestamp,
) -> Result<Option<(Vec<u8>, TokenId)>, StoreError> {
    let row = idempotency::table
        .find((caller, key))
        .filter(idempotency::created_at.gt(since))
        .select((idempotency::request, idempotency::token_id))
        .first::<(Vec<u8>, Uuid)>(tx.connection())
        .optional()?;
    Ok(row.map(|(request, made)| (request, TokenId::from_uuid(made))))
}
