//! Trust rules, and the exchange of a CI system's identity token.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_model::clock::Timestamp;
use tok_model::id::{TokenId, TrustId};
use tok_model::kind::Permission;
use tok_model::name::RepoPath;
use tok_model::trust::System;
use utoipa::ToSchema;

use super::field::{given, moment, optional, optional_moment, parsed, present, wire_moment};
use super::{json, schema, words};
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// A trust rule to be made, as it was typed; the server reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustDraft {
    /// What people call it.
    pub name: String,
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// The claim `aud`, exactly; empty is the server's own address.
    pub audience: String,
    /// Each `name=pattern`.
    pub claims: Vec<String>,
    /// Each `workspace/repository`, with `*` for any part of the name.
    pub repos: Vec<String>,
    /// Every repository of this workspace, if `repos` names none.
    pub workspace: Option<String>,
    /// At most what.
    pub permission: Option<Permission>,
    /// How long a token lives, as in `10m`.
    pub lifetime: Option<String>,
    /// `github`, `gitlab`, `forgejo` or `other`; as the issuer says, if nobody does.
    pub system: Option<String>,
    /// As in `RS256`; what the system signs with, if nobody says.
    pub algorithms: Vec<String>,
    /// Certificates in PEM that are trusted for the issuer.
    pub ca: Option<String>,
    /// How old an identity token may be, as in `1h`.
    pub max_age: Option<String>,
    /// How often one identity token may be exchanged: `token` or `repository`.
    pub once: Option<String>,
    /// Whether a name that passed to somebody else is let in.
    pub allow_recycled_names: bool,
}

impl From<TrustDraft> for v1::AddTrustRequest {
    fn from(draft: TrustDraft) -> Self {
        Self {
            name: draft.name,
            issuer: draft.issuer,
            audience: draft.audience,
            claims: draft.claims,
            repos: draft.repos,
            workspace: draft.workspace.unwrap_or_default(),
            permission: words::wire_permission(draft.permission),
            lifetime: draft.lifetime.unwrap_or_default(),
            system: draft.system.unwrap_or_default(),
            algorithms: draft.algorithms,
            ca: draft.ca.unwrap_or_default(),
            max_age: draft.max_age.unwrap_or_default(),
            once: draft.once.unwrap_or_default(),
            allow_recycled_names: draft.allow_recycled_names,
        }
    }
}

impl TryFrom<v1::AddTrustRequest> for TrustDraft {
    type Error = Fault;
    fn try_from(request: v1::AddTrustRequest) -> Result<Self, Fault> {
        Ok(Self {
            name: request.name,
            issuer: request.issuer,
            audience: request.audience,
            claims: request.claims,
            repos: request.repos,
            workspace: given(request.workspace),
            permission: words::permission("permission", request.permission)?,
            lifetime: given(request.lifetime),
            system: given(request.system),
            algorithms: request.algorithms,
            ca: given(request.ca),
            max_age: given(request.max_age),
            once: given(request.once),
            allow_recycled_names: request.allow_recycled_names,
        })
    }
}

/// What a claim has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrustClaimRecord {
    /// The claim.
    #[schema(example = "repository")]
    pub name: String,
    /// As it stands, or with `*` for anything but `/` and `**` for anything.
    #[schema(example = "acme/app")]
    pub pattern: String,
}

/// Which ID a name had when a rule first let it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrustPinRecord {
    /// The claim that has the name.
    #[schema(example = "repository")]
    pub claim: String,
    /// The name.
    #[schema(example = "acme/app")]
    pub name: String,
    /// The claim that has the ID.
    #[schema(example = "repository_id")]
    pub id_claim: String,
    /// The ID.
    pub id: String,
}

/// A trust rule: whose identity tokens are believed, and what they are worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrustRecord {
    /// Never changes.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String, format = Uuid)]
    pub id: TrustId,
    /// What people call it.
    pub name: String,
    /// Which CI system it is. Null only if this server does not know it.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<schema::SystemWord>, required)]
    pub system: Option<System>,
    /// The claim `iss`, exactly.
    #[schema(example = "https://token.actions.githubusercontent.com")]
    pub issuer: String,
    /// The claim `aud`, exactly.
    pub audience: String,
    /// What the other claims have to say. Of a claim that is there more than once, one has to be met.
    pub claims: Vec<TrustClaimRecord>,
    /// By which algorithms an identity token may be signed.
    pub algorithms: Vec<String>,
    /// Whether certificates of its own are trusted for this issuer.
    pub own_ca: bool,
    /// The workspace that the tokens act for.
    pub workspace: String,
    /// For which repositories, with `*` for any part of a name.
    pub repos: Vec<String>,
    /// At most what. Null only if this server does not know it.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<schema::PermissionWord>, required)]
    pub permission: Option<Permission>,
    /// How long a token lives.
    pub lifetime_seconds: i64,
    /// How old an identity token may be.
    pub max_age_seconds: i64,
    /// How often one identity token may be exchanged: once (`token`), or once for each repository (`repository`).
    pub once: String,
    /// Whether a name that passed to somebody else is let in.
    pub allow_recycled_names: bool,
    /// Which IDs are pinned. Empty in lists.
    pub pins: Vec<TrustPinRecord>,
    /// When it was made.
    #[serde(serialize_with = "json::time")]
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: String,
    /// When something was last exchanged under it. Null: never.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// How many identity tokens were.
    pub uses: u64,
    /// Why this server cannot read what is kept of it; null if it can. Such a rule lets nobody in, and all that can be done
    /// with it is to remove it.
    #[schema(required)]
    pub unreadable: Option<String>,
}

impl From<TrustRecord> for v1::Trust {
    fn from(trust: TrustRecord) -> Self {
        let claim = |claim: TrustClaimRecord| v1::TrustClaim { name: claim.name, pattern: claim.pattern };
        let pin =
            |pin: TrustPinRecord| v1::TrustPin { claim: pin.claim, name: pin.name, id_claim: pin.id_claim, id: pin.id };
        Self {
            id: trust.id.to_string(),
            name: trust.name,
            system: trust.system.map(|system| system.to_string()).unwrap_or_default(),
            issuer: trust.issuer,
            audience: trust.audience,
            claims: trust.claims.into_iter().map(claim).collect(),
            algorithms: trust.algorithms,
            own_ca: trust.own_ca,
            workspace: trust.workspace,
            repos: trust.repos,
            permission: words::wire_permission(trust.permission),
            lifetime_seconds: trust.lifetime_seconds,
            max_age_seconds: trust.max_age_seconds,
            once: trust.once,
            allow_recycled_names: trust.allow_recycled_names,
            pins: trust.pins.into_iter().map(pin).collect(),
            created_at: Some(wire_moment(trust.created_at)),
            created_by: trust.created_by,
            last_used_at: trust.last_used_at.map(wire_moment),
            uses: trust.uses,
            unreadable: trust.unreadable.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Trust> for TrustRecord {
    type Error = Fault;
    fn try_from(trust: v1::Trust) -> Result<Self, Fault> {
        let claim = |claim: v1::TrustClaim| TrustClaimRecord { name: claim.name, pattern: claim.pattern };
        let pin =
            |pin: v1::TrustPin| TrustPinRecord { claim: pin.claim, name: pin.name, id_claim: pin.id_claim, id: pin.id };
        Ok(Self {
            id: parsed("id", &trust.id)?,
            name: trust.name,
            system: optional("system", &trust.system)?,
            issuer: trust.issuer,
            audience: trust.audience,
            claims: trust.claims.into_iter().map(claim).collect(),
            algorithms: trust.algorithms,
            own_ca: trust.own_ca,
            workspace: trust.workspace,
            repos: trust.repos,
            permission: words::permission("permission", trust.permission)?,
            lifetime_seconds: trust.lifetime_seconds,
            max_age_seconds: trust.max_age_seconds,
            once: trust.once,
            allow_recycled_names: trust.allow_recycled_names,
            pins: trust.pins.into_iter().map(pin).collect(),
            created_at: moment("created_at", trust.created_at)?,
            created_by: trust.created_by,
            last_used_at: optional_moment("last_used_at", trust.last_used_at)?,
            uses: trust.uses,
            unreadable: given(trust.unreadable),
        })
    }
}

fn permission(number: i32) -> Result<Permission, Fault> {
    present("permission", words::permission("permission", number)?)
}

/// What was expected of a claim, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FindingRecord {
    /// The claim.
    pub claim: String,
    /// One of these.
    pub expected: Vec<String>,
    /// What the identity token says. Null: nothing.
    #[schema(required)]
    pub seen: Option<Vec<String>>,
    /// Whether it is met.
    pub met: bool,
}

/// What one rule makes of an identity token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RuleCheck {
    /// The rule.
    pub rule: String,
    /// Whether it would exchange it.
    pub accepted: bool,
    /// Claim by claim.
    pub findings: Vec<FindingRecord>,
    /// Why not, if it is not about a claim. Null: nothing is.
    #[schema(required)]
    pub trouble: Option<String>,
    /// For which repositories.
    pub repos: Vec<String>,
    /// At most what. Null only if this server does not know it.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<schema::PermissionWord>, required)]
    pub permission: Option<Permission>,
}

/// What the rules make of an identity token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IdentityCheck {
    /// Whose token it is.
    pub issuer: String,
    /// What it is about.
    pub subject: String,
    /// Every rule of this issuer.
    pub rules: Vec<RuleCheck>,
}

impl From<IdentityCheck> for v1::CheckIdentityReply {
    fn from(check: IdentityCheck) -> Self {
        let finding = |found: FindingRecord| v1::IdentityFinding {
            claim: found.claim,
            expected: found.expected,
            missing: found.seen.is_none(),
            seen: found.seen.unwrap_or_default(),
            met: found.met,
        };
        let rule = |rule: RuleCheck| v1::RuleCheck {
            name: rule.rule,
            accepted: rule.accepted,
            findings: rule.findings.into_iter().map(finding).collect(),
            trouble: rule.trouble.unwrap_or_default(),
            repos: rule.repos,
            permission: words::wire_permission(rule.permission),
        };
        Self { issuer: check.issuer, subject: check.subject, rules: check.rules.into_iter().map(rule).collect() }
    }
}

impl TryFrom<v1::CheckIdentityReply> for IdentityCheck {
    type Error = Fault;
    fn try_from(reply: v1::CheckIdentityReply) -> Result<Self, Fault> {
        let finding = |found: v1::IdentityFinding| FindingRecord {
            claim: found.claim,
            expected: found.expected,
            seen: (!found.missing).then_some(found.seen),
            met: found.met,
        };
        let rule = |rule: v1::RuleCheck| {
            Ok(RuleCheck {
                rule: rule.name,
                accepted: rule.accepted,
                findings: rule.findings.into_iter().map(finding).collect(),
                trouble: given(rule.trouble),
                repos: rule.repos,
                permission: words::permission("permission", rule.permission)?,
            })
        };
        let rules = reply.rules.into_iter().map(rule).collect::<Result<_, Fault>>()?;
        Ok(Self { issuer: reply.issuer, subject: reply.subject, rules })
    }
}

/// An identity token, and what it shall be exchanged for.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The identity token.
    pub token: SecretString,
    /// For which repository; the rule's own, if it is for one.
    pub repository: Option<RepoPath>,
    /// For how much; what the rule gives, if nothing is said.
    pub permission: Option<Permission>,
}

impl From<Exchange> for v1::ExchangeRequest {
    fn from(wish: Exchange) -> Self {
        Self {
            token: wish.token.expose_secret().to_owned(),
            repository: wish.repository.map(|repository| repository.to_string()).unwrap_or_default(),
            permission: words::wire_permission(wish.permission),
        }
    }
}

impl TryFrom<v1::ExchangeRequest> for Exchange {
    type Error = Fault;
    fn try_from(request: v1::ExchangeRequest) -> Result<Self, Fault> {
        Ok(Self {
            token: request.token.into(),
            repository: optional("repository", &request.repository)?,
            permission: words::permission("permission", request.permission)?,
        })
    }
}

/// What an identity token was exchanged for.
#[derive(Debug, Clone)]
pub struct ExchangedToken {
    /// The git token's text.
    pub secret: SecretString,
    /// Its ID.
    pub id: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// For which repository.
    pub repository: RepoPath,
    /// For how much.
    pub permission: Permission,
}

impl From<ExchangedToken> for v1::ExchangeReply {
    fn from(exchanged: ExchangedToken) -> Self {
        Self {
            secret: exchanged.secret.expose_secret().to_owned(),
            id: exchanged.id.to_string(),
            expires_at: Some(wire_moment(exchanged.expires_at)),
            repository: exchanged.repository.to_string(),
            permission: words::wire_permission(Some(exchanged.permission)),
        }
    }
}

impl TryFrom<v1::ExchangeReply> for ExchangedToken {
    type Error = Fault;
    fn try_from(reply: v1::ExchangeReply) -> Result<Self, Fault> {
        if reply.secret.is_empty() {
            return Err(Fault::new(FaultCode::Internal, "the daemon made a token and did not say its text"));
        }
        Ok(Self {
            secret: reply.secret.into(),
            id: parsed("id", &reply.id)?,
            expires_at: moment("expires_at", reply.expires_at)?,
            repository: parsed("repository", &reply.repository)?,
            permission: permission(reply.permission)?,
        })
    }
}
