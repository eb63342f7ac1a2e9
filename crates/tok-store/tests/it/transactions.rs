//! One transaction is one audited change: both or neither, whatever ends it.

use tok_model::audit::{Action, Actor, AuditEvent, AuditEvents};
use tok_model::decide::Need;
use tok_model::id::{UserId, WorkspaceId};
use tok_model::secret::PepperId;
use tok_store::tokens::StoredSecret;
use tok_store::{StoreError, WriteTx, users};

use crate::world::{World, at, done, lines, permit, personal, rng, server};

/// The lines of the trail about users.
fn trail(world: &World) -> Vec<String> {
    lines(&mut world.raw(), "SELECT action || ' ' || detail AS line FROM audit WHERE action LIKE 'user.%' ORDER BY id")
}

fn make(tx: &mut WriteTx<'_>) -> Result<AuditEvent, StoreError> {
    let (id, own) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
    let permit = server(at(0));
    users::create(tx, &permit, id, own, &"ann".parse().unwrap(), false)?;
    Ok(done(Action::UserCreate, &permit).detail("made"))
}

fn users_and_trail(world: &World) -> (i64, Vec<String>) {
    (world.store.read(users::count).unwrap(), trail(world))
}

#[test]
fn what_is_committed_is_there_with_its_trail() {
    let world = World::new();
    world
        .store
        .write(|mut tx| {
            let event = make(&mut tx)?;
            let second = AuditEvent::done(Action::UserEnable, Actor::daemon()).detail("as well");
            tx.commit(AuditEvents::new(event, [second]), at(0))
        })
        .unwrap();
    assert_eq!(users_and_trail(&world), (1, vec!["user.create made".to_owned(), "user.enable as well".to_owned()]));
}

#[test]
fn what_is_dropped_never_was() {
    let world = World::new();
    world.store.write(|mut tx| make(&mut tx).map(drop)).unwrap();
    assert_eq!(users_and_trail(&world), (0, vec![]));
    // Nor what ends in an error,
    let outcome: Result<(), _> = world.store.write(|mut tx| {
        make(&mut tx)?;
        Err(StoreError::NotFound { what: "something".to_owned(), look: String::new() })
    });
    assert!(matches!(outcome, Err(StoreError::NotFound { .. })));
    assert_eq!(users_and_trail(&world), (0, vec![]));
    // nor what panics.
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.store.write(|mut tx| -> Result<(), StoreError> {
            make(&mut tx)?;
            panic!("this one is meant");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(users_and_trail(&world), (0, vec![]));
    // And every connection is good for the next.
    for _ in 0..=crate::world::CONNECTIONS {
        world.store.write(|mut tx| make(&mut tx).map(drop)).unwrap();
    }
}

#[test]
fn what_is_dropped_costs_no_connection() {
    let world = World::new();
    let store = crate::world::writing(crate::world::connect(world.database.url(), 1).unwrap(), &world.peppers);
    let backends = || {
        lines(
            &mut world.raw(),
            "SELECT pid || ' ' || state AS line FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'tokd' ORDER BY pid",
        )
    };
    let before = backends();
    for _ in 0..3 {
        store.write(|mut tx| make(&mut tx).map(drop)).unwrap();
    }
    store.write(|tx| tx.commit(AuditEvent::done(Action::UserEnable, Actor::daemon()), at(0))).unwrap();
    assert_eq!(backends(), before, "the same, and idle");
}

#[test]
fn nobody_sees_a_change_before_its_trail() {
    let world = World::new();
    world
        .store
        .write(|mut tx| {
            let event = make(&mut tx)?;
            assert_eq!(users_and_trail(&world), (0, vec![]));
            tx.commit(event, at(0))
        })
        .unwrap();
    assert_eq!(users_and_trail(&world).0, 1);
}

#[test]
fn a_connection_that_is_cut_before_the_commit_leaves_neither() {
    let world = World::new();
    let outcome = world.store.write(|mut tx| {
        let event = make(&mut tx)?;
        world.cut_connections();
        tx.commit(event, at(0))
    });
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert_eq!(users_and_trail(&world), (0, vec![]));
}

#[test]
fn a_trail_that_cannot_be_written_undoes_the_change() {
    let world = World::new();
    world.sql("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (action <> 'user.create')");
    let outcome = world.store.write(|mut tx| {
        let event = make(&mut tx)?;
        tx.commit(event, at(0))
    });
    assert!(matches!(outcome, Err(StoreError::Statement(_))), "{outcome:?}");
    assert_eq!(users_and_trail(&world), (0, vec![]));
    world.store.ping().unwrap();
}

#[test]
fn a_commit_that_is_refused_leaves_neither() {
    let world = World::new();
    // Refused at the very end, when everything has been written.
    world.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
         CREATE CONSTRAINT TRIGGER last AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let outcome = world.store.write(|mut tx| {
        let event = make(&mut tx)?;
        tx.commit(event, at(0))
    });
    assert!(matches!(outcome, Err(StoreError::Statement(_))), "{outcome:?}");
    assert_eq!(users_and_trail(&world), (0, vec![]));
    for _ in 0..=crate::world::CONNECTIONS {
        world.store.ping().unwrap();
    }
}

#[test]
fn an_error_in_the_middle_spoils_the_rest() {
    let world = World::new();
    let ann = world.user("ann");
    let permit = permit(&world.local(ann), Need::Mint(personal(ann, "repo:read", None)), at(0));
    let first = world.make(&permit, "first");
    let outcome = world.store.write(|mut tx| {
        let (_, mut row) = world.draft(&permit, "second");
        row.secret = StoredSecret::Digest { digest: first.digest, pepper: PepperId(1) };
        // Whoever goes on as if nothing had happened
        let refused = tok_store::tokens::create(&mut tx, &permit, row);
        assert!(matches!(refused, Err(StoreError::Taken { field: "secret", .. })));
        tx.commit(done(Action::UserCreate, &permit).detail("by mistake"), at(0))
    });
    // does not get it committed.
    assert!(outcome.is_err());
    assert_eq!(trail(&world), Vec::<String>::new());
}

#[test]
fn the_servers_version_is_shown_without_its_packaging() {
    let world = World::new();
    let version = world.attempt(|tx| tx.server_version()).unwrap();
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    assert!(version.split('.').all(digits) && version.contains('.'), "{version}");
}
