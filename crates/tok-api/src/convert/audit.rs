//! The audit trail: which events are wanted, and what each says.

mod check;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tok_model::audit::{Action, Outcome};
use tok_model::id::TokenId;
use tok_model::name::{RepoPath, UserName};
use tok_model::token::Reference;
use utoipa::ToSchema;

pub use self::check::{ChainRecord, NotedHead, TrailCheck, TrailReport};
use super::field::{PageAsk, PageOf, given, moment, optional, optional_moment, wire_moment};
use super::json;
use crate::fault::Fault;
use crate::wire::v1;

/// Which events a list is about. Every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What this token did or suffered; as typed on the asking side.
    pub token: Option<String>,
    /// What this user did: a login name, or the ID of a user, who may have been deleted.
    pub user: Option<UserName>,
    /// What touched this repository.
    pub repository: Option<RepoPath>,
    /// What happened at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// What happened before this moment.
    pub until: Option<DateTime<Utc>>,
    /// This act.
    pub action: Option<Action>,
    /// What ended so.
    pub outcome: Option<Outcome>,
    /// In the order in which it happened, instead of the newest first.
    pub oldest_first: bool,
    /// In the order in which it was written, each line exactly once: for whoever asks again and again with the cursor of
    /// the last page.
    pub follow: bool,
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
            until: self.until.map(wire_moment),
            action: self.action.map(|action| action.to_string()).unwrap_or_default(),
            outcome: self.outcome.map(|outcome| outcome.to_string()).unwrap_or_default(),
            follow: self.follow,
        }
    }

    /// That something can have happened in the time that is asked about.
    pub fn check_times(&self) -> Result<(), Fault> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
                let why = format!(
                    "`since` ({}) is not before `until` ({}), so nothing is between them",
                    text(since),
                    text(until)
                );
                Err(Fault::field("until", why)
                    .hint("`since` is the earlier moment, and `until` the later: exchange them?"))
            }
            _ => Ok(()),
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
            until: optional_moment("until", request.until)?,
            action: optional("action", &request.action)?,
            outcome: optional("outcome", &request.outcome)?,
            oldest_first: request.oldest_first,
            follow: request.follow,
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
    /// Who did it: a login name, `workspace:<name>` for a token of a workspace, or what else tells who it was.
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
    /// `upload-pack` or `receive-pack`; nothing for calls of the API.
    #[schema(required)]
    pub git_command: Option<String>,
    /// One line for people.
    #[schema(required)]
    pub detail: Option<String>,
    /// The user it was done to.
    #[schema(required)]
    pub subject_user: Option<String>,
    /// The token it was done with; for a use it is `token_id`, too.
    #[serde(serialize_with = "json::optional_text")]
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub actor_token_id: Option<TokenId>,
    /// Who really did it, when they acted as `actor_user`: a login name, or `uid 1000`.
    #[schema(required)]
    pub acted_by: Option<String>,
    /// The call of the API, as in `TokenService/Create`.
    #[schema(required)]
    pub operation: Option<String>,
    /// How many uses, alike in everything else and close in time, this line stands for.
    pub times: u32,
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
            actor_token_id: event.actor_token_id.map(|id| id.to_string()).unwrap_or_default(),
            acted_by: event.acted_by.unwrap_or_default(),
            operation: event.operation.unwrap_or_default(),
            times: event.times,
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
            actor_token_id: optional("actor_token_id", &event.actor_token_id)?,
            acted_by: given(event.acted_by),
            operation: given(event.operation),
            times: event.times,
        })
    }
}

impl From<PageOf<AuditRecord>> for v1::ListEventsReply {
    fn from(page: PageOf<AuditRecord>) -> Self {
        let note = page.note.clone().unwrap_or_default();
        let (events, next_cursor) = page.into_wire();
        Self { events, next_cursor, note }
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
            actor_token_id: Some("1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap()),
            acted_by: Some("root".to_owned()),
            operation: Some("TokenService/List".to_owned()),
            times: 3,
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
            until: Some("2026-11-23T10:00:00Z".parse().unwrap()),
            action: Some(Action::TokenUse),
            outcome: Some(Outcome::Refused),
            oldest_first: true,
            follow: true,
        };
        let page = PageAsk { size: Some(5), cursor: None };
        let request = filter.clone().into_request(page.clone());
        assert_eq!(request.clone().try_into(), Ok((filter, page)));
        for (bad, field) in [
            (v1::ListEventsRequest { token: "tokpat_%".to_owned(), ..request.clone() }, "token"),
            (v1::ListEventsRequest { repository: "acme".to_owned(), ..request.clone() }, "repository"),
            (v1::ListEventsRequest { action: "token.eat".to_owned(), ..request.clone() }, "action"),
            (v1::ListEventsRequest { outcome: "maybe".to_owned(), ..request.clone() }, "outcome"),
            (v1::ListEventsRequest { user: "../x".to_owned(), ..request }, "user"),
        ] {
            assert_eq!(<(AuditFilter, PageAsk)>::try_from(bad).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
