//! Changing a token: what it is called, and how far it reaches.

use diesel::prelude::*;
use tok_model::decide::{Need, Permit};
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::reach::Reach;
use tok_model::token::{Owner, SecretForm, Token, TokenState};

use super::chosen::login_free;
use super::line::same_version;
use super::row::GrantColumns;
use super::{as_kept, clamp_descendants, end_git_descendants, into_token, locked, parents_end};
use crate::error::StoreError;
use crate::schema::tokens;
use crate::tx::WriteTx;

/// A token as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What its owner calls it.
    pub name: String,
    /// More words on it.
    pub description: String,
    /// Words that it is found by.
    pub labels: Vec<Label>,
    /// How far it reaches.
    pub reach: Reach,
}

impl Shape {
    /// A token as it is.
    pub fn of(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            description: token.description.clone(),
            labels: token.labels.clone(),
            reach: token.reach(),
        }
    }
}

/// What [`modify`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modified {
    /// The token as it is now.
    pub token: Token,
    /// Git tokens made through it that ended, since it reaches less far than when it made them.
    pub ended: Vec<(TokenId, String)>,
}

/// Gives a live token another shape, if its version is still `version`. Whoever may only change it can narrow it; what
/// reaches further than before needs `wider`, a permit to make a token that reaches exactly so far.
///
/// Tokens made through it do not outlive it, and its git tokens, which are made anew when git wants one, end if it was
/// narrowed.
pub fn modify(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    id: TokenId,
    version: i32,
    shape: &Shape,
    wider: Option<&Permit>,
) -> Result<Modified, StoreError> {
    let old = changeable(tx, permit, id)?;
    same_version(&old, version)?;
    if !shape.reach.within(&old.reach()) && !wider.is_some_and(|permit| allows(permit, old.owner, &shape.reach)) {
        return Err(StoreError::Permit("widening a token"));
    }
    if shape.reach.expires_at != old.expires_at
        && let Some(end) = parents_end(tx, old.parent)?
        && shape.reach.expires_at.is_none_or(|wanted| wanted > end)
    {
        let end = end.format("%Y-%m-%dT%H:%M:%SZ");
        return Err(StoreError::Conflict {
            what: format!(
                "the token {} was made through another, which ends at {end}, and cannot outlive it",
                old.name
            ),
        });
    }
    // Uses are counted while there is a limit, so a new one begins at nothing.
    let so_far = match (old.use_limit, shape.reach.max_uses) {
        (Some(limit), Some(most)) if most <= limit.so_far => {
            return Err(StoreError::Conflict {
                what: format!("the token {} has been used {} times meanwhile", old.name, limit.so_far),
            });
        }
        (Some(limit), Some(_)) => limit.so_far,
        _ => 0,
    };
    if shape.name != old.name && old.secret == SecretForm::Chosen {
        let owner = match old.owner {
            Owner::User(id) => (Some(id.as_uuid()), None),
            Owner::Workspace(id) => (None, Some(id.as_uuid())),
        };
        login_free(tx, &shape.name, owner, permit.at())?;
    }
    // What is presented with a chosen secret is the name, so that is what is shown of it.
    let shown = if old.secret == SecretForm::Chosen && old.shown_prefix == format!("{}:", old.name) {
        format!("{}:", shape.name)
    } else {
        old.shown_prefix.clone()
    };
    let columns = GrantColumns::from(&shape.reach.grant);
    let expires_at = shape.reach.expires_at.map(as_kept);
    diesel::update(tokens::table.find(id.as_uuid()))
        .set((
            tokens::name.eq(&shape.name),
            tokens::shown_prefix.eq(shown),
            tokens::description.eq(&shape.description),
            tokens::labels.eq(shape.labels.iter().map(ToString::to_string).collect::<Vec<_>>()),
            tokens::scopes.eq(columns.scopes),
            tokens::routes.eq(columns.routes),
            tokens::permission.eq(columns.permission),
            tokens::repos.eq(columns.repos),
            tokens::allow_from.eq(shape.reach.allow_from.iter().map(ToString::to_string).collect::<Vec<_>>()),
            tokens::expires_at.eq(expires_at),
            tokens::max_uses.eq(shape.reach.max_uses),
            tokens::uses.eq(so_far),
            tokens::version.eq(tokens::version + 1),
            tokens::modified_at.eq(as_kept(permit.at())),
        ))
        .execute(tx.connection())?;
    let mut ended = Vec::new();
    if let Some(end) = expires_at.filter(|_| shape.reach.expires_at != old.expires_at) {
        clamp_descendants(tx, id, end)?;
    }
    let reach = old.reach();
    if !reach.grant.within(&shape.reach.grant) || reach.allow_from != shape.reach.allow_from {
        let reason = format!("made through {}…, which was changed", old.shown_prefix);
        ended = end_git_descendants(tx, id, &permit.actor().describe(), &reason, permit.at())?;
    }
    let token = locked(tx, id)?.map(into_token).transpose()?.ok_or_else(|| missing(id))?;
    Ok(Modified { token, ended })
}

/// Whether a permit is to make a token that reaches exactly so far.
fn allows(permit: &Permit, owner: Owner, reach: &Reach) -> bool {
    let Need::Mint(request) = permit.need() else { return false };
    request.owner == owner
        && request.grant == reach.grant
        && request.expires_at == reach.expires_at
        && request.allow_from == reach.allow_from
}

/// The token that `permit` lets somebody change, locked, if it can be changed at all.
fn changeable(tx: &mut WriteTx<'_>, permit: &Permit, id: TokenId) -> Result<Token, StoreError> {
    let owner = match permit.need() {
        Need::Server => None,
        Need::ChangeTokens { owner } => Some(*owner),
        _ => return Err(StoreError::Permit("changing a token")),
    };
    let token = locked(tx, id)?.map(into_token).transpose()?;
    let token = token.filter(|token| owner.is_none_or(|o| o == token.owner)).ok_or_else(|| missing(id))?;
    let why = match &token.state {
        TokenState::Revoked { .. } => "is revoked",
        TokenState::Rotated { .. } => "has been given up for a successor",
        TokenState::Live if token.expires_at.is_some_and(|end| end <= permit.at()) => "has expired",
        TokenState::Live => return Ok(token),
    };
    Err(StoreError::Conflict { what: format!("the token {} ({}) {why}", token.name, token.shown_prefix) })
}

pub(super) fn missing(id: TokenId) -> StoreError {
    StoreError::NotFound { what: format!("no token of yours has the ID {id}"), look: super::LISTED.to_owned() }
}

/// The kinds that the daemon makes by itself: they have a name, and nothing else of theirs is anybody's to change.
pub fn made_by_the_daemon(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Git | TokenKind::Session)
}
