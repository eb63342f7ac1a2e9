//! The trail cannot be changed by anybody who lacks the pepper: each way of trying is found, with its place.

use std::thread;

use diesel::connection::SimpleConnection;
use tok_model::audit::{Action, Actor, AuditEvent, Source};
use tok_model::decide::Need;
use tok_model::id::ChainId;
use tok_model::name::RepoPath;
use tok_model::secret::{Pepper, PepperId, Peppers};
use tok_store::audit::{ChainReport, Use, Verification, record_uses};
use tok_store::{Store, StoreError};

use crate::world::{World, at, connect, lines, permit, rng, server, writing};

/// Verifies everything, or one chain.
fn verify_with(store: &Store, only: Option<ChainId>, noted: Vec<(ChainId, String)>) -> Vec<ChainReport> {
    let trail = store.trail().unwrap();
    let begin = |noted| {
        store.read(|tx| Verification::begin(tx, store.trail().unwrap(), &server(at(0)), only, Vec::clone(&noted)))
    };
    let verification = std::cell::RefCell::new(begin(noted).unwrap());
    loop {
        if let Some(reports) = store.read(|tx| verification.borrow_mut().step(tx, trail)).unwrap() {
            return reports;
        }
    }
}

fn verify(store: &Store) -> Vec<ChainReport> {
    verify_with(store, None, Vec::new())
}

#[track_caller]
pub fn intact(store: &Store) -> Vec<ChainReport> {
    let reports = verify(store);
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:#?}");
    reports
}

/// What is wrong, of the chains at which something is.
pub fn faults(store: &Store) -> Vec<String> {
    verify(store).into_iter().filter_map(|report| report.fault).collect()
}

fn event(detail: &str) -> AuditEvent {
    let source = Source { uid: Some(1000), agent: Some("git/2.47.3".to_owned()), ..Source::default() };
    let actor = Actor { source, ..Actor::daemon() };
    AuditEvent::done(Action::TokenCreate, actor).repo("acme/app".parse::<RepoPath>().unwrap()).detail(detail)
}

fn write(store: &Store, detail: &str, second: i64) {
    store.write(|tx| tx.commit(event(detail), at(second))).unwrap();
}

/// A world with ten sealed lines, under several seals, besides its own.
fn sealed() -> World {
    let world = World::new();
    for number in 0..10 {
        write(&world.store, &format!("line {number}"), number);
        if number % 3 == 0 {
            world.store.seal(at(number)).unwrap();
        }
    }
    world.store.seal(at(20)).unwrap();
    world
}

fn id_of(world: &World, detail: &str) -> i64 {
    world.count(&format!("SELECT id AS number FROM audit WHERE detail = '{detail}'"))
}

#[test]
fn what_was_written_verifies_and_says_how_much_it_is() {
    let world = sealed();
    let reports = intact(&world.store);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((report.lines, report.unsealed, report.pruned), (11, 0, 0));
    assert_eq!((report.first_at, report.last_at), (Some(at(0)), Some(at(9))));
    assert_eq!(report.head.len(), 64);
    assert_eq!(report.chain.as_uuid(), world.store.trail().unwrap().chain());

    write(&world.store, "more", 30);
    let reports = intact(&world.store);
    assert_eq!((reports[0].lines, reports[0].unsealed), (11, 1));
    assert_eq!(world.store.seal(at(31)).unwrap(), 1);
    assert_eq!(world.store.seal(at(32)).unwrap(), 0, "nothing new is sealed twice");
    let later = &intact(&world.store)[0];
    assert_eq!((later.lines, later.unsealed), (12, 0));
    assert_ne!(later.head, report.head);
}

#[test]
fn only_a_manager_verifies() {
    let world = World::new();
    let ann = world.user("ann");
    let own = permit(&world.local(ann), Need::OwnAudit, at(0));
    let refused =
        world.store.read(|tx| Verification::begin(tx, world.store.trail().unwrap(), &own, None, Vec::new()).map(drop));
    assert!(matches!(refused, Err(StoreError::Permit(_))));
}

#[test]
fn a_change_of_any_column_is_found() {
    let world = sealed();
    intact(&world.store);
    let columns = "SELECT format('%s %s', attname, atttypid::regtype) AS line FROM pg_attribute
                   WHERE attrelid = 'audit'::regclass AND attnum > 0 ORDER BY attnum";
    let columns = lines(&mut world.raw(), columns);
    assert!(columns.len() >= 25);
    let line = id_of(&world, "line 5");
    for column in columns {
        let (name, kind) = column.split_once(' ').unwrap();
        let other = match kind {
            "text" if name == "outcome" => "'refused'".to_owned(),
            "text" => format!("coalesce({name}, '') || 'x'"),
            "bigint" | "integer" => format!("coalesce({name}, 0) + 1000000"),
            "uuid" => "gen_random_uuid()".to_owned(),
            "bytea" => "sha256('')".to_owned(),
            "timestamp with time zone" => "at + interval '1 microsecond'".to_owned(),
            other => panic!("{other}"),
        };
        world.sql("CREATE TABLE kept AS SELECT * FROM audit");
        world.sql(&format!("UPDATE audit SET {name} = {other} WHERE id = {line}"));
        assert!(!faults(&world.store).is_empty(), "{column}");
        // What is NULL and what is empty are two things, too.
        world.sql("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept; DROP TABLE kept");
        intact(&world.store);
    }
    world.sql(&format!("UPDATE audit SET agent = '' WHERE id = {line}"));
    assert_eq!(faults(&world.store).len(), 1);
}

/// Does this to a sealed trail, and gives what verification says of it.
fn tampered(statements: &str) -> String {
    let world = sealed();
    intact(&world.store);
    world.raw().batch_execute(statements).unwrap();
    let faults = faults(&world.store);
    assert_eq!(faults.len(), 1, "{statements}: {faults:?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn each_way_of_tampering_is_found_and_named() {
    let copied =
        "(at, action, outcome, actor_name, actor_uid, agent, workspace, repo, detail, times, chain, number, mac";
    for (statements, says) in [
        ("UPDATE audit SET detail = 'nothing' WHERE detail = 'line 5'", "was changed"),
        ("DELETE FROM audit WHERE detail = 'line 5'", "1 lines that seal"),
        ("DELETE FROM audit WHERE detail = 'line 9'", "were removed"),
        // A copy, as if it had been written just now or together with the first.
        (&format!("INSERT INTO audit {copied}) SELECT {} FROM audit WHERE detail = 'line 5'", &copied[1..]), "is a copy"),
        (
            &format!("INSERT INTO audit {copied}, xact) SELECT {}, xact FROM audit WHERE detail = 'line 5'", &copied[1..]),
            "",
        ),
        // Invented, with and without something that looks like a hash.
        (
            "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, mac)
             SELECT at, action, outcome, 'ann', 'invented', 1, chain, 1000, sha256('') FROM audit WHERE detail = 'line 5'",
            "added by somebody who lacks the pepper",
        ),
        (
            "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number)
             SELECT now(), 'token.use', 'done', 'ann', '', 1, '00000000-0000-0000-0000-000000000000', 1",
            "has no seals",
        ),
        (
            "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, mac)
             SELECT now(), 'token.use', 'done', 'ann', '', 1, gen_random_uuid(), 1, sha256('')",
            "has no seals",
        ),
        // Two lines in each other's place.
        (
            "UPDATE audit a SET detail = b.detail, number = b.number, mac = b.mac, at = b.at FROM audit b
             WHERE (a.detail, b.detail) IN (('line 4', 'line 5'), ('line 5', 'line 4'))",
            "another order",
        ),
        ("DELETE FROM audit_seals WHERE number = 2", "seals 2 to 2 were removed"),
        ("DELETE FROM audit_seals WHERE number = 0", "seals 0 to 0 were removed"),
        ("UPDATE audit_seals SET lines = lines - 1 WHERE number = 2", "seal 2 of"),
        ("UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE number = 2", "was changed"),
        ("UPDATE audit_seals SET content = 'x' WHERE number = 0", "was changed"),
        ("UPDATE audit_seals SET month = '2020-01' WHERE number = 2", "was changed"),
        // The lines and their seal, cut out together.
        (
            "DELETE FROM audit WHERE detail IN ('line 4', 'line 5', 'line 6');
             DELETE FROM audit_seals WHERE number = 3",
            "seals 3 to 3 were removed",
        ),
        // All seals, and the lines re-sealed by nobody.
        ("DELETE FROM audit_seals", "has no seals"),
    ] {
        let fault = tampered(statements);
        assert!(fault.contains(says), "{statements}: {fault}");
    }
}

#[test]
fn a_tail_that_was_cut_off_is_missed_by_whoever_noted_the_head() {
    let world = sealed();
    let chain = ChainId::from_uuid(world.store.trail().unwrap().chain());
    let head = intact(&world.store)[0].head.clone();
    let noted = || vec![(chain, head.clone())];
    assert!(verify_with(&world.store, None, noted())[0].fault.is_none());
    write(&world.store, "later", 30);
    world.store.seal(at(31)).unwrap();
    assert!(verify_with(&world.store, None, noted())[0].fault.is_none(), "it has only grown");

    world.sql("DELETE FROM audit WHERE detail IN ('later', 'line 9', 'line 8', 'line 7')");
    world.sql("DELETE FROM audit_seals WHERE number >= 4");
    let cut = &verify_with(&world.store, None, noted())[0];
    assert!(cut.fault.as_deref().unwrap().contains("cut short"), "{cut:?}");
    // A head of a chain that is gone whole.
    world.sql("DELETE FROM audit; DELETE FROM audit_seals");
    assert_eq!(faults(&world.store).len(), 1, "whoever wrote it knows that it was there");
    let later = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    intact(&later);
    let gone = verify_with(&later, Some(chain), noted());
    assert!(gone[0].fault.is_some(), "{gone:?}");
}

#[test]
fn a_living_daemon_notices_that_its_end_was_cut_off() {
    let world = sealed();
    world.sql("DELETE FROM audit WHERE detail = 'line 9'; DELETE FROM audit_seals WHERE number = (SELECT max(number) FROM audit_seals)");
    assert!(faults(&world.store)[0].contains("cut short"));
    // It goes on from what it knows, and so leaves the gap visible.
    write(&world.store, "later", 30);
    world.store.seal(at(31)).unwrap();
    assert!(faults(&world.store)[0].contains("were removed"));
}

#[test]
fn each_run_has_its_chain_and_a_later_one_holds_the_older_ones() {
    let world = sealed();
    let first = world.store.trail().unwrap().chain();
    let second = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    write(&second, "of the second", 40);
    write(&world.store, "of the first", 41);
    second.seal(at(42)).unwrap();
    world.store.seal(at(43)).unwrap();
    let third = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    let reports = intact(&third);
    let mut covered: Vec<i64> = reports.iter().map(|report| report.lines).collect();
    covered.sort_unstable();
    assert_eq!(covered, [0, 1, 12]);
    let one = verify_with(&third, Some(ChainId::from_uuid(first)), Vec::new());
    assert_eq!(one.len(), 1);

    world.sql("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_seals AS SELECT * FROM audit_seals");
    // The second chain vanishes whole, or loses its end together with its line.
    for (statements, says) in [
        (
            "DELETE FROM audit WHERE detail = 'of the second';
             DELETE FROM audit_seals WHERE chain = (SELECT chain FROM kept WHERE detail = 'of the second')",
            "was removed",
        ),
        (
            "DELETE FROM audit WHERE detail = 'of the second';
             DELETE FROM audit_seals WHERE number > 0
                AND chain = (SELECT chain FROM kept WHERE detail = 'of the second')",
            "lost its end",
        ),
    ] {
        world.sql(statements);
        let faults = faults(&third);
        assert!(faults.iter().any(|fault| fault.contains(says)), "{faults:?}");
        world.sql(
            "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept;
             DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM kept_seals",
        );
        intact(&third);
    }
}

#[test]
fn what_a_killed_daemon_left_is_sealed_by_a_later_one() {
    let world = sealed();
    write(&world.store, "never sealed by its writer", 50);
    let later = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    assert_eq!(later.seal_abandoned(at(60)).unwrap(), 0, "its writer may live");
    assert_eq!(intact(&later)[0].unsealed, 1);
    assert_eq!(later.seal_abandoned(at(111)).unwrap(), 1);
    assert_eq!(intact(&later)[0].unsealed, 0);
    assert_eq!(later.seal_abandoned(at(112)).unwrap(), 0);
    // Should it live after all, it goes on behind.
    write(&world.store, "it lives", 113);
    let _ = world.store.seal(at(114));
    world.store.seal(at(115)).unwrap();
    assert_eq!(intact(&later)[0].unsealed, 0);
}

#[test]
fn a_transaction_that_is_open_is_sealed_when_it_is_over_and_nothing_waits() {
    let world = sealed();
    let mut slow = world.raw();
    // Not of ours, and of no interest, but until it ends nobody knows what its number hides.
    slow.batch_execute("BEGIN; SELECT pg_current_xact_id()").unwrap();
    write(&world.store, "meanwhile", 50);
    assert_eq!(world.store.seal(at(51)).unwrap(), 0);
    assert_eq!(intact(&world.store)[0].unsealed, 1);
    slow.batch_execute("COMMIT").unwrap();
    assert_eq!(world.store.seal(at(52)).unwrap(), 1);
    intact(&world.store);
}

#[test]
fn lines_of_many_writers_and_seals_between_them_make_one_chain() {
    let world = World::new();
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &world.store;
            scope.spawn(move || {
                for number in 0..50 {
                    write(store, &format!("{writer} {number}"), number);
                }
            });
        }
        for second in 0..40 {
            world.store.seal(at(second)).unwrap();
        }
    });
    world.store.seal(at(100)).unwrap();
    let reports = intact(&world.store);
    assert_eq!((reports[0].lines, reports[0].unsealed), (201, 0));
}

#[test]
fn a_batch_larger_than_a_seal_is_sealed_in_parts() {
    let world = World::new();
    let uses: Vec<Use> = (0..12_000).map(|number| Use { at: at(number), times: 1, event: event("many") }).collect();
    world.store.write(|tx| record_uses(tx, &uses)).unwrap();
    assert_eq!(world.store.seal(at(1)).unwrap(), 12_001);
    assert_eq!(intact(&world.store)[0].lines, 12_001);
    world.sql("UPDATE audit SET times = 2 WHERE id = (SELECT max(id) - 5 FROM audit)");
    assert_eq!(faults(&world.store).len(), 1);
}

#[test]
fn lines_from_before_there_were_chains_are_taken_in_once() {
    let world = World::new();
    world.sql(
        "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, xact)
         SELECT '2026-12-01', 'token.use', 'done', 'ann', n::text, 1, '00000000-0000-0000-0000-000000000000', n, 0
         FROM generate_series(1, 3) n",
    );
    let later = writing(connect(world.database.url(), 2).unwrap(), &world.peppers);
    assert_eq!(later.seal_abandoned(at(1)).unwrap(), 3);
    assert_eq!(intact(&later).iter().map(|report| report.lines).max(), Some(3));
    for statement in [
        "UPDATE audit SET actor_name = 'bob' WHERE detail = '2'",
        "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number)
         VALUES (now(), 'token.use', 'done', 'ann', '', 1, '00000000-0000-0000-0000-000000000000', 4)",
    ] {
        world.sql(statement);
        assert_eq!(faults(&later).len(), 1, "{statement}");
        world.sql("UPDATE audit SET actor_name = 'ann' WHERE detail = '2'");
    }
}

#[test]
fn a_dump_restored_elsewhere_verifies_and_goes_on() {
    let world = sealed();
    write(&world.store, "not sealed yet", 30);
    // Another cluster: other transaction numbers, and another name.
    world.sql(
        "UPDATE audit SET xact = xact WHERE false;
         CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_seals AS SELECT * FROM audit_seals",
    );
    let other = World::new();
    let dump = |table: &str| lines(&mut world.raw(), &format!("SELECT row_to_json(t)::text AS line FROM {table} t"));
    other.sql("DELETE FROM audit; DELETE FROM audit_seals");
    for (kept, table) in [("kept", "audit"), ("kept_seals", "audit_seals")] {
        for row in dump(kept) {
            let row = row.replace('\'', "''");
            other.sql(&format!("INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, '{row}')"));
        }
    }
    let restored = writing(connect(other.database.url(), 2).unwrap(), &world.peppers);
    write(&restored, "in the new place", 40);
    restored.seal(at(41)).unwrap();
    restored.seal_abandoned(at(1000)).unwrap();
    let reports = intact(&restored);
    assert_eq!(reports.iter().map(|report| (report.lines, report.unsealed)).collect::<Vec<_>>(), [(12, 0), (1, 0)]);
}

#[test]
fn a_chain_of_an_earlier_pepper_verifies_and_one_of_another_does_not() {
    let world = sealed();
    let both = {
        use secrecy::ExposeSecret as _;
        let new = Peppers::only(Pepper::random(PepperId(2), &mut rng()));
        let file = format!("{}{}", world.peppers.to_file().expose_secret(), new.to_file().expose_secret());
        file.parse::<Peppers>().unwrap()
    };
    let later = writing(connect(world.database.url(), 2).unwrap(), &both);
    write(&later, "under the new one", 40);
    later.seal(at(41)).unwrap();
    intact(&later);
    let stranger = Peppers::only(Pepper::random(PepperId(1), &mut rng()));
    let stranger = writing(connect(world.database.url(), 2).unwrap(), &stranger);
    assert!(faults(&stranger).iter().any(|fault| fault.contains("was changed")));
}
