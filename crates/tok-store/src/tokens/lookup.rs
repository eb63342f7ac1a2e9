//! Presented tokens, each with its owner as of now: as many as are asked about at once, by as few statements as one takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::Binary;
use tok_model::decide::{OwnerNow, UserNow};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::name::WorkspaceName;
use tok_model::secret::Digest;
use tok_model::token::{Owner, Token};

use super::{OwnedRow, into_token, with_owner_names};
use crate::error::StoreError;
use crate::prepared::among;
use crate::schema::tokens;
use crate::tx::ReadTx;

/// A token that was presented, and its owner as of now.
#[derive(Debug, Clone)]
pub struct Found {
    /// The token.
    pub token: Arc<Token>,
    /// On whose authority it acts.
    pub owner: OwnerNow,
}

/// What the database says of each of these, by digest; what is not found is not in the answer. A row that cannot be
/// understood is an error for whoever asked about it, and for nobody else.
///
/// Costs one statement for the tokens, one for all users that they act for, and one for workspaces if any acts for one,
/// however many are asked about.
pub fn look_up(
    tx: &mut ReadTx<'_>,
    digests: &[Digest],
) -> Result<HashMap<Digest, Result<Found, StoreError>>, StoreError> {
    if digests.is_empty() {
        return Ok(HashMap::new());
    }
    // Each once: several who present the same token share what is found.
    let wanted: Vec<&[u8]> =
        digests.iter().map(Digest::as_bytes).collect::<BTreeSet<_>>().into_iter().map(|d| &d[..]).collect();
    let rows =
        with_owner_names().filter(among::<Binary, _, _>(tokens::digest, wanted)).load::<OwnedRow>(tx.connection())?;
    let found: Vec<(Digest, Result<Token, StoreError>)> = rows
        .into_iter()
        .filter_map(|row| {
            // Found by its digest, so it has one, of 32 bytes.
            let digest = <[u8; 32]>::try_from(row.0.digest.as_deref()?).ok()?;
            Some((Digest::from_bytes(digest), into_token(row)))
        })
        .collect();
    let owners = Owners::of(tx, found.iter().filter_map(|(_, token)| token.as_ref().ok()))?;
    Ok(found
        .into_iter()
        .map(|(digest, token)| {
            let found = token.and_then(|token| Ok(Found { owner: owners.of_token(&token)?, token: Arc::new(token) }));
            (digest, found)
        })
        .collect())
}

/// The same where one row that cannot be understood fails all that was asked.
pub fn by_digests(tx: &mut ReadTx<'_>, digests: &[Digest]) -> Result<Vec<(Digest, Token, OwnerNow)>, StoreError> {
    let found = look_up(tx, digests)?.into_iter();
    found
        .map(|(digest, found)| found.map(|Found { token, owner }| (digest, Arc::unwrap_or_clone(token), owner)))
        .collect()
}

/// Who stands behind a token, as of now.
pub fn owner_now(tx: &mut ReadTx<'_>, token: &Token) -> Result<OwnerNow, StoreError> {
    Owners::of(tx, std::iter::once(token))?.of_token(token)
}

/// Owners as of now, each read once for all the tokens that act for it.
struct Owners {
    users: BTreeMap<UserId, Result<Arc<UserNow>, StoreError>>,
    workspaces: BTreeMap<WorkspaceId, Result<WorkspaceName, StoreError>>,
}

impl Owners {
    fn of<'t>(tx: &mut ReadTx<'_>, tokens: impl Iterator<Item = &'t Token>) -> Result<Self, StoreError> {
        let (mut users, mut workspaces) = (BTreeSet::new(), BTreeSet::new());
        for token in tokens {
            match token.owner {
                Owner::User(user) => _ = users.insert(user),
                Owner::Workspace(workspace) => {
                    workspaces.insert(workspace);
                    users.extend(token.creator.user);
                }
            }
        }
        let users = if users.is_empty() { BTreeMap::new() } else { crate::users::all_now(tx, &users)? };
        let workspaces =
            if workspaces.is_empty() { BTreeMap::new() } else { crate::workspaces::names_now(tx, &workspaces)? };
        let shared = |(id, user): (UserId, Result<UserNow, StoreError>)| (id, user.map(Arc::new));
        Ok(Self { users: users.into_iter().map(shared).collect(), workspaces })
    }

    fn of_token(&self, token: &Token) -> Result<OwnerNow, StoreError> {
        match token.owner {
            Owner::User(id) => Ok(self.user(id)?.map_or(OwnerNow::Nobody, OwnerNow::User)),
            Owner::Workspace(id) => {
                let Some(name) = self.workspaces.get(&id) else { return Ok(OwnerNow::Nobody) };
                let name = name.as_ref().map_err(StoreError::again)?.clone();
                let maker = token.creator.user.map(|maker| self.user(maker)).transpose()?.flatten();
                let disabled_maker = maker.filter(|user| !user.enabled).map(|user| user.name.clone());
                Ok(OwnerNow::Workspace { id, name, disabled_maker })
            }
        }
    }

    fn user(&self, id: UserId) -> Result<Option<Arc<UserNow>>, StoreError> {
        self.users.get(&id).map(|user| user.as_ref().map(Arc::clone).map_err(StoreError::again)).transpose()
    }
}
