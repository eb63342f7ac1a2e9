//! Options whose values are one of a few words: read by the type's own parser, and known to shells that complete.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use tok_model::import::ImportFormat;
use tok_model::kind::{Permission, Role, TokenKind};
use tok_model::scope::Scope;
use tok_model::token::Standing;
use tok_model::trust::{Algorithm, Once, System};

/// Reads a `T`, and offers these words for completion and help. What is no such word is refused by `T`, in its words.
#[derive(Clone)]
pub(crate) struct Words<T> {
    offered: Vec<&'static str>,
    read: PhantomData<fn() -> T>,
}

impl<T> Words<T> {
    fn offering(offered: impl IntoIterator<Item = &'static str>) -> Self {
        Self { offered: offered.into_iter().collect(), read: PhantomData }
    }
}

impl<T> TypedValueParser for Words<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let read = |text: &str| text.trim().parse::<T>().map_err(|why| why.to_string());
        TypedValueParser::parse_ref(&read, command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.offered.iter().map(PossibleValue::new)))
    }
}

/// Text that says something: an empty value is nearly always a variable that was not set.
pub(crate) fn some_text() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}

/// Whether an option that takes no value is on, as a variable says it.
pub(crate) fn switch() -> impl TypedValueParser<Value = bool> {
    |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("it is true or false, 1 or 0, yes or no, on or off"),
    }
}

/// What can be imported.
pub(crate) fn formats() -> Words<ImportFormat> {
    Words::offering(ImportFormat::every().map(ImportFormat::as_str))
}

/// The CI systems that are known by name.
pub(crate) fn systems() -> Words<System> {
    Words::offering(System::every().map(System::as_str))
}

/// How identity tokens are signed.
pub(crate) fn algorithms() -> Words<Algorithm> {
    Words::offering(Algorithm::every().map(Algorithm::as_str))
}

/// How often an identity token is good.
pub(crate) fn onces() -> Words<Once> {
    Words::offering(Once::every().map(Once::as_str))
}

/// Every kind of token.
pub(crate) fn kinds() -> Words<TokenKind> {
    Words::offering(TokenKind::every().map(TokenKind::as_str))
}

/// The kinds that people make.
pub(crate) fn kinds_to_make() -> Words<TokenKind> {
    Words::offering([TokenKind::Personal, TokenKind::Workspace, TokenKind::Repo].map(TokenKind::as_str))
}

/// How a token may stand.
pub(crate) fn states() -> Words<Standing> {
    Words::offering(Standing::every().map(Standing::as_str))
}

/// Read or write.
pub(crate) fn permissions() -> Words<Permission> {
    Words::offering(Permission::every().map(Permission::as_str))
}

/// A member's place in a workspace.
pub(crate) fn roles() -> Words<Role> {
    Words::offering(Role::every().map(Role::as_str))
}

/// Scopes, as text: the daemon has the last word on them, and an empty one says "none" aloud.
pub(crate) fn scopes() -> Words<String> {
    Words::offering(Scope::every().map(Scope::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(words: &Words<T>, text: &str) -> Result<T, String>
    where
        T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
    {
        let parsed = words.parse_ref(&Command::new("tok"), None, OsStr::new(text));
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_offered_is_what_is_read() {
        for words in [kinds(), kinds_to_make()] {
            for word in words.offered.clone() {
                assert_eq!(read(&words, word).unwrap().as_str(), word);
            }
        }
        assert_eq!(read(&scopes(), " repo:read"), Ok("repo:read".to_owned()));
        assert_eq!(read(&states(), "active"), Ok(Standing::Active));
        assert!(read(&roles(), "boss").unwrap_err().contains("boss"));
        for (text, on) in [("1", true), ("Yes", true), ("true", true), ("0", false), ("off", false), ("no", false)] {
            assert_eq!(switch().parse_ref(&Command::new("tok"), None, OsStr::new(text)).unwrap(), on, "{text}");
        }
        assert!(switch().parse_ref(&Command::new("tok"), None, OsStr::new("banana")).is_err());
        assert!(permissions().possible_values().unwrap().any(|value| value.get_name() == "write"));
    }
}
