//! The OpenAPI 3.1 document, put together from the routes, the records and the problem codes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, HeaderValue};
use utoipa::PartialSchema as _;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, ServerBuilder,
};

use super::problem::{self, OAuthError};

/// Where it is.
pub(super) const PATH: &str = "/openapi.json";

const DESCRIPTION: &str = "\
Access tokens for self-hosted git, over HTTP with JSON.

Every call but the public ones takes a token: `Authorization: Bearer <token>`, or HTTP Basic with the token as the
password. Managers act for another user with the header `Tok-As: <user>`.

Failures are problem details (RFC 9457) with a `code` that does not change; each names the field that is at fault and what
to do next. The OAuth forms fail as RFC 6749 section 5.2 says. Bodies have at most 64 KiB; unknown fields are refused.";

const TAGS: [(&str, &str); 7] = [
    ("tokens", "Making, finding, changing and ending access tokens."),
    ("users", "Who there is."),
    ("workspaces", "Workspaces, their members and their repositories."),
    ("trusts", "Whose jobs of CI systems get a git token for what they are."),
    ("audit", "What was done, by whom, and how it ended."),
    ("server", "Who one is, and how the server is."),
    ("oauth", "The OAuth forms and their metadata."),
];

/// The whole document.
pub fn document() -> OpenApi {
    let (_, mut document) = super::routes().split_for_parts();
    for path in document.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            complete(operation);
        }
    }
    document
}

/// The address where it is served, and the routes are put into.
pub(super) fn frame() -> OpenApi {
    let mut components = Components::new();
    components.schemas.insert("Problem".to_owned(), problem::schema());
    components.schemas.insert("OAuthError".to_owned(), OAuthError::schema());
    let scheme =
        |scheme, words: &str| SecurityScheme::Http(Http::builder().scheme(scheme).description(Some(words)).build());
    components.add_security_scheme("bearer", scheme(HttpAuthScheme::Bearer, "A token (RFC 6750 section 2.1)."));
    components.add_security_scheme(
        "basic",
        scheme(HttpAuthScheme::Basic, "Any user name with the token as the password (RFC 7617)."),
    );
    for (status, words) in statuses() {
        components.responses.insert(format!("Problem{status}"), failure(&words, "application/problem+json", "Problem"));
    }
    components.responses.insert(
        "OAuthError".to_owned(),
        failure("How the OAuth forms fail (RFC 6749 section 5.2).", "application/json", "OAuthError"),
    );
    let tags = TAGS.map(|(name, words)| TagBuilder::new().name(name).description(Some(words)).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("tok")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    utoipa::openapi::info::LicenseBuilder::new()
                        .name("MIT OR Apache-2.0")
                        .identifier(Some("MIT OR Apache-2.0"))
                        .build(),
                ))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").description(Some("This server.")).build()]))
        .components(Some(components))
        .tags(Some(tags))
        .security(Some([
            SecurityRequirement::new("bearer", [] as [&str; 0]),
            SecurityRequirement::new("basic", [] as [&str; 0]),
        ]))
        .build()
}

/// Each status that a problem can have, with its codes.
fn statuses() -> Vec<(u16, String)> {
    let mut found: Vec<(u16, String)> = Vec::new();
    for (code, status, title) in problem::codes() {
        let words = format!("{title} (`{code}`).");
        match found.iter_mut().find(|(known, _)| *known == status.as_u16()) {
            Some((_, all)) => {
                all.push(' ');
                all.push_str(&words);
            }
            None => found.push((status.as_u16(), words)),
        }
    }
    found
}

fn failure(words: &str, content_type: &str, schema: &str) -> RefOr<Described> {
    let header = |words: &str| {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
        header.description = Some(words.to_owned());
        header
    };
    ResponseBuilder::new()
        .description(words)
        .content(content_type, Content::new(Some(Ref::from_schema_name(schema))))
        .header("X-Request-Id", header("This very occurrence, as in tokd's log."))
        .build()
        .into()
}

/// What every operation has in common: how it can fail, and the header that managers act for others with.
fn complete(operation: &mut Operation) {
    let oauth = operation
        .operation_id
        .as_deref()
        .is_some_and(|id| matches!(id, "introspect" | "revokeSecret" | "deviceAuthorization" | "token"));
    let public = operation.security.is_some();
    let has_body = operation.request_body.is_some();
    let mut parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let has_path = parameters.clone().any(|parameter| parameter.parameter_in == ParameterIn::Path);
    let compares = parameters.any(|parameter| parameter.name == "If-Match");
    // What every request can meet before it is looked at: heads that say two things, and an `Accept` without JSON.
    let mut statuses = vec![400, 406, 500, 503];
    if !public {
        statuses.extend([401, 403, 429]);
        if !oauth {
            operation.parameters.get_or_insert_default().push(tok_as().into());
            // There may be nobody of that name.
            statuses.push(404);
        }
    }
    if has_body {
        statuses.extend([400, 408, 413, 415]);
    }
    if operation.parameters.is_some() {
        statuses.push(400);
    }
    if has_path {
        statuses.push(404);
    }
    if !public && (has_path || has_body) && !oauth {
        statuses.push(409);
    }
    if compares {
        statuses.push(412);
    }
    if oauth {
        statuses.extend([400, 401, 403, 408, 413, 415, 429]);
    }
    for status in statuses {
        let name = if oauth { "OAuthError".to_owned() } else { format!("Problem{status}") };
        let answers = &mut operation.responses.responses;
        answers.entry(status.to_string()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(name)));
    }
}

fn tok_as() -> Parameter {
    ParameterBuilder::new()
        .name("Tok-As")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The user to act for, with their authority and no more; for managers."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(39))))
        .build()
}

/// The document, for whoever asks.
pub(super) async fn answer() -> Response {
    let mut response = Json(document()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn value() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    /// `just generate` writes it anew.
    #[test]
    fn the_committed_document_is_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let text = format!("{:#}\n", value());
        if std::env::var_os("TOK_UPDATE").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap();
        assert!(committed == text, "docs/openapi.json is stale: `just generate` writes it anew");
    }

    #[test]
    fn everything_in_the_document_is_named_and_described() {
        let document = value();
        assert_eq!(document["openapi"], "3.1.0");
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let place = format!("{method} {path}");
                let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no operationId"));
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
                assert!(operation["summary"].is_string(), "{place} has no summary");
                assert!(
                    operation["responses"]["406"].is_object(),
                    "{place} does not say what becomes of Accept: text/html"
                );
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["description"].is_string(), "{place}: {parameter}");
                    let names_somebody = parameter["name"] == "Tok-As" || parameter["in"] == "path";
                    assert!(!names_somebody || operation["responses"]["404"].is_object(), "{place}: {parameter}");
                    let compares = parameter["name"] == "If-Match";
                    assert!(!compares || operation["responses"]["412"].is_object(), "{place}: {parameter}");
                }
                let made = &operation["responses"]["201"];
                assert!(made.is_null() || made["headers"]["Location"].is_object(), "{place} does not say where it is");
                let mut parameters = operation["parameters"].as_array().into_iter().flatten();
                let revalidates = parameters.any(|parameter| parameter["name"] == "If-None-Match");
                let shown = &operation["responses"]["200"];
                let tagged = method == "get" && shown["headers"]["ETag"].is_object();
                let same = &operation["responses"]["304"]["headers"]["ETag"];
                assert!(
                    (tagged, revalidates) == (same.is_object(), same.is_object()),
                    "{place}: ETag, If-None-Match, 304"
                );
            }
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "the schema {name} is not described");
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                // What may be null is described inside the choice between the two.
                let described = property["description"].is_string() || property["oneOf"][0]["description"].is_string();
                assert!(described, "{name}.{field} is not described: {property}");
            }
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference} is nowhere");
        }
    }
}
