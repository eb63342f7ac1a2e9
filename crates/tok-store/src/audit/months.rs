//! The trail's months: a partition for each, made before it begins and dropped when nobody wants it any more.

use chrono::{Datelike as _, Months, TimeDelta};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::clock::Timestamp;

use super::seal::{Kind, Seal, seal_abandoned, seal_own};
use super::trail::Trail;
use crate::error::StoreError;
use crate::tx::WriteTx;

/// Months that were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Which, as in `2025-10`, oldest first.
    pub months: Vec<String>,
    /// How many lines were in them.
    pub lines: i64,
}

/// The month of a moment, as in `2026-11`.
pub(super) fn name(at: Timestamp) -> String {
    format!("{:04}-{:02}", at.year(), at.month())
}

#[derive(QueryableByName)]
struct Made {
    #[diesel(sql_type = Bool)]
    made: bool,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Makes the partitions of this month and the next.
pub(crate) fn make(connection: &mut PgConnection, at: Timestamp) -> Result<usize, StoreError> {
    let mut made = 0;
    for moment in [Some(at), at.checked_add_months(Months::new(1))].into_iter().flatten() {
        let one: Made = diesel::sql_query("SELECT audit_month($1) AS made")
            .bind::<Timestamptz, _>(moment)
            .get_result(connection)?;
        made += usize::from(one.made);
    }
    Ok(made)
}

/// Drops the months that ended longer ago than lines are kept, and writes that down. What is in them is sealed first, and
/// the seals stay.
pub(crate) fn prune(
    connection: &mut PgConnection,
    trail: &Trail,
    keep: TimeDelta,
    at: Timestamp,
) -> Result<Option<Pruned>, StoreError> {
    let Some(horizon) = at.checked_sub_signed(keep).map(name) else { return Ok(None) };
    // A month is over when the horizon lies in a later one.
    let first = format!("{horizon}-01T00:00:00Z");
    let Ok(first) = first.parse::<Timestamp>() else { return Ok(None) };
    let query = "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'audit'::regclass AND c.relname ~ '^audit_[0-9]{4}_[0-9]{2}$' ORDER BY 1";
    let month_of = |table: &str| table.trim_start_matches("audit_").replace('_', "-");
    let mut tables: Vec<Named> = diesel::sql_query(query).load(connection)?;
    tables.retain(|table| month_of(&table.name) < horizon);
    let strays = "SELECT count(*) AS count FROM audit_default WHERE at < $1";
    let strays: Count = diesel::sql_query(strays).bind::<Timestamptz, _>(first).get_result(connection)?;
    if tables.is_empty() && strays.count == 0 {
        return Ok(None);
    }
    seal_own(connection, trail, at)?;
    seal_abandoned(connection, trail, at)?;
    let mut head = trail.head();
    let seal: Seal = head.seal(Kind::Prune, &[], horizon.clone(), at, trail.key());
    let mut tx = WriteTx::begin(connection, trail)?;
    seal.insert(tx.connection())?;
    let mut pruned = Pruned { months: Vec::new(), lines: strays.count };
    // Whoever reads or writes the trail waits behind this: rather try again later than make them wait long.
    diesel::sql_query("SET LOCAL lock_timeout = '1s'").execute(tx.connection())?;
    for Named { name } in tables {
        let query = format!("SELECT count(*) AS count FROM {name}");
        pruned.lines += diesel::sql_query(query).get_result::<Count>(tx.connection())?.count;
        diesel::sql_query(format!("DROP TABLE {name}")).execute(tx.connection())?;
        pruned.months.push(month_of(&name));
    }
    diesel::sql_query("DELETE FROM audit_default WHERE at < $1")
        .bind::<Timestamptz, _>(first)
        .execute(tx.connection())?;
    let (lines, months) = (pruned.lines, pruned.months.join(", "));
    let words = format!("{lines} lines from before {horizon}-01, kept no longer; months dropped: {months}");
    tx.commit(AuditEvent::done(Action::AuditPrune, Actor::daemon()).detail(words), at)?;
    *head = seal.head();
    Ok(Some(pruned))
}
