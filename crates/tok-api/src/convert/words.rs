//! The model's enums and their numbers on the wire.

use tok_model::kind::{Permission, Role, TokenKind};
use tok_model::scope::RepoRight;
use tok_model::token::{SecretForm, Standing};

use crate::fault::Fault;
use crate::wire::v1;

/// Ties an enum of the model to one of the wire. A match each way, so that a new variant on either side does not compile
/// until it is said what it means.
macro_rules! words {
    ($model:ident, $wire:ident, $to:ident, $from:ident, $($variant:ident = $number:ident),+ $(,)?) => {
        pub(crate) fn $to(value: Option<$model>) -> i32 {
            let number = match value {
                None => v1::$wire::Unspecified,
                $(Some($model::$variant) => v1::$wire::$number,)+
            };
            number.into()
        }

        /// `None` is "not said". The fault names the field.
        pub(crate) fn $from(field: &str, number: i32) -> Result<Option<$model>, Fault> {
            let unknown = |_| Fault::field(field, format!("`{field}` has the value {number}, which this version does not know"));
            Ok(match v1::$wire::try_from(number).map_err(unknown)? {
                v1::$wire::Unspecified => None,
                $(v1::$wire::$number => Some($model::$variant),)+
            })
        }
    };
}

words!(
    TokenKind,
    TokenKind,
    wire_kind,
    kind,
    Personal = Personal,
    Workspace = Workspace,
    Repo = Repo,
    Session = Session,
    Git = Git
);
words!(SecretForm, SecretForm, wire_secret_form, secret_form, Minted = Minted, Chosen = Chosen, Foreign = Foreign);
words!(Permission, Permission, wire_permission, permission, Read = Read, Write = Write);
words!(Role, Role, wire_role, role, Reader = Reader, Writer = Writer, Maintainer = Maintainer);
words!(RepoRight, Act, wire_act, act, Read = Read, Write = Write, Admin = Admin);
words!(Standing, TokenState, wire_state, state, Active = Active, Expired = Expired, Revoked = Revoked);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_back_and_unknown_numbers_name_the_field() {
        for value in TokenKind::every().map(Some).chain([None]) {
            assert_eq!(kind("kind", wire_kind(value)), Ok(value));
        }
        for value in SecretForm::every().map(Some).chain([None]) {
            assert_eq!(secret_form("secret_form", wire_secret_form(value)), Ok(value));
        }
        for value in Role::every().map(Some).chain([None]) {
            assert_eq!(role("role", wire_role(value)), Ok(value));
        }
        for value in Permission::every().map(Some).chain([None]) {
            assert_eq!(permission("permission", wire_permission(value)), Ok(value));
        }
        for value in Standing::every().map(Some).chain([None]) {
            assert_eq!(state("state", wire_state(value)), Ok(value));
        }
        for value in [RepoRight::Read, RepoRight::Write, RepoRight::Admin].map(Some).into_iter().chain([None]) {
            assert_eq!(act("act", wire_act(value)), Ok(value));
        }
        assert_eq!(role("role", 99).unwrap_err().field.as_deref(), Some("role"));
    }
}
