//! What the answers have in common: JSON, versions, pages.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH, LINK, LOCATION};
use hyper::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tok_api::convert::{PageAsk, PageOf, TokenRecord};
use tok_api::fault::Fault;
use tok_model::token::Standing;
use utoipa::IntoParams;

use super::Answer;

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Paging {
    /// The page, if there are such.
    pub(super) fn ask(self) -> Answer<PageAsk> {
        page_ask(self.page_size, self.cursor)
    }
}

/// Whether to do it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Trial {
    /// Say what it would be, change nothing.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// The page that `page_size` and `cursor` name. Nothing said is not 0, which the wire would not tell apart.
pub(super) fn page_ask(page_size: Option<u32>, cursor: Option<String>) -> Answer<PageAsk> {
    if page_size == Some(0) {
        let why = tok_model::page::PageSizeError;
        return Err(Fault::field("page_size", why).hint("leave it out for 50").into());
    }
    Ok(PageAsk::from_wire(page_size.unwrap_or(0), cursor.unwrap_or_default()))
}

/// A page of a list, and the address of the next one (RFC 8288) besides its cursor.
pub(super) fn page<T, B: Serialize>(
    uri: &Uri,
    page: PageOf<T>,
    body: impl FnOnce(Vec<T>, Option<String>) -> B,
) -> Response {
    let next = page.next_cursor.as_deref().map(|cursor| next_page(uri, cursor));
    let mut response = Json(body(page.rows, page.next_cursor)).into_response();
    if let Some(link) = next.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The same address with another cursor, relative to the server's root.
fn next_page(uri: &Uri, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("cursor", cursor);
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.finish())
}

/// An answer about one token, with its [entity tag](entity_tag).
pub(super) fn versioned<B: Serialize>(status: StatusCode, token: &TokenRecord, body: &B) -> Response {
    tagged(token, (status, Json(body)).into_response())
}

/// A token as it is.
pub(super) fn token(status: StatusCode, token: &TokenRecord) -> Response {
    versioned(status, token, token)
}

/// A token, for whoever may know it already: 304 if it is as they saw it, by `If-None-Match` (RFC 9110 section 13.1.2).
pub(super) fn token_if_new(token: &TokenRecord, headers: &HeaderMap) -> Response {
    let known = headers.get_all(IF_NONE_MATCH);
    let mut tags = known.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim);
    let current = entity_tag(token);
    // A weak comparison: of `W/"3"` and `"3"` one is as good as the other.
    if tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current) {
        return tagged(token, StatusCode::NOT_MODIFIED.into_response());
    }
    self::token(StatusCode::OK, token)
}

/// The entity tag of a token (RFC 9110 section 8.8.3): its version, and how it ended, if it did, which is no new version. What
/// its uses change of it, it does not show.
pub(super) fn entity_tag(token: &TokenRecord) -> String {
    let version = token.version;
    match (token.state, token.revoked_at) {
        (Standing::Active, _) => format!("\"{version}\""),
        (Standing::Revoked, Some(at)) => format!("\"{version}-revoked-{:x}\"", at.timestamp_micros()),
        (state, _) => format!("\"{version}-{state}\""),
    }
}

fn tagged(token: &TokenRecord, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::try_from(entity_tag(token)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// An answer about what was just made, with its address (RFC 9110 section 10.2.2).
pub(super) fn made_at(address: &str, mut response: Response) -> Response {
    if let Ok(address) = HeaderValue::try_from(address) {
        response.headers_mut().insert(LOCATION, address);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_same_question_from_further_on() {
        let uri: Uri = "/v1/tokens?label=a%26b&cursor=old&page_size=2".parse().unwrap();
        assert_eq!(next_page(&uri, "n w"), "</v1/tokens?label=a%26b&page_size=2&cursor=n+w>; rel=\"next\"");
    }
}
