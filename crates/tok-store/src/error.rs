//! What can go wrong between tokd and its database. None of it is ever a "no": that is a
//! [`Refusal`](tok_model::decide::Refusal), and the two stay different types up to the wire.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be asked now: away, overloaded, read-only, or out of space. Worth another try later.
    #[error("the database cannot answer now ({what})")]
    Unavailable {
        /// Which part failed, in a few words without values.
        what: String,
        /// What the driver said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// tokd has too much to do to ask now. Worth another try in a moment.
    #[error("tokd is busy: {what}")]
    Busy {
        /// What there is too much of.
        what: &'static str,
    },
    /// Something is in the way, or somebody was faster.
    #[error("{what}")]
    Conflict {
        /// What stands in the way, as a sentence for the caller.
        what: String,
    },
    /// What was asked for has a part that something else has already.
    #[error("{what}")]
    Taken {
        /// Which part, by the name that requests have for it.
        field: &'static str,
        /// What has it, as a sentence for the caller.
        what: String,
    },
    /// What should be changed is not there.
    #[error("{what}")]
    NotFound {
        /// What is missing, as a sentence for the caller.
        what: String,
        /// Which command shows what there is, as a sentence.
        look: String,
    },
    /// A row that this version cannot understand. It is refused, never guessed at.
    #[error("the row {id} of table {table} cannot be understood: {why}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which row.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A permit for something else was passed. A fault in tokd, found before anything was touched.
    #[error("this permit does not allow {0}")]
    Permit(&'static str),
    /// Nothing can be written before the audit trail is open. A fault in tokd.
    #[error("the audit trail is not open")]
    NoTrail,
    /// The database refused a statement for a reason nobody foresaw.
    #[error("the database refused a statement")]
    Statement(#[source] DieselError),
}

impl StoreError {
    pub(crate) fn unavailable(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { what: what.into(), source: Some(Box::new(source)) }
    }

    /// The same failure for another of those who waited for one statement.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Unavailable { what, .. } => Self::Unavailable { what: what.clone(), source: None },
            Self::Busy { what } => Self::Busy { what },
            Self::Conflict { what } => Self::Conflict { what: what.clone() },
            Self::NotFound { what, look } => Self::NotFound { what: what.clone(), look: look.clone() },
            Self::Taken { field, what } => Self::Taken { field, what: what.clone() },
            Self::Corrupt { table, id, why } => Self::Corrupt { table, id: id.clone(), why: why.clone() },
            Self::Permit(what) => Self::Permit(what),
            Self::NoTrail => Self::NoTrail,
            Self::Statement(error) => Self::Statement(DieselError::QueryBuilderError(error.to_string().into())),
        }
    }

    /// Whether there is no connection to be had now, so that nobody else needs to try.
    pub fn no_connection(&self) -> bool {
        let Self::Unavailable { source: Some(source), .. } = self else { return false };
        self.lost_connection() || source.is::<r2d2::Error>()
    }

    /// Whether PostgreSQL undid the transaction to end a deadlock or a conflict of two (40P01, 40001): the same once more will do.
    pub(crate) fn undone(&self) -> bool {
        let Self::Unavailable { source: Some(source), .. } = self else { return false };
        match source.downcast_ref::<DieselError>() {
            Some(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => true,
            Some(DieselError::DatabaseError(_, info)) => info.message().contains("deadlock detected"),
            _ => false,
        }
    }

    /// Whether the connection it happened on is no longer good.
    pub(crate) fn lost_connection(&self) -> bool {
        let Self::Unavailable { source: Some(source), .. } = self else { return false };
        matches!(
            source.downcast_ref::<DieselError>(),
            Some(
                DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _)
                    | DieselError::BrokenTransactionManager
            )
        )
    }
}

/// Messages of PostgreSQL that mean "not now". Diesel keeps the text but not the SQLSTATE of kinds it does not name, and
/// only a superuser may choose the language; a message that is not known here falls through to `Statement`, which is
/// an outage for the caller, too, and only logged louder.
const NOT_NOW: &[&str] = &[
    "could not extend file",
    "No space left on device",
    "could not write",
    "canceling statement due to",
    "deadlock detected",
    "the database system is",
    "terminating connection",
    "server closed the connection",
    "no connection to the server",
    "could not connect",
    "cannot execute",
    "remaining connection slots",
    "sorry, too many clients",
    "out of memory",
];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::SerializationFailure,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::unavailable("connection", error),
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                taken(info.constraint_name().unwrap_or_default())
            }
            DieselError::DatabaseError(_, info) if NOT_NOW.iter().any(|m| info.message().contains(m)) => {
                let what = info.message().chars().take(120).collect::<String>();
                Self::unavailable(what, error)
            }
            _ => Self::Statement(error),
        }
    }
}

fn taken(constraint: &str) -> StoreError {
    let named = |what: &str| {
        let what = format!("{what} of that name exists (names that differ in case alone are the same)");
        StoreError::Taken { field: "name", what }
    };
    match constraint {
        "users_name" => named("a user"),
        "workspaces_name" => named("a workspace"),
        "trusts_name" => named("a trust rule"),
        // Whose it is, whoever asks may not be told.
        "tokens_login" => StoreError::Taken {
            field: "name",
            what: "a token with a chosen secret has that name, and it is presented by its name: choose another name, or, if \
                   that one is yours, revoke it first"
                .to_owned(),
        },
        "tokens_digest_key" => {
            StoreError::Taken { field: "secret", what: "this very secret is a token's already".to_owned() }
        }
        other => StoreError::Conflict { what: format!("it exists already ({other})") },
    }
}
