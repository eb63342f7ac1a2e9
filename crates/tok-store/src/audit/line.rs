//! A line of the trail, and the hash that it carries.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::audit::AuditEvent;
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::page::Cursor;
use tok_model::trail::{TrailHash, TrailKey};
use uuid::Uuid;

use super::trail::Trail;
use crate::schema::audit;

/// The chain of the lines that were written before there were chains.
pub(super) const BEFORE_CHAINS: Uuid = Uuid::nil();

/// A line of the trail as it was written. Texts, not types: what names meant then may be nobody's name now.
#[derive(Debug, Clone, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = audit, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the columns, described in the migration")]
pub struct Line {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub action: String,
    pub outcome: String,
    pub actor_user_id: Option<Uuid>,
    pub actor_name: String,
    pub actor_uid: Option<i64>,
    pub actor_token_id: Option<Uuid>,
    pub address: Option<String>,
    pub agent: Option<String>,
    pub token_id: Option<Uuid>,
    pub token_prefix: Option<String>,
    pub parent_id: Option<Uuid>,
    pub subject_user_id: Option<Uuid>,
    pub subject_name: Option<String>,
    pub workspace: Option<String>,
    pub repo: Option<String>,
    pub command: Option<String>,
    pub detail: String,
    pub times: i32,
    pub acted_by: Option<String>,
    pub chain: Uuid,
    pub number: i64,
    pub xact: i64,
    pub mac: Option<Vec<u8>>,
}

// A statement with DEFAULT in it is another one for each row, and never a prepared one; what is None here is NULL. The ID
// and the transaction are the database's to say.
#[derive(Insertable)]
#[diesel(table_name = audit, treat_none_as_default_value = false)]
pub(crate) struct NewLine {
    pub(super) at: Timestamp,
    pub(super) action: &'static str,
    pub(super) outcome: &'static str,
    pub(super) actor_user_id: Option<Uuid>,
    pub(super) actor_name: String,
    pub(super) actor_uid: Option<i64>,
    pub(super) actor_token_id: Option<Uuid>,
    pub(super) address: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) token_id: Option<Uuid>,
    pub(super) token_prefix: Option<String>,
    pub(super) parent_id: Option<Uuid>,
    pub(super) subject_user_id: Option<Uuid>,
    pub(super) subject_name: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) repo: Option<String>,
    pub(super) command: Option<String>,
    pub(super) detail: String,
    pub(super) times: i32,
    pub(super) acted_by: Option<String>,
    pub(super) chain: Uuid,
    pub(super) number: i64,
    pub(super) mac: Option<Vec<u8>>,
}

/// What a hash takes of a column.
trait Field {
    fn add(&self, hash: &mut TrailHash);
}

impl Field for i64 {
    fn add(&self, hash: &mut TrailHash) {
        hash.number(*self);
    }
}

impl Field for i32 {
    fn add(&self, hash: &mut TrailHash) {
        hash.number(i64::from(*self));
    }
}

impl Field for DateTime<Utc> {
    // To the microsecond, as PostgreSQL keeps it.
    fn add(&self, hash: &mut TrailHash) {
        hash.number(self.timestamp_micros());
    }
}

impl Field for Uuid {
    fn add(&self, hash: &mut TrailHash) {
        hash.bytes(Some(self.as_bytes()));
    }
}

impl Field for String {
    fn add(&self, hash: &mut TrailHash) {
        hash.bytes(Some(self.as_bytes()));
    }
}

impl Field for &str {
    fn add(&self, hash: &mut TrailHash) {
        hash.bytes(Some(self.as_bytes()));
    }
}

impl<F: Field> Field for Option<F> {
    fn add(&self, hash: &mut TrailHash) {
        match self {
            Some(field) => field.add(hash),
            None => hash.bytes(None),
        }
    }
}

/// The hash of a line: all its columns but the ID and the transaction, which a seal covers.
macro_rules! mac {
    ($key:expr, $line:expr) => {
        mac!($key, $line, chain, number, at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id,
             address, agent, token_id, token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command,
             detail, times, acted_by)
    };
    ($key:expr, $line:expr, $($column:ident),+) => {{
        let mut hash = $key.begin("tok audit line 1");
        $( Field::add(&$line.$column, &mut hash); )+
        hash.finish()
    }};
}

impl NewLine {
    /// The line that says this, in the chain of this daemon.
    pub(crate) fn new(event: &AuditEvent, at: Timestamp, times: i32, trail: &Trail) -> Self {
        let actor = &event.actor;
        let mut line = Self {
            at,
            action: event.action.as_str(),
            outcome: event.outcome.as_str(),
            actor_user_id: actor.user.as_ref().map(|(id, _)| id.as_uuid()),
            actor_name: actor.describe(),
            actor_uid: actor.source.uid.map(i64::from),
            actor_token_id: actor.token.map(TokenId::as_uuid),
            address: actor.source.address.map(|a| a.to_canonical().to_string()),
            agent: actor.source.agent.clone(),
            token_id: event.token.map(TokenId::as_uuid),
            token_prefix: event.token_prefix.clone().or_else(|| actor.token_prefix.clone()),
            parent_id: actor.parent.map(TokenId::as_uuid),
            subject_user_id: event.subject.as_ref().map(|(id, _)| id.as_uuid()),
            subject_name: event.subject.as_ref().map(|(_, name)| name.to_string()),
            workspace: event.workspace.as_ref().map(ToString::to_string),
            repo: event.repo.as_ref().map(ToString::to_string),
            command: event.command.clone().or_else(|| actor.source.operation.clone()),
            detail: event.detail.clone(),
            times,
            acted_by: actor.source.behind.clone(),
            chain: trail.chain(),
            number: trail.next_number(),
            mac: None,
        };
        line.mac = Some(mac!(trail.key(), line).to_vec());
        line
    }
}

impl Line {
    /// Where the page that ends with this line ends.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.at, Uuid::from_u64_pair(0, self.id.unsigned_abs()))
    }

    /// The hash that it should carry.
    pub(super) fn expected_mac(&self, key: &TrailKey) -> [u8; 32] {
        mac!(key, self)
    }

    /// Whether it carries the hash that it should; those from before there were chains carry none.
    pub(super) fn genuine(&self, expected: &[u8; 32]) -> bool {
        match &self.mac {
            Some(mac) => mac == expected,
            None => self.chain == BEFORE_CHAINS,
        }
    }

    /// Its place in its chain.
    pub(super) fn place(&self) -> (i64, i64) {
        (self.xact, self.id)
    }

    /// The month that it is of, as in `2026-11`.
    pub(super) fn month(&self) -> String {
        super::months::name(self.at)
    }
}
