//! The trail in months: made ahead, dropped when they are old, and verifiable all the while.

use chrono::TimeDelta;
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::clock::Timestamp;
use tok_store::Store;
use tok_store::audit::Verification;

use crate::world::{World, at, connect, lines, server, writing};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn write(store: &Store, when: &str) {
    let event = AuditEvent::done(Action::TokenCreate, Actor::daemon()).detail(when);
    store.write(|tx| tx.commit(event, time(when))).unwrap();
}

fn months(world: &World) -> Vec<String> {
    let query = "SELECT c.relname::text AS line FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE inhparent = 'audit'::regclass ORDER BY 1";
    lines(&mut world.raw(), query)
}

fn place(world: &World, detail: &str) -> String {
    let query = format!("SELECT tableoid::regclass::text AS line FROM audit WHERE detail = '{detail}'");
    lines(&mut world.raw(), &query).join(" ")
}

/// Sealed lines, pruned ones, and what is wrong.
fn verified(store: &Store) -> (i64, i64, Vec<String>) {
    let trail = store.trail().unwrap();
    let begin =
        store.read(|tx| Verification::begin(tx, store.trail().unwrap(), &server(at(0)), None, Vec::new())).unwrap();
    let verification = std::cell::RefCell::new(begin);
    let reports = loop {
        if let Some(reports) = store.read(|tx| verification.borrow_mut().step(tx, trail)).unwrap() {
            break reports;
        }
    };
    let sum = |of: fn(&tok_store::audit::ChainReport) -> i64| reports.iter().map(of).sum();
    (sum(|r| r.lines), sum(|r| r.pruned), reports.iter().filter_map(|r| r.fault.clone()).collect())
}

#[test]
fn a_line_lies_in_its_month_and_strays_are_moved_when_theirs_is_made() {
    let world = World::new();
    assert_eq!(months(&world), ["audit_2027_01", "audit_2027_02", "audit_default"], "this month and the next");
    for when in ["2027-01-31T23:59:59.999999Z", "2027-02-01T00:00:00Z", "2027-03-05T00:00:00Z"] {
        write(&world.store, when);
    }
    assert_eq!(place(&world, "2027-01-31T23:59:59.999999Z"), "audit_2027_01");
    assert_eq!(place(&world, "2027-02-01T00:00:00Z"), "audit_2027_02");
    assert_eq!(place(&world, "2027-03-05T00:00:00Z"), "audit_default");
    assert_eq!(world.store.keep_months(None, time("2027-02-10T00:00:00Z")).unwrap(), None);
    assert_eq!(months(&world), ["audit_2027_01", "audit_2027_02", "audit_2027_03", "audit_default"]);
    assert_eq!(place(&world, "2027-03-05T00:00:00Z"), "audit_2027_03");
    world.store.seal(at(0)).unwrap();
    assert_eq!(verified(&world.store), (4, 0, vec![]));
}

#[test]
fn old_months_are_dropped_and_the_rest_verifies() {
    let world = World::new();
    let second = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    let both = [&world.store, &second];
    for (number, when) in
        ["2026-10-30T12:00:00Z", "2026-11-30T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-20T00:00:00Z"]
            .into_iter()
            .enumerate()
    {
        world.store.keep_months(None, time(when)).unwrap();
        write(both[number % 2], when);
        both[number % 2].seal(time(when)).unwrap();
    }
    // Written one after the other, though of different months: a seal is of one month.
    for when in ["2026-11-02T00:00:00Z", "2026-12-02T00:00:00Z", "2026-11-03T00:00:00Z"] {
        write(&world.store, when);
    }
    let keep = TimeDelta::days(60);
    assert_eq!(world.store.keep_months(Some(keep), time("2027-01-01T00:00:00Z")).unwrap().unwrap().months, ["2026-10"]);
    // 60 days before lie in December: November is over.
    let pruned = world.store.keep_months(Some(keep), time("2027-02-05T00:00:00Z")).unwrap().unwrap();
    assert_eq!((pruned.months, pruned.lines), (vec!["2026-11".to_owned()], 3));
    assert_eq!(world.store.keep_months(Some(keep), time("2027-02-05T00:00:00Z")).unwrap(), None, "once");
    assert!(!months(&world).contains(&"audit_2026_11".to_owned()));
    assert_eq!(world.count("SELECT count(*) AS number FROM audit WHERE at < '2026-12-01'"), 0);
    world.store.seal(time("2027-02-05T00:00:01Z")).unwrap();
    let (all, gone, faults) = verified(&world.store);
    assert_eq!((all, gone, faults), (1 + 4 + 3 + 2, 4, vec![]));
    let written = "SELECT detail AS line FROM audit WHERE action = 'audit.prune' ORDER BY id DESC LIMIT 1";
    let written = lines(&mut world.raw(), written);
    assert!(written[0].contains("3 lines from before 2026-12-01") && written[0].contains("2026-11"), "{written:?}");

    // What retention did not drop may not be gone, whatever a forged seal says.
    world.sql("DELETE FROM audit WHERE detail = '2026-12-01T00:00:00Z'");
    assert_eq!(verified(&world.store).2.len(), 1);
    world.sql("UPDATE audit_seals SET content = '2027-01' WHERE kind = 'prune'");
    assert!(!verified(&world.store).2.is_empty());
}

#[test]
fn forever_drops_nothing() {
    let world = World::new();
    write(&world.store, "2020-01-01T00:00:00Z");
    assert_eq!(world.store.keep_months(None, at(0)).unwrap(), None);
    assert_eq!(place(&world, "2020-01-01T00:00:00Z"), "audit_default");
    let pruned = world.store.keep_months(Some(TimeDelta::days(400)), at(0)).unwrap().unwrap();
    assert_eq!((pruned.months.len(), pruned.lines), (0, 1), "a stray is old, too");
    assert_eq!(place(&world, "2020-01-01T00:00:00Z"), "");
    world.store.seal(at(1)).unwrap();
    assert_eq!(verified(&world.store), (3, 1, vec![]));
}
