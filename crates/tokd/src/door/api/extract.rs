//! What a request says, taken out of it: who calls, the fields of its body, the parameters of its address.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tok_api::convert::{LARGEST_IMPORT, parsed};
use tok_api::fault::Fault;
use tok_model::decide::Caller;
use tok_model::name::UserName;

use super::Api;
use super::problem::Problem;
use crate::service::{Presented, authorization};

/// The largest body.
pub(super) const LARGEST_BODY: usize = 64 * 1024;
/// The same for what carries a file: as JSON each of its bytes may take two.
const LARGEST_BODY_WITH_FILE: usize = 2 * LARGEST_IMPORT + LARGEST_BODY;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// For whom a manager acts, as `--as` of the command line.
const TOK_AS: HeaderName = HeaderName::from_static("tok-as");

/// Who the connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

impl FromRequestParts<Api> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| Problem::new("internal", "a request without a peer"))
    }
}

/// Who calls.
pub(super) struct Calling(pub Caller);

impl FromRequestParts<Api> for Calling {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = Peer::from_request_parts(parts, api).await?;
        let operation = operation(parts.method.as_str(), parts.uri.path());
        Self::of(api, &parts.headers, peer, operation, None).await
    }
}

impl Calling {
    /// Who calls this with these headers. `rotating` is the idempotency key of a rotation, if the call is one: whoever repeats
    /// it may present what the first one gave up.
    pub(super) async fn of(
        api: &Api,
        headers: &HeaderMap,
        Peer(peer): Peer,
        operation: String,
        rotating: Option<&str>,
    ) -> Result<Self, Problem> {
        let acting_as = acting_as(headers)?;
        let source = api.proxies.source(headers, peer);
        let mut caller = api.service.caller_remote(headers, acting_as, source, rotating).await?;
        caller.source.operation = Some(operation);
        api.service.note_call(&caller);
        api.service.recognise(&caller)?;
        Ok(Self(caller))
    }

    /// Who calls, or nobody, if that cannot be told from what they presented.
    pub(super) async fn or_nobody(
        api: &Api,
        headers: &HeaderMap,
        peer: Peer,
        operation: &str,
    ) -> Result<Caller, Problem> {
        let nobody = Caller::anonymous(api.proxies.source(headers, peer.0));
        if matches!(authorization(headers), Presented::Nothing) {
            return Ok(nobody);
        }
        match Self::of(api, headers, peer, operation.to_owned(), None).await {
            Ok(Self(caller)) => Ok(caller),
            Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => Ok(nobody),
            Err(problem) => Err(problem),
        }
    }
}

/// What of a path is the name of something, and not a word that somebody put there.
const WORDS: &[&str] = &[
    "v1",
    "oauth2",
    "tokens",
    "users",
    "workspaces",
    "members",
    "repositories",
    "audit",
    "verify",
    "whoami",
    "scopes",
    "server",
    "status",
    "check",
    "explain",
    "rotate",
    "restore",
    "import",
    "disable",
    "enable",
    "password",
    "introspect",
    "revoke",
    "trusts",
];

/// What is called, as the audit trail says it: `DELETE /v1/tokens/{}`. What was put into the path stays out of it, which
/// might be a token by mistake.
fn operation(method: &str, path: &str) -> String {
    let word = |segment| if WORDS.contains(&segment) { segment } else { "{}" };
    let path: Vec<&str> = path.trim_matches('/').split('/').take(8).map(word).collect();
    format!("{method} /{}", path.join("/"))
}

fn acting_as(headers: &HeaderMap) -> Result<Option<UserName>, Problem> {
    let mut given = headers.get_all(TOK_AS).iter();
    let name = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| Fault::field("Tok-As", "a user's name is ASCII"))?,
        (Some(_), Some(_)) => return Err(Fault::field("Tok-As", "act as one user, not as several").into()),
    };
    Ok(Some(parsed("Tok-As", name)?))
}

/// A field of which it matters whether it was said at all: `null` is said, and means "none".
#[expect(clippy::option_option, reason = "said, said to be nothing, and not said are three things")]
pub(super) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The fields of a JSON body, each of which is known.
pub(super) struct Said<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        check_type(request.headers(), &["application/json", "application/merge-patch+json"])?;
        let bytes = Zeroizing::new(body(request.into_body()).await?.to_vec());
        read_json(&bytes).map(Self)
    }
}

/// The same where one field is a whole file.
pub(super) struct SaidAtLength<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for SaidAtLength<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        check_type(request.headers(), &["application/json"])?;
        let bytes = Zeroizing::new(body_within(request.into_body(), LARGEST_BODY_WITH_FILE).await?.to_vec());
        read_json(&bytes).map(Self)
    }
}

/// The same where all fields, and so the body, may be left out.
pub(super) struct MaybeSaid<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for MaybeSaid<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (parts, body_in) = request.into_parts();
        let bytes = Zeroizing::new(body(body_in).await?.to_vec());
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(&parts.headers, &["application/json"])?;
        if bytes.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        read_json(&bytes).map(Self)
    }
}

/// Text that may be a secret: gone from memory with the request.
#[derive(Default)]
pub struct SecretText(Zeroizing<String>);

impl std::ops::Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The parameters of a form (`application/x-www-form-urlencoded`), for the OAuth calls: each at most once, and unknown ones
/// ignored (RFC 6749 section 3.2).
pub struct Form(Vec<(String, SecretText)>);

impl Form {
    /// A parameter, if it is there and not empty.
    pub fn take(&mut self, name: &str) -> Option<SecretText> {
        let at = self.0.iter().position(|(known, value)| known == name && !value.is_empty())?;
        Some(self.0.swap_remove(at).1)
    }
}

impl FromRequest<Api> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Self::read(&parts.headers, body).await
    }
}

impl Form {
    /// Reads a request's.
    pub async fn read(headers: &HeaderMap, sent: Body) -> Result<Self, Problem> {
        check_type(headers, &["application/x-www-form-urlencoded"])?;
        let bytes = Zeroizing::new(body(sent).await?.to_vec());
        let pairs: Vec<(String, SecretText)> = serde_urlencoded::from_bytes(&bytes)
            .map_err(|_| Problem::new("invalid_argument", "the body is no form").hint("send name=value&name=value"))?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::new("invalid_argument", "a parameter is there twice").field(name));
            }
        }
        Ok(Self(pairs))
    }
}

/// The parameters of the address, each of which is known.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let text = error.inner().to_string();
            let detail = of_parameter(&text);
            let problem = Problem::new("invalid_argument", detail)
                .hint("/openapi.json lists the parameters; a token never belongs into an address");
            named(problem, &error.path().to_string(), &text)
        })
    }
}

/// What serde says of a parameter, in our words; the value itself is left out.
fn of_parameter(text: &str) -> String {
    if text.contains("digit") || text.contains("number too ") || text.contains("integer") {
        return format!("this is not a whole number from 0 to {}", u32::MAX);
    }
    if text.contains("`true` or `false`") {
        return "this is neither true nor false".to_owned();
    }
    let unknown = text.strip_prefix("unknown field ").map(|rest| format!("there is no parameter {rest}"));
    let twice = text.strip_prefix("duplicate field ").map(|rest| format!("the parameter {rest} is there twice"));
    unknown.or(twice).unwrap_or_else(|| text.to_owned())
}

/// One segment of the path, read by the parser of what it means.
pub(super) struct Segment<T>(pub T);

impl<T> FromRequestParts<Api> for Segment<T>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await.map_err(bad_path)?;
        let Some((name, text)) = segments.first() else { return Err(Problem::new("not_found", "nothing is here")) };
        Ok(Self(parsed(name, text)?))
    }
}

/// Two segments of the path.
pub(super) struct Segments<A, B>(pub A, pub B);

impl<A, B> FromRequestParts<Api> for Segments<A, B>
where
    A: std::str::FromStr<Err: std::fmt::Display> + Send,
    B: std::str::FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let Path(segments) = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await.map_err(bad_path)?;
        let [(first, a), (second, b)] = segments.as_slice() else {
            return Err(Problem::new("not_found", "nothing is here"));
        };
        Ok(Self(parsed(first, a)?, parsed(second, b)?))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn bad_path(rejection: axum::extract::rejection::PathRejection) -> Problem {
    Problem::new("invalid_argument", rejection.body_text()).hint("percent-encode the path as UTF-8")
}

/// Reads a whole body, within [`LARGEST_BODY`] and [`BODY_PATIENCE`].
async fn body(body: Body) -> Result<Bytes, Problem> {
    body_within(body, LARGEST_BODY).await
}

async fn body_within(body: Body, most: usize) -> Result<Bytes, Problem> {
    let collecting = Limited::new(body, most).collect();
    match tokio::time::timeout(BODY_PATIENCE, collecting).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Problem::new("too_large", format!("the body of this request has at most {most} bytes"))
                .hint("send less at a time"))
        }
        Ok(Err(_)) => {
            Err(Problem::new("invalid_argument", "the request's body broke off").hint("send it again, whole"))
        }
        Err(_) => {
            let seconds = BODY_PATIENCE.as_secs();
            Err(Problem::new("request_timeout", format!("the request's body took longer than {seconds} s"))
                .hint("send it again, faster"))
        }
    }
}

fn check_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    check_encoding(headers)?;
    if accepted.iter().any(|known| essence.eq_ignore_ascii_case(known.as_bytes())) {
        return check_charset(given);
    }
    let given = String::from_utf8_lossy(essence);
    let wanted = accepted[0];
    let detail =
        if given.is_empty() { "the body's type is not said".to_owned() } else { format!("this takes no {given}") };
    Err(Problem::new("unsupported_media_type", detail)
        .field("Content-Type")
        .hint(format!("send Content-Type: {wanted}")))
}

/// Bodies are sent as they are: one that is packed could be any size once it is unpacked.
fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Problem::new("unsupported_media_type", "the body is packed, and this takes no packed bodies")
        .field("Content-Encoding")
        .hint("send it as it is, without Content-Encoding")
        .only_identity())
}

/// JSON is UTF-8 (RFC 8259 section 8.1), and so is a form (WHATWG URL, section 5).
fn check_charset(content_type: &[u8]) -> Result<(), Problem> {
    let mut parameters = content_type.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let named = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_at_checked(b"charset=".len())?;
        name.eq_ignore_ascii_case(b"charset=").then_some(value)
    });
    let Some(named) = named else { return Ok(()) };
    let named = named.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(named);
    if named.eq_ignore_ascii_case(b"utf-8") || named.eq_ignore_ascii_case(b"us-ascii") {
        return Ok(());
    }
    Err(Problem::new("unsupported_media_type", "the body is in another character set than UTF-8")
        .field("Content-Type")
        .hint("send UTF-8, and leave charset out"))
}

/// What would be read differently by whoever stands before and behind: each of these is there once or not at all.
pub(super) fn check_heads(headers: &HeaderMap) -> Result<(), Problem> {
    for name in [HOST, AUTHORIZATION, CONTENT_TYPE] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            let words = match name.as_str() {
                "host" => "Host",
                "authorization" => "Authorization",
                _ => "Content-Type",
            };
            return Err(Problem::new("invalid_argument", format!("the header {words} is there more than once"))
                .field(words)
                .hint("send it once"));
        }
    }
    check_accept(headers)
}

/// Answers are JSON. Whoever says that they take none of it is told so before anything is done (RFC 9110 section 12.5.1).
fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    let mut said = false;
    for line in headers.get_all(ACCEPT) {
        for range in line.as_bytes().split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(|part| part.trim_ascii().to_ascii_lowercase());
            let kind = parts.next().unwrap_or_default();
            if kind.is_empty() {
                continue;
            }
            said = true;
            let refused =
                parts.any(|part| matches!(part.strip_prefix(b"q="), Some(b"0" | b"0.0" | b"0.00" | b"0.000")));
            let json = kind.starts_with(b"application/") && kind.ends_with(b"json");
            if !refused && (json || kind == b"*/*" || kind == b"application/*") {
                return Ok(());
            }
        }
    }
    if !said {
        return Ok(());
    }
    Err(Problem::new("not_acceptable", "answers are JSON, which Accept leaves out")
        .field("Accept")
        .hint("send Accept: application/json, or no Accept"))
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bad = |path: &str, error: &serde_json::Error| {
        let problem = Problem::new("invalid_argument", detail(error))
            .hint("/openapi.json says which fields this call takes, and what each is");
        named(problem, path, &error.to_string())
    };
    // serde would take an array for the fields in their order.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::new("invalid_argument", "the body is no JSON object")
            .hint("send the fields in one object, as in {\"name\": \"ci\"}"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let said =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| bad(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| bad(".", &error))?;
    Ok(said)
}

/// What is wrong and where, without what was there: it may be a secret in the wrong place.
fn detail(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {}, column {}", error.line(), error.column());
    let what = without_place(&text);
    match what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: ")) {
        // `string "…", expected a boolean`: the value itself is left out.
        Some(types) => {
            let expected = types.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
            format!("this is not {} ({place})", in_words(expected))
        }
        None if error.is_data() => format!("{what} ({place})"),
        None => format!("the body is no JSON: {what} ({place})"),
    }
}

/// What serde calls a type, as the document calls it.
fn in_words(expected: &str) -> String {
    let numbers = [("u16", u64::from(u16::MAX)), ("u32", u64::from(u32::MAX)), ("u64", u64::MAX)];
    if let Some((_, most)) = numbers.iter().find(|(name, _)| *name == expected) {
        return format!("a whole number from 0 to {most}");
    }
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        shape if shape.starts_with("struct ") => "an object with the fields of this call".to_owned(),
        other => other.to_owned(),
    }
}

fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(what, _)| what).to_owned()
}

/// With the field that it is about, where one is known: the path to it, or the name in serde's own words.
fn named(problem: Problem, path: &str, text: &str) -> Problem {
    let quoted = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|words| text.strip_prefix(words)?.split_once('`').map(|(name, _)| name));
    match quoted {
        Some(name) => problem.field(&name.chars().take(100).collect::<String>()),
        None if path == "." || path == "?" => problem,
        None => problem.field(path),
    }
}
