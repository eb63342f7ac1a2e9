//! The CI systems whose claims are known by name, and how identity tokens are signed.

use super::{Claims, Expectation};

/// Which system signs: for defaults, and for which claims say whose a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
    /// Forgejo Actions.
    Forgejo,
    /// Another one, of which nothing is assumed.
    Other,
}

crate::kind::words!(System, "CI system", GitHub = "github", GitLab = "gitlab", Forgejo = "forgejo", Other = "other");

/// How an identity token is signed (RFC 7518, section 3.1; RFC 8037). No `none` and nothing with a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

crate::kind::words!(
    Algorithm,
    "algorithm",
    Rs256 = "RS256",
    Rs384 = "RS384",
    Rs512 = "RS512",
    Ps256 = "PS256",
    Ps384 = "PS384",
    Ps512 = "PS512",
    Es256 = "ES256",
    Es384 = "ES384",
    EdDsa = "EdDSA",
);

impl System {
    /// The system that has this issuer.
    pub fn of_issuer(issuer: &str) -> Self {
        let rest = issuer.strip_prefix("https://").unwrap_or(issuer);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host == "token.actions.githubusercontent.com" {
            Self::GitHub
        } else if host == "gitlab.com" {
            Self::GitLab
        } else if path.trim_end_matches('/').ends_with("api/actions") {
            Self::Forgejo
        } else {
            Self::Other
        }
    }

    /// What it signs with, if nobody says.
    pub fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::GitHub | Self::GitLab => &[Algorithm::Rs256],
            Self::Forgejo => &[Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
            Self::Other => &[Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa],
        }
    }

    /// How old one of its identity tokens may be, in seconds, if nobody says. GitLab's is made when the job begins.
    pub fn max_age(self) -> i64 {
        if self == Self::GitLab { super::LONGEST_AGE } else { 3600 }
    }

    /// How often one of its identity tokens may be exchanged, if nobody says. GitLab gives a job one of them.
    pub fn once(self) -> super::Once {
        if self == Self::GitLab { super::Once::Repository } else { super::Once::Token }
    }

    /// The claims that say whose a job is.
    pub fn anchors(self) -> &'static [&'static str] {
        match self {
            Self::GitHub | Self::Forgejo => {
                &["repository", "repository_id", "repository_owner", "repository_owner_id", "sub"]
            }
            Self::GitLab => &["project_path", "project_id", "namespace_path", "namespace_id", "sub"],
            // What whoever may run jobs there cannot choose: every identity token has `sub`, the rest is what systems call
            // their projects and whose they are. A branch or an environment anybody has.
            Self::Other => &[
                "sub",
                "repository",
                "repository_id",
                "repository_owner",
                "repository_owner_id",
                "project_path",
                "project_id",
                "namespace_path",
                "namespace_id",
                "organization_slug",
                "organization_id",
                "pipeline_id",
                "oidc.circleci.com/project-id",
            ],
        }
    }

    /// Whether meeting this means to be somebody in particular.
    pub fn anchored_by(self, expected: &Expectation) -> bool {
        let start = expected.pattern.literal_start();
        let owner_stands = |start: &str| start.split_once('/').is_some_and(|(owner, _)| !owner.is_empty());
        match (self, expected.claim.as_str()) {
            (Self::Other, claim) if !self.anchors().contains(&claim) => false,
            (Self::Other, claim) if claim.ends_with("id") => expected.pattern.is_literal(),
            (Self::Other, _) => !start.is_empty(),
            (Self::GitHub | Self::Forgejo, "repository") | (Self::GitLab, "project_path") => owner_stands(start),
            (Self::GitHub | Self::Forgejo, "repository_owner" | "repository_id" | "repository_owner_id")
            | (Self::GitLab, "namespace_path" | "project_id" | "namespace_id") => expected.pattern.is_literal(),
            (Self::GitHub | Self::Forgejo, "sub") => start.strip_prefix("repo:").is_some_and(owner_stands),
            (Self::GitLab, "sub") => start.strip_prefix("project_path:").is_some_and(owner_stands),
            _ => false,
        }
    }

    /// Whether this is expected of the subject, and names the very repository that the claims name, if perhaps another
    /// branch or environment of it.
    pub(super) fn names_repository_of(self, expected: &Expectation, claims: &Claims) -> bool {
        let (claim, prefix) = match self {
            Self::GitHub | Self::Forgejo => ("repository", "repo:"),
            Self::GitLab => ("project_path", "project_path:"),
            Self::Other => return false,
        };
        let rest = expected.pattern.literal_start().strip_prefix(prefix).filter(|_| expected.claim == "sub");
        let named = rest.and_then(|rest| rest.split_once(':')).map(|(named, _)| named);
        named.is_some() && named == claims.one(claim)
    }
}
