//! Trust rules: whose identity tokens (OpenID Connect Core 1.0, section 2) are exchanged for a git token (RFC 8693), and
//! for which.
//!
//! A CI system signs, for each job, a statement of what the job is: its repository, branch, event. A rule says which such
//! statements are believed and what they are worth. Nothing here verifies a signature; whoever calls
//! [`TrustRule::judge`] has.

mod claims;
mod findings;
mod pattern;
mod pins;
mod reach;
mod system;

pub use claims::{Claims, Expectation, ExpectationError};
pub use findings::{Finding, Judgement};
pub use pattern::{Pattern, PatternError};
pub use pins::{MissingId, Pin};
pub use reach::{Reach, ReachError, RepoPattern};
pub use system::{Algorithm, System};

use crate::clock::Period;
use crate::id::{TrustId, WorkspaceId};
use crate::kind::Permission;
use crate::name::TrustName;

/// The shortest and the longest that a token under a rule may live, in seconds.
pub const LIFETIMES: std::ops::RangeInclusive<i64> = 60..=3600;
/// How long one lives if nobody says, in seconds.
pub const DEFAULT_LIFETIME: i64 = 600;
/// The longest age that a rule may let an identity token have, in seconds: a day.
pub const LONGEST_AGE: i64 = 86_400;
/// How far two clocks may be apart, in seconds.
pub const LEEWAY: i64 = 60;
/// The most claims that a rule expects something of.
pub const MOST_CLAIMS: usize = 32;
/// The longest issuer and audience, in bytes.
pub const LONGEST_ISSUER: usize = 512;

/// How often one identity token may be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Once {
    /// Once.
    Token,
    /// Once for each repository: for systems that give a job one identity token and no more.
    Repository,
}

crate::kind::words!(Once, "reuse", Token = "token", Repository = "repository");

/// A trust rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRule {
    /// Its ID.
    pub id: TrustId,
    /// What people call it.
    pub name: TrustName,
    /// Which system signs.
    pub system: System,
    /// The claim `iss`, exactly: an https URL, from which the keys are found (OpenID Connect Discovery 1.0, section 4).
    pub issuer: String,
    /// The claim `aud`, exactly.
    pub audience: String,
    /// What the other claims have to say. Never empty. Of a claim that is there more than once, one has to be met.
    pub claims: Vec<Expectation>,
    /// By which algorithms an identity token may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Certificates in PEM that are trusted for the issuer beside those of the server's machine.
    pub ca: Option<String>,
    /// For which repositories.
    pub reach: Reach,
    /// The workspace that the tokens act for.
    pub workspace: WorkspaceId,
    /// At most what.
    pub permission: Permission,
    /// How long a token lives.
    pub lifetime: Period,
    /// How old an identity token may be, whatever it says of its end.
    pub max_age: Period,
    /// How often one identity token may be exchanged.
    pub once: Once,
    /// Whether a name that passed to somebody else, which shows by its ID, is let in all the same.
    pub allow_recycled_names: bool,
}

/// Why a rule cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The issuer is no https URL.
    #[error(
        "an issuer is the https URL that its tokens have in `iss`, without user name, query and fragment, as in https://token.actions.githubusercontent.com"
    )]
    Issuer,
    /// The audience is empty, too long or not printable.
    #[error(
        "an audience is one line of printable text, at most {LONGEST_ISSUER} bytes; this server's address is a good one"
    )]
    Audience,
    /// Nothing is expected of the claims.
    #[error("without a claim everybody at {0} would get in: say which repository's jobs are meant")]
    NoClaims(String),
    /// Too many.
    #[error("a rule has at most {MOST_CLAIMS} claims")]
    TooManyClaims,
    /// What is expected does not name anybody.
    #[error(
        "these claims do not say whose jobs are meant, so strangers' at {issuer} would get in: expect one of {anchors}, without `*` where the owner's name stands"
    )]
    Unanchored {
        /// Where.
        issuer: String,
        /// Which claims do.
        anchors: String,
    },
    /// Too short or too long.
    #[error("a token under a trust rule lives from 1 minute to 1 hour")]
    Lifetime,
    /// The same for the identity token's age.
    #[error("an identity token's age is from 1 minute to 1 day")]
    MaxAge,
    /// No algorithm.
    #[error("a rule needs an algorithm")]
    NoAlgorithm,
}

impl TrustRule {
    /// Whether it can be: that nobody gets in by it whom it does not name.
    pub fn check(&self) -> Result<(), RuleError> {
        check_issuer(&self.issuer)?;
        let printable = |text: &str| text.chars().all(|c| !c.is_control());
        if self.audience.is_empty() || self.audience.len() > LONGEST_ISSUER || !printable(&self.audience) {
            return Err(RuleError::Audience);
        }
        if !LIFETIMES.contains(&self.lifetime.seconds()) {
            return Err(RuleError::Lifetime);
        }
        if !(60..=LONGEST_AGE).contains(&self.max_age.seconds()) {
            return Err(RuleError::MaxAge);
        }
        if self.algorithms.is_empty() {
            return Err(RuleError::NoAlgorithm);
        }
        if self.claims.is_empty() {
            return Err(RuleError::NoClaims(self.issuer.clone()));
        }
        if self.claims.len() > MOST_CLAIMS {
            return Err(RuleError::TooManyClaims);
        }
        // Of alternatives for one claim each has to name somebody.
        let anchored = self.claims.iter().any(|first| {
            let mut alternatives = self.claims.iter().filter(|other| other.claim == first.claim);
            alternatives.all(|one| self.system.anchored_by(one))
        });
        if anchored {
            return Ok(());
        }
        Err(RuleError::Unanchored { issuer: self.issuer.clone(), anchors: self.system.anchors().join(", ") })
    }

    /// What this rule makes of an identity token's claims.
    pub fn judge(&self, claims: &Claims) -> Judgement {
        Judgement::of(self, claims)
    }

    /// Whether this rule is about whoever has these claims: of those that say whose a job is, one is as expected. Who is
    /// somebody else has no business with what is expected of it.
    pub fn is_about(&self, claims: &Claims) -> bool {
        let naming = self.claims.iter().filter(|expected| self.system.anchored_by(expected));
        naming.into_iter().any(|expected| expected.met_by(claims) || self.system.names_repository_of(expected, claims))
    }

    /// What has to be the same as when a name was first seen, so that the name means the same thing. Empty if the rule
    /// itself says which ID it means, or does not care.
    pub fn pins(&self, claims: &Claims) -> Result<Vec<Pin>, MissingId> {
        pins::of(self, claims)
    }

    /// Whether somebody who has a name again that was somebody else's can get in: nothing in the rule is an ID.
    pub fn goes_by_names(&self) -> bool {
        pins::goes_by_names(self)
    }
}

/// Whether this can be an issuer: `https`, a host, no user, query or fragment, printable ASCII.
pub fn check_issuer(text: &str) -> Result<(), RuleError> {
    let rest = text.strip_prefix("https://").ok_or(RuleError::Issuer)?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>' | '@' | '%');
    let origin = format!("https://{authority}").parse::<crate::url::Origin>();
    let climbs = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if text.len() > LONGEST_ISSUER || origin.is_err() || !rest.chars().all(plain) || climbs {
        return Err(RuleError::Issuer);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
