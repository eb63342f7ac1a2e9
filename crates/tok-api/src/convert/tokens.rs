//! A token as everybody sees it: everything but its text.

mod wire;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::grant::Grant;
use tok_model::id::{TokenId, UserId};
use tok_model::kind::{Permission, TokenKind};
use tok_model::route::Routes;
use tok_model::token::{Owner, SecretForm, Standing, Token, TokenState, UseLimit};
use utoipa::ToSchema;

use super::field::given;
use super::{json, schema};

/// A token as everybody but its maker sees it. Serialises to the record of the JSON interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenRecord {
    /// The handle everywhere outside the secret itself.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String, format = Uuid)]
    pub id: TokenId,
    /// What sort of token.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::TokenKindWord)]
    pub kind: TokenKind,
    /// What its owner called it.
    pub name: String,
    /// More words on it; may be empty.
    pub description: String,
    /// The fixed prefix of its kind: `tokpat`.
    pub prefix: String,
    /// The prefix and the first characters of the text: `tokpat_a1b2`.
    pub token_prefix: String,
    /// As in `repo:read`.
    pub scopes: Vec<String>,
    /// For kinds without scopes.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<schema::PermissionWord>, required)]
    pub permission: Option<Permission>,
    /// The workspace it is confined to.
    #[schema(required)]
    pub workspace: Option<String>,
    /// As in `acme/app`; for repo and git tokens.
    pub repo_allowlist: Vec<String>,
    /// As in `acme/*:r`.
    pub routes: Vec<String>,
    /// How it stood when it was asked for.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::TokenStateWord)]
    pub state: Standing,
    /// When it was made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
    /// The first moment at which it no longer works; null is never.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Who revoked it, for people.
    #[schema(required)]
    pub revoked_by: Option<String>,
    /// Why, if they said.
    #[schema(required)]
    pub revoke_reason: Option<String>,
    /// Null: never.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where.
    #[schema(required)]
    pub last_used_ip: Option<String>,
    /// Who made it, if a user did.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub created_by_user_id: Option<UserId>,
    /// What they were called then.
    #[schema(required)]
    pub created_by_name: Option<String>,
    /// The token it was made through.
    #[schema(required)]
    pub created_by_token_prefix: Option<String>,
    /// The token that minted it.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub parent_id: Option<TokenId>,
    /// Shared with its successors by rotation.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub family_id: Option<TokenId>,
    /// The login name of the user it acts for; none for tokens of a workspace.
    #[schema(required)]
    pub user: Option<String>,
    /// Addresses it works from, as in `192.0.2.0/24`; empty is anywhere.
    pub allow_cidrs: Vec<String>,
    /// By what program, as it called itself.
    #[schema(required)]
    pub last_used_agent: Option<String>,
    /// For which repository, if for one: `acme/app`.
    #[schema(required)]
    pub last_used_repo: Option<String>,
    /// Words it is found by.
    pub labels: Vec<String>,
    /// How often it may be used; null is any number of times.
    #[schema(required)]
    pub max_uses: Option<u64>,
    /// How often it was, counted only for tokens that have a limit.
    pub uses: u64,
    /// How its secret came to be.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = schema::SecretFormWord)]
    pub secret_form: SecretForm,
    /// The system it was imported from.
    #[schema(required)]
    pub imported_from: Option<String>,
    /// The token whose place it took by rotation.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub predecessor_id: Option<TokenId>,
    /// The token that took its place.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub successor_id: Option<TokenId>,
    /// When that one was made.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub rotated_at: Option<DateTime<Utc>>,
    /// Until when it works beside its successor at most.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub grace_ends_at: Option<DateTime<Utc>>,
    /// Grows with each change, from 1.
    pub version: u32,
    /// When it was last changed.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub modified_at: Option<DateTime<Utc>>,
    /// Why this server cannot read what is kept of it; null if it can. Such a token opens nothing, what is said here of its
    /// kind and reach is not what is kept, and all that can be done with it is to revoke it.
    #[schema(required)]
    pub unreadable: Option<String>,
}

impl TokenRecord {
    /// What may be shown of a stored token at `now`.
    pub fn of(token: &Token, now: DateTime<Utc>) -> Self {
        let kind = token.kind();
        let (scopes, routes) = match &token.grant {
            Grant::Personal { scopes, routes } => (texts(scopes.iter()), texts(routes.iter().flat_map(Routes::iter))),
            _ => (Vec::new(), Vec::new()),
        };
        let repo_allowlist = match &token.grant {
            Grant::Repo { workspace, repos, .. } => repos.iter().map(|repo| format!("{workspace}/{repo}")).collect(),
            Grant::Git { repo, .. } => vec![repo.to_string()],
            _ => Vec::new(),
        };
        let (revoked_at, revoked_by, revoke_reason) = match &token.state {
            TokenState::Revoked { at, by, reason } => (Some(*at), Some(by.clone()), reason.clone()),
            TokenState::Rotated { by, grace_ends_at, .. } if *grace_ends_at <= now => {
                (Some(*grace_ends_at), Some(by.clone()), Some("rotated".to_owned()))
            }
            TokenState::Live | TokenState::Rotated { .. } => (None, None, None),
        };
        let (rotated_at, grace_ends_at, successor_id) = match &token.state {
            TokenState::Rotated { at, successor, .. } => {
                (Some(*at), token.works_beside_successor_until(), Some(*successor))
            }
            TokenState::Live | TokenState::Revoked { .. } => (None, None, None),
        };
        let uses = |count: i64| u64::try_from(count).unwrap_or(0);
        let last_use = token.last_use.as_ref();
        Self {
            id: token.id,
            kind,
            name: token.name.clone(),
            description: token.description.clone(),
            prefix: kind.prefix().trim_end_matches('_').to_owned(),
            token_prefix: token.shown_prefix.clone(),
            scopes,
            permission: token.grant.permission(),
            workspace: token.grant.workspace().map(ToString::to_string),
            repo_allowlist,
            routes,
            allow_cidrs: texts(token.allow_from.iter()),
            state: token.standing(now),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at,
            revoked_by,
            revoke_reason,
            last_used_at: last_use.map(|used| used.at),
            last_used_ip: last_use.and_then(|used| used.address).map(|address| address.to_string()),
            last_used_agent: last_use.and_then(|used| used.agent.clone()),
            last_used_repo: last_use.and_then(|used| used.repo.clone()),
            labels: texts(token.labels.iter()),
            max_uses: token.use_limit.map(|UseLimit { most, .. }| uses(most)),
            uses: token.use_limit.map_or(0, |UseLimit { so_far, .. }| uses(so_far)),
            secret_form: token.secret,
            imported_from: token.imported_from.clone(),
            predecessor_id: token.predecessor,
            successor_id,
            rotated_at,
            grace_ends_at,
            version: u32::try_from(token.version).unwrap_or(0),
            modified_at: token.modified_at,
            unreadable: token.unreadable.clone(),
            created_by_user_id: token.creator.user,
            created_by_name: given(token.creator.name.clone()),
            created_by_token_prefix: token.creator.token_prefix.clone(),
            parent_id: token.parent,
            family_id: Some(token.family),
            user: matches!(token.owner, Owner::User(_)).then(|| token.owner_name.clone()),
        }
    }
}

fn texts(values: impl Iterator<Item: ToString>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tok_model::token::{Creator, LastUse};

    pub(super) fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(in crate::convert) fn record() -> TokenRecord {
        TokenRecord::of(&token(), time("2026-11-22T10:00:00Z"))
    }

    pub(super) fn token() -> Token {
        let id: TokenId = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap();
        let user: UserId = "9f2c51aa-0000-4000-8000-000000000001".parse().unwrap();
        Token {
            id,
            name: "CI".to_owned(),
            description: String::new(),
            shown_prefix: "tokpat_a1b2".to_owned(),
            grant: Grant::Personal {
                scopes: "repo:read, repo:write".parse().unwrap(),
                routes: Some(Routes::from_texts(["acme/*:r"]).unwrap()),
            },
            owner: Owner::User(user),
            owner_name: "alice".to_owned(),
            parent: None,
            family: id,
            allow_from: vec!["192.0.2.0/24".parse().unwrap()],
            local_login: false,
            creator: Creator {
                user: Some(user),
                name: "alice".to_owned(),
                token_prefix: None,
                from: "unix:uid=1000".to_owned(),
                agent: None,
            },
            created_at: time("2026-11-01T09:30:00.123456Z"),
            expires_at: Some(time("2026-12-01T09:30:00Z")),
            idle_ends_at: None,
            state: TokenState::Live,
            last_use: Some(LastUse {
                at: time("2026-11-22T08:00:00Z"),
                address: Some("192.0.2.7".parse().unwrap()),
                agent: Some("git/2.47.3".to_owned()),
                repo: Some("acme/app".to_owned()),
            }),
            secret: SecretForm::Minted,
            imported_from: None,
            labels: vec!["ci".parse().unwrap()],
            use_limit: Some(UseLimit { most: 3, so_far: 1 }),
            predecessor: None,
            first_use_due: false,
            version: 2,
            modified_at: Some(time("2026-11-02T00:00:00Z")),
            unreadable: None,
        }
    }

    #[test]
    fn the_json_of_a_record_is_the_documented_one() {
        let expected = serde_json::json!({
            "id": "1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
            "kind": "personal",
            "name": "CI",
            "description": "",
            "prefix": "tokpat",
            "token_prefix": "tokpat_a1b2",
            "scopes": ["repo:read", "repo:write"],
            "permission": null,
            "workspace": null,
            "repo_allowlist": [],
            "routes": ["acme/*:r"],
            "state": "active",
            "created_at": "2026-11-01T09:30:00Z",
            "expires_at": "2026-12-01T09:30:00Z",
            "revoked_at": null,
            "revoked_by": null,
            "revoke_reason": null,
            "last_used_at": "2026-11-22T08:00:00Z",
            "last_used_ip": "192.0.2.7",
            "created_by_user_id": "9f2c51aa-0000-4000-8000-000000000001",
            "created_by_name": "alice",
            "created_by_token_prefix": null,
            "parent_id": null,
            "family_id": "1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
            "user": "alice",
            "allow_cidrs": ["192.0.2.0/24"],
            "last_used_agent": "git/2.47.3",
            "last_used_repo": "acme/app",
            "labels": ["ci"],
            "max_uses": 3,
            "uses": 1,
            "secret_form": "minted",
            "imported_from": null,
            "predecessor_id": null,
            "successor_id": null,
            "rotated_at": null,
            "grace_ends_at": null,
            "version": 2,
            "modified_at": "2026-11-02T00:00:00Z",
            "unreadable": null,
        });
        assert_eq!(serde_json::to_value(record()).unwrap(), expected);
    }

    #[test]
    fn state_is_asked_with_a_time() {
        assert_eq!(TokenRecord::of(&token(), time("2026-12-01T09:30:00Z")).state, Standing::Expired);
        // It ended for whichever came first: that it ran out, or that it rested too long.
        for (idle_ends_at, state) in
            [("2026-11-30T00:00:00Z", Standing::Revoked), ("2026-12-02T00:00:00Z", Standing::Expired)]
        {
            let token = Token { idle_ends_at: Some(time(idle_ends_at)), ..token() };
            assert_eq!(TokenRecord::of(&token, time("2027-01-01T00:00:00Z")).state, state);
        }
    }
}
