//! The words of the JSON interfaces as their OpenAPI document describes them, taken from the model's own lists.

use tok_model::import::ImportOutcome;
use tok_model::kind::{Permission, Role, TokenKind};
use tok_model::token::{SecretForm, Standing};
use tok_model::trust::System;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! word_schemas {
    ($($(#[doc = $doc:literal])+ $schema:ident, $name:literal: $model:ty;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $schema;

        impl PartialSchema for $schema {
            fn schema() -> RefOr<Schema> {
                let words = <$model>::every().map(|word| word.to_string());
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!($($doc, "\n"),+).trim()))
                    .enum_values(Some(words))
                    .into()
            }
        }

        impl ToSchema for $schema {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    )+};
}

word_schemas! {
    /// What sort of token it is.
    TokenKindWord, "TokenKind": TokenKind;
    /// How much a workspace, repo or git token may do: `read` to clone and fetch, `write` to push as well.
    PermissionWord, "Permission": Permission;
    /// Whether a token can still be used.
    TokenStateWord, "TokenState": Standing;
    /// How the secret of a token came to be, and so how it is presented.
    SecretFormWord, "SecretForm": SecretForm;
    /// What became of an entry.
    ImportOutcomeWord, "ImportOutcome": ImportOutcome;
    /// A member's role in a workspace. Each includes the ones before it.
    RoleWord, "Role": Role;
    /// Which CI system signs a trust rule's identity tokens.
    SystemWord, "CiSystem": System;
}

/// What somebody does with a repository: `read` to clone and fetch, `write` to push, `admin` for everything else.
#[derive(Debug)]
pub struct RepoRightWord;

impl PartialSchema for RepoRightWord {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What somebody does with a repository: `read` to clone and fetch, `write` to push, `admin` for the rest."))
            .enum_values(Some(["read", "write", "admin"]))
            .into()
    }
}

impl ToSchema for RepoRightWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "RepoRight".into()
    }
}
