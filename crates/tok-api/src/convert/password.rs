//! Passwords of users.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_model::name::UserName;
use utoipa::ToSchema;

use super::UserRecord;
use super::field::optional;
use super::token_draft::chosen;
use crate::fault::Fault;
use crate::wire::v1;

/// A password to be set or taken away.
#[derive(Debug, Clone, Default)]
pub struct PasswordChange {
    /// Whose; `None` is the caller's own.
    pub user: Option<UserName>,
    /// The new one; `None` takes it away.
    pub password: Option<SecretString>,
    /// The one until now. Managers need not know it of others.
    pub current: Option<SecretString>,
    /// Whether every other session of theirs ends, and not only those of browsers.
    pub end_sessions: bool,
}

/// What came of a password that was set or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PasswordSet {
    /// Whose it is.
    pub user: UserRecord,
    /// How many of their sessions ended. What browsers were given always does, but for the one that this was asked with.
    pub sessions_ended: u32,
    /// How many other sessions of theirs go on: logins of machines.
    pub sessions_left: u32,
}

impl From<PasswordChange> for v1::SetPasswordRequest {
    fn from(change: PasswordChange) -> Self {
        let text = |secret: Option<SecretString>| secret.map(|s| s.expose_secret().to_owned()).unwrap_or_default();
        Self {
            name: change.user.map(|user| user.to_string()).unwrap_or_default(),
            password: text(change.password),
            current: text(change.current),
            end_sessions: change.end_sessions,
        }
    }
}

impl TryFrom<v1::SetPasswordRequest> for PasswordChange {
    type Error = Fault;
    fn try_from(request: v1::SetPasswordRequest) -> Result<Self, Fault> {
        Ok(Self {
            user: optional("name", &request.name)?,
            password: chosen(request.password),
            current: chosen(request.current),
            end_sessions: request.end_sessions,
        })
    }
}

impl From<PasswordSet> for v1::SetPasswordReply {
    fn from(set: PasswordSet) -> Self {
        Self { user: Some(set.user.into()), sessions_ended: set.sessions_ended, sessions_left: set.sessions_left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_takes_the_password_away_and_nothing_is_printed() {
        let change = PasswordChange {
            user: Some("ann".parse().unwrap()),
            password: Some(SecretString::from("one-two-three")),
            current: None,
            end_sessions: true,
        };
        assert!(!format!("{change:?}").contains("two"));
        let again = PasswordChange::try_from(v1::SetPasswordRequest::from(change)).unwrap();
        assert_eq!(again.user.as_ref().map(UserName::as_str), Some("ann"));
        assert_eq!(again.password.map(|secret| secret.expose_secret().to_owned()).as_deref(), Some("one-two-three"));
        assert!(again.end_sessions);
        let none = PasswordChange::try_from(v1::SetPasswordRequest::default()).unwrap();
        assert!(none.user.is_none() && none.password.is_none() && none.current.is_none() && !none.end_sessions);
        let bad = v1::SetPasswordRequest { name: "a b".to_owned(), ..Default::default() };
        assert_eq!(PasswordChange::try_from(bad).unwrap_err().field.as_deref(), Some("name"));
    }
}
