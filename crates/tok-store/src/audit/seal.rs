//! Seals: each covers the one before it and the lines since, in an order that nothing can be slipped into any more.
//!
//! The order is that of the transactions that wrote the lines, and within one that of their IDs. What lies below every
//! transaction that still runs is complete and stays so: it is sealed, without a writer ever having
//! waited for another.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use tok_model::clock::Timestamp;
use tok_model::secret::PepperId;
use tok_model::trail::TrailKey;
use uuid::Uuid;

use super::line::Line;
use super::trail::Trail;
use crate::error::StoreError;
use crate::schema::{audit, audit_seals};

/// The most lines that are read at a time, and so the most that one seal covers.
const MOST_LINES: i64 = 5000;
/// A chain whose oldest unsealed line is older has no living writer: a living one seals every second.
const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// What a seal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a chain.
    Open,
    /// Covers lines.
    Lines,
    /// Says before which month lines may be gone.
    Prune,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Lines => "lines",
            Self::Prune => "prune",
        }
    }
}

/// A row of `audit_seals`.
#[derive(Debug, Clone, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = audit_seals, check_for_backend(diesel::pg::Pg), treat_none_as_default_value = false)]
pub(super) struct Seal {
    pub(super) chain: Uuid,
    pub(super) number: i64,
    pub(super) kind: String,
    pub(super) pepper_id: i16,
    pub(super) cluster: String,
    pub(super) upto_xact: i64,
    pub(super) upto_line: i64,
    pub(super) month: String,
    pub(super) lines: i64,
    pub(super) first_at: Option<DateTime<Utc>>,
    pub(super) last_at: Option<DateTime<Utc>>,
    pub(super) digest: Vec<u8>,
    pub(super) content: String,
    pub(super) sealed_at: DateTime<Utc>,
    pub(super) previous: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

/// The last seal of a chain, as the next one needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) chain: Uuid,
    pub(super) number: i64,
    pub(super) hash: Vec<u8>,
    pub(super) upto: (i64, i64),
    pub(super) pepper: PepperId,
    pub(super) cluster: String,
}

impl Head {
    /// What comes before the first seal of a chain.
    pub(super) fn before(chain: Uuid, pepper: PepperId, cluster: String) -> Self {
        Self { chain, number: -1, hash: vec![0; 32], upto: (-1, -1), pepper, cluster }
    }

    /// The next seal, over these lines, which are all of one month.
    pub(super) fn seal(&self, kind: Kind, lines: &[Line], content: String, at: Timestamp, key: &TrailKey) -> Seal {
        let upto = lines.last().map_or(self.upto, Line::place);
        let mut seal = Seal {
            chain: self.chain,
            number: self.number + 1,
            kind: kind.as_str().to_owned(),
            pepper_id: self.pepper.0,
            cluster: self.cluster.clone(),
            upto_xact: upto.0,
            upto_line: upto.1,
            month: lines.first().map(Line::month).unwrap_or_default(),
            lines: i64::try_from(lines.len()).unwrap_or(i64::MAX),
            first_at: lines.iter().map(|line| line.at).min(),
            last_at: lines.iter().map(|line| line.at).max(),
            digest: digest(lines, key).to_vec(),
            content,
            // As PostgreSQL keeps it, so that it is hashed as it will be read.
            sealed_at: Timestamp::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at),
            previous: self.hash.clone(),
            hash: Vec::new(),
        };
        seal.hash = seal.expected_hash(key).to_vec();
        seal
    }
}

/// The hash of lines in their order: of what each says, and of its place.
pub(super) fn digest(lines: &[Line], key: &TrailKey) -> [u8; 32] {
    let mut hash = key.begin("tok audit lines 1");
    for line in lines {
        hash.number(line.xact);
        hash.number(line.id);
        hash.bytes(Some(&line.expected_mac(key)));
    }
    hash.finish()
}

impl Seal {
    /// The hash that it should carry: of everything in it, the hash before it and the digest of its lines included.
    pub(super) fn expected_hash(&self, key: &TrailKey) -> [u8; 32] {
        let mut hash = key.begin("tok audit seal 1");
        hash.bytes(Some(self.chain.as_bytes()));
        hash.number(self.number);
        hash.bytes(Some(self.kind.as_bytes()));
        hash.number(i64::from(self.pepper_id));
        hash.bytes(Some(self.cluster.as_bytes()));
        hash.number(self.upto_xact);
        hash.number(self.upto_line);
        hash.bytes(Some(self.month.as_bytes()));
        hash.number(self.lines);
        for at in [self.first_at, self.last_at] {
            hash.bytes(at.map(|at| at.timestamp_micros().to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice));
        }
        hash.bytes(Some(&self.digest));
        hash.bytes(Some(self.content.as_bytes()));
        hash.number(self.sealed_at.timestamp_micros());
        hash.bytes(Some(&self.previous));
        hash.finish()
    }

    pub(super) fn insert(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        diesel::insert_into(audit_seals::table).values(self).execute(connection)?;
        Ok(())
    }

    pub(super) fn head(&self) -> Head {
        Head {
            chain: self.chain,
            number: self.number,
            hash: self.hash.clone(),
            upto: (self.upto_xact, self.upto_line),
            pepper: PepperId(self.pepper_id),
            cluster: self.cluster.clone(),
        }
    }

    /// As the first seal of a later chain names it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}:{}", self.chain, self.number, hex(&self.hash))
    }

    /// The last seal of each chain.
    pub(super) fn last_of_all(connection: &mut PgConnection) -> Result<Vec<Self>, StoreError> {
        let query = "SELECT last.* FROM audit_seals AS opened CROSS JOIN LATERAL (
                         SELECT * FROM audit_seals AS seal WHERE seal.chain = opened.chain ORDER BY number DESC LIMIT 1
                     ) AS last WHERE opened.number = 0 ORDER BY opened.sealed_at, opened.chain";
        Ok(diesel::sql_query(query).load(connection)?)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[derive(QueryableByName)]
struct Bound {
    #[diesel(sql_type = BigInt)]
    bound: i64,
}

/// Below this every transaction that could write to the trail is over, for good.
///
/// Transactions are numbered for all databases of a cluster at once, so `pg_snapshot_xmin` alone would let a stranger's
/// long transaction hold the trail back. Those that still run in this database are asked for by name instead: a snapshot
/// first, then what runs; what is neither in the one nor in the other is over. A `backend_xid` has 32 bits, and is the last
/// such number before the snapshot's end. Where backends of other roles hide theirs, the snapshot's word counts.
pub(super) fn settled(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let query = "
        WITH snapshot AS (
            SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS beyond
        ), running AS (
            SELECT beyond - ((beyond - backend_xid::text::bigint) % 4294967296 + 4294967296) % 4294967296 AS xact
            FROM snapshot, pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xid IS NOT NULL
        ), hidden AS (
            SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend'
              AND query = '<insufficient privilege>' LIMIT 1
        )
        SELECT CASE WHEN EXISTS (SELECT FROM hidden) THEN oldest
                    ELSE coalesce((SELECT min(xact) FROM running WHERE xact >= oldest), beyond) END AS bound
        FROM snapshot";
    Ok(diesel::sql_query(query).get_result::<Bound>(connection)?.bound)
}

/// Seals what this run has written and what has settled. What has not is sealed next time. Returns how many lines.
pub(crate) fn seal_own(connection: &mut PgConnection, trail: &Trail, at: Timestamp) -> Result<usize, StoreError> {
    let mut head = trail.head();
    if !trail.take_unsealed() {
        return Ok(0);
    }
    let sealed = seal_until_settled(connection, trail, &mut head, trail.key(), at);
    match &sealed {
        Ok((_, true)) => {}
        Ok((_, false)) => trail.written(),
        Err(_) => {
            trail.written();
            take_over(connection, trail, &mut head);
        }
    }
    sealed.map(|(lines, _)| lines)
}

/// A seal of ours was refused. If it is there all the same, as after a lost answer, or another daemon took this chain for
/// abandoned, go on behind it; whatever does not follow from our own last seal was made by nobody who may.
fn take_over(connection: &mut PgConnection, trail: &Trail, head: &mut Head) {
    let ours = audit_seals::table.filter(audit_seals::chain.eq(trail.chain()));
    let there = ours
        .filter(audit_seals::number.ge(head.number))
        .order(audit_seals::number.asc())
        .select(Seal::as_select())
        .load::<Seal>(connection);
    let Ok(there) = there else { return };
    let mut last = head.clone();
    for seal in &there {
        let follows = seal.number == last.number + 1 && seal.previous == last.hash;
        let known = seal.number == last.number && seal.hash == last.hash;
        if !(follows || known) || seal.expected_hash(trail.key()).as_slice() != seal.hash {
            return tracing::error!(chain = %trail.chain(), seal = seal.number, "The audit trail was tampered with: `tok audit verify` shows where");
        }
        last = seal.head();
    }
    *head = last;
}

/// Seals what was left by daemons that were killed, and what came with a dump. Returns how many lines.
pub(crate) fn seal_abandoned(connection: &mut PgConnection, trail: &Trail, at: Timestamp) -> Result<usize, StoreError> {
    let mut sealed = 0;
    for last in Seal::last_of_all(connection)?.into_iter().filter(|seal| seal.chain != trail.chain()) {
        let mut head = last.head();
        let foreign = head.cluster != trail.cluster;
        let oldest = lines_after(&head).select(audit::at).limit(1).load::<DateTime<Utc>>(connection)?;
        let Some(oldest) = oldest.first() else { continue };
        // A foreign one has no writer here, nor have lines from before there were chains.
        if !foreign && !head.chain.is_nil() && *oldest + ABANDONED_AFTER > at {
            continue;
        }
        let Some(key) = trail.key_of(head.pepper).cloned() else {
            tracing::error!(chain = %head.chain, "The pepper {} of this chain is not in the pepper file, so its last lines cannot be sealed", head.pepper.0);
            continue;
        };
        match seal_until_settled(connection, trail, &mut head, &key, at) {
            Ok((lines, _)) => sealed += lines,
            // Another daemon does the same at this moment.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sealed)
}

#[diesel::dsl::auto_type(no_type_alias)]
fn lines_after(head: &Head) -> _ {
    let chain: Uuid = head.chain;
    let xact: i64 = head.upto.0;
    let id: i64 = head.upto.1;
    audit::table
        .filter(audit::chain.eq(chain))
        // Says no more than the next condition, but an index understands it.
        .filter(audit::xact.ge(xact))
        .filter(audit::xact.gt(xact).or(audit::id.gt(id)))
        .order((audit::xact.asc(), audit::id.asc()))
}

/// Lines that were sealed, and whether none is left.
type Sealed = (usize, bool);

fn seal_until_settled(
    connection: &mut PgConnection,
    trail: &Trail,
    head: &mut Head,
    key: &TrailKey,
    at: Timestamp,
) -> Result<Sealed, StoreError> {
    let mut sealed = 0;
    loop {
        let bound = if head.cluster == trail.cluster { settled(connection)? } else { i64::MAX };
        let lines: Vec<Line> = lines_after(head)
            .filter(audit::xact.lt(bound))
            .limit(MOST_LINES)
            .select(Line::as_select())
            .load(connection)?;
        let last_page = lines.len() < usize::try_from(MOST_LINES).unwrap_or(usize::MAX);
        if !lines.is_empty() {
            *head = seal_lines(connection, head, &lines, key, at)?;
            sealed += lines.len();
        }
        if last_page {
            let unsettled = lines_after(head).select(audit::id).limit(1).load::<i64>(connection)?;
            return Ok((sealed, unsettled.is_empty()));
        }
    }
}

/// One seal for each run of lines of the same month, together.
fn seal_lines(
    connection: &mut PgConnection,
    head: &Head,
    lines: &[Line],
    key: &TrailKey,
    at: Timestamp,
) -> Result<Head, StoreError> {
    let mut head = head.clone();
    let seals: Vec<Seal> = lines
        .chunk_by(|one, next| one.month() == next.month())
        .map(|run| {
            let seal = head.seal(Kind::Lines, run, String::new(), at, key);
            head = seal.head();
            seal
        })
        .collect();
    diesel::insert_into(audit_seals::table).values(&seals).execute(connection)?;
    Ok(head)
}
