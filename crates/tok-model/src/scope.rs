//! Scopes: what kind of call a token may make.
//!
//! Scopes rest in the database and travel on the wire as their text (`repo:read`) and come back through the one parser
//! here; text it does not know is an error, never "probably fine".

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One scope. The order of the variants is the order in which lists show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `repo:read`
    RepoRead,
    /// `repo:write`
    RepoWrite,
    /// `repo:admin`
    RepoAdmin,
    /// `user:read`
    UserRead,
    /// `user:write`
    UserWrite,
    /// `token:read`
    TokenRead,
    /// `token:write`
    TokenWrite,
    /// `audit:read`
    AuditRead,
    /// `all`
    All,
    /// `manager`
    Manager,
}

/// Every scope with its text, its description, and the scopes it implies directly.
const TABLE: &[(Scope, &str, &str, &[Scope])] = &[
    (Scope::RepoRead, "repo:read", "Clone and pull repositories", &[]),
    (Scope::RepoWrite, "repo:write", "Push to repositories", &[Scope::RepoRead]),
    (Scope::RepoAdmin, "repo:admin", "Manage repository settings, collaborators, and deletion", &[Scope::RepoWrite]),
    (Scope::UserRead, "user:read", "Read your profile information", &[]),
    (Scope::UserWrite, "user:write", "Update your profile", &[Scope::UserRead]),
    (Scope::TokenRead, "token:read", "List your tokens", &[]),
    (Scope::TokenWrite, "token:write", "Create, change, rotate and revoke your tokens", &[Scope::TokenRead]),
    (Scope::AuditRead, "audit:read", "Read the audit trail of your tokens", &[]),
    (Scope::All, "all", "Whatever you may do yourself, now and later", &[Scope::Manager]),
    (
        Scope::Manager,
        "manager",
        "Administer the whole server (only for managers)",
        &[Scope::RepoAdmin, Scope::UserWrite, Scope::TokenWrite, Scope::AuditRead],
    ),
];

/// Text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {text:?}; {}", if text.trim().contains([' ', ';', '+']) { "separate scopes by commas" } else { "`tok token scopes` lists them" })]
pub struct UnknownScope {
    text: String,
}

impl Scope {
    /// Every scope, in the order of lists.
    pub fn every() -> impl Iterator<Item = Scope> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Scope, &'static str, &'static str, &'static [Scope]) {
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[0])
    }

    /// The text that is stored and sent, as in `repo:read`.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// One line for people.
    pub fn description(self) -> &'static str {
        self.row().2
    }

    /// Whether holding `self` is as good as holding `other`. A partial order: reflexive, transitive, antisymmetric.
    pub fn implies(self, other: Scope) -> bool {
        self == other || self.row().3.iter().any(|direct| direct.implies(other))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        TABLE
            .iter()
            .find(|row| row.1 == text)
            .map(|row| row.0)
            .ok_or_else(|| UnknownScope { text: text.chars().take(60).collect() })
    }
}

/// A set of scopes. Empty means that the token may call nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// What `tok token create` gives when nobody says otherwise: read and push.
    pub fn default_for_personal() -> Self {
        [Scope::RepoRead, Scope::RepoWrite].into_iter().collect()
    }

    /// Whether some member implies `scope`.
    pub fn grants(&self, scope: Scope) -> bool {
        self.0.iter().any(|held| held.implies(scope))
    }

    /// The first scope of `wanted` that this set does not grant.
    pub fn first_missing(&self, wanted: &ScopeSet) -> Option<Scope> {
        wanted.iter().find(|scope| !self.grants(*scope))
    }

    /// The members, in the order of lists.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads each text through the one parser, as the store does with its column.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        texts.into_iter().map(str::parse).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl FromStr for ScopeSet {
    type Err = UnknownScope;
    /// A comma list, spaces around members allowed: `repo:read, repo:write`. Empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", "))
    }
}

/// What somebody wants to do with a repository. Each right includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoRight {
    /// Clone, fetch, archive.
    Read,
    /// Push.
    Write,
    /// Settings, collaborators, deletion.
    Admin,
}

impl RepoRight {
    /// The scope that a token needs for it.
    pub fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::RepoRead,
            Self::Write => Scope::RepoWrite,
            Self::Admin => Scope::RepoAdmin,
        }
    }

    /// The verb in a sentence: "may not push to acme/app".
    pub fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "push to",
            Self::Admin => "administer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_scope() -> impl Strategy<Value = Scope> {
        proptest::sample::select(Scope::every().collect::<Vec<_>>())
    }

    #[test]
    fn every_variant_has_a_row_and_its_text_comes_back() {
        assert_eq!(Scope::every().count(), 10);
        for scope in Scope::every() {
            assert_eq!(scope.row().0, scope);
            assert_eq!(scope.as_str().parse::<Scope>(), Ok(scope));
        }
        assert!("repo:READ".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }

    proptest! {
        #[test]
        fn implication_is_a_partial_order(a in any_scope(), b in any_scope(), c in any_scope()) {
            prop_assert!(a.implies(a));
            prop_assert!(!(a.implies(b) && b.implies(a)) || a == b);
            prop_assert!(!(a.implies(b) && b.implies(c)) || a.implies(c));
        }

        #[test]
        fn sets_print_and_parse(scopes in proptest::collection::vec(any_scope(), 0..6)) {
            let set: ScopeSet = scopes.into_iter().collect();
            prop_assert_eq!(set.to_string().parse::<ScopeSet>().unwrap(), set);
        }
    }
}
