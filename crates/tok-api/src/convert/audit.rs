//! The audit trail: which events are wanted, and what each says.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tok_model::id::TokenId;
use tok_model::name::{RepoPath, UserName};
use tok_model::token::Reference;
use utoipa::ToSchema;

use super::field::{PageAsk, PageOf, given, moment, optional, optional_moment, wire_moment};
use super::json;
use crate::fault::Fault;
use crate::wire::v1;

/// Which events a list is about. Every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What this token did or suffered; as typed on the asking side.
    pub token: Option<String>,
    /// What this user did.
    pub user: Option<UserName>,
    /// What touched this repository.
    pub repository: Option<RepoPath>,
    /// What happened at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// In the order in which it happened, instead of the newest first.
    pub oldest_first: bool,
}

impl AuditFilter {
    pub(crate) fn into_request(self, page: PageAsk) -> v1::ListEventsRequest {
        let (page_size, cursor) = page.into_wire();
        v1::ListEventsRequest {
            token: self.token.unwrap_or_default(),
            user: self.user.map(|user| user.to_string()).unwrap_or_default(),
            repository: self.repository.map(|repository| repository.to_string()).unwrap_or_default(),
            since: self.since.map(wire_moment),
            page_size,
            cursor,
            oldest_first: self.oldest_first,
        }
    }

    /// The token that the filter points at, read by the one parser for that.
    pub fn reference(&self) -> Result<Option<Reference>, Fault> {
        optional("token", self.token.as_deref().unwrap_or_default())
    }
}

impl TryFrom<v1::ListEventsRequest> for (AuditFilter, PageAsk) {
    type Error = Fault;
    fn try_from(request: v1::ListEventsRequest) -> Result<Self, Fault> {
        let filter = AuditFilter {
            token: given(request.token),
            user: optional("user", &request.user)?,
            repository: optional("repository", &request.repository)?,
            since: optional_moment("since", request.since)?,
            oldest_first: request.oldest_first,
        };
        filter.reference()?;
        Ok((filter, PageAsk::from_wire(request.page_size, request.cursor)))
    }
}

/// One management act or one use of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditRecord {
    /// Grows with time within one daemon's trail.
    pub id: String,
    /// When.
    #[serde(serialize_with = "json::exact_time")]
    pub at: DateTime<Utc>,
    /// What was done, as in `token.create` or `token.use`.
    pub action: String,
    /// How it ended: `done` or `refused`.
    pub outcome: String,
    /// The user who did it.
    #[schema(required)]
    pub actor_user: Option<String>,
    /// Their user ID on the daemon's machine, if they came by the local socket.
    #[schema(required)]
    pub actor_uid: Option<u32>,
    /// The token it was done with or to.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub token_id: Option<TokenId>,
    /// The same token, as lists show it.
    #[schema(required)]
    pub token_prefix: Option<String>,
    /// The token that minted that one.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub parent_id: Option<TokenId>,
    /// Where the call came from.
    #[schema(required)]
    pub address: Option<String>,
    /// The program that called, as it called itself.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// As in `acme/app`.
    #[schema(required)]
    pub repository: Option<String>,
    /// The workspace it touched.
    #[schema(required)]
    pub workspace: Option<String>,
    /// `upload-pack` or `receive-pack`.
    #[schema(required)]
    pub git_command: Option<String>,
    /// One line for people.
    #[schema(required)]
    pub detail: Option<String>,
    /// The user it was done to.
    #[schema(required)]
    pub subject_user: Option<String>,
}

impl From<AuditRecord> for v1::AuditEvent {
    fn from(event: AuditRecord) -> Self {
        Self {
            id: event.id,
            at: Some(wire_moment(event.at)),
            action: event.action,
            outcome: event.outcome,
            actor_user: event.actor_user.unwrap_or_default(),
            actor_uid: event.actor_uid,
            token_id: event.token_id.map(|id| id.to_string()).unwrap_or_default(),
            token_prefix: event.token_prefix.unwrap_or_default(),
            parent_id: event.parent_id.map(|id| id.to_string()).unwrap_or_default(),
            address: event.address.unwrap_or_default(),
            user_agent: event.user_agent.unwrap_or_default(),
            repository: event.repository.unwrap_or_default(),
            workspace: event.workspace.unwrap_or_default(),
            git_command: event.git_command.unwrap_or_default(),
            detail: event.detail.unwrap_or_default(),
            subject_user: event.subject_user.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::AuditEvent> for AuditRecord {
    type Error = Fault;
    fn try_from(event: v1::AuditEvent) -> Result<Self, Fault> {
        Ok(Self {
            id: event.id,
            at: moment("at", event.at)?,
            action: event.action,
            outcome: event.outcome,
            actor_user: given(event.actor_user),
            actor_uid: event.actor_uid,
            token_id: optional("token_id", &event.token_id)?,
            token_prefix: given(event.token_prefix),
            parent_id: optional("parent_id", &event.parent_id)?,
            address: given(event.address),
            user_agent: given(event.user_agent),
            repository: given(event.repository),
            workspace: given(event.workspace),
            git_command: given(event.git_command),
            detail: given(event.detail),
            subject_user: given(event.subject_user),
        })
    }
}

impl From<PageOf<AuditRecord>> for v1::ListEventsReply {
    fn from(page: PageOf<AuditRecord>) -> Self {
        let (events, next_cursor) = page.into_wire();
        Self { events, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_wire() {
        let event = AuditRecord {
            id: "42".to_owned(),
            at: "2026-11-22T10:00:00.250Z".parse().unwrap(),
            action: "token.use".to_owned(),
            outcome: "refused".to_owned(),
            actor_user: Some("alice".to_owned()),
            actor_uid: Some(0),
            token_id: Some("1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap()),
            token_prefix: Some("tokgit_a1b2".to_owned()),
            parent_id: None,
            address: Some("127.0.0.1".to_owned()),
            user_agent: Some("git/2.47.3".to_owned()),
            repository: Some("acme/app".to_owned()),
            workspace: Some("acme".to_owned()),
            git_command: Some("receive-pack".to_owned()),
            detail: None,
            subject_user: Some("bob".to_owned()),
        };
        let wire = v1::AuditEvent::from(event.clone());
        assert_eq!(AuditRecord::try_from(wire.clone()), Ok(event.clone()));
        assert_eq!(serde_json::to_value(&event).unwrap()["at"], "2026-11-22T10:00:00.250Z");
        let untimed = v1::AuditEvent { at: None, ..wire };
        assert_eq!(AuditRecord::try_from(untimed).unwrap_err().field.as_deref(), Some("at"));
    }

    #[test]
    fn a_filter_survives_the_wire_and_bad_parts_are_named() {
        let filter = AuditFilter {
            token: Some("tokpat_a1b2".to_owned()),
            user: Some("alice".parse().unwrap()),
            repository: Some("acme/app".parse().unwrap()),
            since: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            oldest_first: true,
        };
        let page = PageAsk { size: Some(5), cursor: None };
        let request = filter.clone().into_request(page.clone());
        assert_eq!(request.clone().try_into(), Ok((filter, page)));
        for (bad, field) in [
            (v1::ListEventsRequest { token: "tokpat_%".to_owned(), ..request.clone() }, "token"),
            (v1::ListEventsRequest { repository: "acme".to_owned(), ..request.clone() }, "repository"),
            (v1::ListEventsRequest { user: "../x".to_owned(), ..request }, "user"),
        ] {
            assert_eq!(<(AuditFilter, PageAsk)>::try_from(bad).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
