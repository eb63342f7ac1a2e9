//! Names that pass from one owner to another, and the IDs that do not.
//!
//! Whoever gives up a name at a CI system lets the next one have it, and with it every rule that goes by names. So a rule
//! that has no ID in it remembers, for each name that it lets in, which ID that was the first time.

use super::{Claims, System, TrustRule};

/// Name and ID, as the claims of GitHub and Forgejo, and of GitLab, have them.
const PAIRS: [(&str, &str); 4] = [
    ("repository", "repository_id"),
    ("repository_owner", "repository_owner_id"),
    ("project_path", "project_id"),
    ("namespace_path", "namespace_id"),
];

/// A name, and which ID it has to have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pin {
    /// The claim that has the name.
    pub claim: String,
    /// The name.
    pub name: String,
    /// The claim that has the ID.
    pub id_claim: String,
    /// The ID.
    pub id: String,
}

/// A system that always says which ID a name has did not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token names its {claim} and not its {id_claim}, so whether the name passed to somebody else cannot be seen"
)]
pub struct MissingId {
    /// The claim that has the name.
    pub claim: &'static str,
    /// The claim that should have the ID.
    pub id_claim: &'static str,
}

pub(super) fn goes_by_names(rule: &TrustRule) -> bool {
    !rule
        .claims
        .iter()
        .any(|expected| PAIRS.iter().any(|(_, id)| *id == expected.claim) && expected.pattern.is_literal())
}

pub(super) fn of(rule: &TrustRule, claims: &Claims) -> Result<Vec<Pin>, MissingId> {
    if rule.allow_recycled_names || !goes_by_names(rule) {
        return Ok(Vec::new());
    }
    let mut pins = Vec::new();
    for (claim, id_claim) in PAIRS {
        // A rule is met by one name of several, so each of them has to be who it was.
        let names = claims.values(claim).unwrap_or_default();
        match claims.one(id_claim) {
            Some(id) => pins.extend(names.iter().map(|name| Pin {
                claim: claim.to_owned(),
                name: name.clone(),
                id_claim: id_claim.to_owned(),
                id: id.to_owned(),
            })),
            None if rule.system != System::Other && !names.is_empty() => return Err(MissingId { claim, id_claim }),
            None => {}
        }
    }
    Ok(pins)
}
