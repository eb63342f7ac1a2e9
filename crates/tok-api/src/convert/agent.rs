//! How a user's agent is.

use serde::Serialize;
use tok_model::clock::Timestamp;

use super::field::{given, moment, optional_moment, wire_moment};
use super::json;
use crate::fault::Fault;
use crate::wire::agent as wire;

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// Its process ID.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it was started.
    #[serde(serialize_with = "json::time")]
    pub started_at: Timestamp,
    /// Its socket.
    pub socket: String,
    /// Whether it answers nobody until it is unlocked.
    pub locked: bool,
    /// Whether its memory is kept from the swap space.
    pub memory_locked: bool,
    /// After how many seconds without work it ends.
    pub idle_seconds: Option<u64>,
    /// Whether it keeps other servers' credentials.
    pub remembers: bool,
    /// How many of those it keeps.
    pub remembered: u32,
    /// The logins it knows of.
    pub logins: Vec<AgentLogin>,
    /// Why they cannot be read.
    pub logins_fault: Option<String>,
}

/// A login as an agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentLogin {
    /// The server's address.
    pub server: String,
    /// The user there.
    pub user: String,
    /// What the login is called on this machine.
    pub profile: Option<String>,
    /// When it ends.
    #[serde(serialize_with = "json::optional_time")]
    pub expires_at: Option<Timestamp>,
    /// `idle`, `connected`, `offline` or `ended`.
    pub state: String,
    /// Why it is offline or ended.
    pub detail: Option<String>,
    /// Unexpired git tokens that are kept.
    pub tokens: u32,
}

impl From<AgentStatus> for wire::StatusReply {
    fn from(status: AgentStatus) -> Self {
        Self {
            pid: status.pid,
            version: status.version,
            started_at: Some(wire_moment(status.started_at)),
            socket: status.socket,
            locked: status.locked,
            memory_locked: status.memory_locked,
            idle_seconds: status.idle_seconds.unwrap_or(0),
            remembers: status.remembers,
            remembered: status.remembered,
            logins: status.logins.into_iter().map(Into::into).collect(),
            logins_fault: status.logins_fault.unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::StatusReply> for AgentStatus {
    type Error = Fault;
    fn try_from(reply: wire::StatusReply) -> Result<Self, Fault> {
        Ok(Self {
            pid: reply.pid,
            version: reply.version,
            started_at: moment("started_at", reply.started_at)?,
            socket: reply.socket,
            locked: reply.locked,
            memory_locked: reply.memory_locked,
            idle_seconds: Some(reply.idle_seconds).filter(|seconds| *seconds > 0),
            remembers: reply.remembers,
            remembered: reply.remembered,
            logins: reply.logins.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            logins_fault: given(reply.logins_fault),
        })
    }
}

impl From<AgentLogin> for wire::Login {
    fn from(login: AgentLogin) -> Self {
        Self {
            server: login.server,
            user: login.user,
            profile: login.profile.unwrap_or_default(),
            expires_at: login.expires_at.map(wire_moment),
            state: login.state,
            detail: login.detail.unwrap_or_default(),
            tokens: login.tokens,
        }
    }
}

impl TryFrom<wire::Login> for AgentLogin {
    type Error = Fault;
    fn try_from(login: wire::Login) -> Result<Self, Fault> {
        Ok(Self {
            server: login.server,
            user: login.user,
            profile: given(login.profile),
            expires_at: optional_moment("expires_at", login.expires_at)?,
            state: login.state,
            detail: given(login.detail),
            tokens: login.tokens,
        })
    }
}
