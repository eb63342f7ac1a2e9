//! How a call fails: one shape on both sides of the wire, with a code that programs may rely on.
//!
//! A [`Fault`] becomes a gRPC status whose details carry it whole, packed the way gRPC's own error model does
//! (`google.rpc.Status` with a `google.protobuf.Any`), so that other clients can read it too. What the daemon must not
//! tell never becomes a fault: there is no conversion from arbitrary errors.

use std::fmt;

use prost::Message as _;
use tok_model::credential::Answer;
use tonic::{Code, Status};

use crate::client::DialFault;
use crate::wire::v1;

/// The type that the details of a status name.
const DETAIL_TYPE: &str = "type.googleapis.com/tok.v1.Fault";
/// Details travel in one header, and clients refuse headers beyond some 16 KiB: so many matches at most.
const MOST_MATCHES: usize = 20;
/// And so many bytes in each text.
const LONGEST_TEXT: usize = 500;
/// Or in each match.
const LONGEST_MATCH: usize = 200;

/// Why a call failed, as a word that does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The request makes no sense; asking again will not help.
    InvalidArgument,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The reference fits more than one thing; nothing was changed.
    Ambiguous,
    /// The caller is known and may not do this.
    Forbidden,
    /// The caller is not known: no token, or one that is no good.
    Unauthenticated,
    /// It exists already, or somebody was faster.
    Conflict,
    /// The daemon, or its database, cannot answer now. Never a statement about a token.
    Unavailable,
    /// A fault of tok's own.
    Internal,
    /// More than the daemon takes.
    TooLarge,
    /// Too many failed attempts came from there lately.
    RateLimited,
    /// The daemon has too much to do now. Nothing was changed, and nothing said about a token.
    Busy,
    /// A login waits to be approved: ask again (RFC 8628, section 3.5).
    AuthorizationPending,
    /// The same, and it was asked too soon: wait five seconds longer from now on.
    SlowDown,
    /// The person said no, or no trust rule lets this job in.
    AccessDenied,
    /// A login was not approved in time.
    ExpiredToken,
    /// The identity token that was to be exchanged is no good, or was exchanged before (RFC 6749, section 5.2).
    InvalidGrant,
    /// No rule gives a token for that repository, or not that much (RFC 8693, section 2.2.2).
    InvalidTarget,
}

impl FaultCode {
    /// Every code.
    pub const EVERY: [Self; 17] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::Ambiguous,
        Self::Forbidden,
        Self::Unauthenticated,
        Self::Conflict,
        Self::Unavailable,
        Self::Internal,
        Self::TooLarge,
        Self::RateLimited,
        Self::Busy,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::AccessDenied,
        Self::ExpiredToken,
        Self::InvalidGrant,
        Self::InvalidTarget,
    ];

    /// The word that is sent and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::Ambiguous => "ambiguous",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidTarget => "invalid_target",
        }
    }

    /// What to do where the fault itself does not say, for whoever calls a server's API, over HTTP or gRPC.
    pub fn next_step(self, field: Option<&str>) -> String {
        let step = match (self, field) {
            (Self::InvalidArgument, Some(field)) => {
                return format!("correct `{field}`; /openapi.json says what it takes");
            }
            (Self::InvalidArgument, None) => "/openapi.json says what this call takes",
            (Self::NotFound, _) => "the list of the same address shows what there is for you",
            (Self::Forbidden, _) => "use a token of somebody who may; GET /v1/whoami says what this one is",
            (Self::Unauthenticated, _) => "send `Authorization: Bearer <token>` with a token that works",
            (Self::Conflict, _) => "look at what is there, and ask again for what still makes sense",
            (Self::Ambiguous, _) => "give more characters of the ID",
            (Self::TooLarge, _) => "send less at a time",
            (Self::RateLimited | Self::Busy, _) => "wait as long as the answer says",
            (Self::AuthorizationPending, _) => "ask again after the interval",
            (Self::SlowDown, _) => "wait five seconds longer between two polls",
            (Self::AccessDenied | Self::ExpiredToken, _) => "begin again: POST /oauth2/device_authorization",
            (Self::InvalidGrant, _) => {
                "get another identity token from the CI system: each is good once, and for minutes"
            }
            (Self::InvalidTarget, _) => "ask for a repository and a right that the trust rule gives",
            (Self::Unavailable | Self::Internal, _) => "try again; tokd's log has the request ID and says more",
        };
        step.to_owned()
    }

    fn grpc(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Ambiguous | Self::AuthorizationPending | Self::ExpiredToken => Code::FailedPrecondition,
            Self::Forbidden | Self::AccessDenied | Self::InvalidTarget => Code::PermissionDenied,
            Self::Unauthenticated | Self::InvalidGrant => Code::Unauthenticated,
            Self::Conflict => Code::AlreadyExists,
            Self::Unavailable | Self::Busy => Code::Unavailable,
            Self::Internal => Code::Internal,
            Self::TooLarge | Self::RateLimited | Self::SlowDown => Code::ResourceExhausted,
        }
    }

    /// What a status without our details means: one made by gRPC itself, or by a daemon of another age.
    fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::FailedPrecondition => Self::Ambiguous,
            Code::PermissionDenied => Self::Forbidden,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::AlreadyExists | Code::Aborted => Self::Conflict,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            Code::ResourceExhausted | Code::OutOfRange => Self::TooLarge,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A failed call. Everything in it may be shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What sort of failure.
    pub code: FaultCode,
    /// What happened and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The field of the request that is at fault.
    pub field: Option<String>,
    /// With [`FaultCode::Ambiguous`]: what the reference could mean, one line each.
    pub matches: Vec<String>,
    /// With [`FaultCode::Forbidden`]: the scope that the caller's token lacks, if that is all that is in the way.
    pub scope: Option<String>,
    /// With [`FaultCode::RateLimited`] and [`FaultCode::Busy`]: to be asked again after so many seconds.
    pub retry_after: Option<u32>,
    /// With [`FaultCode::Unauthenticated`]: another login would be refused as well, and the hint says what helps.
    pub no_login_mends_it: bool,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(code: FaultCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: None,
            field: None,
            matches: Vec::new(),
            scope: None,
            retry_after: None,
            no_login_mends_it: false,
        }
    }

    /// A field of the request that cannot be so.
    pub fn field(name: &str, why: impl fmt::Display) -> Self {
        Self { field: Some(name.to_owned()), ..Self::new(FaultCode::InvalidArgument, why) }
    }

    /// A field of the request whose value something else has already.
    pub fn taken(name: &str, why: impl fmt::Display) -> Self {
        Self { field: Some(name.to_owned()), ..Self::new(FaultCode::Conflict, why) }
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }

    /// The same, of this field of the request.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// Message and hint in one line, as a credential helper says it.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// Whether the connection ended before the answer came, so that nobody here knows whether what was asked was done.
    pub fn is_lost_answer(&self) -> bool {
        self.code == FaultCode::Unavailable && self.message == CUT_OFF
    }

    /// Whether plain HTTP was spoken where the server speaks TLS: its address begins with https.
    pub fn is_plain_where_tls_is(&self) -> bool {
        self.code == FaultCode::Unavailable && self.message.starts_with(SPEAKS_TLS)
    }

    /// The answer to git that asked and cannot be helped. "Cannot know now" is not "no": then git is left to try its
    /// other helpers.
    pub fn to_answer(&self) -> Answer {
        match self.code {
            FaultCode::Unavailable | FaultCode::Busy | FaultCode::Internal => {
                Answer::empty().with_message(&self.sentence())
            }
            _ => Answer::refuse(&self.sentence()),
        }
    }

    /// The same, with what the reference could mean.
    #[must_use]
    pub fn matches(self, matches: Vec<String>) -> Self {
        Self { matches, ..self }
    }
}

/// What is said when a connection ends that an answer should have come by.
const CUT_OFF: &str = "the daemon ended the connection before it answered";

/// How it is said that plain HTTP was spoken where TLS is; the address that is right follows.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS there; its address is ";

/// `google.rpc.Status`, the message that gRPC's error model puts into `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = fault.code.grpc();
        let message = cut(&fault.message, LONGEST_TEXT);
        let detail = v1::Fault {
            code: fault.code.as_str().to_owned(),
            message: message.clone(),
            hint: cut(&fault.hint.unwrap_or_else(|| fault.code.next_step(fault.field.as_deref())), LONGEST_TEXT),
            field: cut(&fault.field.unwrap_or_default(), LONGEST_TEXT),
            matches: fault.matches.iter().take(MOST_MATCHES).map(|line| cut(line, LONGEST_MATCH)).collect(),
            scope: fault.scope.unwrap_or_default(),
            retry_after_seconds: fault.retry_after.unwrap_or(0),
            no_login_mends_it: fault.no_login_mends_it,
        };
        let packed = prost_types::Any { type_url: DETAIL_TYPE.to_owned(), value: detail.encode_to_vec() };
        let status = RpcStatus { code: code.into(), message: message.clone(), details: vec![packed] };
        Status::with_details(code, message, status.encode_to_vec().into())
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        if let Some(fault) = unpack(&status) {
            return fault;
        }
        // The connection was made anew for this call, and could not be.
        if let Some(fault) = dial_fault(&status) {
            return fault;
        }
        if let Some(fault) = tls_fault(&status) {
            return fault;
        }
        // A status with a source was not sent by anybody: it is what this side makes of a broken connection.
        if std::error::Error::source(&status).is_some() && status.code() != Code::Cancelled {
            return Self::new(FaultCode::Unavailable, CUT_OFF)
                .hint("ask again; if it stays so, the daemon's log says why");
        }
        let code = FaultCode::from_grpc(status.code());
        match status.code() {
            Code::Unimplemented => Self::new(code, "the daemon does not know this call")
                .hint("tok and tokd are of different versions: compare `tok --version` with `tokd --version`"),
            Code::DeadlineExceeded | Code::Cancelled => Self::new(code, "the daemon did not answer in time")
                .hint("`tok status` shows whether it answers at all; its log says what it waits for"),
            Code::Unavailable => Self::new(code, "the daemon cannot answer now")
                .hint("ask again in a moment; `tok status` shows whether it answers"),
            Code::ResourceExhausted | Code::OutOfRange => {
                Self::new(code, format!("a message is larger than the other side takes ({})", status.message()))
                    .hint("ask for less at a time, as with --limit, or send less")
            }
            _ if status.message().is_empty() => Self::new(code, format!("the call failed: {}", status.code())),
            _ => Self::new(code, status.message()),
        }
    }
}

fn dial_fault(status: &Status) -> Option<Fault> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(DialFault(fault)) = error.downcast_ref() {
            return Some(fault.clone());
        }
        cause = error.source();
    }
    None
}

/// Below gRPC only the words of an error are handed on.
fn tls_fault(status: &Status) -> Option<Fault> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if let Some((_, address)) = words.split_once(SPEAKS_TLS) {
            return Some(
                Fault::new(FaultCode::Unavailable, format!("{SPEAKS_TLS}{address}"))
                    .hint(format!("write https instead of http: {address}")),
            );
        }
        cause = error.source();
    }
    None
}

fn unpack(status: &Status) -> Option<Fault> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let packed = details.into_iter().find(|any| any.type_url == DETAIL_TYPE)?;
    let detail = v1::Fault::decode(packed.value.as_slice()).ok()?;
    // A code of a later version still has its gRPC code to go by.
    let code = FaultCode::EVERY.into_iter().find(|code| code.as_str() == detail.code);
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let code = code.unwrap_or_else(|| FaultCode::from_grpc(status.code()));
    let field = given(detail.field);
    // What is said to everybody is left out: whoever uses this client has a better word for its own users.
    let hint = given(detail.hint).filter(|hint| *hint != code.next_step(field.as_deref()));
    Some(Fault {
        code,
        message: detail.message,
        hint,
        field,
        matches: detail.matches,
        scope: given(detail.scope),
        retry_after: Some(detail.retry_after_seconds).filter(|seconds| *seconds > 0),
        no_login_mends_it: detail.no_login_mends_it,
    })
}

fn cut(text: &str, bytes: usize) -> String {
    text.char_indices().take_while(|(at, character)| at + character.len_utf8() <= bytes).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_whole() {
        for code in FaultCode::EVERY {
            let fault = Fault::new(code, "two tokens begin with 1b4e – „acme“")
                .hint("give more characters")
                .matches(vec!["1b4e28ba CI".to_owned(), "1b4e99ff Old".to_owned()]);
            assert_eq!(Fault::from(Status::from(fault.clone())), fault);
            let fault = Fault { no_login_mends_it: true, ..fault };
            assert_eq!(Fault::from(Status::from(fault.clone())), fault);
        }
        let fault = Fault::field("scopes", "unknown scope \"repo:wrote\"");
        assert_eq!((fault.code, fault.field.as_deref()), (FaultCode::InvalidArgument, Some("scopes")));
        assert_eq!(Fault::from(Status::from(fault.clone())), fault);
    }

    #[test]
    fn what_grpc_says_itself_becomes_a_sentence_with_advice() {
        for (status, code) in [
            (Status::cancelled("Timeout expired"), FaultCode::Unavailable),
            (Status::unavailable(""), FaultCode::Unavailable),
            (Status::unimplemented(""), FaultCode::Internal),
        ] {
            let fault = Fault::from(status);
            assert_eq!(fault.code, code);
            assert!(fault.hint.is_some(), "{fault:?}");
        }
        assert_eq!(Fault::from(Status::internal("odd")).message, "odd");
        let unknown = Fault::from(Status::unimplemented("")).hint.unwrap();
        assert!(unknown.contains("versions"), "{unknown}");
    }

    #[test]
    fn a_fault_fits_into_a_header_whatever_is_in_it() {
        let long = "\u{1F600}".repeat(10_000);
        let fault = Fault::new(FaultCode::Ambiguous, &long).hint(&long);
        let status = Status::from(fault.matches(vec![long; 5_000]));
        assert!(status.details().len() < 9_000, "{}", status.details().len());
    }

    #[test]
    fn garbage_details_are_no_reason_to_fail_differently() {
        let status = Status::with_details(Code::NotFound, "no such token", vec![0xff; 40].into());
        assert_eq!(Fault::from(status), Fault::new(FaultCode::NotFound, "no such token"));
    }
}
