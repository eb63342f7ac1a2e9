//! Why the logins of this machine cannot be used, and what to do about it.

use std::fmt;

use crate::exit::Failure;

/// What kind of trouble it is, for whoever goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// The file belongs to somebody else: root with a user's HOME, mostly.
    SomebodyElses,
    /// Anything else.
    Other,
}

/// Why, and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: TroubleKind,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Trouble {
    /// Trouble that nothing more is known about.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self { kind: TroubleKind::Other, message: message.to_string(), hint: String::new() }
    }

    /// The same, with what to do.
    pub(crate) fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: hint.to_string(), ..self }
    }

    /// The same, of a kind.
    pub(crate) fn of_kind(self, kind: TroubleKind) -> Self {
        Self { kind, ..self }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::local(&trouble.message).hint(&trouble.hint)
    }
}
