//! From what happened to what a caller may read of it. Nothing becomes a [`Fault`] by accident: each error of ours has
//! its line here, and what nobody foresaw says only that, while the log has the rest.

use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Class, Refusal, Rule};
use tok_store::StoreError;

use crate::door::gateway::repositories::RepositoryFault;

/// How long whoever meets a busy tokd is asked to wait, in seconds: as long as its queues are.
pub const BUSY_SECONDS: u32 = 2;
/// What to do then.
const BUSY_HINT: &str = "nothing was changed; ask again in some seconds";

/// What a caller may read of an error.
pub trait IntoFault {
    /// The fault that the caller sees.
    fn into_fault(self) -> Fault;
}

impl IntoFault for Refusal {
    fn into_fault(self) -> Fault {
        let code = match self.class() {
            Class::Unauthenticated => FaultCode::Unauthenticated,
            Class::StepUp | Class::Forbidden => FaultCode::Forbidden,
            Class::Hidden => FaultCode::NotFound,
            Class::Throttled => FaultCode::RateLimited,
        };
        let scope = match &self.rule {
            Rule::Scope(scope) => Some(scope.to_string()),
            _ => None,
        };
        let retry_after = match self.rule {
            Rule::Throttled(seconds) => Some(seconds),
            _ => None,
        };
        let no_login_mends_it = self.rule.outlasts_a_login();
        let fault = Fault { scope, retry_after, no_login_mends_it, ..Fault::new(code, &self) };
        match self.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}

impl IntoFault for StoreError {
    fn into_fault(self) -> Fault {
        match self {
            Self::Unavailable { ref what, .. } => {
                tracing::warn!(error = %chain(&self), "The database cannot answer: {what}");
                Fault::new(FaultCode::Unavailable, "tokd cannot reach its database now")
                    .hint("try again in a moment; tokd's log says what is wrong")
            }
            Self::Busy { .. } => {
                Fault { retry_after: Some(BUSY_SECONDS), ..Fault::new(FaultCode::Busy, &self) }.hint(BUSY_HINT)
            }
            Self::Conflict { what } => Fault::new(FaultCode::Conflict, what),
            Self::NotFound { what, look } => Fault::new(FaultCode::NotFound, what).hint(look),
            Self::Taken { field, what } => Fault::taken(field, what),
            // The caller is told no more of the row than that there is one; managers see which in `tok token list`.
            Self::Corrupt { table, .. } => {
                let fault = internal(&self);
                Fault { message: format!("a row of the table {table} cannot be read by this version of tokd"), ..fault }
            }
            Self::Permit(_) | Self::NoTrail | Self::Statement(_) => internal(&self),
        }
    }
}

impl IntoFault for RepositoryFault {
    fn into_fault(self) -> Fault {
        internal(&self)
    }
}

/// A failure that is ours: the log has it whole, the caller gets one line.
pub fn internal(error: &dyn std::error::Error) -> Fault {
    tracing::error!(error = %chain(error), "An internal error");
    Fault::new(FaultCode::Internal, "something in tokd went wrong").hint("tokd's log has the details")
}

/// An error with its causes, for the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
