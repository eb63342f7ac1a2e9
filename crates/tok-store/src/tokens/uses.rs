//! Tokens that may be used so many times: each use is counted in the database, one by one, before it is let in.

use diesel::prelude::*;
use tok_model::audit::{Action, Actor, AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::token::{Token, USED_UP};

use super::{as_kept, end_descendants};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::WriteTx;

/// What a count came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// There was one left, and it is taken.
    LetIn,
    /// There is none left, or the token ended a moment before.
    NoneLeft,
}

/// Takes one of the uses that a token has left. The last one ends it, with who used it last and why it ended. Exact
/// whatever happens at once, since the row counts: of two that want the last use one gets it.
pub fn count_use(mut tx: WriteTx<'_>, token: &Token, actor: &Actor, at: Timestamp) -> Result<Counted, StoreError> {
    let one_left = tokens::table
        .filter(tokens::id.eq(token.id.as_uuid()))
        .filter(tokens::max_uses.is_null().or(tokens::uses.nullable().lt(tokens::max_uses).assume_not_null()))
        .filter(tokens::revoked_at.is_null());
    let counted = diesel::update(one_left)
        .set(tokens::uses.eq(tokens::uses + 1))
        .returning((tokens::uses, tokens::max_uses))
        .get_result::<(i64, Option<i64>)>(tx.connection())
        .optional()?;
    match counted {
        None => Ok(Counted::NoneLeft),
        Some((uses, most)) if Some(uses) == most => {
            let ended = use_up(&mut tx, token.id, actor, at)?;
            let event = |id: TokenId, prefix: &str| {
                AuditEvent::done(Action::TokenRevoke, actor.clone()).token(id, prefix).detail(USED_UP)
            };
            let more = ended.iter().map(|(id, prefix)| event(*id, prefix));
            tx.commit(AuditEvents::new(event(token.id, &token.shown_prefix), more), at)?;
            Ok(Counted::LetIn)
        }
        Some(_) => {
            tx.commit_noted()?;
            Ok(Counted::LetIn)
        }
    }
}

fn use_up(
    tx: &mut WriteTx<'_>,
    id: TokenId,
    actor: &Actor,
    at: Timestamp,
) -> Result<Vec<(TokenId, String)>, StoreError> {
    let by = actor.describe();
    diesel::update(tokens::table.find(id.as_uuid()))
        .set((tokens::revoked_at.eq(as_kept(at)), tokens::revoked_by.eq(&by), tokens::revoke_reason.eq(USED_UP)))
        .execute(tx.connection())?;
    // From before it had a limit; with one it makes none.
    end_descendants(tx, id, &by, "made through a token that is used up", at)
}
