//! Asking whether a token may do something, and which rule decides.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::token::Reference;
use utoipa::ToSchema;

use super::field::{given, optional, optional_moment, wire_moment};
use super::tokens::TokenRecord;
use super::words;
use crate::fault::Fault;
use crate::wire::v1;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExplainAsk {
    /// About which token; `None` is the caller as they are.
    pub reference: Option<Reference>,
    /// What with which repository; `None` is whether the token is good at all.
    pub repository: Option<(RepoPath, RepoRight)>,
    /// From where; `None` is from where the caller calls.
    pub address: Option<IpAddr>,
    /// When; `None` is now.
    pub at: Option<DateTime<Utc>>,
}

impl From<ExplainAsk> for v1::ExplainRequest {
    fn from(ask: ExplainAsk) -> Self {
        let (repository, right) = ask.repository.map_or((None, None), |(repo, right)| (Some(repo), Some(right)));
        Self {
            reference: ask.reference.map(|reference| reference.to_string()).unwrap_or_default(),
            repository: repository.map(|repo| repo.to_string()).unwrap_or_default(),
            act: words::wire_act(right),
            address: ask.address.map(|address| address.to_string()).unwrap_or_default(),
            at: ask.at.map(wire_moment),
        }
    }
}

impl TryFrom<v1::ExplainRequest> for ExplainAsk {
    type Error = Fault;
    fn try_from(request: v1::ExplainRequest) -> Result<Self, Fault> {
        let right = words::act("act", request.act)?;
        let repository = match (optional::<RepoPath>("repository", &request.repository)?, right) {
            (Some(repo), right) => Some((repo, right.unwrap_or(RepoRight::Read))),
            (None, None) => None,
            (None, Some(_)) => return Err(Fault::field("repository", "name a repository, as workspace/repo")),
        };
        Ok(Self {
            reference: optional("reference", &request.reference)?,
            repository,
            address: optional("address", &request.address)?,
            at: optional_moment("at", request.at)?,
        })
    }
}

/// The answer, by the function that decides each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// Whether it may.
    pub allowed: bool,
    /// The rule that decides, as a word that does not change; `allowed` if none says no.
    pub rule: String,
    /// Whether that rule says that the token is over, or never was one: only another helps.
    pub over: bool,
    /// The same as a sentence.
    pub reason: String,
    /// What would change it.
    #[schema(required)]
    pub hint: Option<String>,
    /// Each link of the authority rule in the order in which it is asked, up to the one that says no.
    pub steps: Vec<ExplainStep>,
    /// The token, if it is about one.
    #[schema(required)]
    pub token: Option<TokenRecord>,
}

/// One link of the authority rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainStep {
    /// `live`, `kind`, `scopes`, `routes` or `owner`.
    pub link: String,
    /// Whether it lets pass.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

impl From<Explanation> for v1::ExplainReply {
    fn from(said: Explanation) -> Self {
        let step = |step: ExplainStep| v1::ExplainStep { link: step.link, passed: step.passed, detail: step.detail };
        Self {
            allowed: said.allowed,
            rule: said.rule,
            over: said.over,
            reason: said.reason,
            hint: said.hint.unwrap_or_default(),
            steps: said.steps.into_iter().map(step).collect(),
            token: said.token.map(Into::into),
        }
    }
}

impl TryFrom<v1::ExplainReply> for Explanation {
    type Error = Fault;
    fn try_from(reply: v1::ExplainReply) -> Result<Self, Fault> {
        let step = |step: v1::ExplainStep| ExplainStep { link: step.link, passed: step.passed, detail: step.detail };
        Ok(Self {
            allowed: reply.allowed,
            rule: reply.rule,
            over: reply.over,
            reason: reply.reason,
            hint: given(reply.hint),
            steps: reply.steps.into_iter().map(step).collect(),
            token: reply.token.map(TryInto::try_into).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_survives_the_wire() {
        let ask = ExplainAsk {
            reference: Some("tokpat_a1b2".parse().unwrap()),
            repository: Some(("acme/app".parse().unwrap(), RepoRight::Write)),
            address: Some("192.0.2.7".parse().unwrap()),
            at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
        };
        for ask in [ask, ExplainAsk::default()] {
            assert_eq!(ExplainAsk::try_from(v1::ExplainRequest::from(ask.clone())), Ok(ask));
        }
        let read = v1::ExplainRequest { repository: "acme/app".into(), ..Default::default() };
        let (_, right) = ExplainAsk::try_from(read.clone()).unwrap().repository.unwrap();
        assert_eq!(right, RepoRight::Read);
        for (bad, field) in [
            (v1::ExplainRequest { act: 2, ..Default::default() }, "repository"),
            (v1::ExplainRequest { act: 9, ..read.clone() }, "act"),
            (v1::ExplainRequest { repository: "acme".into(), ..read.clone() }, "repository"),
            (v1::ExplainRequest { address: "home".into(), ..read }, "address"),
        ] {
            assert_eq!(ExplainAsk::try_from(bad).unwrap_err().field.as_deref(), Some(field));
        }
    }

    #[test]
    fn an_answer_survives_the_wire() {
        let step = ExplainStep { link: "live".to_owned(), passed: false, detail: "it expired".to_owned() };
        let said = Explanation {
            allowed: false,
            rule: "expired".to_owned(),
            over: true,
            reason: "the token expired".to_owned(),
            hint: Some("make another".to_owned()),
            steps: vec![step],
            token: Some(super::super::tokens::tests::record()),
        };
        assert_eq!(Explanation::try_from(v1::ExplainReply::from(said.clone())), Ok(said));
    }
}
