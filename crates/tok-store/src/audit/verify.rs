//! Recomputing the trail: every line, every seal, every link, in pieces of bounded size.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use tok_model::decide::{Need, Permit};
use tok_model::id::ChainId;
use tok_model::secret::PepperId;
use tok_model::trail::TrailKey;
use uuid::Uuid;

use super::line::{BEFORE_CHAINS, Line};
use super::seal::{Seal, digest, hex};
use super::trail::Trail;
use crate::error::StoreError;
use crate::schema::{audit, audit_seals};
use crate::tx::ReadTx;

/// How many lines are read at a time.
const LINES_A_STEP: i64 = 5000;
/// And how many seals, which at a quiet time cover few lines each.
const SEALS_A_STEP: i64 = 500;

/// What was found of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Which chain.
    pub chain: ChainId,
    /// How many lines its seals cover.
    pub lines: i64,
    /// Lines that no seal covers yet.
    pub unsealed: i64,
    /// Of the lines that seals cover, those that retention has dropped.
    pub pruned: i64,
    /// The last seal's hash, hexadecimal; worth keeping elsewhere.
    pub head: String,
    /// The first moment that a line speaks of.
    pub first_at: Option<DateTime<Utc>>,
    /// The last one.
    pub last_at: Option<DateTime<Utc>>,
    /// The first place at which something is wrong, and what.
    pub fault: Option<String>,
}

/// A verification under way.
#[derive(Debug)]
pub struct Verification {
    chains: VecDeque<Uuid>,
    walk: Option<Walk>,
    reports: Vec<ChainReport>,
    /// Heads that somebody noted: these seals must be there.
    noted: Vec<(Uuid, String)>,
}

/// A chain that is being walked.
#[derive(Debug)]
struct Walk {
    chain: Uuid,
    pepper: Option<PepperId>,
    number: i64,
    hash: Vec<u8>,
    upto: (i64, i64),
    written: Numbers,
    report: ChainReport,
    sealed: bool,
}

/// Line numbers that were met, as ranges: a copy of a line carries a number for the second time.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<i64, i64>);

impl Numbers {
    /// `false` if it was met before.
    fn insert(&mut self, number: i64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(first, last);
        true
    }
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    chain: Uuid,
}

/// Every chain that a line or a seal names, each found by one look into an index.
const CHAINS: &str = "
    WITH RECURSIVE named (chain) AS (
        (SELECT chain FROM audit ORDER BY chain LIMIT 1)
        UNION ALL
        SELECT (SELECT audit.chain FROM audit WHERE audit.chain > named.chain ORDER BY audit.chain LIMIT 1)
        FROM named WHERE named.chain IS NOT NULL
    )
    SELECT chain FROM (
        SELECT chain, min(sealed_at) AS opened FROM audit_seals WHERE number = 0 GROUP BY chain
        UNION ALL SELECT chain, NULL FROM named WHERE chain IS NOT NULL AND chain NOT IN (
            SELECT chain FROM audit_seals WHERE number = 0)
    ) AS every ORDER BY opened NULLS FIRST, chain";

impl Verification {
    /// Begins. `only` is the one chain that is wanted; `noted` are heads that were kept elsewhere, each with its chain. The
    /// last seal of this run of the daemon is one of them: it knows what it wrote.
    pub fn begin(
        tx: &mut ReadTx<'_>,
        trail: &Trail,
        permit: &Permit,
        only: Option<ChainId>,
        noted: Vec<(ChainId, String)>,
    ) -> Result<Self, StoreError> {
        if *permit.need() != Need::Server {
            return Err(StoreError::Permit("verifying the trail"));
        }
        let mut chains: VecDeque<Uuid> =
            diesel::sql_query(CHAINS).load::<Found>(tx.connection())?.into_iter().map(|found| found.chain).collect();
        let own = (trail.chain(), hex(&trail.head().hash));
        let noted = noted.into_iter().map(|(chain, hash)| (chain.as_uuid(), hash));
        let noted: Vec<(Uuid, String)> = noted.chain([own]).collect();
        // A chain that somebody knows and nobody finds is a finding.
        let known = only.map(ChainId::as_uuid).into_iter().chain(noted.iter().map(|(chain, _)| *chain));
        let missing: Vec<Uuid> = known.filter(|chain| !chains.contains(chain)).collect();
        chains.extend(missing);
        if let Some(only) = only {
            chains.retain(|chain| *chain == only.as_uuid());
        }
        Ok(Self { chains, walk: None, reports: Vec::new(), noted })
    }

    /// Goes on for a while; the reports when it is done.
    pub fn step(&mut self, tx: &mut ReadTx<'_>, trail: &Trail) -> Result<Option<Vec<ChainReport>>, StoreError> {
        let Some(walk) = &mut self.walk else {
            let Some(chain) = self.chains.pop_front() else { return Ok(Some(std::mem::take(&mut self.reports))) };
            self.walk = Some(Walk::new(chain));
            return Ok(None);
        };
        // Anew each time: months may be dropped meanwhile.
        let horizon = horizon(tx, trail)?;
        let done = match walk.step(tx, trail, &horizon)? {
            Ok(more) => !more,
            Err(fault) => {
                walk.report.fault = Some(fault);
                true
            }
        };
        if done && let Some(mut walk) = self.walk.take() {
            if walk.report.fault.is_none() {
                walk.report.fault = walk.cut_short(tx, &self.noted)?;
            }
            walk.report.head = hex(&walk.hash);
            self.reports.push(walk.report);
        }
        Ok(None)
    }
}

/// What is wrong, for people.
type Fault = String;

impl Walk {
    fn new(chain: Uuid) -> Self {
        let report = ChainReport {
            chain: ChainId::from_uuid(chain),
            lines: 0,
            unsealed: 0,
            pruned: 0,
            head: String::new(),
            first_at: None,
            last_at: None,
            fault: None,
        };
        Self {
            chain,
            pepper: None,
            number: -1,
            hash: vec![0; 32],
            upto: (-1, -1),
            written: Numbers::default(),
            report,
            sealed: false,
        }
    }

    /// The next seals with their lines, then the lines that no seal covers. `Ok(Ok(false))` when all is done.
    fn step(&mut self, tx: &mut ReadTx<'_>, trail: &Trail, horizon: &str) -> Result<Result<bool, Fault>, StoreError> {
        if self.sealed {
            return self.unsealed(tx, trail);
        }
        let mut seals: Vec<Seal> = audit_seals::table
            .filter(audit_seals::chain.eq(self.chain))
            .filter(audit_seals::number.gt(self.number))
            .order(audit_seals::number)
            .limit(SEALS_A_STEP)
            .select(Seal::as_select())
            .load(tx.connection())?;
        if seals.is_empty() {
            self.sealed = true;
            if self.number < 0 {
                return Ok(Err(
                    "this chain has no seals: its lines were added by somebody, or its seals removed".into()
                ));
            }
            return Ok(Ok(true));
        }
        let mut lines = 0;
        let enough = seals.iter().take_while(|seal| {
            let room = lines < LINES_A_STEP;
            lines += seal.lines;
            room
        });
        let enough = enough.count();
        seals.truncate(enough);
        let Some(upto) = seals.last().map(|seal| (seal.upto_xact, seal.upto_line)) else { return Ok(Ok(true)) };
        // One more than there should be, so that one too many is seen.
        let expected: i64 = seals.iter().map(|seal| seal.lines).sum();
        let lines = self.lines(tx, Some(upto), expected + 1)?;
        let mut lines = lines.as_slice();
        for seal in seals {
            let end = (seal.upto_xact, seal.upto_line);
            let (under, rest) = lines.split_at(lines.iter().take_while(|line| line.place() <= end).count());
            lines = rest;
            if let Err(fault) = self.check(tx, trail, horizon, &seal, under)? {
                return Ok(Err(fault));
            }
        }
        Ok(match lines.first() {
            Some(line) => Err(format!("line {} of {} was added, or moved here", line.id, when(line.at))),
            None => Ok(true),
        })
    }

    fn lines(&self, tx: &mut ReadTx<'_>, upto: Option<(i64, i64)>, limit: i64) -> Result<Vec<Line>, StoreError> {
        let mut query = audit::table
            .filter(audit::chain.eq(self.chain))
            .filter(audit::xact.ge(self.upto.0))
            .filter(audit::xact.gt(self.upto.0).or(audit::id.gt(self.upto.1)))
            .order((audit::xact.asc(), audit::id.asc()))
            .limit(limit)
            .select(Line::as_select())
            .into_boxed();
        if let Some((xact, id)) = upto {
            query = query.filter(audit::xact.le(xact)).filter(audit::xact.lt(xact).or(audit::id.le(id)));
        }
        Ok(query.load(tx.connection())?)
    }

    /// One seal and the lines that it covers.
    fn check(
        &mut self,
        tx: &mut ReadTx<'_>,
        trail: &Trail,
        horizon: &str,
        seal: &Seal,
        lines: &[Line],
    ) -> Result<Result<(), Fault>, StoreError> {
        let place = || format!("seal {} of {}", seal.number, when(seal.sealed_at));
        if seal.number != self.number + 1 {
            return Ok(Err(format!("seals {} to {} were removed", self.number + 1, seal.number - 1)));
        }
        let pepper = PepperId(seal.pepper_id);
        let Some(key) = trail.key_of(pepper).filter(|_| self.pepper.is_none_or(|known| known == pepper)) else {
            return Ok(Err(format!("{} names the pepper {}, which is not this chain's", place(), seal.pepper_id)));
        };
        if seal.expected_hash(key).as_slice() != seal.hash {
            return Ok(Err(format!("{} was changed", place())));
        }
        if seal.previous != self.hash {
            return Ok(Err(format!("{} does not follow from the one before it", place())));
        }
        if let Err(fault) = self.check_lines(seal, lines, key, horizon) {
            return Ok(Err(fault));
        }
        self.pepper = Some(pepper);
        self.number = seal.number;
        self.hash.clone_from(&seal.hash);
        self.upto = (seal.upto_xact, seal.upto_line);
        self.report.lines += seal.lines;
        self.report.first_at = [self.report.first_at, seal.first_at].into_iter().flatten().min();
        self.report.last_at = [self.report.last_at, seal.last_at].into_iter().flatten().max();
        if seal.kind == "open" { others_are_there(tx, &seal.content) } else { Ok(Ok(())) }
    }

    fn check_lines(&mut self, seal: &Seal, lines: &[Line], key: &TrailKey, horizon: &str) -> Result<(), Fault> {
        if lines.is_empty() && seal.lines > 0 && seal.month.as_str() < horizon {
            self.report.pruned += seal.lines;
            return Ok(());
        }
        self.genuine(lines, key)?;
        let place = || format!("seal {} of {}", seal.number, when(seal.sealed_at));
        let there = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        if there < seal.lines {
            return Err(format!("{} lines that {} covers were removed", seal.lines - there, place()));
        }
        if there > seal.lines {
            return Err(format!("{} lines were added among those that {} covers", there - seal.lines, place()));
        }
        if digest(lines, key).as_slice() != seal.digest {
            return Err(format!("lines that {} covers were exchanged or put into another order", place()));
        }
        Ok(())
    }

    /// Whether each line is as this chain's daemon wrote it, and there once.
    fn genuine(&mut self, lines: &[Line], key: &TrailKey) -> Result<(), Fault> {
        for line in lines {
            let place = || format!("line {} of {}", line.id, when(line.at));
            if !line.genuine(&line.expected_mac(key)) {
                return Err(format!("{} was changed, or added by somebody who lacks the pepper", place()));
            }
            if !self.written.insert(line.number) {
                return Err(format!("{} is a copy of another", place()));
            }
        }
        Ok(())
    }

    fn unsealed(&mut self, tx: &mut ReadTx<'_>, trail: &Trail) -> Result<Result<bool, Fault>, StoreError> {
        let lines = self.lines(tx, None, LINES_A_STEP)?;
        let Some(last) = lines.last().map(Line::place) else { return Ok(Ok(false)) };
        let Some(key) = self.pepper.and_then(|pepper| trail.key_of(pepper)) else { return Ok(Ok(false)) };
        // What was taken in from before there were chains was sealed at once: more of it comes from nobody.
        if self.chain == BEFORE_CHAINS && self.number > 0 {
            return Ok(Err(format!("{} lines were added", lines.len())));
        }
        if let Err(fault) = self.genuine(&lines, key) {
            return Ok(Err(fault));
        }
        self.report.unsealed += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        self.report.first_at = self.report.first_at.into_iter().chain(lines.iter().map(|line| line.at)).min();
        self.report.last_at = self.report.last_at.into_iter().chain(lines.iter().map(|line| line.at)).max();
        self.upto = last;
        Ok(Ok(true))
    }

    /// Whether the heads of this chain that somebody noted are still in it.
    fn cut_short(&self, tx: &mut ReadTx<'_>, noted: &[(Uuid, String)]) -> Result<Option<Fault>, StoreError> {
        for (_, head) in noted.iter().filter(|(chain, _)| *chain == self.chain) {
            let bytes = unhex(head);
            let found = audit_seals::table
                .filter(audit_seals::chain.eq(self.chain))
                .filter(audit_seals::hash.eq(&bytes))
                .select(audit_seals::number)
                .first::<i64>(tx.connection())
                .optional()?;
            if found.is_none() {
                return Ok(Some(format!("the noted head {head} is not in it: it was cut short, or written anew")));
            }
        }
        Ok(None)
    }
}

/// The last seals of older chains, as the first seal of a later one names them.
fn others_are_there(tx: &mut ReadTx<'_>, content: &str) -> Result<Result<(), Fault>, StoreError> {
    for named in content.lines() {
        let mut parts = named.split(':');
        let (Some(chain), Some(number), Some(hash)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (Ok(uuid), Ok(place)) = (chain.parse::<Uuid>(), number.parse::<i64>()) else { continue };
        let there = audit_seals::table
            .find((uuid, place))
            .select(audit_seals::hash)
            .first::<Vec<u8>>(tx.connection())
            .optional()?;
        if there.is_none_or(|there| there != unhex(hash)) {
            let whole = audit_seals::table.find((uuid, 0)).select(audit_seals::number).first::<i64>(tx.connection());
            return Ok(Err(match whole.optional()? {
                Some(_) => format!("the chain {chain}, older than this one, lost its end: seal {number} is gone"),
                None => format!("the chain {chain}, older than this one, was removed"),
            }));
        }
    }
    Ok(Ok(()))
}

/// The month before which retention dropped lines, if a seal that nobody forged says so; else empty.
fn horizon(tx: &mut ReadTx<'_>, trail: &Trail) -> Result<String, StoreError> {
    let prunes: Vec<Seal> = audit_seals::table
        .filter(audit_seals::kind.eq("prune"))
        .order(audit_seals::content.desc())
        .limit(1)
        .select(Seal::as_select())
        .load(tx.connection())?;
    let genuine = |seal: &Seal| {
        trail.key_of(PepperId(seal.pepper_id)).is_some_and(|key| seal.expected_hash(key).as_slice() == seal.hash)
    };
    Ok(prunes.into_iter().find(genuine).map(|seal| seal.content).unwrap_or_default())
}

fn when(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The bytes of hexadecimal text; of anything else some that no hash is.
fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16)).collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_met_once() {
        let mut numbers = Numbers::default();
        for number in [5, 1, 3, 2, 4, 9, 7, 8, 6] {
            assert!(numbers.insert(number), "{number}");
        }
        assert_eq!(numbers.0.len(), 1, "{:?}", numbers.0);
        for number in 1..=9 {
            assert!(!numbers.insert(number), "{number}");
        }
        assert!(numbers.insert(0) && numbers.insert(10) && !numbers.insert(10));
    }
}
