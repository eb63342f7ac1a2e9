//! An identity token becomes a git token: burnt, pinned, minted and written down together, or not at all.

use diesel::prelude::*;
use tok_model::audit::AuditEvents;
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::id::TrustId;
use tok_model::token::Token;
use tok_model::trust::Pin;

use crate::error::StoreError;
use crate::pool::Store;
use crate::schema::{trust_pins, trust_uses, trusts};
use crate::tokens::NewToken;
use crate::tx::WriteTx;

/// What is known of an identity token that is not to be good again.
#[derive(Debug, Clone)]
pub struct Burnt {
    /// The rule that let it in.
    pub trust: TrustId,
    /// What it is recognised by.
    pub digest: [u8; 32],
    /// The first moment at which it is no good by itself, whatever the clocks say.
    pub until: Timestamp,
    /// The IDs that its names have to have.
    pub pins: Vec<Pin>,
}

/// What became of it.
#[derive(Debug)]
pub enum Exchanged {
    /// A git token.
    Made(Box<Token>),
    /// It was exchanged before: nothing was made.
    Replayed,
    /// A name has another ID than it had: nothing was made.
    Recycled {
        /// As the identity token says.
        now: Pin,
        /// The claim and the ID that were pinned.
        pinned: (String, String),
    },
    /// The rule was just removed: nothing was made.
    RuleGone,
}

/// Makes the token that `permit` allows, and sees to it that the identity token makes no other. Of several who come at
/// once with the same one, to whichever daemons, one gets something.
pub fn exchange(
    store: &Store,
    permit: &Permit,
    burnt: &Burnt,
    new: NewToken,
    events: impl Into<AuditEvents>,
) -> Result<Exchanged, StoreError> {
    let Need::Mint(request) = permit.need() else { return Err(StoreError::Permit("exchanging an identity token")) };
    let end = request.expires_at.unwrap_or(permit.at());
    store.write(|mut tx| {
        forget_expired(&mut tx, permit.at())?;
        // Holds the rule until this is over: whoever removes it finds the token, and ends it.
        let held = diesel::update(trusts::table.find(burnt.trust.as_uuid()))
            .set((trusts::uses.eq(trusts::uses + 1), trusts::last_used_at.eq(permit.at())))
            .execute(tx.connection())?;
        if held == 0 {
            return Ok(Exchanged::RuleGone);
        }
        let fresh = diesel::insert_into(trust_uses::table)
            .values((
                trust_uses::digest.eq(&burnt.digest[..]),
                trust_uses::trust_id.eq(burnt.trust.as_uuid()),
                trust_uses::token_id.eq(new.id.as_uuid()),
                trust_uses::until.eq(burnt.until.max(end)),
            ))
            .on_conflict_do_nothing()
            .execute(tx.connection())?;
        if fresh == 0 {
            return Ok(Exchanged::Replayed);
        }
        for pin in &burnt.pins {
            let pinned = pin_or_pinned(&mut tx, burnt.trust, pin, permit.at())?;
            if pinned != (pin.id_claim.clone(), pin.id.clone()) {
                return Ok(Exchanged::Recycled { now: pin.clone(), pinned });
            }
        }
        let token = crate::tokens::create(&mut tx, permit, new)?;
        tx.commit(events, permit.at())?;
        Ok(Exchanged::Made(Box::new(token)))
    })
}

/// The ID that the name has from now on, or had before.
fn pin_or_pinned(
    tx: &mut WriteTx<'_>,
    trust: TrustId,
    pin: &Pin,
    at: Timestamp,
) -> Result<(String, String), StoreError> {
    diesel::insert_into(trust_pins::table)
        .values((
            trust_pins::trust_id.eq(trust.as_uuid()),
            trust_pins::claim.eq(&pin.claim),
            trust_pins::name.eq(&pin.name),
            trust_pins::id_claim.eq(&pin.id_claim),
            trust_pins::pinned.eq(&pin.id),
            trust_pins::pinned_at.eq(at),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())?;
    Ok(trust_pins::table
        .find((trust.as_uuid(), &pin.claim, &pin.name))
        .select((trust_pins::id_claim, trust_pins::pinned))
        .first(tx.connection())?)
}

/// What is past its end needs no remembering.
fn forget_expired(tx: &mut WriteTx<'_>, now: Timestamp) -> Result<(), StoreError> {
    diesel::delete(trust_uses::table.filter(trust_uses::until.lt(now))).execute(tx.connection())?;
    Ok(())
}
