//! Logging in by OAuth's forms: device authorization (RFC 8628) and the token endpoint (RFC 6749 section 3.2). Clients here
//! are public, so none authenticates.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tok_api::convert::{OpenedSession, PasswordLogin, parsed};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::Source;
use tok_model::clock::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Form, Peer};
use super::oauth::missing;
use super::problem::Problem;
use super::token_exchange::{ExchangedToken, TOKEN_EXCHANGE, exchange};
use super::{Answer, Api};

/// Where a device begins to be logged in.
pub(super) const DEVICE_AUTHORIZATION: &str = "/oauth2/device_authorization";
/// Where a grant becomes a token.
pub(super) const TOKEN: &str = "/oauth2/token";
/// The grant of a device's login (RFC 8628 section 3.4).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Every grant that is taken.
pub(super) const GRANTS: [&str; 3] = [DEVICE_CODE, "password", TOKEN_EXCHANGE];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(device_authorization)).routes(routes!(token))
}

/// The form that begins a device's login. Other parameters are ignored.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read parameter by parameter")]
struct DeviceForm {
    /// What the program calls itself.
    #[schema(nullable = false, example = "tok")]
    client_id: Option<String>,
    /// What the machine calls itself: shown to whoever approves, and part of the session's name.
    #[schema(nullable = false, example = "ann-laptop")]
    machine: Option<String>,
    /// Ignored: a session reaches whatever its user does.
    #[schema(nullable = false)]
    scope: Option<String>,
}

/// A login that waits to be approved (RFC 8628 section 3.2).
#[derive(Serialize, ToSchema)]
struct DeviceAuthorization {
    /// Known to the device alone.
    #[schema(format = Password)]
    device_code: String,
    /// What the person types.
    #[schema(example = "WDJB-MJHT")]
    user_code: String,
    /// Where they type it.
    #[schema(format = "uri")]
    verification_uri: String,
    /// The same with the code in it.
    #[schema(format = "uri")]
    verification_uri_complete: String,
    /// Seconds until both codes are no good any more.
    expires_in: u64,
    /// Seconds to wait between two polls.
    interval: u64,
}

/// Begin a login that somebody approves in a browser (RFC 8628)
#[utoipa::path(
    post, path = "/oauth2/device_authorization", operation_id = "deviceAuthorization", tag = "oauth", security(()),
    request_body(content = DeviceForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The two codes, and where the person goes.", body = DeviceAuthorization))
)]
async fn device_authorization(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    mut form: Form,
) -> Answer<Response> {
    let source = source(&api, &headers, peer, "POST /oauth2/device_authorization");
    let mut said = |name| form.take(name).map(|text| text.to_string()).unwrap_or_default();
    let (machine, client) = (said("machine"), said("client_id"));
    let login = api.service.start_device(source, &machine, &client).await?;
    Ok(unstored(Json(DeviceAuthorization {
        device_code: login.device_code.expose_secret().to_owned(),
        user_code: login.user_code,
        verification_uri: login.verification_uri,
        verification_uri_complete: login.verification_uri_complete,
        expires_in: login.expires_in.as_secs(),
        interval: login.interval.as_secs(),
    })))
}

/// The form of the token endpoint. Which parameters it takes depends on the grant; others are ignored.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read parameter by parameter")]
struct TokenForm {
    /// `urn:ietf:params:oauth:grant-type:device_code`, `password` or `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// With a device's login: its code.
    #[schema(nullable = false, format = Password)]
    device_code: Option<String>,
    /// With a password: the login name.
    #[schema(nullable = false)]
    username: Option<String>,
    /// And the password.
    #[schema(nullable = false, format = Password)]
    password: Option<String>,
    /// And what the machine calls itself, which is part of the session's name.
    #[schema(nullable = false)]
    machine: Option<String>,
    /// Ignored: clients here have no secrets.
    #[schema(nullable = false)]
    client_id: Option<String>,
    /// With an exchange: a CI job's identity token.
    #[schema(nullable = false, format = Password)]
    subject_token: Option<String>,
    /// And what it is: `urn:ietf:params:oauth:token-type:jwt` or `urn:ietf:params:oauth:token-type:id_token`.
    #[schema(nullable = false)]
    subject_token_type: Option<String>,
    /// And for which repository the token shall be, by its path or its URL; the trust rule's, if it is for one.
    #[schema(nullable = false, example = "acme/app")]
    resource: Option<String>,
    /// And for how much: `repo:read` or `repo:write`; as much as the rule gives, if it is not said.
    #[schema(nullable = false)]
    scope: Option<String>,
    /// This server's address, if it is said.
    #[schema(nullable = false)]
    audience: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`, if it is said.
    #[schema(nullable = false)]
    requested_token_type: Option<String>,
}

/// A token that was granted: a session, or for a CI job a git token.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum TokenReply {
    /// A session.
    Session(GrantedToken),
    /// A git token.
    Git(ExchangedToken),
}

/// A token that was granted (RFC 6749 section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct GrantedToken {
    /// Its text, shown this once.
    #[schema(format = Password)]
    pub(super) access_token: String,
    /// `Bearer`.
    pub(super) token_type: &'static str,
    /// Seconds until it ends; not there if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_in: Option<i64>,
    /// What it reaches: `all` is whatever its user may do.
    pub(super) scope: String,
    /// Its ID.
    pub(super) token_id: String,
    /// The login name of the user it acts for.
    pub(super) user: String,
}

/// Trade a grant for a token (RFC 6749, RFC 8628, RFC 8693)
///
/// A device asks with `grant_type=urn:ietf:params:oauth:grant-type:device_code` until somebody has approved; a user name and a
/// password are given with `grant_type=password`. Either gives a session: a token that acts as the user.
///
/// The job of a CI system gives its identity token (OpenID Connect) with
/// `grant_type=urn:ietf:params:oauth:grant-type:token-exchange`, and gets a token for one repository if a trust rule lets it
/// in. What is wrong is said claim by claim, expected against seen, once the identity token's signature was found good.
#[utoipa::path(
    post, path = "/oauth2/token", operation_id = "token", tag = "oauth", security(()),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token.", body = TokenReply))
)]
async fn token(State(api): State<Api>, peer: Peer, headers: HeaderMap, mut form: Form) -> Answer<Response> {
    let source = source(&api, &headers, peer, "POST /oauth2/token");
    let grant = form.take("grant_type").ok_or_else(|| missing("grant_type"))?;
    let opened = match &*grant {
        DEVICE_CODE => device(&api, source, form).await?,
        "password" => password(&api, source, form).await?,
        TOKEN_EXCHANGE => {
            let exchanged = exchange(&api, source, &mut form).await?;
            return Ok(unstored(Json(TokenReply::Git(exchanged))));
        }
        _ => {
            return Err(Problem::new("unsupported_grant_type", "there is no such grant here")
                .field("grant_type")
                .hint(format!("ask with {}", GRANTS.join(" or "))));
        }
    };
    Ok(unstored(Json(TokenReply::Session(granted(opened, api.service.now())))))
}

async fn device(api: &Api, source: Source, mut form: Form) -> Answer<OpenedSession> {
    let code = form.take("device_code").ok_or_else(|| missing("device_code"))?;
    let polled = api.service.poll_device(source, &SecretString::from(&*code)).await;
    polled.map_err(|fault| invalid_grant(fault, FaultCode::InvalidArgument))
}

async fn password(api: &Api, source: Source, mut form: Form) -> Answer<OpenedSession> {
    let user = form.take("username").ok_or_else(|| missing("username"))?;
    let password = form.take("password").ok_or_else(|| missing("password"))?;
    let machine = form.take("machine").map(|text| text.to_string()).unwrap_or_default();
    let login = PasswordLogin { user: parsed("username", &user)?, password: SecretString::from(&*password), machine };
    let opened = api.service.open_session(source, login).await;
    opened.map_err(|fault| invalid_grant(fault, FaultCode::Unauthenticated))
}

/// What was given to be traded is no good (RFC 6749 section 5.2); anything else stays what it is.
fn invalid_grant(fault: Fault, code: FaultCode) -> Problem {
    if fault.code != code {
        return fault.into();
    }
    Problem::new("invalid_grant", fault.message).hint(fault.hint.unwrap_or_default())
}

fn granted(opened: OpenedSession, now: Timestamp) -> GrantedToken {
    GrantedToken {
        access_token: opened.secret.expose_secret().to_owned(),
        token_type: "Bearer",
        expires_in: opened.token.expires_at.map(|end| (end - now).num_seconds().max(0)),
        scope: "all".to_owned(),
        token_id: opened.token.id.to_string(),
        user: opened.user,
    }
}

/// From where a call comes that names itself by what is in its form.
fn source(api: &Api, headers: &HeaderMap, Peer(peer): Peer, operation: &str) -> Source {
    Source { operation: Some(operation.to_owned()), ..api.proxies.source(headers, peer) }
}

/// Kept by nobody on the way, of whatever age (RFC 6749 section 5.1).
fn unstored(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
