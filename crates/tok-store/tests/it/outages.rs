//! What goes wrong between tokd and its database is "cannot know now", never "no": and it ends when its cause ends.

use std::cell::Cell;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use secrecy::SecretString;
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::decide::Need;
use tok_model::id::{UserId, WorkspaceId};
use tok_model::secret::{Pepper, PepperId, Peppers};
use tok_store::embedded::{Cluster, ClusterOptions, DATABASE};
use tok_store::{MigrateError, Store, StoreError, WriteTx, migrate, tokens, users};

use crate::world::{CONNECTIONS, World, at, connect, permit, rng, server, session, writing};

/// Makes a user, whose name nobody else has.
fn make(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    let (id, own) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
    let name = format!("u{}", &id.as_uuid().simple().to_string()[..20]).parse().unwrap();
    users::create(tx, &server(at(0)), id, own, &name, false).map(drop)
}

fn event() -> AuditEvent {
    AuditEvent::done(Action::UserCreate, Actor::daemon())
}

/// Uses every connection of the pool at once.
fn use_all(store: &Store, connections: u32) -> Result<(), StoreError> {
    store.read(|tx| {
        users::count(tx)?;
        if connections > 1 { use_all(store, connections - 1) } else { Ok(()) }
    })
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome.unwrap_err() {
        StoreError::Unavailable { what, .. } => what,
        other => panic!("not an outage: {other:?}"),
    }
}

#[test]
fn a_read_survives_the_loss_of_every_connection() {
    let world = World::new();
    for _ in 0..3 {
        use_all(&world.store, CONNECTIONS).unwrap();
        world.cut_connections();
        assert_eq!(world.store.read(users::count).unwrap(), 0);
    }
}

#[test]
fn a_read_that_is_cut_in_the_middle_is_done_again() {
    let world = World::new();
    use_all(&world.store, CONNECTIONS).unwrap();
    let attempts = Cell::new(0);
    let count = world.store.read(|tx| {
        attempts.set(attempts.get() + 1);
        users::count(tx)?;
        if attempts.get() == 1 {
            world.cut_connections();
        }
        users::count(tx)
    });
    assert_eq!((count.unwrap(), attempts.get()), (0, 2));
    // Once: a database that goes away again and again is away.
    let attempts = Cell::new(0);
    let count = world.store.read(|tx| {
        attempts.set(attempts.get() + 1);
        world.cut_connections();
        users::count(tx)
    });
    unavailable(count);
    assert_eq!(attempts.get(), 2);
}

#[test]
fn a_write_that_has_not_begun_is_begun_again() {
    let world = World::new();
    for round in 1..=3 {
        use_all(&world.store, CONNECTIONS).unwrap();
        world.cut_connections();
        world
            .store
            .write(|mut tx| {
                make(&mut tx)?;
                tx.commit(event(), at(0))
            })
            .unwrap();
        assert_eq!(world.store.read(users::count).unwrap(), round);
    }
}

#[test]
fn a_write_that_was_cut_is_reported_and_not_repeated() {
    let world = World::new();
    let attempts = Cell::new(0);
    let outcome = world.store.write(|mut tx| {
        attempts.set(attempts.get() + 1);
        make(&mut tx)?;
        world.cut_connections();
        make(&mut tx)
    });
    unavailable(outcome);
    assert_eq!((attempts.get(), world.store.read(users::count).unwrap()), (1, 0));
}

#[test]
fn a_database_that_only_reads_is_an_outage_for_whoever_writes() {
    let world = World::new();
    let ann = world.user("ann");
    let permit = permit(&world.local(ann), Need::Mint(session(ann)), at(0));
    let read_only = |value| {
        let mut connection = world.raw();
        connection.batch_execute("SET default_transaction_read_only = off").unwrap();
        let alter = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {value}',
                                        current_database()); END $$"
        );
        connection.batch_execute(&alter).unwrap();
        world.cut_connections();
    };
    let (made, row) = (world.make(&permit, "before"), world.draft(&permit, "refused").1);
    read_only("on");
    unavailable(world.change(|tx| tokens::create(tx, &permit, row)));
    unavailable(world.change(|tx| tokens::revoke(tx, &server(at(1)), made.token.id, None)));
    unavailable(world.store.write(|tx| tx.commit(event(), at(0))));
    // Who may do what is still known, and git is not told to forget its credential.
    let found = world.store.read(|tx| tokens::by_digests(tx, &[made.digest])).unwrap();
    assert_eq!(found.len(), 1);
    world.store.ping().unwrap();
    read_only("off");
    world.make(&permit, "after");
}

#[test]
fn who_waits_too_long_is_told_so() {
    let world = World::new();
    // Whoever makes a user has little patience from then on, so that nobody has to wait for it here.
    let hurry = |setting: &str| {
        world.sql(&format!(
            "CREATE OR REPLACE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM set_config('{setting}', '30ms', true);
                 RETURN NEW;
             END $$;
             CREATE OR REPLACE TRIGGER hurry BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION hurry()"
        ));
    };
    let mut blocker = world.raw();
    for (setting, said) in [("statement_timeout", "statement timeout"), ("lock_timeout", "lock timeout")] {
        hurry(setting);
        blocker.batch_execute("BEGIN; LOCK TABLE workspaces IN EXCLUSIVE MODE").unwrap();
        let what = unavailable(world.change(make));
        assert!(what.contains(said), "{what}");
        blocker.batch_execute("COMMIT").unwrap();
        world.change(make).unwrap();
    }
}

#[test]
fn who_is_caught_in_a_deadlock_is_told_to_try_again() {
    let world = World::new();
    world.user("ann");
    world.user("bob");
    let set = |tx: &mut WriteTx<'_>, name: &str| {
        users::set_enabled(tx, &server(at(1)), &name.parse().unwrap(), false).map(drop)
    };
    let mut other = world.raw();
    // The other one never looks whether there is a deadlock, so that it is not the one to give way.
    other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; SELECT FROM users WHERE name = 'bob' FOR UPDATE").unwrap();
    let outcome = std::thread::scope(|scope| {
        let store = scope.spawn(|| {
            world.change(|tx| {
                set(tx, "ann")?;
                set(tx, "bob")
            })
        });
        world.until_waiting(1);
        other.batch_execute("SELECT FROM users WHERE name = 'ann' FOR UPDATE; COMMIT").unwrap();
        store.join().unwrap()
    });
    assert_eq!(unavailable(outcome), "deadlock detected");
    assert_eq!(world.count("SELECT count(*) AS number FROM users WHERE disabled_at IS NOT NULL"), 0);
}

#[test]
fn no_connection_waits_for_ever() {
    let world = World::new();
    world.sql(
        "CREATE TABLE seen (setting text);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen SELECT name || ' ' || current_setting(name) FROM unnest(ARRAY[
                 'application_name', 'idle_in_transaction_session_timeout', 'lc_messages', 'lock_timeout',
                 'statement_timeout']) AS name;
             RETURN NEW;
         END $$;
         CREATE TRIGGER look AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION look()",
    );
    let expected = [
        "application_name tokd",
        "idle_in_transaction_session_timeout 15s",
        "lc_messages C",
        "lock_timeout 3s",
        "statement_timeout 10s",
    ];
    // Also on the connections that replace the first ones.
    for _ in 0..2 {
        world.change(make).unwrap();
        let seen = crate::world::lines(&mut world.raw(), "SELECT setting AS line FROM seen ORDER BY 1");
        assert_eq!(seen, expected);
        world.sql("TRUNCATE seen");
        world.cut_connections();
    }
}

#[test]
fn a_full_pool_is_an_outage_and_not_a_wait() {
    let world = World::new();
    let url = SecretString::from(world.database.url());
    let store = Store::connect(&url, 1, Duration::from_millis(50)).unwrap();
    let what = store.read(|_| Ok(unavailable(store.read(users::count)))).unwrap();
    assert_eq!(what, "no free connection");
    assert_eq!(store.read(users::count).unwrap(), 0);
}

#[test]
fn a_database_that_is_stopped_is_an_outage_until_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let options = ClusterOptions { durable: false, ..ClusterOptions::new(data.path()) };
    let cluster = Cluster::start(options.clone()).unwrap();
    let url = cluster.url(DATABASE);
    migrate(&url).unwrap();
    let secret = SecretString::from(url.as_str());
    // Patience that a test has, too.
    let peppers = Peppers::only(Pepper::random(PepperId(1), &mut rng()));
    let store = writing(Store::connect(&secret, 2, Duration::from_millis(200)).unwrap(), &peppers);
    use_all(&store, 2).unwrap();

    cluster.stop();
    for _ in 0..3 {
        unavailable(store.read(users::count));
        unavailable(store.write(|tx| tx.commit(event(), at(0))));
        unavailable(store.ping());
    }
    unavailable(Store::connect(&secret, 2, Duration::from_millis(200)).map(drop));
    assert!(matches!(migrate(&url), Err(MigrateError::Connect(_))));

    let cluster = Cluster::start(options).unwrap();
    assert_eq!(cluster.url(DATABASE), url, "the same data, the same address");
    connect(&url, 1).unwrap().ping().unwrap();
    let store = writing(Store::connect(&secret, 2, Duration::from_secs(10)).unwrap(), &peppers);
    store.write(|tx| tx.commit(event(), at(0))).unwrap();
}
