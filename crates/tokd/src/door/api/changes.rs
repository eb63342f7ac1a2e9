//! `/v1/tokens/{id}`: changing a token, and giving it a successor.

#![expect(clippy::option_option, reason = "said, said to be nothing, and not said are three things")]

use axum::extract::State;
use axum::response::Response;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tok_api::convert::schema::PermissionWord;
use tok_api::convert::{CheckedChange, CheckedRotation, Rotation, TokenChange, TokenRecord, if_said};
use tok_api::fault::{Fault, FaultCode};
use tok_api::wire::v1;
use tok_model::decide::Caller;
use tok_model::token::Reference;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Calling, MaybeSaid, Peer, Said, SecretText, Segment, said};
use super::problem::Problem;
use super::tokens::{idempotency_key, lifetime, of_lifetime, of_list, repositories, uses};
use super::{Answer, Api, reply};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(modify)).routes(routes!(rotate))
}

/// What shall change (RFC 7396): what is not said stays, lists are replaced whole, null takes away.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ModifyToken {
    /// For people; one printable line.
    #[schema(nullable = false)]
    name: Option<String>,
    /// More words on it.
    #[serde(default, deserialize_with = "said")]
    description: Option<Option<String>>,
    /// When it ends, as when it is made; null is never. A policy's maximum counts from the token's creation.
    #[serde(default, deserialize_with = "said")]
    expires: Option<Option<String>>,
    /// The same in hours from now; 0 is never.
    #[schema(nullable = false)]
    ttl_hours: Option<u32>,
    /// For personal tokens.
    #[serde(default, deserialize_with = "said")]
    scopes: Option<Option<Vec<String>>>,
    /// For personal tokens; none is no limit by routes.
    #[serde(default, deserialize_with = "said")]
    routes: Option<Option<Vec<String>>>,
    /// Words it is found by.
    #[serde(default, deserialize_with = "said")]
    labels: Option<Option<Vec<String>>>,
    /// Networks that it works from; none is anywhere.
    #[serde(default, deserialize_with = "said")]
    allow_cidrs: Option<Option<Vec<String>>>,
    /// For repo tokens.
    #[schema(nullable = false)]
    repos: Option<Vec<String>>,
    /// The same field by the name that records have it under. One of the two.
    #[schema(nullable = false)]
    repo_allowlist: Option<Vec<String>>,
    /// For workspace and repo tokens.
    #[schema(value_type = Option<PermissionWord>)]
    permission: Option<String>,
    /// How often it may be used, all uses so far counted; null is any number of times.
    #[serde(default, deserialize_with = "said")]
    #[schema(minimum = 1)]
    max_uses: Option<Option<u64>>,
    /// Change it only if this is its version; the header `If-Match` says the same.
    #[schema(nullable = false, minimum = 1)]
    if_version: Option<u32>,
}

/// Change a token
///
/// To narrow it takes the right to change it; to widen it takes the authority to make such a token anew. Takes effect on its
/// next use.
#[utoipa::path(
    patch, path = "/v1/tokens/{id}", operation_id = "modifyToken", tag = "tokens",
    params(
        ("id" = String, Path, description = "Its ID, at least 4 characters of it, or its token prefix (`tokpat_a1b2`)."),
        ("If-Match" = Option<String>, Header, description = "Change it only if its version is this one, as in `\"3\"`.")
    ),
    request_body(content(
        (ModifyToken = "application/merge-patch+json"),
        (ModifyToken = "application/json")
    )),
    responses((status = 200, description = "The token as it is now.", body = TokenRecord,
        headers(("ETag" = String, description = "Its version."))))
)]
async fn modify(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(reference): Segment<Reference>,
    headers: HeaderMap,
    Said(asked): Said<ModifyToken>,
) -> Answer<Response> {
    let expires = match (asked.expires, asked.ttl_hours) {
        (Some(None), None) => Some("never".to_owned()),
        (expires, hours) => lifetime(expires.map(|end| end.unwrap_or_else(|| "never".to_owned())), hours)?,
    };
    let list = |said: Option<Option<Vec<String>>>| said.map(Option::unwrap_or_default);
    let if_version = precondition(&api, &caller, &reference, &headers, asked.if_version).await?;
    let (repos, listed) = repositories(asked.repos, asked.repo_allowlist)?;
    let change = TokenChange {
        reference: reference.to_string(),
        name: asked.name,
        description: asked.description.map(Option::unwrap_or_default),
        expires,
        scopes: list(asked.scopes),
        routes: list(asked.routes),
        labels: list(asked.labels),
        allow_cidrs: list(asked.allow_cidrs),
        repos,
        permission: if_said("permission", asked.permission.as_deref())?,
        max_uses: asked.max_uses.map(|most| most.map_or(Ok(0), uses)).transpose()?,
        if_version,
    };
    let as_said = |fault| of_list(of_lifetime(fault, asked.ttl_hours), listed);
    let change = CheckedChange::try_from(v1::ModifyTokenRequest::from(change)).map_err(as_said)?;
    match api.service.modify_token(&caller, change).await {
        Ok(token) => Ok(reply::token(StatusCode::OK, &token)),
        Err(fault) => Err(of_version(&api, &caller, reference, &headers, (if_version, as_said(fault))).await),
    }
}

/// Refuses what is not to be done to a token that changed, by `If-Match`; else the version that it must still have when it
/// is done, if that is said.
pub(super) async fn unchanged(
    api: &Api,
    caller: &Caller,
    reference: &Reference,
    headers: &HeaderMap,
) -> Answer<Option<u32>> {
    precondition(api, caller, reference, headers, None).await
}

/// What did not happen to a token that must still have this version: if somebody was faster between the question and the
/// act, it is that.
pub(super) async fn of_version(
    api: &Api,
    caller: &Caller,
    reference: Reference,
    headers: &HeaderMap,
    (seen, fault): (Option<u32>, Fault),
) -> Problem {
    if fault.code != FaultCode::Conflict || seen.is_none() {
        return fault.into();
    }
    match api.service.show_token(caller, reference).await {
        Ok(now) if seen != Some(now.version) => changed(&now, headers),
        _ => fault.into(),
    }
}

/// The version that the token must have, by `If-Match` (RFC 9110 section 13.1.1) and by the body.
async fn precondition(
    api: &Api,
    caller: &Caller,
    reference: &Reference,
    headers: &HeaderMap,
    if_version: Option<u32>,
) -> Answer<Option<u32>> {
    let lines: Vec<&str> = headers.get_all(IF_MATCH).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut tags = lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
    if if_version == Some(0) {
        return Err(Fault::field("if_version", "versions count from 1").into());
    }
    if !headers.contains_key(IF_MATCH) || tags.clone().any(|tag| tag == "*") {
        return Ok(if_version);
    }
    let now = api.service.show_token(caller, reference.clone()).await?;
    // Compared as strong tags: a weak one (`W/"3"`) never matches. The version alone is a tag, too: that a token ended in
    // the meantime is no change of it.
    let (version, current) = (format!("\"{}\"", now.version), reply::entity_tag(&now));
    if !tags.any(|tag| tag == version || tag == current) || if_version.is_some_and(|version| version != now.version) {
        return Err(changed(&now, headers));
    }
    Ok(Some(now.version))
}

fn changed(now: &TokenRecord, headers: &HeaderMap) -> Problem {
    let field = if headers.contains_key(IF_MATCH) { "If-Match" } else { "if_version" };
    Problem::new("precondition_failed", format!("the token has the version {} now: somebody changed it", now.version))
        .field(field)
        .hint(format!("look at it again with GET /v1/tokens/{}, and repeat the change if it is still wanted", now.id))
}

/// How a token shall be given a successor. All of it may be left out, and so may the body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RotateToken {
    /// How long the old one works beside the new one, as in `10m`, until the new one is first used; at most 7 days. Not
    /// said is not at all.
    grace: Option<String>,
    /// When the successor ends, as when a token is made; not said is as long from now as the old one was made for.
    expires: Option<String>,
    /// The same in hours; 0 is never.
    ttl_hours: Option<u32>,
    /// A new secret of one's own choice, for a token whose secret was chosen.
    #[schema(value_type = Option<String>, format = Password)]
    secret: Option<SecretText>,
    /// As the header `Idempotency-Key`.
    idempotency_key: Option<String>,
}

/// A token that was just rotated.
#[derive(Serialize, ToSchema)]
struct RotatedToken {
    /// The text of the successor. Never to be seen again.
    secret: String,
    /// The successor.
    token: TokenRecord,
    /// The old one, as it is now.
    predecessor: TokenRecord,
}

/// Rotate a token
///
/// Makes a successor with the same authority. To present the old one after its grace is reuse, which ends the whole family.
#[utoipa::path(
    post, path = "/v1/tokens/{id}/rotate", operation_id = "rotateToken", tag = "tokens",
    params(
        ("id" = String, Path, description = "Its ID, at least 4 characters of it, or its token prefix (`tokpat_a1b2`)."),
        ("If-Match" = Option<String>, Header, description = "Rotate it only if its version is this one, as in `\"3\"`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key and the same request leaves exactly one live token. 1 to 255 printable ASCII characters, in quotation marks or not.")
    ),
    request_body(content = Option<RotateToken>, content_type = "application/json"),
    responses((status = 201, description = "The successor and, this once, its text.", body = RotatedToken,
        headers(("ETag" = String, description = "The successor's version."), ("Location" = String, description = "Its address."))))
)]
async fn rotate(
    State(api): State<Api>,
    peer: Peer,
    Segment(reference): Segment<Reference>,
    headers: HeaderMap,
    MaybeSaid(asked): MaybeSaid<RotateToken>,
) -> Answer<Response> {
    let key = idempotency_key(&headers, asked.idempotency_key)?;
    let Calling(caller) =
        Calling::of(&api, &headers, peer, "POST /v1/tokens/{}/rotate".to_owned(), key.as_deref()).await?;
    let rotation = Rotation {
        reference: reference.to_string(),
        grace: asked.grace,
        expires: lifetime(asked.expires, asked.ttl_hours)?,
        idempotency_key: key,
        secret: asked.secret.map(|secret| SecretString::from(&*secret)),
    };
    let as_said = |fault| of_lifetime(fault, asked.ttl_hours);
    let rotation = CheckedRotation::try_from(v1::RotateTokenRequest::from(rotation)).map_err(as_said)?;
    // A retry under its key finds what the first time changed, and is answered like that one.
    let retried = headers.contains_key(IF_MATCH)
        && rotation.idempotency_key.is_some()
        && api.service.show_token(&caller, reference.clone()).await?.successor_id.is_some();
    let seen = if retried { None } else { unchanged(&api, &caller, &reference, &headers).await? };
    let rotated = match api.service.rotate_token(&caller, rotation, seen).await {
        Ok(rotated) => rotated,
        Err(fault) => return Err(of_version(&api, &caller, reference, &headers, (seen, as_said(fault))).await),
    };
    let body = RotatedToken {
        secret: rotated.secret.expose_secret().to_owned(),
        token: rotated.token,
        predecessor: rotated.predecessor,
    };
    let response = reply::versioned(StatusCode::CREATED, &body.token, &body);
    Ok(reply::made_at(&format!("/v1/tokens/{}", body.token.id), response))
}
