//! What an identity token says, and what a rule expects it to say.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::pattern::{Pattern, PatternError};

/// The longest name of a claim, in bytes.
const LONGEST_NAME: usize = 64;
/// Claims that a rule has fields of its own for, or that are different each time (RFC 7519, section 4.1).
const REGISTERED: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/// The claims of an identity token whose signature is good, as texts: a number or a truth value as JSON writes it, a list
/// as its members, anything deeper left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<String, Vec<String>>);

impl Claims {
    /// What a claim says; nothing if it is not there.
    pub fn values(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// What a claim says that says one thing.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.values(name) {
            Some([value]) => Some(value),
            _ => None,
        }
    }
}

impl<N: Into<String>> FromIterator<(N, Vec<String>)> for Claims {
    fn from_iter<I: IntoIterator<Item = (N, Vec<String>)>>(claims: I) -> Self {
        Self(claims.into_iter().map(|(name, values)| (name.into(), values)).collect())
    }
}

/// What a claim has to say, written `name=pattern`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expectation {
    /// The claim.
    pub claim: String,
    /// What it has to be like. Of a list, one member has to be.
    pub pattern: Pattern,
}

/// Text that expects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpectationError {
    /// No `=`, or no name before it.
    #[error("a claim is written name=value, as in repository=acme/app or ref=refs/heads/release/*")]
    Form,
    /// It has a place of its own.
    #[error(
        "the claim {0} is not for a rule to expect: issuer and audience have options of their own, and the rest is always checked"
    )]
    Registered(String),
    /// What comes behind the `=`.
    #[error("{0}")]
    Pattern(#[from] PatternError),
}

impl Expectation {
    /// Whether a token's claims meet it.
    pub fn met_by(&self, claims: &Claims) -> bool {
        claims.values(&self.claim).is_some_and(|values| values.iter().any(|value| self.pattern.matches(value)))
    }
}

impl FromStr for Expectation {
    type Err = ExpectationError;
    fn from_str(text: &str) -> Result<Self, ExpectationError> {
        let (claim, pattern) = text.split_once('=').ok_or(ExpectationError::Form)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
        if claim.is_empty() || claim.len() > LONGEST_NAME || !claim.chars().all(plain) {
            return Err(ExpectationError::Form);
        }
        if REGISTERED.contains(&claim) {
            return Err(ExpectationError::Registered(claim.to_owned()));
        }
        Ok(Self { claim: claim.to_owned(), pattern: pattern.parse()? })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.claim, self.pattern)
    }
}
