//! Writing lines: with a change, and in batches for uses.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use tok_model::audit::{Action, AuditEvent, Outcome};
use tok_model::clock::Timestamp;
use uuid::Uuid;

use super::line::NewLine;
use super::trail::Trail;
use crate::error::StoreError;
use crate::prepared::Unnest;
use crate::schema::audit;
use crate::tx::{ReadTx, WriteTx};

/// The most lines that one statement carries, some 5 MiB.
const LINES_A_STATEMENT: usize = 20_000;

/// Many lines in one statement.
const INSERT_MANY: &str = "
    INSERT INTO audit (at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id, address, agent,
                       token_id, token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command,
                       detail, times, acted_by, chain, number, mac)
    SELECT * FROM ";

pub(crate) fn append<'e>(
    tx: &mut ReadTx<'_>,
    trail: &Trail,
    events: impl IntoIterator<Item = (&'e AuditEvent, Timestamp, i32)>,
) -> Result<(), StoreError> {
    let new = |(event, at, times)| NewLine::new(event, at, times, trail);
    let lines: Vec<NewLine> = events.into_iter().map(new).collect();
    for lines in lines.chunks(LINES_A_STATEMENT) {
        match lines {
            // By far the most frequent, and so worth a prepared statement of its own.
            [line] => diesel::insert_into(audit::table).values(line).execute(tx.connection())?,
            lines => insert_many(tx, lines)?,
        };
    }
    Ok(())
}

fn insert_many(tx: &mut ReadTx<'_>, lines: &[NewLine]) -> Result<usize, StoreError> {
    fn of<'l, T>(lines: &'l [NewLine], column: impl Fn(&'l NewLine) -> T) -> Vec<T> {
        lines.iter().map(column).collect()
    }
    type Texts = Array<Text>;
    type MaybeTexts = Array<Nullable<Text>>;
    type MaybeIds = Array<Nullable<SqlUuid>>;
    Ok(Unnest::new(INSERT_MANY, "")
        .column::<Array<Timestamptz>, _>(of(lines, |line| line.at))
        .column::<Texts, _>(of(lines, |line| line.action))
        .column::<Texts, _>(of(lines, |line| line.outcome))
        .column::<MaybeIds, _>(of(lines, |line| line.actor_user_id))
        .column::<Texts, _>(of(lines, |line| line.actor_name.as_str()))
        .column::<Array<Nullable<BigInt>>, _>(of(lines, |line| line.actor_uid))
        .column::<MaybeIds, _>(of(lines, |line| line.actor_token_id))
        .column::<MaybeTexts, _>(of(lines, |line| line.address.as_deref()))
        .column::<MaybeTexts, _>(of(lines, |line| line.agent.as_deref()))
        .column::<MaybeIds, _>(of(lines, |line| line.token_id))
        .column::<MaybeTexts, _>(of(lines, |line| line.token_prefix.as_deref()))
        .column::<MaybeIds, _>(of(lines, |line| line.parent_id))
        .column::<MaybeIds, _>(of(lines, |line| line.subject_user_id))
        .column::<MaybeTexts, _>(of(lines, |line| line.subject_name.as_deref()))
        .column::<MaybeTexts, _>(of(lines, |line| line.workspace.as_deref()))
        .column::<MaybeTexts, _>(of(lines, |line| line.repo.as_deref()))
        .column::<MaybeTexts, _>(of(lines, |line| line.command.as_deref()))
        .column::<Texts, _>(of(lines, |line| line.detail.as_str()))
        .column::<Array<Integer>, _>(of(lines, |line| line.times))
        .column::<MaybeTexts, _>(of(lines, |line| line.acted_by.as_deref()))
        .column::<Array<SqlUuid>, _>(of(lines, |line| line.chain))
        .column::<Array<BigInt>, _>(of(lines, |line| line.number))
        .column::<Array<Nullable<Bytea>>, _>(of(lines, |line| line.mac.as_deref()))
        .execute(tx.connection())?)
}

/// A use of a token, or an act that was refused, with its time: both are written in batches, some time after they
/// happened.
#[derive(Debug, Clone)]
pub struct Use {
    /// When it happened (for several: the last time).
    pub at: Timestamp,
    /// How often, alike in everything else.
    pub times: i32,
    /// What the trail says of it; for a use of a token an [`Action::TokenUse`] with a token.
    pub event: AuditEvent,
}

/// The last uses of many tokens in one statement, and no more than one a minute for each.
const LAST_USES: &str = "INSERT INTO last_uses AS last (token_id, at, address, agent, repo) SELECT * FROM ";
/// In the order of IDs, so that two daemons that write the same tokens cannot wait for each other.
const IN_ORDER: &str = " AS used (id, at, address, agent, repo) ORDER BY id
    ON CONFLICT (token_id) DO UPDATE
    SET at = excluded.at, address = excluded.address, agent = excluded.agent, repo = coalesce(excluded.repo, last.repo)
    WHERE last.at < excluded.at - interval '60 seconds'";

/// The last use of a token in a batch, and the last repository that it was used for.
struct Latest<'u> {
    last: &'u Use,
    repo: Option<&'u Use>,
}

/// Writes uses and refused acts to the trail, and of each token the last use that was let in, at most once a minute: one statement for
/// each of the two tables, however many there are. No token's row is touched, nor waited for.
pub fn record_uses(mut tx: WriteTx<'_>, uses: &[Use]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    let mut latest: BTreeMap<Uuid, Latest<'_>> = BTreeMap::new();
    // To be refused is no use: else a token that rested too long would be awake again by being presented.
    let let_in = |used: &&Use| used.event.action == Action::TokenUse && used.event.outcome == Outcome::Done;
    for used in uses.iter().filter(let_in) {
        let Some(id) = used.event.token else { continue };
        let entry = latest.entry(id.as_uuid()).or_insert(Latest { last: used, repo: None });
        if entry.last.at < used.at {
            entry.last = used;
        }
        if used.event.repo.is_some() && entry.repo.is_none_or(|known| known.at < used.at) {
            entry.repo = Some(used);
        }
    }
    if !latest.is_empty() {
        write_last_uses(&mut tx, &latest)?;
    }
    tx.commit_lines(uses.iter().map(|used| (&used.event, used.at, used.times)))
}

fn write_last_uses(tx: &mut ReadTx<'_>, latest: &BTreeMap<Uuid, Latest<'_>>) -> Result<(), StoreError> {
    let each = || latest.values();
    let at: Vec<DateTime<Utc>> = each().map(|latest| latest.last.at).collect();
    let address = |used: &Use| used.event.actor.source.address.map(|a| a.to_canonical().to_string());
    let repo = |used: &Use| used.event.repo.as_ref().map(ToString::to_string);
    Unnest::new(LAST_USES, IN_ORDER)
        .column::<Array<SqlUuid>, _>(latest.keys().copied().collect::<Vec<_>>())
        .column::<Array<Timestamptz>, _>(at)
        .column::<Array<Nullable<Text>>, _>(each().map(|latest| address(latest.last)).collect::<Vec<_>>())
        .column::<Array<Nullable<Text>>, _>(
            each().map(|latest| latest.last.event.actor.source.agent.as_deref()).collect::<Vec<_>>(),
        )
        .column::<Array<Nullable<Text>>, _>(each().map(|latest| latest.repo.and_then(repo)).collect::<Vec<_>>())
        .execute(tx.connection())?;
    Ok(())
}
