//! An identity token: a JWT (RFC 7519) in the compact form (RFC 7515, section 7.1), read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tok_model::clock::Timestamp;
use tok_model::trust::{Algorithm, Claims, LEEWAY, Once, TrustRule};

use super::judge::plain;
use super::jwk::Key;

/// The longest identity token, in bytes. GitHub's have some 1,500, GitLab's some 2,500.
pub(super) const LONGEST: usize = 16 * 1024;
/// The longest ID of a token, subject or key that is believed to be one, in bytes.
const LONGEST_WORD: usize = 1024;

/// An identity token of which nothing is believed yet but that it looks like one.
pub(super) struct Unverified<'t> {
    algorithm: Algorithm,
    kid: String,
    issuer: String,
    claims: Map<String, Value>,
    /// What was signed.
    message: &'t str,
    signature: Vec<u8>,
}

/// Why a text is no identity token that could be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is no JWT: three parts of base64url, with dots between them")]
    Form,
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("its header is no JSON object with `alg` and `kid`")]
    Header,
    #[error("it is signed with `{0}`, which no identity token is")]
    Algorithm(String),
    #[error("its header calls it `{0}` (`typ`), which is no JWT")]
    Type(String),
    #[error("its header asks for something that is not understood here (`crit`)")]
    Critical,
    #[error("its claims are no JSON object with an `iss`")]
    Claims,
}

/// What an identity token says, after its signature was found good.
pub(super) struct Identity {
    /// Who signed.
    pub(super) issuer: String,
    /// About what; may be empty.
    pub(super) subject: String,
    /// What makes it different from all others, if it says so.
    pub(super) jti: Option<String>,
    /// What rules are about.
    pub(super) claims: Claims,
    expires_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    /// Of what was signed. Not of the signature, of which a token can have several.
    digest: [u8; 32],
}

impl<'t> Unverified<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Malformed::Form)?;
        let (header, claims) =
            message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(Malformed::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Form);
        let header: Map<String, Value> = serde_json::from_slice(&decode(header)?).map_err(|_| Malformed::Header)?;
        let word = |name: &str| header.get(name).and_then(Value::as_str).filter(|word| word.len() <= LONGEST_WORD);
        let named = word("alg").ok_or(Malformed::Header)?;
        let algorithm = named.parse().map_err(|_| Malformed::Algorithm(plain(named, 20)))?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Malformed::Critical);
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("JWT") => {}
            Some(Value::String(kind)) => return Err(Malformed::Type(plain(kind, 40))),
            Some(other) => return Err(Malformed::Type(plain(&other.to_string(), 40))),
        }
        let kid = word("kid").filter(|kid| !kid.is_empty()).ok_or(Malformed::Header)?.to_owned();
        let claims: Map<String, Value> = serde_json::from_slice(&decode(claims)?).map_err(|_| Malformed::Claims)?;
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Malformed::Claims)?;
        let issuer = Some(issuer).filter(|issuer| issuer.len() <= LONGEST_WORD).ok_or(Malformed::Claims)?.to_owned();
        Ok(Self { algorithm, kid, issuer, claims, message, signature: decode(signature)? })
    }

    /// Who says that they signed it.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// With which algorithm.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// With which of their keys.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The same, believed, if this key has signed it.
    pub(super) fn verified(&self, key: &Key) -> Option<Identity> {
        if !key.signed(self.algorithm, self.message.as_bytes(), &self.signature) {
            return None;
        }
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Identity {
            issuer: self.issuer.clone(),
            subject: text("sub").unwrap_or_default(),
            jti: text("jti").filter(|jti| !jti.is_empty() && jti.len() <= LONGEST_WORD),
            claims: self.claims.iter().filter_map(|(name, value)| Some((name.clone(), texts(value)?))).collect(),
            expires_at: self.moment("exp"),
            not_before: self.moment("nbf"),
            issued_at: self.moment("iat"),
            digest: Sha256::digest(self.message.as_bytes()).into(),
        })
    }

    /// A `NumericDate` (RFC 7519, section 2). One that is no number is one that cannot be met: the end of all time for a
    /// beginning, and no end for an end.
    fn moment(&self, name: &str) -> Option<Timestamp> {
        let value = self.claims.get(name)?;
        let seconds = value.as_i64().or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second is nobody's concern")]
            value.as_f64().filter(|seconds| seconds.abs() < 1e12).map(|seconds| seconds as i64)
        });
        match seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
            Some(moment) => Some(moment),
            None if name == "exp" => None,
            None => Some(Timestamp::MAX_UTC),
        }
    }
}

/// A claim as texts; nothing for what is deeper than a list.
fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match value {
        Value::Array(values) => Some(values.iter().filter_map(one).collect()),
        other => one(other).map(|text| vec![text]),
    }
}

/// Why an identity token with a good signature is not good now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untimely {
    #[error("it does not say when it ends (`exp`) and since when it is (`iat`)")]
    NoTimes,
    #[error("it expired at {at}, and here it is {now}", at = clock(.at), now = clock(.now))]
    Expired { at: Timestamp, now: Timestamp },
    #[error("it is good from {at}, and here it is {now}: is a clock wrong?", at = clock(.at), now = clock(.now))]
    TooEarly { at: Timestamp, now: Timestamp },
    #[error("it was made at {at}, longer ago than the {limit} that the rule {rule} lets pass", at = clock(.at))]
    TooOld { at: Timestamp, limit: tok_model::clock::Period, rule: tok_model::name::TrustName },
}

fn clock(at: &Timestamp) -> impl std::fmt::Display {
    at.format("%Y-%m-%d %H:%M:%S UTC")
}

impl Identity {
    /// Whether it is good at this time, by any rule.
    pub(super) fn timely(&self, now: Timestamp) -> Result<(), Untimely> {
        let (Some(expires_at), Some(issued_at)) = (self.expires_at, self.issued_at) else {
            return Err(Untimely::NoTimes);
        };
        let leeway = chrono::TimeDelta::seconds(LEEWAY);
        if now - leeway >= expires_at {
            return Err(Untimely::Expired { at: expires_at, now });
        }
        let begins = self.not_before.map_or(issued_at, |not_before| not_before.max(issued_at));
        if begins > now + leeway {
            return Err(Untimely::TooEarly { at: begins, now });
        }
        Ok(())
    }

    /// Whether it is young enough for this rule.
    pub(super) fn young(&self, rule: &TrustRule, now: Timestamp) -> Result<(), Untimely> {
        let at = self.issued_at.ok_or(Untimely::NoTimes)?;
        if now - at > rule.max_age.delta() + chrono::TimeDelta::seconds(LEEWAY) {
            return Err(Untimely::TooOld { at, limit: rule.max_age, rule: rule.name.clone() });
        }
        Ok(())
    }

    /// The first moment at which nobody takes it any more, however their clock goes.
    pub(super) fn forgotten_at(&self) -> Timestamp {
        self.expires_at
            .and_then(|end| end.checked_add_signed(chrono::TimeDelta::seconds(2 * LEEWAY)))
            .unwrap_or(Timestamp::MAX_UTC)
    }

    /// By what it is recognised if it comes again. Of an issuer that gives no `jti` it is all that was signed.
    pub(super) fn recognised_by(&self, once: Once, repository: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.issuer.as_bytes());
        match &self.jti {
            Some(jti) => part(jti.as_bytes()),
            None => part(&self.digest),
        }
        part(if self.jti.is_some() { b"jti" } else { b"digest" });
        if once == Once::Repository {
            part(repository.to_ascii_lowercase().as_bytes());
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(header: &str, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
    }

    #[test]
    fn what_is_no_identity_token_is_refused_with_the_rule() {
        let claims = r#"{"iss":"https://ci.example"}"#;
        let refusal = |text: &str| Unverified::parse(text).map(|_| ()).unwrap_err();
        assert!(Unverified::parse(&jwt(r#"{"alg":"RS256","kid":"k","typ":"jwt"}"#, claims)).is_ok());
        for (header, expected) in [
            (r#"{"alg":"none","kid":"k"}"#, Malformed::Algorithm("none".to_owned())),
            (r#"{"alg":"HS256","kid":"k"}"#, Malformed::Algorithm("HS256".to_owned())),
            (r#"{"alg":"rs256","kid":"k"}"#, Malformed::Algorithm("rs256".to_owned())),
            (r#"{"alg":["RS256"],"kid":"k"}"#, Malformed::Header),
            (r#"{"alg":"RS256"}"#, Malformed::Header),
            (r#"{"alg":"RS256","kid":""}"#, Malformed::Header),
            (r#"{"alg":"RS256","kid":7}"#, Malformed::Header),
            (r#"{"alg":"RS256","kid":"k","crit":["x"]}"#, Malformed::Critical),
            (r#"{"alg":"RS256","kid":"k","typ":"at+jwt"}"#, Malformed::Type("at+jwt".to_owned())),
            (r#"{"alg":"RS256","kid":"k","typ":["JWT"]}"#, Malformed::Type("[\"JWT\"]".to_owned())),
            ("[]", Malformed::Header),
        ] {
            assert_eq!(refusal(&jwt(header, claims)), expected, "{header}");
        }
        let good = r#"{"alg":"RS256","kid":"k"}"#;
        assert_eq!(refusal(&jwt(good, "{}")), Malformed::Claims);
        assert_eq!(refusal(&jwt(good, "\"x\"")), Malformed::Claims);
        for bad in ["", "..", "a.b", "a.b.c.d", "%.%.%", "e30=.e30=.e30="] {
            assert_eq!(refusal(bad), if bad == ".." { Malformed::Header } else { Malformed::Form }, "{bad}");
        }
        assert_eq!(refusal(&"x".repeat(LONGEST + 1)), Malformed::TooLong);
    }

    #[test]
    fn claims_are_texts_whatever_they_are_in_json() {
        let values: Value =
            serde_json::from_str(r#"{"a":"x","b":7,"c":true,"d":["x",1],"e":{"f":1},"g":null}"#).unwrap();
        let all: Vec<_> =
            values.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), texts(value))).collect();
        let text = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            all,
            [
                ("a", text(&["x"])),
                ("b", text(&["7"])),
                ("c", text(&["true"])),
                ("d", text(&["x", "1"])),
                ("e", None),
                ("g", None)
            ]
        );
    }

    fn identity(expires: i64, from: Option<i64>, issued: i64) -> Identity {
        let at = |seconds| DateTime::from_timestamp(1_800_000_000 + seconds, 0);
        Identity {
            issuer: "https://ci.example".to_owned(),
            subject: String::new(),
            jti: Some("1".to_owned()),
            claims: Claims::default(),
            expires_at: at(expires),
            not_before: from.and_then(at),
            issued_at: at(issued),
            digest: [0; 32],
        }
    }

    #[test]
    fn clocks_may_be_a_minute_apart_and_no_more() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        assert_eq!(identity(300, None, 0).timely(now), Ok(()));
        assert_eq!(identity(-59, None, -300).timely(now), Ok(()));
        assert!(matches!(identity(-60, None, -300).timely(now), Err(Untimely::Expired { .. })));
        assert_eq!(identity(300, Some(60), 0).timely(now), Ok(()));
        assert!(matches!(identity(300, Some(61), 0).timely(now), Err(Untimely::TooEarly { .. })));
        assert!(matches!(identity(300, None, 61).timely(now), Err(Untimely::TooEarly { .. })));
        let endless = Identity { expires_at: None, ..identity(0, None, 0) };
        assert_eq!(endless.timely(now), Err(Untimely::NoTimes));
    }

    #[test]
    fn it_is_recognised_by_issuer_and_id_and_for_some_by_repository_too() {
        let one = identity(300, None, 0);
        let other = Identity { jti: Some("2".to_owned()), ..identity(300, None, 0) };
        let nameless = Identity { jti: None, ..identity(300, None, 0) };
        let elsewhere = Identity { issuer: "https://other.example".to_owned(), ..identity(300, None, 0) };
        let of = |identity: &Identity| identity.recognised_by(Once::Token, "acme/app");
        assert_eq!(of(&one), one.recognised_by(Once::Token, "acme/lib"));
        assert!(of(&one) != of(&other) && of(&one) != of(&nameless) && of(&one) != of(&elsewhere));
        assert_ne!(of(&one), one.recognised_by(Once::Repository, "acme/app"));
        assert_ne!(one.recognised_by(Once::Repository, "acme/app"), one.recognised_by(Once::Repository, "acme/lib"));
    }
}
