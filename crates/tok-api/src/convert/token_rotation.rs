//! What is asked for when a token is given a successor, and what comes back.

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::clock::{Expiry, Period};
use tok_model::token::Reference;

use super::field::{optional, parsed, present};
use super::token_draft::idempotency_key;
use super::tokens::TokenRecord;
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// The longest that an old token may work beside its successor: 7 days, in seconds.
const LONGEST_GRACE: i64 = 7 * 24 * 60 * 60;

/// What somebody asks for when they rotate a token, as they typed it.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// Which token: ID, ID prefix or token prefix.
    pub reference: String,
    /// How long the old one works beside the new one, as in `10m`; `None` is not at all.
    pub grace: Option<String>,
    /// When the successor ends; `None` is as long from now as the old one was made for.
    pub expires: Option<String>,
    /// A retry with the same key leaves exactly one live token.
    pub idempotency_key: Option<String>,
    /// A new secret of the caller's choice, for a token whose secret was chosen.
    pub secret: Option<SecretString>,
}

impl From<Rotation> for v1::RotateTokenRequest {
    fn from(rotation: Rotation) -> Self {
        Self {
            reference: rotation.reference,
            grace: rotation.grace.unwrap_or_default(),
            expires: rotation.expires.unwrap_or_default(),
            idempotency_key: rotation.idempotency_key.unwrap_or_default(),
            secret: rotation.secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default(),
        }
    }
}

/// A checked request for a successor: well-formed, and nothing said yet about whether the caller may have it.
#[derive(Debug, Clone)]
pub struct CheckedRotation {
    /// Which token.
    pub reference: Reference,
    /// How long the old one works beside the new one at most; `None` is not at all.
    pub grace: Option<Period>,
    /// `None` is as long from now as the old one was made for.
    pub expires: Option<Expiry>,
    /// A retry with the same key leaves exactly one live token.
    pub idempotency_key: Option<String>,
    /// A new secret of the caller's choice.
    pub secret: Option<SecretString>,
}

impl TryFrom<v1::RotateTokenRequest> for CheckedRotation {
    type Error = Fault;
    fn try_from(request: v1::RotateTokenRequest) -> Result<Self, Fault> {
        let secret = Some(request.secret).filter(|text| !text.is_empty()).map(SecretString::from);
        Ok(Self {
            reference: parsed("reference", &request.reference)?,
            grace: grace(&request.grace)?,
            expires: optional("expires", &request.expires)?,
            idempotency_key: idempotency_key(request.idempotency_key)?,
            secret,
        })
    }
}

/// Reads a grace; `0` is none, with or without a unit.
fn grace(text: &str) -> Result<Option<Period>, Fault> {
    let none = text.is_empty() || matches!(text, "0" | "0s" | "0m" | "0h" | "0d");
    if none {
        return Ok(None);
    }
    let too_long = || Fault::field("grace", "an old token works beside its successor for 7 days at most");
    let grace: Period = parsed("grace", text)?;
    if grace.seconds() > LONGEST_GRACE { Err(too_long().hint("ask for less: --grace 7d")) } else { Ok(Some(grace)) }
}

/// A token and the one whose place it took. Besides [`CreatedToken`](super::CreatedToken) the only thing that carries a text.
#[derive(Debug)]
pub struct RotatedToken {
    /// The text of the successor, to be shown once.
    pub secret: SecretString,
    /// The successor.
    pub token: TokenRecord,
    /// The old one, as it is now.
    pub predecessor: TokenRecord,
}

impl From<RotatedToken> for v1::RotateTokenReply {
    fn from(rotated: RotatedToken) -> Self {
        Self {
            secret: rotated.secret.expose_secret().to_owned(),
            token: Some(rotated.token.into()),
            predecessor: Some(rotated.predecessor.into()),
        }
    }
}

impl TryFrom<v1::RotateTokenReply> for RotatedToken {
    type Error = Fault;
    fn try_from(reply: v1::RotateTokenReply) -> Result<Self, Fault> {
        let secret = SecretString::from(reply.secret);
        if secret.expose_secret().is_empty() {
            return Err(Fault::new(FaultCode::Internal, "the daemon rotated a token and did not say the new text"));
        }
        let token = present("token", reply.token)?.try_into()?;
        Ok(Self { secret, token, predecessor: present("predecessor", reply.predecessor)?.try_into()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation() -> Rotation {
        Rotation { reference: "1b4e28ba".to_owned(), ..Rotation::default() }
    }

    fn checked(rotation: Rotation) -> Result<CheckedRotation, Fault> {
        CheckedRotation::try_from(v1::RotateTokenRequest::from(rotation))
    }

    #[test]
    fn a_grace_is_none_or_up_to_a_week() {
        for (text, seconds) in [("", None), ("0", None), ("0s", None), ("10m", Some(600)), ("7d", Some(LONGEST_GRACE))]
        {
            let rotation = Rotation { grace: Some(text.to_owned()), ..rotation() };
            assert_eq!(checked(rotation).unwrap().grace.map(Period::seconds), seconds, "{text}");
        }
        for bad in ["8d", "7d1s", "-1h", "10", "soon"] {
            let fault = checked(Rotation { grace: Some(bad.to_owned()), ..rotation() }).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some("grace"), "{bad}");
        }
    }

    #[test]
    fn bad_fields_are_named_and_no_secret_is_printed() {
        for (rotation, field) in [
            (Rotation { reference: "a\nb".to_owned(), ..rotation() }, "reference"),
            (Rotation { expires: Some("soon".to_owned()), ..rotation() }, "expires"),
            (Rotation { idempotency_key: Some("a b".to_owned()), ..rotation() }, "idempotency_key"),
        ] {
            assert_eq!(checked(rotation).unwrap_err().field.as_deref(), Some(field));
        }
        let chosen = Rotation { secret: Some("doNotPrintMe".into()), ..rotation() };
        assert!(!format!("{chosen:?}").contains("doNotPrintMe"));
        let chosen = checked(chosen).unwrap();
        assert!(!format!("{chosen:?}").contains("doNotPrintMe"));
        assert_eq!(chosen.secret.unwrap().expose_secret(), "doNotPrintMe");
    }

    #[test]
    fn a_reply_comes_back_whole_and_must_have_its_text() {
        let token = super::super::tokens::tests::record();
        let rotated = RotatedToken { secret: "tokpat_doNotPrintMe".into(), token: token.clone(), predecessor: token };
        assert!(!format!("{rotated:?}").contains("doNotPrintMe"));
        let reply = v1::RotateTokenReply::from(rotated);
        let back = RotatedToken::try_from(reply.clone()).unwrap();
        assert_eq!((back.secret.expose_secret(), back.token), ("tokpat_doNotPrintMe", back.predecessor));
        assert!(RotatedToken::try_from(v1::RotateTokenReply { secret: String::new(), ..reply }).is_err());
    }
}
