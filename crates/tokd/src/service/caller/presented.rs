//! What a request presents, before anybody is asked whose it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use secrecy::zeroize::Zeroizing;
use tok_model::kind::TokenKind;
use tok_model::secret::Plaintext;

use crate::service::strangers::Stranger;

/// What a request presented.
pub enum Presented {
    /// Nothing, or an empty password as git tries it when the URL has a user name.
    Nothing,
    /// Something that cannot be a token of ours: a typing error, another system's secret.
    NotOurs,
    /// Text of the right form.
    Token(Plaintext),
    /// A name with a chosen secret, or another system's secret.
    Other(Stranger),
}

/// What an HTTP request presents. Two `Authorization` headers are none that can be trusted: whatever stands behind could
/// go by the other one.
pub fn authorization(headers: &HeaderMap) -> Presented {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (header, None) => read_authorization(header.map(HeaderValue::as_bytes)),
        (_, Some(_)) => Presented::NotOurs,
    }
}

/// Reads an `Authorization` header: `Bearer <token>` (RFC 6750 section 2.1), or Basic (RFC 7617) with the token as the
/// password under any user name, or as the user name with an empty password or `x-oauth-basic`.
fn read_authorization(header: Option<&[u8]>) -> Presented {
    let Some(text) = header.map(std::str::from_utf8) else { return Presented::Nothing };
    let Some((scheme, rest)) = text.ok().and_then(|t| t.trim().split_once(' ')) else { return Presented::NotOurs };
    let read = |text: &str, otherwise: fn(&str) -> Stranger| match Plaintext::parse(text) {
        Ok(token) => Presented::Token(token),
        Err(_) if text.is_empty() || begins_as_ours(text) => Presented::NotOurs,
        Err(_) => Presented::Other(otherwise(text)),
    };
    if scheme.eq_ignore_ascii_case("Bearer") {
        return read(rest.trim(), Stranger::alone);
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Presented::NotOurs;
    }
    let Ok(decoded) = STANDARD.decode(rest.trim()).map(Zeroizing::new) else { return Presented::NotOurs };
    let Some((user, password)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':')) else {
        return Presented::NotOurs;
    };
    match password {
        "" => match Plaintext::parse(user) {
            Ok(token) => Presented::Token(token),
            Err(_) if begins_as_ours(user) => Presented::Nothing,
            Err(_) => Stranger::user_name(user).map_or(Presented::Nothing, Presented::Other),
        },
        "x-oauth-basic" => read(user, Stranger::alone),
        _ => match read(password, Stranger::alone) {
            Presented::Other(_) => Presented::Other(Stranger::pair(user, password)),
            ours => ours,
        },
    }
}

/// Whether text that is no token of ours looks like one: a typing error, which is nobody else's secret.
pub(in crate::service) fn begins_as_ours(text: &str) -> bool {
    TokenKind::every().any(|kind| text.starts_with(kind.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_in(header: &str) -> Option<bool> {
        match read_authorization(Some(header.as_bytes())) {
            Presented::Nothing => None,
            Presented::NotOurs | Presented::Other(_) => Some(false),
            Presented::Token(_) => Some(true),
        }
    }

    #[test]
    fn every_presentation_of_a_token_is_read() {
        let text = Plaintext::mint(TokenKind::Personal, &mut crate::service::rng());
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        let token = text.reveal();
        for header in [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            basic(format!("anyone:{token}")),
            basic(format!(":{token}")),
            basic(format!("{token}:")),
            basic(format!("{token}:x-oauth-basic")),
        ] {
            assert_eq!(token_in(&header), Some(true));
        }
        // libcurl first tries the URL's user name with an empty password: that is nobody, not a wrong password.
        assert_eq!(token_in(&basic("alice:".into())), None);
        for wrong in
            ["Bearer", "Bearer x", "Digest abc", "Basic !!!", &basic("nocolon".into()), &basic("a:b".into()), ""]
        {
            assert_eq!(token_in(wrong), Some(false), "{wrong}");
        }
    }
}
