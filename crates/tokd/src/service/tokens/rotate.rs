//! Giving a token a successor.

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use tok_api::convert::{CheckedRotation, RotatedToken, TokenRecord};
use tok_api::fault::Fault;
use tok_model::clock::Timestamp;
use tok_model::decide::{Caller, MintRequest, Need, Permit};
use tok_model::id::TokenId;
use tok_model::token::{SecretForm, Token};
use tok_store::tokens::{Key, NewToken, Rotated, made_by_the_daemon};
use tok_store::{StoreError, WriteTx};

use super::idempotency::claimed;
use super::modify::{as_its_owner, unchangeable};
use crate::service::{Service, rng};

impl Service {
    /// Makes a successor with the same authority. The old one works until the successor is first used or the grace ends;
    /// with no grace it has ended when this returns.
    ///
    /// It is the token as it was `seen`, if that is said, and as it is read here that gets a successor: a conflict if
    /// somebody gives it another shape meanwhile.
    pub async fn rotate_token(
        &self,
        caller: &Caller,
        rotation: CheckedRotation,
        seen: Option<u32>,
    ) -> Result<RotatedToken, Fault> {
        let now = self.now();
        let (_, old) = self.resolve(caller, rotation.reference.clone(), |owner| Need::ChangeTokens { owner }).await?;
        let key = rotation.idempotency_key.as_ref().map(|key| self.key(caller, key, &asked_for(&old, &rotation)));
        takes_a_successor(&old, &rotation)?;
        // A retry finds it rotated, and whether it may do so again is seen when its key is.
        if key.is_none()
            || old.unreadable.is_some()
            || !matches!(old.state, tok_model::token::TokenState::Rotated { .. })
        {
            unchangeable(&old, now)?;
        }
        let expires_at = match rotation.expires {
            Some(asked) => self.expiry(caller, old.kind(), Some(asked), now)?,
            None => self.renewed_end(caller, &old, now),
        };
        let request =
            MintRequest { owner: old.owner, grant: old.grant.clone(), expires_at, allow_from: old.allow_from.clone() };
        let permit = self.permit(caller, Need::Mint(request)).map_err(|fault| as_its_owner(fault, caller, &old))?;
        let secret = self.new_secret(old.kind(), &old.name, rotation.secret, Some(&old.owner_name)).await?;
        let row = NewToken {
            id: TokenId::random(&mut rng()),
            secret: secret.stored,
            imported_from: None,
            shown_prefix: secret.shown,
            name: old.name.clone(),
            description: old.description.clone(),
            labels: old.labels.clone(),
            max_uses: old.reach().max_uses,
            parent: old.parent,
            parent_version: None,
            local_uid: None,
        };
        let version = as_seen(seen).unwrap_or(old.version);
        let grace_ends_at = rotation.grace.map_or(now, |grace| now + grace.delta());
        let rotated = self
            .run_and_forget(move |store| {
                store.write(|tx| give_place(tx, &permit, (&old, version), row, grace_ends_at, key.as_ref()))
            })
            .await??;
        Ok(RotatedToken {
            secret: secret.text,
            token: TokenRecord::of(&rotated.token, now),
            predecessor: TokenRecord::of(&rotated.predecessor, now),
        })
    }

    /// As long from now as the old one was made for, within policy and its maker's own end.
    fn renewed_end(&self, caller: &Caller, old: &Token, now: Timestamp) -> Option<Timestamp> {
        let renewed = old.expires_at.map(|end| now + (end - old.created_at));
        let own = caller.token().and_then(Token::ends_at);
        [renewed, self.policy.kinds.latest(old.kind(), now), own].into_iter().flatten().min()
    }
}

/// Old and new token, what a retry replaces, and their trail: together, or not at all.
fn give_place(
    mut tx: WriteTx<'_>,
    permit: &Permit,
    (old, version): (&Token, i32),
    row: NewToken,
    grace_ends_at: Timestamp,
    key: Option<&Key>,
) -> Result<Result<Rotated, Fault>, StoreError> {
    let mut replaced = None;
    if let Some(key) = key {
        let claim = tok_store::tokens::claim(&mut tx, key, &permit.actor().describe(), permit.at())?;
        replaced = match claimed(claim) {
            Ok(replaced) => replaced,
            Err(fault) => return Ok(Err(fault)),
        };
        // Nothing is repeated, so it is as if there were no key.
        if replaced.is_none()
            && let Err(fault) = unchangeable(old, permit.at())
        {
            return Ok(Err(fault));
        }
    }
    let replaces = replaced.as_ref().map(|replaced| replaced.id);
    let rotated = tok_store::tokens::rotate(&mut tx, permit, (old.id, version), row, grace_ends_at, replaces)?;
    if let Some(key) = key {
        tok_store::tokens::keep(&mut tx, key, rotated.token.id, permit.at())?;
    }
    let events = rotated.events(permit, replaced.as_ref());
    tx.commit(events, permit.at())?;
    Ok(Ok(rotated))
}

/// The version that somebody saw, as it is kept.
pub(super) fn as_seen(version: Option<u32>) -> Option<i32> {
    version.map(|version| i32::try_from(version).unwrap_or(i32::MAX))
}

/// Whether this token can have a successor with such a secret.
fn takes_a_successor(old: &Token, rotation: &CheckedRotation) -> Result<(), Fault> {
    let kind = old.kind();
    if made_by_the_daemon(kind) {
        return Err(Fault::field(
            "reference",
            format!("a {kind} token is not rotated: tokd makes a new one when one is needed"),
        )
        .hint(format!("to end it, run: tok token revoke {}", old.id)));
    }
    match (old.secret, &rotation.secret) {
        (SecretForm::Minted | SecretForm::Foreign, Some(_)) => Err(Fault::field(
            "secret",
            "the secret of this token is not a chosen one, so its successor gets one from tok",
        )
        .hint("leave the secret out")),
        (SecretForm::Chosen, None) => Err(Fault::field(
            "secret",
            "the secret of this token was chosen, so its successor needs one that is chosen, too",
        )
        .hint("hand the new one over on stdin, with --secret-stdin")),
        (SecretForm::Chosen, Some(_)) | (SecretForm::Minted | SecretForm::Foreign, None) => Ok(()),
    }
}

/// All of a request for a successor that makes it another request, as text.
fn asked_for(old: &Token, rotation: &CheckedRotation) -> Zeroizing<String> {
    let CheckedRotation { reference: _, grace, expires, idempotency_key: _, secret } = rotation;
    let secret = secret.as_ref().map(ExposeSecret::expose_secret);
    format!("rotate {:?}", (old.id, grace, expires, secret)).into()
}
