//! `/v1/tokens`: making, finding and ending tokens.

#![expect(unused_qualifications, reason = "what utoipa generates for query parameters")]

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use hyper::header::HeaderName;
use hyper::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tok_api::convert::schema::{PermissionWord, TokenKindWord, TokenStateWord};
use tok_api::convert::{CheckedToken, NewToken, PageAsk, RevokedToken, TokenDraft, TokenFilter, TokenRecord, if_said};
use tok_api::fault::Fault;
use tok_api::wire::v1;
use tok_model::clock::Period;
use tok_model::token::Reference;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Asked, Calling, Said, SecretText, Segment};
use super::problem::Problem;
use super::{Answer, Api, changes, reply};

/// The header of the Idempotency-Key draft (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, revoke)).routes(routes!(check))
}

/// What a token shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateToken {
    /// For people; one printable line. Need not be unique.
    #[schema(example = "ci-deploy", min_length = 1)]
    name: String,
    /// More words on it; one printable line.
    #[serde(default)]
    description: Option<String>,
    /// `personal` if it is not said. Sessions and git tokens are made by tokd itself.
    #[serde(default)]
    #[schema(value_type = Option<TokenKindWord>)]
    kind: Option<String>,
    /// For personal tokens, as in `repo:read`; none if it is not said, and then the token reaches nothing.
    #[serde(default)]
    #[schema(example = json!(["repo:read"]))]
    scopes: Vec<String>,
    /// For workspace and repo tokens, which need it.
    #[serde(default)]
    #[schema(value_type = Option<PermissionWord>)]
    permission: Option<String>,
    /// For workspace tokens, and for repo tokens whose `repos` are bare names. If it is not said, the workspace that the
    /// caller's own token acts for, if it acts for one.
    #[serde(default)]
    workspace: Option<String>,
    /// For repo tokens: `acme/app`, or bare names in `workspace`.
    #[serde(default)]
    #[schema(nullable = false)]
    repos: Option<Vec<String>>,
    /// The same field by the name that records have it under. One of the two.
    #[serde(default)]
    #[schema(nullable = false)]
    repo_allowlist: Option<Vec<String>>,
    /// For personal tokens: patterns with rights, as in `acme/*:r`. None is no further limit.
    #[serde(default)]
    routes: Vec<String>,
    /// Networks that it works from, as in `192.0.2.0/24`. None is anywhere.
    #[serde(default)]
    allow_cidrs: Vec<String>,
    /// Days (`30`), a duration (`12h`, `90d`), a date (`2027-01-31`), an RFC 3339 time, or `never`. If it is not said, the
    /// server's policy decides.
    #[serde(default)]
    #[schema(example = "90d")]
    expires: Option<String>,
    /// The same in hours; 0 is `never`. One of the two.
    #[serde(default)]
    ttl_hours: Option<u32>,
    /// Words it is found by.
    #[serde(default)]
    labels: Vec<String>,
    /// How often it may be used; not said is any number of times.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_uses: Option<u64>,
    /// A secret of one's own choice instead of one that tok makes. It is presented as HTTP Basic with the token's name as
    /// the user name, so that name must be free, and the secret hard to guess.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    secret: Option<SecretText>,
    /// As the header `Idempotency-Key`.
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedToken {
    /// The text of the token. Never to be seen again.
    secret: String,
    /// Everything else.
    token: TokenRecord,
}

/// Make a token
///
/// The answer is the only place where its text ever appears.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "createToken", tag = "tokens",
    params(("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key and the same request leaves exactly one live token. 1 to 255 printable ASCII characters, in quotation marks or not.")),
    request_body(content = CreateToken, content_type = "application/json"),
    responses((status = 201, description = "The token and, this once, its text.", body = CreatedToken,
        headers(("ETag" = String, description = "The token's version."), ("Location" = String, description = "Its address."))))
)]
async fn create(
    State(api): State<Api>,
    Calling(caller): Calling,
    headers: HeaderMap,
    Said(said): Said<CreateToken>,
) -> Answer<Response> {
    let expires = lifetime(said.expires, said.ttl_hours)?;
    let idempotency_key = idempotency_key(&headers, said.idempotency_key)?;
    let (repos, listed) = repositories(said.repos, said.repo_allowlist)?;
    let draft = TokenDraft {
        name: said.name,
        description: said.description.unwrap_or_default(),
        kind: if_said("kind", said.kind.as_deref())?,
        scopes: said.scopes,
        permission: if_said("permission", said.permission.as_deref())?,
        workspace: said.workspace,
        repos: repos.unwrap_or_default(),
        routes: said.routes,
        allow_cidrs: said.allow_cidrs,
        expires,
        labels: said.labels,
        max_uses: said.max_uses.map(uses).transpose()?,
        idempotency_key,
        secret: said.secret.map(|secret| SecretString::from(&*secret)),
    };
    let as_said = |fault| of_list(of_lifetime(fault, said.ttl_hours), listed);
    let new = NewToken::asked_from(v1::CreateTokenRequest::from(draft), caller.workspace()).map_err(as_said)?;
    let made = api.service.create_token(&caller, new).await.map_err(as_said)?;
    let body = CreatedToken { secret: made.secret.expose_secret().to_owned(), token: made.token };
    let response = reply::versioned(StatusCode::CREATED, &body.token, &body);
    Ok(reply::made_at(&format!("/v1/tokens/{}", body.token.id), response))
}

/// `expires` in hours is for people who come from systems that count so.
pub(super) fn lifetime(expires: Option<String>, ttl_hours: Option<u32>) -> Answer<Option<String>> {
    match (expires, ttl_hours) {
        (Some(_), Some(_)) => {
            Err(Fault::field("ttl_hours", "say when it ends once: with expires or with ttl_hours").into())
        }
        (Some(expires), None) if expires.trim().is_empty() => {
            Err(Fault::field("expires", "this says no end").hint(ENDS).into())
        }
        (Some(expires), None) => Ok(Some(expires)),
        (None, Some(0)) => Ok(Some("never".to_owned())),
        (None, Some(hours)) => Ok(Some(format!("{hours}h"))),
        (None, None) => Ok(None),
    }
}

const ENDS: &str = "30 (days), 12h, 2027-01-31, an RFC 3339 time or never; leave it out for the server's own default";

/// What a fault says of an end, said of the field that the caller wrote it in.
pub(super) fn of_lifetime(mut fault: Fault, ttl_hours: Option<u32>) -> Fault {
    if ttl_hours.is_some() && fault.field.as_deref() == Some("expires") {
        fault.field = Some("ttl_hours".to_owned());
    }
    fault
}

/// The repositories of a repo token, and whether they were listed as `repo_allowlist`.
pub(super) fn repositories(
    repos: Option<Vec<String>>,
    allowlist: Option<Vec<String>>,
) -> Answer<(Option<Vec<String>>, bool)> {
    let listed = allowlist.is_some();
    if repos.is_some() && listed {
        return Err(Fault::field("repos", "list the repositories once: in repos or in repo_allowlist").into());
    }
    Ok((repos.or(allowlist), listed))
}

/// What a fault says of the repositories, said of the field that the caller listed them in.
pub(super) fn of_list(mut fault: Fault, listed: bool) -> Fault {
    if listed && fault.field.as_deref() == Some("repos") {
        fault.field = Some("repo_allowlist".to_owned());
    }
    fault
}

/// How often a token may be used. 0 would read like never, and none at all is what leaves it out.
pub(super) fn uses(most: u64) -> Answer<u64> {
    if most > 0 {
        return Ok(most);
    }
    let why = "a token that may be used 0 times is none";
    Err(Fault::field("max_uses", why).hint("leave it out, or say null, for any number of times").into())
}

/// The key of the header, which may stand in quotation marks (it is a structured field, RFC 9651), or of the body.
pub(super) fn idempotency_key(headers: &HeaderMap, said: Option<String>) -> Answer<Option<String>> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let wrong = |why: &str| Problem::from(Fault::field("Idempotency-Key", why));
    let header = match (given.next(), given.next()) {
        (None, _) if said.as_deref() == Some("") => {
            let why = "the key is empty: leave it out, or send a fresh UUID";
            return Err(Fault::field("idempotency_key", why).into());
        }
        (None, _) => return Ok(said),
        (Some(header), None) => header.to_str().map_err(|_| wrong("the key is printable ASCII"))?.trim(),
        (Some(_), Some(_)) => return Err(wrong("there are two keys: send one")),
    };
    let key = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    if key.is_empty() {
        return Err(wrong("the key is empty: leave the header out, or send a fresh UUID"));
    }
    if said.is_some_and(|said| said != key) {
        return Err(wrong("the header and the field idempotency_key differ: send one of them"));
    }
    Ok(Some(key.to_owned()))
}

/// Which tokens, and which page of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListTokens {
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How they stand.
    #[param(value_type = Option<TokenStateWord>)]
    state: Option<String>,
    /// Of this kind; if it is not said, the kinds that people manage themselves.
    #[param(value_type = Option<TokenKindWord>)]
    kind: Option<String>,
    /// Only those that act for this user; for managers, or one's own name.
    user: Option<String>,
    /// Every user's and workspace's; for managers.
    #[serde(default)]
    all_users: bool,
    /// Only those that act for this workspace; for its maintainers, and managers.
    workspace: Option<String>,
    /// Only those with this label.
    label: Option<String>,
    /// Only those that were never used.
    #[serde(default)]
    never_used: bool,
    /// Only active ones that end within this time, as in `14d`.
    expiring: Option<String>,
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
struct TokenPage {
    /// Newest first.
    tokens: Vec<TokenRecord>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List tokens
///
/// One's own, newest first; with `user`, `workspace` or `all_users` others that one may see.
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "listTokens", tag = "tokens", params(ListTokens),
    responses((status = 200, description = "A page of tokens.", body = TokenPage,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))))
)]
async fn list(
    State(api): State<Api>,
    Calling(caller): Calling,
    uri: Uri,
    Asked(asked): Asked<ListTokens>,
) -> Answer<Response> {
    let text = |name, given| if_said::<String>(name, given).map(Option::unwrap_or_default);
    let expiring: Option<Period> = if_said("expiring", asked.expiring.as_deref())?;
    let request = v1::ListTokensRequest {
        user: text("user", asked.user.as_deref())?,
        never_used: asked.never_used,
        expiring_within_seconds: expiring.map_or(0, |period| period.seconds().unsigned_abs()),
        all_users: asked.all_users,
        workspace: text("workspace", asked.workspace.as_deref())?,
        label: text("label", asked.label.as_deref())?,
        ..v1::ListTokensRequest::default()
    };
    let (mut filter, _): (TokenFilter, PageAsk) = request.try_into()?;
    let page = reply::page_ask(asked.page_size, asked.cursor)?;
    filter.state = if_said("state", asked.state.as_deref())?;
    filter.kind = if_said("kind", asked.kind.as_deref())?;
    let page = api.service.list_tokens(&caller, filter, page).await?;
    Ok(reply::page(&uri, page, |tokens, next_cursor| TokenPage { tokens, next_cursor }))
}

/// Show a token
#[utoipa::path(
    get, path = "/v1/tokens/{id}", operation_id = "showToken", tag = "tokens",
    params(
        ("id" = String, Path, description = "Its ID, at least 4 characters of it, or its token prefix (`tokpat_a1b2`)."),
        ("If-None-Match" = Option<String>, Header, description = "Show it only if it is not as it was under this `ETag`, as in `\"3\"`.")
    ),
    responses(
        (status = 200, description = "The token.", body = TokenRecord,
            headers(("ETag" = String, description = "Its version, for `If-Match` and `If-None-Match`."))),
        (status = 304, description = "Nobody changed it, and it works or does not as it did; it may have been used.",
            headers(("ETag" = String, description = "As it was.")))
    )
)]
async fn show(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(reference): Segment<Reference>,
    headers: HeaderMap,
) -> Answer<Response> {
    let token = api.service.show_token(&caller, reference).await?;
    Ok(reply::token_if_new(&token, &headers))
}

/// How a token shall be ended.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevokeToken {
    /// Why, for the record and for whoever asks later; one printable line.
    reason: Option<String>,
    /// Say what it would be, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Revoke a token
///
/// Ends it and every token made through it, at once. To revoke what is revoked changes nothing.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(
        ("id" = String, Path, description = "Its ID, at least 4 characters of it, or its token prefix (`tokpat_a1b2`)."),
        ("If-Match" = Option<String>, Header, description = "Revoke it only if its version is this one, as in `\"3\"`."),
        RevokeToken
    ),
    responses((status = 200, description = "What was done.", body = RevokedToken))
)]
async fn revoke(
    State(api): State<Api>,
    Calling(caller): Calling,
    Segment(reference): Segment<Reference>,
    headers: HeaderMap,
    Asked(asked): Asked<RevokeToken>,
) -> Answer<Response> {
    let seen = changes::unchanged(&api, &caller, &reference, &headers).await?;
    let reason = asked.reason.filter(|reason| !reason.is_empty());
    let revoked = match api.service.revoke_token(&caller, reference.clone(), reason, asked.dry_run, seen).await {
        Ok(revoked) => revoked,
        Err(fault) => return Err(changes::of_version(&api, &caller, reference, &headers, (seen, fault)).await),
    };
    Ok(reply::versioned(StatusCode::OK, &revoked.token, &revoked))
}

/// A token's text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckToken {
    /// The text of the token.
    #[schema(value_type = String, format = Password)]
    secret: SecretText,
}

/// Check a token's text
///
/// Whose it is and what it may do now. Holding the text is the right to ask.
#[utoipa::path(
    post, path = "/v1/tokens/check", operation_id = "checkToken", tag = "tokens",
    request_body(content = CheckToken, content_type = "application/json"),
    responses((status = 200, description = "What the text turned out to be.", body = CheckedToken))
)]
async fn check(
    State(api): State<Api>,
    Calling(caller): Calling,
    Said(said): Said<CheckToken>,
) -> Answer<Json<CheckedToken>> {
    Ok(Json(api.service.check_token(&caller, &said.secret).await?))
}
