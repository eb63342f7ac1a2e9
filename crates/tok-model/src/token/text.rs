//! What people say of a token: its name, its description, why it ended.

use crate::unseen::{self, Unseen};

/// The longest name or description of a token, in characters.
pub const LONGEST_NAME: usize = 200;

/// Why a token's name, a description or a reason was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("a token needs a name that says where it lives, as in \"CI of acme/app\"")]
    Empty,
    /// Too long.
    #[error("a {what} has at most {LONGEST_NAME} characters, this one has {length}")]
    TooLong {
        /// `name`, `description` or `reason`.
        what: &'static str,
        /// In characters.
        length: usize,
    },
    /// Cannot stand before a password.
    #[error(
        "the name of a token with a chosen secret has no colon, and no space at its ends; {character:?} is one too many"
    )]
    Login {
        /// The offender.
        character: char,
    },
    /// Somebody pasted a token where words belong.
    #[error(
        "a {what} is kept and shown as it is, and this one has a whole token in it: revoke that token, and say it in words"
    )]
    Secret {
        /// `name`, `description` or `reason`.
        what: &'static str,
    },
    /// Would break a line or a terminal.
    #[error("a {what} is one line of printable text; {offender} is not allowed in it")]
    Control {
        /// `name`, `description` or `reason`.
        what: &'static str,
        /// The offender.
        offender: Unseen,
    },
    /// Cannot be told from the same name without it.
    #[error("a name looks different from every other, and nobody sees {offender}: leave it out")]
    Unseen {
        /// The offender.
        offender: Unseen,
    },
}

/// Checks a token's name: one printable line, not empty.
pub fn check_name(text: &str) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    check_text("name", text)?;
    match unseen::first(text) {
        Some(offender) => Err(TextError::Unseen { offender }),
        None => Ok(()),
    }
}

/// Checks a description: one printable line, may be empty.
pub fn check_description(text: &str) -> Result<(), TextError> {
    check_text("description", text)
}

/// Checks a reason: as a description.
pub fn check_reason(text: &str) -> Result<(), TextError> {
    check_text("reason", text)
}

/// Checks the name of a token with a chosen secret: it is the user name of HTTP Basic (RFC 7617 section 2), in which a
/// colon ends it.
pub fn check_login_name(text: &str) -> Result<(), TextError> {
    check_name(text)?;
    match text.chars().find(|c| *c == ':') {
        Some(character) => Err(TextError::Login { character }),
        None if text.trim() != text => Err(TextError::Login { character: ' ' }),
        None => Ok(()),
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), TextError> {
    let length = text.chars().count();
    if length > LONGEST_NAME {
        return Err(TextError::TooLong { what, length });
    }
    if crate::secret::has_token(text) {
        return Err(TextError::Secret { what });
    }
    match unseen::first_hostile(text) {
        Some(offender) => Err(TextError::Control { what, offender }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_printable_line() {
        assert!(check_name("CI „acme“ 🚀").is_ok() && check_description("").is_ok());
        for bad in ["", "  ", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "\u{2028}", "a\u{200b}", &"x".repeat(201)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        // Harmless where nobody goes by it, and shown escaped.
        assert!(check_description("a\u{200b}").is_ok() && check_description("a\u{202e}b").is_err());
        let why = check_name("ab\u{200b}").unwrap_err().to_string();
        assert!(why.contains("U+200B at position 3"), "{why}");
        assert!(check_reason("a\nb").unwrap_err().to_string().contains("a reason is one line"));
        assert!(check_login_name("deploy of acme").is_ok());
        for bad in ["a:b", ":", " a", "a ", ""] {
            assert!(check_login_name(bad).is_err(), "{bad:?}");
        }
    }
}
