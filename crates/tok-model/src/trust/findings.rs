//! What a rule found in an identity token: expected against seen, claim by claim.

use std::fmt;

use super::{Claims, TrustRule};

/// As much of a value as is shown, in characters.
const SHOWN: usize = 120;

/// What was expected of one claim, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The claim.
    pub claim: String,
    /// The patterns, of which one has to be met.
    pub expected: Vec<String>,
    /// What the token says; nothing if it says nothing. Control characters are replaced, and long values are cut.
    pub seen: Option<Vec<String>>,
    /// Whether it is met.
    pub met: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, ", self.claim, self.expected.join(" or "))?;
        match self.seen.as_deref() {
            None => write!(f, "and the token has no such claim"),
            Some([]) => write!(f, "saw an empty list"),
            Some(seen) => write!(f, "saw {}", seen.join(", ")),
        }
    }
}

/// Everything that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// For each claim, `aud` first, then as the rule has them.
    pub findings: Vec<Finding>,
}

impl Judgement {
    pub(super) fn of(rule: &TrustRule, claims: &Claims) -> Self {
        let seen = |claim: &str| Some(claims.values(claim)?.iter().map(|value| shown(value)).collect());
        let intended = claims.values("aud").is_some_and(|values| values.contains(&rule.audience));
        let expected = vec![rule.audience.clone()];
        let mut findings = vec![Finding { claim: "aud".to_owned(), expected, seen: seen("aud"), met: intended }];
        for expectation in &rule.claims {
            let met = expectation.met_by(claims);
            let pattern = expectation.pattern.to_string();
            if let Some(before) = findings.iter_mut().skip(1).find(|finding| finding.claim == expectation.claim) {
                before.expected.push(pattern);
                before.met |= met;
                continue;
            }
            let seen = seen(&expectation.claim);
            findings.push(Finding { claim: expectation.claim.clone(), expected: vec![pattern], seen, met });
        }
        Self { findings }
    }

    /// Whether the rule lets this token in.
    pub fn accepted(&self) -> bool {
        self.findings.iter().all(|finding| finding.met)
    }

    /// What is in the way.
    pub fn unmet(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.met)
    }
}

/// A value for people's eyes.
pub(super) fn shown(value: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut text: String = value.chars().take(SHOWN).map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect();
    if value.chars().count() > SHOWN {
        text.push('…');
    }
    crate::secret::without_tokens(&text)
}
