//! What the heads of a request must be like before anything else about it is looked at.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue};

use crate::door::api::problem::Problem;

/// What would be read differently by whoever stands before and behind: each of these is there once or not at all.
pub fn check_heads(headers: &HeaderMap) -> Result<(), Problem> {
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

/// Whether the body is of one of these types, of which the first is the usual one, and is sent as it is.
pub(super) fn check_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
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
