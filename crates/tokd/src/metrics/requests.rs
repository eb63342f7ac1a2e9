//! What was asked for at each door, and how it ended.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec};

use super::{Collectors, IntCounter, counters, histogram, kept};

/// From 1 µs on: nearly all verdicts are given from what is remembered.
const VERDICTS: [f64; 14] = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1.0, 10.0];

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The verdict door, which proxies ask.
    Authz,
    /// git over HTTP.
    Gateway,
    /// JSON and the OAuth forms.
    Http,
    /// gRPC on the remote address.
    Grpc,
    /// gRPC on the local socket.
    Socket,
    /// `git-credential-tok` on the local socket.
    Helper,
}

impl Door {
    fn as_str(self) -> &'static str {
        match self {
            Self::Authz => "authz",
            Self::Gateway => "gateway",
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Socket => "socket",
            Self::Helper => "helper",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked for.
    Done,
    /// Nothing, or nothing good, was presented.
    Unauthenticated,
    /// Good, and not enough.
    Forbidden,
    /// It is not there, or not for this caller.
    NotFound,
    /// It made no sense.
    Invalid,
    /// Too many failures came from there.
    Limited,
    /// It cannot be known now.
    Unavailable,
    /// A fault of tokd's.
    Failed,
}

const OUTCOMES: [(Outcome, &str); 8] = [
    (Outcome::Done, "done"),
    (Outcome::Unauthenticated, "unauthenticated"),
    (Outcome::Forbidden, "forbidden"),
    (Outcome::NotFound, "not_found"),
    (Outcome::Invalid, "invalid"),
    (Outcome::Limited, "limited"),
    (Outcome::Unavailable, "unavailable"),
    (Outcome::Failed, "failed"),
];

impl Outcome {
    /// Of an HTTP status.
    pub fn of_status(status: hyper::StatusCode) -> Self {
        match status.as_u16() {
            ..400 => Self::Done,
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 => Self::Limited,
            400..500 => Self::Invalid,
            503 => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    /// Of gRPC's code.
    pub fn of_code(code: tonic::Code) -> Self {
        use tonic::Code;
        match code {
            Code::Ok => Self::Done,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::Forbidden,
            Code::NotFound => Self::NotFound,
            Code::ResourceExhausted => Self::Limited,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            Code::Unknown | Code::Internal | Code::DataLoss => Self::Failed,
            _ => Self::Invalid,
        }
    }
}

/// What git asks for, at the two doors that see each of its requests.
const COMMANDS: [&str; 11] = [
    "upload-pack",
    "upload-pack --advertise",
    "receive-pack",
    "receive-pack --advertise",
    "upload-archive",
    "upload-archive --advertise",
    "lfs",
    "lfs batch",
    "files",
    "probe",
    OTHER,
];
/// What a door does not know.
pub const OTHER: &str = "other";

/// The counters of one door for git's commands, ready to be counted up.
struct Commands(Vec<[IntCounter; OUTCOMES.len()]>);

impl Commands {
    fn new(requests: &IntCounterVec, door: Door) -> Self {
        let each =
            |command| OUTCOMES.map(|(_, outcome)| requests.with_label_values(&[door.as_str(), command, outcome]));
        Self(COMMANDS.into_iter().map(each).collect())
    }

    fn count(&self, command: &str, outcome: Outcome) {
        let row = COMMANDS.iter().position(|known| *known == command).unwrap_or(COMMANDS.len() - 1);
        if let Some(counter) = self.0.get(row).and_then(|outcomes| outcomes.get(outcome as usize)) {
            counter.inc();
        }
    }
}

/// What was asked for at each door.
pub struct Requests {
    requests: IntCounterVec,
    authz: Commands,
    gateway: Commands,
    remembered: Histogram,
    looked_up: Histogram,
}

impl Default for Requests {
    fn default() -> Self {
        let requests = counters(
            "tok_requests_total",
            "Requests by door, by what was asked for, and by how that ended.",
            &["door", "operation", "outcome"],
        );
        let (authz, gateway) = (Commands::new(&requests, Door::Authz), Commands::new(&requests, Door::Gateway));
        let help = "How long the verdict about a git request of a proxy took, with its token remembered (hit) or looked up (miss).";
        let seconds = |cache| histogram("tok_verdict_seconds", help, &VERDICTS, Some(("cache", cache)));
        Self { requests, authz, gateway, remembered: seconds("hit"), looked_up: seconds("miss") }
    }
}

impl Requests {
    /// Counts a request. `operation` is one of a few that are known beforehand.
    pub fn count(&self, door: Door, operation: &str, outcome: Outcome) {
        match door {
            Door::Authz => self.authz.count(operation, outcome),
            Door::Gateway => self.gateway.count(operation, outcome),
            _ => self.requests.with_label_values(&[door.as_str(), operation, OUTCOMES[outcome as usize].1]).inc(),
        }
    }

    /// Notes how long a verdict took.
    pub fn verdict(&self, took: Duration, remembered: bool) {
        let seconds = if remembered { &self.remembered } else { &self.looked_up };
        seconds.observe(took.as_secs_f64());
    }

    pub(super) fn collectors(&self) -> Collectors {
        vec![kept(&self.requests), kept(&self.remembered), kept(&self.looked_up)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_place() {
        for (place, (outcome, _)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        let requests = Requests::default();
        requests.count(Door::Authz, "upload-pack", Outcome::Limited);
        requests.count(Door::Authz, "what nobody knows", Outcome::Done);
        let counted = |labels: &[&str]| requests.requests.with_label_values(labels).get();
        assert_eq!(counted(&["authz", "upload-pack", "limited"]), 1);
        assert_eq!(counted(&["authz", OTHER, "done"]), 1);
    }
}
