//! A trust rule's row, and the one conversion into the domain.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::clock::{Period, Timestamp};
use tok_model::id::{TrustId, WorkspaceId};
use tok_model::trust::{Reach, RepoPattern, TrustRule};
use uuid::Uuid;

use super::Trust;
use crate::schema::trusts;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = trusts, check_for_backend(diesel::pg::Pg))]
pub(super) struct TrustRow {
    id: Uuid,
    name: String,
    system: String,
    issuer: String,
    audience: String,
    claims: Vec<String>,
    algorithms: Vec<String>,
    ca: Option<String>,
    workspace_id: Uuid,
    repos: Vec<String>,
    permission: String,
    lifetime_seconds: i64,
    max_age_seconds: i64,
    once: String,
    recycled_names: bool,
    created_at: DateTime<Utc>,
    created_by_name: String,
    last_used_at: Option<DateTime<Utc>>,
    uses: i64,
}

impl TrustRow {
    pub(super) fn new(rule: &TrustRule, by: &str, at: Timestamp) -> Self {
        Self {
            id: rule.id.as_uuid(),
            name: rule.name.to_string(),
            system: rule.system.to_string(),
            issuer: rule.issuer.clone(),
            audience: rule.audience.clone(),
            claims: rule.claims.iter().map(ToString::to_string).collect(),
            algorithms: rule.algorithms.iter().map(ToString::to_string).collect(),
            ca: rule.ca.clone(),
            workspace_id: rule.workspace.as_uuid(),
            repos: rule.reach.repos().iter().map(ToString::to_string).collect(),
            permission: rule.permission.to_string(),
            lifetime_seconds: rule.lifetime.seconds(),
            max_age_seconds: rule.max_age.seconds(),
            once: rule.once.to_string(),
            recycled_names: rule.allow_recycled_names,
            created_at: at,
            created_by_name: by.to_owned(),
            last_used_at: None,
            uses: 0,
        }
    }

    /// The row for whoever looks at it or judges by it. With what no parser knows it is no rule.
    pub(super) fn into_trust(self, workspace: String) -> Trust {
        let rule = self.rule(&workspace);
        Trust {
            rule,
            id: TrustId::from_uuid(self.id),
            name: self.name,
            system: self.system,
            issuer: self.issuer,
            audience: self.audience,
            claims: self.claims,
            algorithms: self.algorithms,
            own_ca: self.ca.is_some(),
            workspace,
            repos: self.repos,
            permission: self.permission,
            lifetime_seconds: self.lifetime_seconds,
            max_age_seconds: self.max_age_seconds,
            once: self.once,
            allow_recycled_names: self.recycled_names,
            created_at: self.created_at,
            created_by: self.created_by_name,
            last_used_at: self.last_used_at,
            uses: self.uses,
            pins: Vec::new(),
        }
    }

    fn rule(&self, workspace: &str) -> Result<TrustRule, String> {
        let period = |seconds| Period::from_seconds(seconds).ok_or_else(|| format!("{seconds} s is no time"));
        let patterns = self.repos.iter().map(|repo| format!("{workspace}/{repo}").parse::<RepoPattern>());
        let rule = TrustRule {
            id: TrustId::from_uuid(self.id),
            name: self.name.parse().map_err(words)?,
            system: self.system.parse().map_err(words)?,
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            claims: self.claims.iter().map(|claim| claim.parse()).collect::<Result<_, _>>().map_err(words)?,
            algorithms: self.algorithms.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(words)?,
            ca: self.ca.clone(),
            reach: Reach::new(patterns.collect::<Result<_, _>>().map_err(words)?).map_err(words)?,
            workspace: WorkspaceId::from_uuid(self.workspace_id),
            permission: self.permission.parse().map_err(words)?,
            lifetime: period(self.lifetime_seconds)?,
            max_age: period(self.max_age_seconds)?,
            once: self.once.parse().map_err(words)?,
            allow_recycled_names: self.recycled_names,
        };
        // A row that somebody wrote by hand is held to the same.
        rule.check().map_err(words)?;
        Ok(rule)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn words(error: impl ToString) -> String {
    error.to_string()
}
