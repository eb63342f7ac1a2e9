//! Writing lines: with a change, and in batches for uses.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::Timestamp;
use uuid::Uuid;

use super::line::NewLine;
use super::trail::Trail;
use crate::error::StoreError;
use crate::schema::audit;
use crate::tx::{ReadTx, WriteTx};

/// The most lines that one statement carries, some 5 MiB.
const LINES_A_STATEMENT: usize = 20_000;

/// Many lines in one statement, which is the same text for however many there are.
const INSERT_MANY: &str = "
    INSERT INTO audit (at, action, outcome, actor_user_id, actor_name, actor_uid, actor_token_id, address, agent,
                       token_id, token_prefix, parent_id, subject_user_id, subject_name, workspace, repo, command,
                       detail, times, acted_by, chain, number, mac)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                         $22, $23)";

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
    Ok(diesel::sql_query(INSERT_MANY)
        .bind::<Array<Timestamptz>, _>(of(lines, |line| line.at))
        .bind::<Texts, _>(of(lines, |line| line.action))
        .bind::<Texts, _>(of(lines, |line| line.outcome))
        .bind::<MaybeIds, _>(of(lines, |line| line.actor_user_id))
        .bind::<Texts, _>(of(lines, |line| line.actor_name.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(of(lines, |line| line.actor_uid))
        .bind::<MaybeIds, _>(of(lines, |line| line.actor_token_id))
        .bind::<MaybeTexts, _>(of(lines, |line| line.address.as_deref()))
        .bind::<MaybeTexts, _>(of(lines, |line| line.agent.as_deref()))
        .bind::<MaybeIds, _>(of(lines, |line| line.token_id))
        .bind::<MaybeTexts, _>(of(lines, |line| line.token_prefix.as_deref()))
        .bind::<MaybeIds, _>(of(lines, |line| line.parent_id))
        .bind::<MaybeIds, _>(of(lines, |line| line.subject_user_id))
        .bind::<MaybeTexts, _>(of(lines, |line| line.subject_name.as_deref()))
        .bind::<MaybeTexts, _>(of(lines, |line| line.workspace.as_deref()))
        .bind::<MaybeTexts, _>(of(lines, |line| line.repo.as_deref()))
        .bind::<MaybeTexts, _>(of(lines, |line| line.command.as_deref()))
        .bind::<Texts, _>(of(lines, |line| line.detail.as_str()))
        .bind::<Array<Integer>, _>(of(lines, |line| line.times))
        .bind::<MaybeTexts, _>(of(lines, |line| line.acted_by.as_deref()))
        .bind::<Array<SqlUuid>, _>(of(lines, |line| line.chain))
        .bind::<Array<BigInt>, _>(of(lines, |line| line.number))
        .bind::<Array<Nullable<Bytea>>, _>(of(lines, |line| line.mac.as_deref()))
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

/// The last uses of many tokens in one statement. Locked in the order of IDs, so that two daemons that write the same
/// tokens cannot wait for each other.
const LAST_USES: &str = "
    WITH used AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5) AS used (id, at, address, agent, repo)
    ), due AS MATERIALIZED (
        SELECT tokens.id FROM tokens JOIN used ON used.id = tokens.id
        WHERE tokens.last_used_at IS NULL OR tokens.last_used_at < used.at - interval '60 seconds'
        ORDER BY tokens.id FOR NO KEY UPDATE OF tokens
    )
    UPDATE tokens SET last_used_at = used.at, last_used_ip = used.address, last_used_agent = used.agent,
                      last_used_repo = coalesce(used.repo, tokens.last_used_repo)
    FROM due JOIN used ON used.id = due.id
    WHERE tokens.id = due.id
      AND (tokens.last_used_at IS NULL OR tokens.last_used_at < used.at - interval '60 seconds')";

/// The last use of a token in a batch, and the last repository that it was used for.
struct Latest<'u> {
    last: &'u Use,
    repo: Option<&'u Use>,
}

/// Writes uses and refused acts to the trail, and to each token its last use, at most once a minute: one statement for
/// each of the two tables, however many there are.
pub fn record_uses(mut tx: WriteTx<'_>, uses: &[Use]) -> Result<(), StoreError> {
    if uses.is_empty() {
        return Ok(());
    }
    let mut latest: BTreeMap<Uuid, Latest<'_>> = BTreeMap::new();
    for used in uses.iter().filter(|u| u.event.action == Action::TokenUse) {
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
    diesel::sql_query(LAST_USES)
        .bind::<Array<SqlUuid>, _>(latest.keys().copied().collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(at)
        .bind::<Array<Nullable<Text>>, _>(each().map(|latest| address(latest.last)).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(
            each().map(|latest| latest.last.event.actor.source.agent.as_deref()).collect::<Vec<_>>(),
        )
        .bind::<Array<Nullable<Text>>, _>(each().map(|latest| latest.repo.and_then(repo)).collect::<Vec<_>>())
        .execute(tx.connection())?;
    Ok(())
}
