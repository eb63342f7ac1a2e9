//! `/v1/audit`: the trail.

#![expect(unused_qualifications, reason = "what utoipa generates for query parameters")]

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use hyper::Uri;
use serde::{Deserialize, Serialize};
use tok_api::convert::{AuditFilter, AuditRecord, TrailCheck, TrailReport, if_said, moment_said as moment, parsed};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Asked, Calling};
use super::{Answer, Api, reply};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(verify))
}

/// Which events, and which page of them. Every condition that is given must hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListEvents {
    /// Rows at most.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// What this token did or suffered: its ID, at least 4 characters of it, or its token prefix.
    token: Option<String>,
    /// What this user did: a login name, or the ID of a user, who may have been deleted.
    user: Option<String>,
    /// What touched this repository, as in `acme/app`.
    repository: Option<String>,
    /// What happened at this moment or later (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// What happened before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// This act, as in `token.create`.
    action: Option<String>,
    /// What ended so: `done` or `refused`.
    outcome: Option<String>,
    /// In the order in which it happened, instead of the newest first.
    #[serde(default)]
    oldest_first: bool,
    /// In the order in which it was written, for whoever asks again and again with `next_cursor`, which is always there
    /// then: each line comes exactly once. Begins with `since`, or else with the last `page_size` lines.
    #[serde(default)]
    follow: bool,
}

/// A page of the trail.
#[derive(Serialize, ToSchema)]
struct EventPage {
    /// Newest first, unless asked otherwise.
    events: Vec<AuditRecord>,
    /// What to ask for the next page with; null: this was the last.
    #[schema(required)]
    next_cursor: Option<String>,
    /// What else there is to know, for people, as that others had the name of `user` before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    note: Option<String>,
}

/// Read the audit trail
///
/// Everything for managers, one's own for others.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listEvents", tag = "audit", params(ListEvents),
    responses((status = 200, description = "A page of the trail.", body = EventPage,
        headers(("Link" = String, description = "The next page, if there is one (RFC 8288)."))))
)]
async fn list(
    State(api): State<Api>,
    Calling(caller): Calling,
    uri: Uri,
    Asked(asked): Asked<ListEvents>,
) -> Answer<Response> {
    let filter = AuditFilter {
        token: if_said("token", asked.token.as_deref())?,
        user: if_said("user", asked.user.as_deref())?,
        repository: if_said("repository", asked.repository.as_deref())?,
        since: moment("since", asked.since.as_deref())?,
        until: moment("until", asked.until.as_deref())?,
        action: if_said("action", asked.action.as_deref())?,
        outcome: if_said("outcome", asked.outcome.as_deref())?,
        oldest_first: asked.oldest_first,
        follow: asked.follow,
    };
    filter.reference()?;
    let page = reply::page_ask(asked.page_size, asked.cursor)?;
    let mut page = api.service.list_audit(&caller, filter, page).await?;
    let note = page.note.take();
    Ok(reply::page(&uri, page, |events, next_cursor| EventPage { events, next_cursor, note }))
}

/// Which chains, and what is known of them.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VerifyTrail {
    /// Only this chain.
    chain: Option<String>,
    /// Heads that were noted earlier, as `chain:hash` with commas between them: a chain that was cut short behind one of
    /// them does not verify.
    heads: Option<String>,
}

/// Verify the audit trail
///
/// Recomputes the chains of hashes and says whether anything was changed, added or taken out. What is wrong is in the
/// answer: the call itself succeeds. For managers.
#[utoipa::path(
    get, path = "/v1/audit/verify", operation_id = "verifyTrail", tag = "audit", params(VerifyTrail),
    responses((status = 200, description = "What was found.", body = TrailReport))
)]
async fn verify(
    State(api): State<Api>,
    Calling(caller): Calling,
    Asked(asked): Asked<VerifyTrail>,
) -> Answer<Json<TrailReport>> {
    let heads = asked.heads.unwrap_or_default();
    let heads = heads.split(',').map(str::trim).filter(|head| !head.is_empty());
    let check = TrailCheck {
        chain: if_said("chain", asked.chain.as_deref())?,
        heads: heads.map(|head| parsed("heads", head)).collect::<Result<_, _>>()?,
    };
    Ok(Json(api.service.verify_trail(&caller, check).await?))
}
