//! What the server's own policy does to tokens: shorter lives, an end for those that nobody uses, and the sweeping out of
//! git tokens that ended long ago. In batches, so that nobody waits long for a row.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::clock::{Period, Timestamp};
use tok_model::kind::TokenKind;
use uuid::Uuid;

use super::revoke::{Act, CUT, Found, Identity, OWNERS, end_as};
use crate::error::StoreError;
use crate::pool::Store;
use crate::schema::{idempotency, last_uses, tokens};

/// The most tokens that one transaction changes.
const BATCH: i64 = 5000;

/// What [`clamp`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamp {
    /// How many tokens end earlier than they were made to.
    pub shortened: u64,
}

/// Lets tokens of a kind live no longer than the policy's maximum, counted from when each was made; those that are older
/// already end now. A local login, whose text nobody holds, is no token that could get old.
pub fn clamp(store: &Store, kind: TokenKind, most: Period, now: Timestamp) -> Result<Clamp, StoreError> {
    let mut shortened = 0;
    loop {
        let done = store.write(|mut tx| {
            let done: Vec<Found> = diesel::sql_query(format!(
                "UPDATE tokens SET expires_at = greatest(created_at + $2 * interval '1 second', $3), \
                     modified_at = $3, version = version + 1 \
                 FROM (SELECT tokens.id FROM tokens {OWNERS} \
                       WHERE kind = $1 AND revoked_at IS NULL AND local_uid IS NULL AND NOT {CUT} AND (expires_at IS NULL \
                         OR expires_at > greatest(tokens.created_at + $2 * interval '1 second', $3)) \
                       ORDER BY tokens.id LIMIT $4 FOR UPDATE OF tokens) l \
                 WHERE tokens.id = l.id RETURNING tokens.id"
            ))
            .bind::<Text, _>(kind.as_str())
            .bind::<BigInt, _>(most.seconds())
            .bind::<Timestamptz, _>(now)
            .bind::<BigInt, _>(BATCH)
            .load(tx.connection())?;
            if !done.is_empty() {
                let words = format!("{} {kind} tokens end earlier: they live for {most} at most", done.len());
                tx.commit(AuditEvent::done(Action::TokenPolicy, Actor::daemon()).detail(words), now)?;
            }
            Ok(done.len())
        })?;
        shortened += done as u64;
        if done == 0 {
            return Ok(Clamp { shortened });
        }
    }
}

/// Ends the tokens of a kind that nobody used for so long. Returns how many ended, with those made through them.
pub fn end_idle(store: &Store, kind: TokenKind, idle: Period, now: Timestamp) -> Result<u64, StoreError> {
    let mut ended = 0;
    loop {
        let done = store.write(|mut tx| {
            let found: Vec<Found> = diesel::sql_query(format!(
                "SELECT tokens.id FROM tokens {OWNERS} LEFT JOIN last_uses AS last ON last.token_id = tokens.id \
                 WHERE kind = $1 AND revoked_at IS NULL AND local_uid IS NULL AND NOT {CUT} \
                   AND (expires_at IS NULL OR expires_at > $3) AND coalesce(last.at, tokens.created_at) <= $2 \
                 ORDER BY tokens.id LIMIT $4"
            ))
            .bind::<Text, _>(kind.as_str())
            .bind::<Timestamptz, _>(now - idle.delta())
            .bind::<Timestamptz, _>(now)
            .bind::<BigInt, _>(BATCH)
            .load(tx.connection())?;
            let ids: Vec<Uuid> = found.into_iter().map(|found| found.id).collect();
            if ids.is_empty() {
                return Ok(0);
            }
            let reason = tok_model::policy::idle_reason(idle);
            let by = Actor::daemon().describe();
            let who = Identity::default();
            let done = end_as(&mut tx, ids, &Act { at: now, by: &by, who, reason: Some(&reason), undo: None })?;
            let words = format!("{} tokens ended, {kind} tokens and what was made through them: {reason}", done.len());
            tx.commit(AuditEvent::done(Action::TokenPolicy, Actor::daemon()).detail(words), now)?;
            Ok(done.len())
        })?;
        ended += done as u64;
        if done == 0 {
            return Ok(ended);
        }
    }
}

/// Removes the git tokens that ended longer ago than `kept`, and with them what was remembered of how they were asked for.
/// The trail keeps its lines about them. Returns how many went.
pub fn purge_git(store: &Store, kept: TimeDelta, now: Timestamp) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        let done = store.write(|mut tx| {
            // A git token lives for an hour at most, so what was made before has ended before.
            let found: Vec<Found> = diesel::sql_query(
                "SELECT id FROM tokens WHERE kind = 'git' AND created_at < $1 - interval '1 hour' \
                 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED",
            )
            .bind::<Timestamptz, _>(now - kept)
            .bind::<BigInt, _>(BATCH)
            .load(tx.connection())?;
            let ids: Vec<Uuid> = found.into_iter().map(|found| found.id).collect();
            if ids.is_empty() {
                return Ok(0);
            }
            diesel::delete(idempotency::table.filter(idempotency::token_id.eq_any(&ids))).execute(tx.connection())?;
            diesel::delete(last_uses::table.filter(last_uses::token_id.eq_any(&ids))).execute(tx.connection())?;
            let gone = diesel::delete(tokens::table.filter(tokens::id.eq_any(&ids))).execute(tx.connection())?;
            let words = format!("{gone} git tokens that ended more than {} days ago were removed", kept.num_days());
            tx.commit(AuditEvent::done(Action::TokenPurge, Actor::daemon()).detail(words), now)?;
            Ok(gone)
        })?;
        removed += done as u64;
        if done == 0 {
            return Ok(removed);
        }
    }
}
