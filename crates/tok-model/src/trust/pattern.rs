//! What a claim has to look like: as it stands, or with `*` and `**` in it.

use std::fmt;
use std::str::FromStr;

/// The longest pattern, in bytes.
const LONGEST: usize = 512;

/// A pattern: `*` is any characters but `/`, `**` any at all, everything else itself. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty or too long.
    #[error("a pattern has from 1 to {LONGEST} characters")]
    Length,
    /// Three stars in a row, or a control character.
    #[error("a pattern is printable text, with `*` for anything but `/` and `**` for anything")]
    Form,
}

enum Atom {
    Byte(u8),
    Star,
    Stars,
}

impl Pattern {
    /// Whether the whole of `value` is like this.
    pub fn matches(&self, value: &str) -> bool {
        let atoms = self.atoms();
        // All places in the pattern that what was read so far leads to; at most as many steps as both lengths multiplied.
        let mut at = vec![false; atoms.len() + 1];
        at[0] = true;
        skip_stars(&atoms, &mut at);
        for byte in value.bytes() {
            let mut next = vec![false; atoms.len() + 1];
            for (place, atom) in atoms.iter().enumerate().filter(|(place, _)| at[*place]) {
                match atom {
                    Atom::Byte(wanted) if *wanted == byte => next[place + 1] = true,
                    Atom::Star if byte != b'/' => next[place] = true,
                    Atom::Stars => next[place] = true,
                    Atom::Byte(_) | Atom::Star => {}
                }
            }
            skip_stars(&atoms, &mut next);
            at = next;
        }
        at[atoms.len()]
    }

    /// What stands before the first `*`.
    pub fn literal_start(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Whether it matches one text only, its own.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn atoms(&self) -> Vec<Atom> {
        let mut atoms = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.bytes().peekable();
        while let Some(byte) = bytes.next() {
            atoms.push(match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => Atom::Stars,
                b'*' => Atom::Star,
                byte => Atom::Byte(byte),
            });
        }
        atoms
    }
}

/// A star may stand for nothing.
fn skip_stars(atoms: &[Atom], at: &mut [bool]) {
    for (place, atom) in atoms.iter().enumerate() {
        if at[place] && matches!(atom, Atom::Star | Atom::Stars) {
            at[place + 1] = true;
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(PatternError::Length);
        }
        if text.contains("***") || text.chars().any(char::is_control) {
            return Err(PatternError::Form);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, value: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(value)
    }

    #[test]
    fn one_star_stays_within_a_segment_and_two_do_not() {
        for (pattern, value, expected) in [
            ("acme/app", "acme/app", true),
            ("acme/app", "acme/App", false),
            ("acme/app", "acme/app2", false),
            ("acme/*", "acme/app", true),
            ("acme/*", "acme/a/b", false),
            ("acme/*", "acme", false),
            ("acme/**", "acme/a/b", true),
            ("refs/heads/release/*", "refs/heads/release/1.2", true),
            ("refs/heads/release-*", "refs/heads/release-1/2", false),
            ("repo:acme/app:*", "repo:acme/app:environment:prod", true),
            ("repo:acme/app:*", "repo:acme/app:ref:refs/heads/main", false),
            ("repo:acme/app:**", "repo:acme/app:ref:refs/heads/main", true),
            ("*", "", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a.c", "abc", false),
            ("(a+)+$", "(a+)+$", true),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
        for bad in ["", "a***b", "a\nb", &"x".repeat(513)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_they_must() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }

    /// The rule in its plainest words, exponential and all.
    fn plainly(pattern: &[u8], value: &[u8]) -> bool {
        match pattern {
            [] => value.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=value.len()).any(|taken| plainly(rest, &value[taken..])),
            [b'*', rest @ ..] => (0..=value.len())
                .take_while(|taken| !value[..*taken].contains(&b'/'))
                .any(|taken| plainly(rest, &value[taken..])),
            [byte, rest @ ..] => value.first() == Some(byte) && plainly(rest, &value[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_plain_rule_says(pattern in "[ab/*]{1,8}", value in "[ab/]{0,8}") {
            if let Ok(parsed) = pattern.parse::<Pattern>() {
                prop_assert_eq!(parsed.matches(&value), plainly(pattern.as_bytes(), value.as_bytes()));
            }
        }

        #[test]
        fn without_a_star_it_is_equality(pattern in "[^*\\pC]{1,20}", value in "\\PC{0,20}") {
            let parsed: Pattern = pattern.parse().unwrap();
            prop_assert!(parsed.matches(&pattern) && parsed.is_literal());
            prop_assert_eq!(parsed.matches(&value), pattern == value);
        }
    }
}
