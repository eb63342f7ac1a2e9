//! What a resource server is told about a token that was presented to it (RFC 7662).

use serde::Serialize;
use utoipa::openapi::schema::{AdditionalProperties, AllOfBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::field::given;
use crate::wire::v1;

/// The answer to an introspection (RFC 7662 section 2.2). What is not active says nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Introspection {
    /// Whether it works now.
    pub active: bool,
    /// What is said of a token that does.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub token: Option<IntrospectedToken>,
}

/// Either `active` is false and nothing else is there, or it is true and so is the rest.
impl PartialSchema for Introspection {
    fn schema() -> RefOr<Schema> {
        let active = |value: bool, words: &str| {
            let flag = ObjectBuilder::new()
                .schema_type(Type::Boolean)
                .enum_values(Some([value]))
                .description(Some("Whether it works now."));
            ObjectBuilder::new().property("active", flag).required("active").description(Some(words))
        };
        let inactive = active(false, "It does not work: unknown, expired, revoked, or not for whoever asks.");
        let works =
            AllOfBuilder::new().item(active(true, "It works.")).item(Ref::from_schema_name(IntrospectedToken::name()));
        OneOfBuilder::new()
            .item(inactive.additional_properties(Some(AdditionalProperties::FreeForm(false))))
            .item(works)
            .description(Some(
                "The answer to an introspection (RFC 7662 section 2.2). What is not active says nothing else.",
            ))
            .into()
    }
}

impl ToSchema for Introspection {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((IntrospectedToken::name().into_owned(), IntrospectedToken::schema()));
    }
}

/// What is said of a token that works.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct IntrospectedToken {
    /// What it may do now, each scope once, with spaces between.
    pub scope: String,
    /// The login name of the user it acts for; absent for tokens of a workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub username: Option<String>,
    /// `Bearer`, or `Basic` for a secret that somebody chose.
    pub token_type: String,
    /// When it ends, in seconds since 1970; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub exp: Option<i64>,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// The ID of the user or workspace it acts for.
    pub sub: String,
    /// The server it is for: this one's URL.
    pub aud: String,
    /// The server it is from: this one's URL.
    pub iss: String,
    /// Its ID.
    pub jti: String,
    /// What sort of token.
    pub kind: String,
    /// `read` or `write`, for kinds without scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub permission: Option<String>,
    /// The workspace it is confined to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub workspace: Option<String>,
    /// The repositories it is confined to, as in `acme/app`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repo_allowlist: Vec<String>,
    /// The routes it is confined to, as in `acme/*:r`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

impl From<Introspection> for v1::IntrospectReply {
    fn from(said: Introspection) -> Self {
        let Introspection { active, token } = said;
        let Some(token) = token else { return Self { active, ..Self::default() } };
        Self {
            active,
            scope: token.scope,
            client_id: String::new(),
            username: token.username.unwrap_or_default(),
            token_type: token.token_type,
            exp: token.exp,
            iat: Some(token.iat),
            sub: token.sub,
            jti: token.jti,
            kind: token.kind,
            permission: token.permission.unwrap_or_default(),
            workspace: token.workspace.unwrap_or_default(),
            repo_allowlist: token.repo_allowlist,
            routes: token.routes,
            aud: token.aud,
            iss: token.iss,
        }
    }
}

impl From<v1::IntrospectReply> for Introspection {
    fn from(reply: v1::IntrospectReply) -> Self {
        let token = IntrospectedToken {
            scope: reply.scope,
            username: given(reply.username),
            token_type: reply.token_type,
            exp: reply.exp,
            iat: reply.iat.unwrap_or(0),
            sub: reply.sub,
            aud: reply.aud,
            iss: reply.iss,
            jti: reply.jti,
            kind: reply.kind,
            permission: given(reply.permission),
            workspace: given(reply.workspace),
            repo_allowlist: reply.repo_allowlist,
            routes: reply.routes,
        };
        Self { active: reply.active, token: reply.active.then_some(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inactive_says_nothing_else() {
        assert_eq!(serde_json::to_string(&Introspection::default()).unwrap(), r#"{"active":false}"#);
        let token = IntrospectedToken { scope: "repo:read".to_owned(), iat: 1, ..IntrospectedToken::default() };
        let said = Introspection { active: true, token: Some(token) };
        assert_eq!(Introspection::from(v1::IntrospectReply::from(said.clone())), said);
        assert_eq!(Introspection::from(v1::IntrospectReply::default()), Introspection::default());
        assert_eq!(serde_json::to_value(&said).unwrap()["scope"], "repo:read");
    }
}
