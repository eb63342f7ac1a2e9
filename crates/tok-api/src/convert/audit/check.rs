//! Whether the trail is as it was written: what to look at, and what was found.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::id::ChainId;
use utoipa::ToSchema;

use crate::convert::field::{given, optional, optional_moment, parsed, wire_moment};
use crate::convert::json;
use crate::fault::Fault;
use crate::wire::v1;

/// What of the trail to verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrailCheck {
    /// Only this chain.
    pub chain: Option<ChainId>,
    /// Heads that were noted earlier: they must still be there.
    pub heads: Vec<NotedHead>,
}

/// The end of a chain as somebody noted it: `chain:hash`, the hash in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedHead {
    /// Which chain.
    pub chain: ChainId,
    /// The hash of its last seal then.
    pub hash: String,
}

impl FromStr for NotedHead {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "a head is `chain:hash`, as `tok audit verify` prints it: an ID and 64 hexadecimal digits".to_owned();
        let (chain, hash) = text.split_once(':').ok_or_else(wrong)?;
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        Ok(Self { chain: chain.parse().map_err(|_| wrong())?, hash: hash.to_ascii_lowercase() })
    }
}

impl fmt::Display for NotedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chain, self.hash)
    }
}

impl From<TrailCheck> for v1::VerifyTrailRequest {
    fn from(check: TrailCheck) -> Self {
        Self {
            chain: check.chain.map(|chain| chain.to_string()).unwrap_or_default(),
            heads: check.heads.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::VerifyTrailRequest> for TrailCheck {
    type Error = Fault;
    fn try_from(request: v1::VerifyTrailRequest) -> Result<Self, Fault> {
        let heads = request.heads.iter().map(|head| parsed("heads", head)).collect::<Result<_, _>>()?;
        Ok(Self { chain: optional("chain", &request.chain)?, heads })
    }
}

/// What verifying the trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrailReport {
    /// Whether nothing is wrong anywhere.
    pub intact: bool,
    /// Each chain, in the order in which they began.
    pub chains: Vec<ChainRecord>,
}

/// What was found of one run of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChainRecord {
    /// Which chain.
    #[serde(serialize_with = "json::text")]
    #[schema(value_type = String)]
    pub chain: ChainId,
    /// How many lines its seals cover.
    pub lines: u64,
    /// Lines of the last moment, which no seal covers yet.
    pub unsealed: u64,
    /// Of the lines that seals cover, those that retention has dropped.
    pub pruned: u64,
    /// The hash of its last seal, hexadecimal.
    pub head: String,
    /// The first moment that a line speaks of.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub first_at: Option<DateTime<Utc>>,
    /// The last one.
    #[serde(serialize_with = "json::optional_time")]
    #[schema(required)]
    pub last_at: Option<DateTime<Utc>>,
    /// What is wrong, with the first place at which it is.
    #[schema(required)]
    pub fault: Option<String>,
}

impl From<TrailReport> for v1::VerifyTrailReply {
    fn from(report: TrailReport) -> Self {
        Self { intact: report.intact, chains: report.chains.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::VerifyTrailReply> for TrailReport {
    type Error = Fault;
    fn try_from(reply: v1::VerifyTrailReply) -> Result<Self, Fault> {
        let chains = reply.chains.into_iter().map(ChainRecord::try_from).collect::<Result<_, _>>()?;
        Ok(Self { intact: reply.intact, chains })
    }
}

impl From<ChainRecord> for v1::ChainState {
    fn from(chain: ChainRecord) -> Self {
        Self {
            chain: chain.chain.to_string(),
            lines: chain.lines,
            unsealed: chain.unsealed,
            head: chain.head,
            first_at: chain.first_at.map(wire_moment),
            last_at: chain.last_at.map(wire_moment),
            fault: chain.fault.unwrap_or_default(),
            pruned: chain.pruned,
        }
    }
}

impl TryFrom<v1::ChainState> for ChainRecord {
    type Error = Fault;
    fn try_from(chain: v1::ChainState) -> Result<Self, Fault> {
        Ok(Self {
            chain: parsed("chain", &chain.chain)?,
            lines: chain.lines,
            unsealed: chain.unsealed,
            pruned: chain.pruned,
            head: chain.head,
            first_at: optional_moment("first_at", chain.first_at)?,
            last_at: optional_moment("last_at", chain.last_at)?,
            fault: given(chain.fault),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_and_its_report_survive_the_wire() {
        let head = format!("1b4e28ba-2fa1-4d2e-883f-0016d3cca427:{}", "0f".repeat(32));
        let noted: NotedHead = head.parse().unwrap();
        assert_eq!(noted.to_string(), head);
        let check = TrailCheck { chain: Some(noted.chain), heads: vec![noted.clone()] };
        assert_eq!(TrailCheck::try_from(v1::VerifyTrailRequest::from(check.clone())), Ok(check));
        for bad in ["", "x:y", &head[1..], &head[..60], &format!("{head}0")] {
            let request = v1::VerifyTrailRequest { heads: vec![bad.to_owned()], ..Default::default() };
            assert_eq!(TrailCheck::try_from(request).unwrap_err().field.as_deref(), Some("heads"), "{bad}");
        }
        let chain = ChainRecord {
            chain: noted.chain,
            lines: 4,
            unsealed: 1,
            pruned: 2,
            head: noted.hash,
            first_at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            last_at: None,
            fault: Some("line 4 was changed".to_owned()),
        };
        let report = TrailReport { intact: false, chains: vec![chain] };
        assert_eq!(TrailReport::try_from(v1::VerifyTrailReply::from(report.clone())), Ok(report));
    }
}
