//! Labels: words that tokens are found and ended by together, as in `ci` or `team=web`.

use std::fmt;
use std::str::FromStr;

/// The most labels of one token.
pub const MOST_LABELS: usize = 16;
/// The longest label, in characters.
pub const LONGEST_LABEL: usize = 63;

/// A label: letters, digits and `. _ - / : =`, beginning with a letter or digit. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// Text that is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Empty, too long, or beginning with something else.
    #[error("{0:?} is no label: {RULE}")]
    Form(String),
    /// A character outside the alphabet.
    #[error("{character:?} (U+{:04X}) at position {position} cannot stand in a label: {RULE}", u32::from(*character))]
    Character {
        /// The offending character (printed escaped).
        character: char,
        /// Where, counted from 1.
        position: usize,
    },
}

const RULE: &str =
    "up to 63 letters, digits and . _ - / : =, beginning with a letter or digit, as in `ci` or `team=web`";

impl Label {
    /// The text that is stored, sent and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '=');
        if let Some((at, character)) = text.chars().enumerate().find(|(_, character)| !fits(*character)) {
            return Err(LabelError::Character { character, position: at + 1 });
        }
        if begins && text.len() <= LONGEST_LABEL {
            Ok(Self(text.to_owned()))
        } else {
            Err(LabelError::Form(text.chars().take(LONGEST_LABEL).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_and_hostile_ones_do_not() {
        for good in ["ci", "team=web", "A.b_c-d/e:f", "0", &"x".repeat(63)] {
            assert_eq!(good.parse::<Label>().unwrap().to_string(), good);
        }
        for bad in ["", " ", "-ci", "a b", "a,b", "ä", "a\n", "'", "%", "ci\u{200b}", &"x".repeat(64)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }
}
