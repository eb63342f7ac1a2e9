//! A token's row, and the one conversion into the domain.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::grant::Grant;
use tok_model::id::{TokenId, UserId, WorkspaceId};
use tok_model::kind::TokenKind;
use tok_model::name::RepoPath;
use tok_model::route::Routes;
use tok_model::scope::ScopeSet;
use tok_model::token::{Creator, LastUse, Owner, SecretForm, Token, TokenState, UseLimit};
use uuid::Uuid;

use crate::error::StoreError;
use crate::schema::tokens;

// A statement with DEFAULT in it is another one for each row, and never a prepared one; what is None here is NULL.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = tokens, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(super) struct TokenRow {
    pub(super) id: Uuid,
    pub(super) digest: Option<Vec<u8>>,
    pub(super) pepper_id: Option<i16>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) shown_prefix: String,
    pub(super) user_id: Option<Uuid>,
    pub(super) workspace_id: Option<Uuid>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) routes: Option<Vec<String>>,
    pub(super) permission: Option<String>,
    pub(super) within_workspace: Option<String>,
    pub(super) repos: Option<Vec<String>>,
    pub(super) parent_id: Option<Uuid>,
    pub(super) family_id: Uuid,
    pub(super) allow_from: Vec<String>,
    pub(super) local_uid: Option<i64>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) created_by_user_id: Option<Uuid>,
    pub(super) created_by_name: String,
    pub(super) created_by_token_prefix: Option<String>,
    pub(super) created_from: String,
    pub(super) created_agent: Option<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) revoked_by: Option<String>,
    pub(super) revoke_reason: Option<String>,
    pub(super) secret_hash: Option<String>,
    pub(super) imported_from: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) max_uses: Option<i64>,
    pub(super) uses: i64,
    pub(super) predecessor_id: Option<Uuid>,
    pub(super) rotated_at: Option<DateTime<Utc>>,
    pub(super) rotated_by: Option<String>,
    pub(super) grace_ends_at: Option<DateTime<Utc>>,
    pub(super) successor_id: Option<Uuid>,
    pub(super) revoke_act: Option<Uuid>,
    pub(super) version: i32,
    pub(super) modified_at: Option<DateTime<Utc>>,
    pub(super) first_use_due: bool,
}

/// When a token was used last, from which address, by which agent, for which repository.
pub(super) type LastUseRow = (DateTime<Utc>, Option<String>, Option<String>, Option<String>);

pub(super) fn last_use((at, address, agent, repo): LastUseRow) -> LastUse {
    LastUse { at, address: address.and_then(|address| address.parse().ok()), agent, repo }
}

/// The columns that a grant fills.
#[derive(Debug, Default)]
pub(super) struct GrantColumns {
    pub(super) scopes: Option<Vec<String>>,
    pub(super) routes: Option<Vec<String>>,
    pub(super) permission: Option<String>,
    pub(super) within_workspace: Option<String>,
    pub(super) repos: Option<Vec<String>>,
}

impl From<&Grant> for GrantColumns {
    fn from(grant: &Grant) -> Self {
        let common = Self {
            permission: grant.permission().map(|p| p.to_string()),
            within_workspace: grant.workspace().map(ToString::to_string),
            ..Self::default()
        };
        match grant {
            Grant::Personal { scopes, routes } => Self {
                scopes: Some(scopes.iter().map(|s| s.to_string()).collect()),
                routes: routes.as_ref().map(|r| r.iter().map(ToString::to_string).collect()),
                ..common
            },
            Grant::Repo { repos, .. } => {
                Self { repos: Some(repos.iter().map(ToString::to_string).collect()), ..common }
            }
            Grant::Git { repo, .. } => Self { repos: Some(vec![repo.repo.to_string()]), ..common },
            Grant::Workspace { .. } | Grant::Session => common,
        }
    }
}

impl TokenRow {
    /// The row as a token that was not used. Text that no parser knows, or a combination that no kind has, is an error: fail closed.
    pub(super) fn into_token(self, owner_name: String) -> Result<Token, StoreError> {
        let mut token = self.shown(owner_name);
        match token.unreadable.take() {
            None => Ok(token),
            Some(why) => Err(StoreError::Corrupt { table: "tokens", id: token.id.to_string(), why }),
        }
    }

    /// The row as far as it can be understood, for whoever looks at it or ends it: one bad row hides no others. What
    /// could not be is empty, and the first reason is in [`Token::unreadable`], with which it opens nothing.
    pub(super) fn shown(self, owner_name: String) -> Token {
        let mut doubts = Doubts(None);
        let grant = doubts.or(self.grant(), || Grant::Personal { scopes: ScopeSet::default(), routes: None });
        let owner = doubts.or(self.owner(), || Owner::User(UserId::from_uuid(Uuid::nil())));
        let state = doubts.or(self.state(), || TokenState::Live);
        let allow_from = self.allow_from.iter().map(|text| text.parse()).collect::<Result<_, _>>();
        let labels = self.labels.iter().map(|label| label.parse()).collect::<Result<_, _>>();
        let secret = match (&self.secret_hash, &self.imported_from) {
            (Some(_), _) => SecretForm::Chosen,
            (None, Some(_)) => SecretForm::Foreign,
            (None, None) => SecretForm::Minted,
        };
        Token {
            id: TokenId::from_uuid(self.id),
            name: self.name,
            description: self.description,
            shown_prefix: self.shown_prefix,
            grant,
            owner,
            owner_name,
            parent: self.parent_id.map(TokenId::from_uuid),
            family: TokenId::from_uuid(self.family_id),
            allow_from: doubts.or(of("addresses", allow_from), Vec::new),
            local_login: self.local_uid.is_some(),
            creator: Creator {
                user: self.created_by_user_id.map(UserId::from_uuid),
                name: self.created_by_name,
                token_prefix: self.created_by_token_prefix,
                from: self.created_from,
                agent: self.created_agent,
            },
            created_at: self.created_at,
            expires_at: self.expires_at,
            idle_ends_at: None,
            state,
            last_use: None,
            secret,
            imported_from: self.imported_from,
            labels: doubts.or(of("labels", labels), Vec::new),
            use_limit: self.max_uses.map(|most| UseLimit { most, so_far: self.uses }),
            predecessor: self.predecessor_id.map(TokenId::from_uuid),
            first_use_due: self.first_use_due,
            version: self.version,
            modified_at: self.modified_at,
            unreadable: doubts.0,
        }
    }

    fn owner(&self) -> Result<Owner, String> {
        match (self.user_id, self.workspace_id) {
            (Some(user), None) => Ok(Owner::User(UserId::from_uuid(user))),
            (None, Some(workspace)) => Ok(Owner::Workspace(WorkspaceId::from_uuid(workspace))),
            _ => Err("it has no owner, or two".to_owned()),
        }
    }

    fn state(&self) -> Result<TokenState, String> {
        match (self.revoked_at, &self.revoked_by) {
            (None, None) => match (self.rotated_at, &self.rotated_by, self.grace_ends_at, self.successor_id) {
                (None, None, None, None) => Ok(TokenState::Live),
                (Some(at), Some(by), Some(grace_ends_at), Some(successor)) => Ok(TokenState::Rotated {
                    at,
                    by: by.clone(),
                    grace_ends_at,
                    successor: TokenId::from_uuid(successor),
                }),
                _ => Err("it is half rotated".to_owned()),
            },
            (Some(at), Some(by)) => Ok(TokenState::Revoked { at, by: by.clone(), reason: self.revoke_reason.clone() }),
            _ => Err("it is half revoked".to_owned()),
        }
    }

    fn grant(&self) -> Result<Grant, String> {
        let texts = |column: &Option<Vec<String>>| column.clone().unwrap_or_default();
        let permission = || self.permission.as_deref().ok_or("it has no permission")?.parse().map_err(words);
        let workspace = || self.within_workspace.as_deref().ok_or("it names no workspace")?.parse().map_err(words);
        match self.kind.parse::<TokenKind>().map_err(words)? {
            TokenKind::Personal => Ok(Grant::Personal {
                scopes: ScopeSet::from_texts(texts(&self.scopes).iter().map(String::as_str)).map_err(words)?,
                routes: match &self.routes {
                    None => None,
                    Some(rules) => Some(of("routes", Routes::from_texts(rules.iter().map(String::as_str)))?),
                },
            }),
            TokenKind::Workspace => Ok(Grant::Workspace { workspace: workspace()?, permission: permission()? }),
            TokenKind::Repo => Ok(Grant::Repo {
                workspace: workspace()?,
                permission: permission()?,
                repos: texts(&self.repos).iter().map(|r| r.parse()).collect::<Result<_, _>>().map_err(words)?,
            }),
            TokenKind::Session => Ok(Grant::Session),
            TokenKind::Git => match texts(&self.repos).as_slice() {
                [repo] => Ok(Grant::Git {
                    repo: RepoPath { workspace: workspace()?, repo: repo.parse().map_err(words)? },
                    permission: permission()?,
                }),
                _ => Err("a git token is for one repository".to_owned()),
            },
        }
    }
}

/// Why a row cannot be understood: the first reason, which is enough.
struct Doubts(Option<String>);

impl Doubts {
    fn or<T>(&mut self, read: Result<T, String>, otherwise: impl FnOnce() -> T) -> T {
        read.unwrap_or_else(|why| {
            self.0.get_or_insert(why);
            otherwise()
        })
    }
}

/// With the name of what could not be read, for those whose errors do not say.
fn of<T>(what: &str, read: Result<T, impl std::fmt::Display>) -> Result<T, String> {
    read.map_err(|why| format!("{what}: {why}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn words(error: impl ToString) -> String {
    error.to_string()
}
