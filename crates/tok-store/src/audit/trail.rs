//! The chain that this run of the daemon writes, and how it begins.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::prelude::*;
use diesel::sql_types::Text;
use tok_model::clock::Timestamp;
use tok_model::id::ChainId;
use tok_model::secret::{Pepper, PepperId, Peppers};
use tok_model::trail::TrailKey;
use uuid::Uuid;

use super::line::BEFORE_CHAINS;
use super::seal::{Head, Kind, Seal};
use super::tally::Tally;
use crate::error::StoreError;
use crate::schema::{audit, audit_seals};

/// Chains that were sealed until so long before the newest one began are named by the next one, too: daemons' clocks
/// differ.
const CLOCKS_DIFFER: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// The chain that this run of the daemon writes.
pub struct Trail {
    chain: Uuid,
    keys: BTreeMap<PepperId, TrailKey>,
    key: TrailKey,
    next: AtomicI64,
    /// Whether there may be lines that no seal covers.
    unsealed: AtomicBool,
    /// The last seal, which nobody but this run makes while it lives.
    head: Mutex<Head>,
    pub(super) cluster: String,
    /// Chains that came from another cluster with a dump: their transactions are not numbered as ours are.
    foreign: Vec<Uuid>,
    tally: Tally,
}

#[derive(QueryableByName)]
struct Cluster {
    #[diesel(sql_type = Text)]
    cluster: String,
}

impl Trail {
    /// Begins a chain: its first seal names the last seals of those before it, so that none of them can vanish whole, or
    /// lose its end, unnoticed.
    pub(crate) fn open(
        connection: &mut PgConnection,
        peppers: &Peppers,
        chain: ChainId,
        at: Timestamp,
    ) -> Result<Self, StoreError> {
        let keys: BTreeMap<_, _> = peppers.every().map(|pepper| (pepper.id(), Pepper::trail_key(pepper))).collect();
        let (pepper, key) = (peppers.current().id(), peppers.current().trail_key());
        let cluster: Cluster = diesel::sql_query("SELECT system_identifier::text AS cluster FROM pg_control_system()")
            .get_result(connection)?;
        let cluster = cluster.cluster;
        let opening = |chain: Uuid, content: String| Seal::open(chain, pepper, &cluster, content, at, &key);
        let head = connection.transaction::<_, StoreError, _>(|connection| {
            if has_lines_without_a_chain(connection)? {
                opening(BEFORE_CHAINS, String::new()).insert(connection)?;
            }
            let seal = opening(chain.as_uuid(), ends_of_others(connection)?);
            seal.insert(connection)?;
            Ok(seal.head())
        })?;
        let opened = audit_seals::table.filter(audit_seals::number.eq(0));
        let foreign: Vec<Uuid> =
            opened.filter(audit_seals::cluster.ne(&cluster)).select(audit_seals::chain).load(connection)?;
        Ok(Self {
            chain: chain.as_uuid(),
            keys,
            key,
            next: AtomicI64::new(1),
            unsealed: AtomicBool::new(false),
            head: Mutex::new(head),
            cluster,
            foreign,
            tally: Tally::default(),
        })
    }

    /// Which chain.
    pub fn chain(&self) -> Uuid {
        self.chain
    }

    /// What this run has written.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn key(&self) -> &TrailKey {
        &self.key
    }

    /// The key of a chain that was begun under this pepper.
    pub(super) fn key_of(&self, pepper: PepperId) -> Option<&TrailKey> {
        self.keys.get(&pepper)
    }

    /// Chains whose transactions are not numbered as those of this cluster.
    pub(super) fn foreign(&self) -> &[Uuid] {
        &self.foreign
    }

    pub(super) fn next_number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Lines were written, or may have been.
    pub(crate) fn written(&self) {
        self.unsealed.store(true, Ordering::SeqCst);
    }

    /// Whether there may be lines that no seal covers.
    pub(crate) fn has_unsealed(&self) -> bool {
        self.unsealed.load(Ordering::SeqCst)
    }

    /// The same, and it is looked after now.
    pub(super) fn take_unsealed(&self) -> bool {
        self.unsealed.swap(false, Ordering::SeqCst)
    }

    /// The last seal; whoever holds it seals alone.
    pub(super) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines from before there were chains, which nobody has taken in yet.
fn has_lines_without_a_chain(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let line = audit::table.filter(audit::chain.eq(BEFORE_CHAINS)).select(audit::id);
    let seal = audit_seals::table.find((BEFORE_CHAINS, 0)).select(audit_seals::number);
    Ok(line.first::<i64>(connection).optional()?.is_some() && seal.first::<i64>(connection).optional()?.is_none())
}

/// The last seals of the newest chain, and of those that were still written when it began: `chain:number:hash`, one a
/// line. By induction each chain's last seal is named by the first one that began after it.
fn ends_of_others(connection: &mut PgConnection) -> Result<String, StoreError> {
    let opened = audit_seals::table.filter(audit_seals::number.eq(0)).into_boxed();
    let newest: Option<Timestamp> = opened
        .order(audit_seals::sealed_at.desc())
        .select(audit_seals::sealed_at)
        .first::<Timestamp>(connection)
        .optional()?;
    let Some(newest) = newest else { return Ok(String::new()) };
    let since = newest.checked_sub_signed(CLOCKS_DIFFER).unwrap_or(newest);
    let ends = Seal::last_of_all(connection)?;
    let lines = ends.iter().filter(|seal| seal.sealed_at >= since).map(Seal::name);
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

impl Seal {
    fn open(chain: Uuid, pepper: PepperId, cluster: &str, content: String, at: Timestamp, key: &TrailKey) -> Self {
        let before = Head::before(chain, pepper, cluster.to_owned());
        before.seal(Kind::Open, &[], content, at, key)
    }
}
