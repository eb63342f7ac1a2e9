//! `WWW-Authenticate`: the challenge that tells the helper, through git, what a request needs (RFC 9110 §11, RFC 6750 §3).
//!
//! Both challenges stand in one header line, because some proxies forward only the first line of a 401:
//! `Basic realm="tok", Bearer realm="tok", scope="repo:write", resource="acme/app"`. What comes back is hostile: any
//! server that git talks to may have written it. So it can choose between the rights a token may have, and nothing more.

mod grammar;

use std::fmt;

use crate::name::RepoPath;
use crate::scope::RepoRight;

pub use grammar::{Challenge, ChallengeRefusal, LONGEST_LINE, MOST_PARTS, parse};

/// The realm of every tok server. It identifies the product, not the server: never trust it for more than that.
pub const REALM: &str = "tok";

/// Why a token was refused (RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChallengeError {
    /// Unknown, damaged, expired or revoked.
    InvalidToken,
    /// Good, but for less than this.
    InsufficientScope,
}

impl ChallengeError {
    /// As it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// What a tok server asks for in a 401: prints as the whole header value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokChallenge {
    /// The right that the request needs, if it is one a git token can have. Never read back as administration.
    pub right: Option<RepoRight>,
    /// The repository that it is about.
    pub resource: Option<RepoPath>,
    /// What was wrong with the token that came; nothing if none came.
    pub error: Option<ChallengeError>,
    /// One sentence for people. What RFC 6750 does not allow in it is printed as `?`.
    pub description: Option<String>,
}

impl TokChallenge {
    /// Finds our Bearer challenge among the values that git saw (its `wwwauth[]` lines, in order).
    ///
    /// Lines that cannot be read and challenges of others are passed over; two of ours that differ are none, since
    /// only one of them can be the server's.
    pub fn from_wwwauth(values: &[String]) -> Option<Self> {
        let mut found = None;
        for value in values {
            for challenge in parse(value).unwrap_or_default() {
                let ours =
                    challenge.scheme.eq_ignore_ascii_case("Bearer") && challenge.parameter("realm") == Some(REALM);
                if !ours {
                    continue;
                }
                let read = Self::read(&challenge);
                match &found {
                    None => found = Some(read),
                    Some(first) if *first == read => {}
                    Some(_) => return None,
                }
            }
        }
        found
    }

    fn read(challenge: &Challenge<'_>) -> Self {
        let right = challenge.parameter("scope").and_then(|scope| {
            // Exactly one of these two words: a list, administration or anything else chooses nothing.
            [RepoRight::Read, RepoRight::Write].into_iter().find(|right| right.scope().as_str() == scope)
        });
        let error = challenge.parameter("error").and_then(|error| {
            [ChallengeError::InvalidToken, ChallengeError::InsufficientScope].into_iter().find(|e| e.as_str() == error)
        });
        Self {
            right,
            resource: challenge.parameter("resource").and_then(|resource| resource.parse().ok()),
            error,
            description: challenge.parameter("error_description").map(str::to_owned),
        }
    }
}

impl fmt::Display for TokChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"Basic realm="{REALM}", Bearer realm="{REALM}""#)?;
        if let Some(right) = self.right {
            write!(f, r#", scope="{}""#, right.scope())?;
        }
        if let Some(resource) = &self.resource {
            write!(f, r#", resource="{resource}""#)?;
        }
        if let Some(error) = self.error {
            write!(f, r#", error="{}""#, error.as_str())?;
        }
        if let Some(description) = &self.description {
            write!(f, r#", error_description="{}""#, describable(description))?;
        }
        Ok(())
    }
}

/// A text as an `error_description` may have it (RFC 6749 section 5.2, RFC 6750 section 3): of
/// `%x20-21 / %x23-5B / %x5D-7E`, so that it never needs an escape. What has an equal in there is said by that.
pub fn describable(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\u{2018}'..='\u{201f}' => said.push('\''),
            '…' => said.push_str("..."),
            '\u{2010}'..='\u{2015}' => said.push('-'),
            '\\' => said.push('/'),
            ' '..='~' => said.push(character),
            _ => said.push('?'),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours(right: RepoRight) -> TokChallenge {
        TokChallenge { right: Some(right), resource: Some("acme/app".parse().unwrap()), error: None, description: None }
    }

    #[test]
    fn the_header_is_one_line_with_both_challenges() {
        assert_eq!(TokChallenge::default().to_string(), r#"Basic realm="tok", Bearer realm="tok""#);
        let challenge = TokChallenge {
            error: Some(ChallengeError::InsufficientScope),
            description: Some("may not \"push\"\r\nX: é".to_owned()),
            ..ours(RepoRight::Write)
        };
        assert_eq!(
            challenge.to_string(),
            "Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/app\", \
             error=\"insufficient_scope\", error_description=\"may not 'push'??X: ?\""
        );
    }

    #[test]
    fn what_a_description_may_not_have_is_said_by_what_it_may() {
        assert_eq!(describable("it is a \"x\" – best with id=… “so”"), "it is a 'x' - best with id=... 'so'");
        assert_eq!(describable("a\\b\né"), "a/b??");
    }

    #[test]
    fn only_our_own_bearer_challenge_counts_and_it_never_widens() {
        let wwwauth =
            |lines: &[&str]| TokChallenge::from_wwwauth(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        let line = ours(RepoRight::Write).to_string();
        assert_eq!(wwwauth(&["Negotiate", "Basic realm=\"x\"", &line]), Some(ours(RepoRight::Write)));
        assert_eq!(wwwauth(&[&line, &line]), Some(ours(RepoRight::Write)));
        assert_eq!(wwwauth(&[&line, &ours(RepoRight::Read).to_string()]), None);
        assert_eq!(wwwauth(&["Bearer realm=\"tok", &line]), Some(ours(RepoRight::Write)));
        for foreign in
            ["Basic realm=\"tok\"", "Bearer realm=\"TOK\", scope=\"repo:read\"", "Bearer scope=\"repo:read\"", ""]
        {
            assert_eq!(wwwauth(&[foreign]), None, "{foreign}");
        }
        for scope in ["repo:admin", "all", "repo:read repo:write", "REPO:READ", ""] {
            let line = format!("Bearer realm=\"tok\", scope=\"{scope}\", resource=\"../x\", error=\"boom\"");
            assert_eq!(wwwauth(&[&line]), Some(TokChallenge::default()), "{scope}");
        }
    }

    fn any_challenge() -> impl Strategy<Value = TokChallenge> {
        (
            proptest::option::of(prop_oneof![Just(RepoRight::Read), Just(RepoRight::Write)]),
            proptest::option::of("[a-z]{3,9}x/[a-zA-Z0-9]{1,9}"),
            proptest::option::of(prop_oneof![
                Just(ChallengeError::InvalidToken),
                Just(ChallengeError::InsufficientScope)
            ]),
            proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
        )
            .prop_map(|(right, resource, error, description)| TokChallenge {
                right,
                resource: resource.map(|r| r.parse().unwrap()),
                error,
                description,
            })
    }

    proptest! {
        #[test]
        fn what_prints_parses_to_the_same(challenge in any_challenge()) {
            prop_assert_eq!(TokChallenge::from_wwwauth(&[challenge.to_string()]), Some(challenge));
        }

        #[test]
        fn any_description_stays_in_its_quotes(description in "\\PC{0,30}|[\"\\\\\r\n,= a]{0,30}", challenge in any_challenge()) {
            let line = TokChallenge { description: Some(description), ..challenge.clone() }.to_string();
            prop_assert!(!line.contains(|c: char| c.is_control()));
            let read = TokChallenge::from_wwwauth(&[line]).unwrap();
            prop_assert_eq!((read.right, read.resource, read.error), (challenge.right, challenge.resource, challenge.error));
        }
    }
}
