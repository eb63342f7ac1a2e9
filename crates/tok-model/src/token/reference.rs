//! How people point at a token.

use super::text::check_name;
use crate::id::TokenId;
use crate::kind::TokenKind;

/// Its ID or the beginning of it, the beginning of its text, or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The whole ID.
    Id(TokenId),
    /// The beginning of an ID: at least 4 hexadecimal digits, hyphens where an ID has them, lower case.
    IdPrefix(String),
    /// The shown prefix of the text, as in `tokpat_a1b2`, possibly cut short.
    TokenPrefix(String),
    /// The whole name that its owner gave it.
    Name(String),
}

/// Text that points at nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// None of the forms.
    #[error(
        "{0:?} points at no token: give an ID or at least 4 characters of it, a prefix such as tokpat_a1b2, or a name; `tok token list` shows them"
    )]
    Form(String),
    /// Somebody typed a whole secret where a handle belongs.
    #[error(
        "that is a whole token, not its ID; a secret in an argument is seen by others on this machine: revoke it, and use its ID or the first 11 characters"
    )]
    Secret,
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if let Some(kind) = TokenKind::every().find(|k| text.starts_with(k.prefix())) {
            let shown = &text[kind.prefix().len()..];
            let shown = shown.trim_end_matches(['.', '…']);
            return if shown.len() > crate::secret::SHOWN_LENGTH {
                Err(ReferenceError::Secret)
            } else if shown.chars().all(|c| c.is_ascii_alphanumeric()) {
                Ok(Self::TokenPrefix(format!("{}{shown}", kind.prefix())))
            } else {
                Err(ReferenceError::Form(text.chars().take(20).collect()))
            };
        }
        // Of another system's text, too: its beginning points at it, all of it is a secret.
        if let Some(prefix) = crate::import::FOREIGN_PREFIXES.iter().find(|prefix| text.starts_with(**prefix)) {
            let shown = text[prefix.len()..].trim_end_matches(['.', '…']);
            match shown.len() {
                _ if !shown.chars().all(|c| c.is_ascii_alphanumeric()) => {}
                0..=crate::secret::SHOWN_LENGTH => return Ok(Self::TokenPrefix(format!("{prefix}{shown}"))),
                crate::secret::LEAST_FOREIGN.. => return Err(ReferenceError::Secret),
                _ => {}
            }
        }
        let digits = text.trim_end_matches(['.', '…']).to_ascii_lowercase();
        let plausible = digits.chars().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        });
        if (4..36).contains(&digits.len()) && plausible {
            return Ok(Self::IdPrefix(digits));
        }
        match check_name(text) {
            Ok(()) => Ok(Self::Name(text.to_owned())),
            Err(_) => Err(ReferenceError::Form(text.chars().take(40).collect())),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::IdPrefix(text) | Self::TokenPrefix(text) | Self::Name(text) => f.pad(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart() {
        let id = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";
        assert!(matches!(id.parse(), Ok(Reference::Id(_))));
        assert_eq!("1B4E2".parse(), Ok(Reference::IdPrefix("1b4e2".into())));
        assert_eq!("1b4e28ba-2f".parse(), Ok(Reference::IdPrefix("1b4e28ba-2f".into())));
        assert_eq!("tokpat_a1b2…".parse(), Ok(Reference::TokenPrefix("tokpat_a1b2".into())));
        assert_eq!("tokpat_a1b2c3".parse::<Reference>(), Err(ReferenceError::Secret));
        for name in ["abc", "1b4e28ba2", "%", "1b4e'--", "CI of acme/app", "wit_backup", "deploy:"] {
            assert_eq!(name.parse(), Ok(Reference::Name(name.into())));
        }
        for text in ["1b4e28ba-2f", "tokpat_a1b2", "CI"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("wit_a1b2...".parse(), Ok(Reference::TokenPrefix("wit_a1b2".into())));
        let whole = "wick_pat_0123456789abcdef0123456789abcdef";
        assert_eq!(whole.parse::<Reference>(), Err(ReferenceError::Secret));
        for bad in ["", " ", "tokpat_%", "a\nb", &"x".repeat(201)] {
            assert!(matches!(bad.parse::<Reference>(), Err(ReferenceError::Form(_))), "{bad}");
        }
    }
}
