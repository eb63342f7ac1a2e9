//! The schema's ways up and down.

use std::sync::Barrier;
use std::thread;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tok_store::testdb::TestDatabase;
use tok_store::{MigrateError, migrate, newest_version};

use crate::world::{database, lines};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// A database as an administrator makes it for tokd: nothing in it.
fn empty() -> TestDatabase {
    let database = database();
    database.connect().unwrap().batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").unwrap();
    database
}

/// Everything that the migrations make, as PostgreSQL says it.
fn everything(connection: &mut PgConnection) -> Vec<String> {
    lines(
        connection,
        "SELECT format('%s.%s %s %s %s', table_name, column_name, udt_name, is_nullable, column_default) AS line
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
         UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE '\\_\\_diesel%'
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_diesel%'
         UNION ALL SELECT format('%s %s', relkind, relname) FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '\\_\\_diesel%'
         ORDER BY line",
    )
}

#[test]
fn up_and_down_and_up_again_is_up() {
    let database = empty();
    let mut connection = database.connect().unwrap();
    let first = migrate(database.url()).unwrap();
    assert!(!first.run.is_empty());
    assert_eq!(first.version, newest_version());
    let up = everything(&mut connection);
    assert!(up.len() > 100, "the catalog is read: {up:?}");

    let again = migrate(database.url()).unwrap();
    assert_eq!((again.version.clone(), again.run), (first.version.clone(), Vec::new()));

    connection.revert_all_migrations(MIGRATIONS).unwrap();
    assert_eq!(everything(&mut connection), Vec::<String>::new());

    assert_eq!(migrate(database.url()).unwrap(), first);
    assert_eq!(everything(&mut connection), up);
}

#[test]
fn daemons_that_start_together_do_not_get_in_each_others_way() {
    let database = empty();
    let together = Barrier::new(4);
    let start = || {
        together.wait();
        migrate(database.url()).unwrap()
    };
    let done = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(done.iter().all(|migrated| migrated.version == newest_version()));
    assert_eq!(done.iter().filter(|migrated| !migrated.run.is_empty()).count(), 1, "one of them did it all: {done:?}");
}

#[test]
fn a_schema_of_a_later_tokd_is_refused_and_left_alone() {
    let database = database();
    let mut connection = database.connect().unwrap();
    let before = everything(&mut connection);
    connection.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')").unwrap();
    let error = migrate(database.url()).unwrap_err();
    assert!(
        matches!(&error, MigrateError::Newer { found, known } if found == "20991231000001" && *known == newest_version()),
        "{error}"
    );
    assert!(error.to_string().contains("install that tokd again"), "{error}");
    assert_eq!(everything(&mut connection), before);

    connection.batch_execute("DELETE FROM __diesel_schema_migrations WHERE version = '20991231000001'").unwrap();
    assert_eq!(migrate(database.url()).unwrap().run, Vec::<String>::new());
}

#[test]
fn a_migration_that_fails_leaves_nothing() {
    let database = empty();
    let mut connection = database.connect().unwrap();
    // The last thing that the first migration makes stands in its way already.
    connection.batch_execute("CREATE TABLE audit_repo (id int)").unwrap();
    let before = everything(&mut connection);
    let error = migrate(database.url()).unwrap_err();
    let MigrateError::Failed(cause) = &error else { panic!("{error}") };
    assert!(cause.to_string().contains("audit_repo"), "{cause}");
    assert_eq!(everything(&mut connection), before);
    assert_eq!(lines(&mut connection, "SELECT version AS line FROM __diesel_schema_migrations"), Vec::<String>::new());

    // With the cause out of the way, the next start works.
    connection.batch_execute("DROP TABLE audit_repo").unwrap();
    assert_eq!(migrate(database.url()).unwrap().version, newest_version());
}

#[test]
fn a_database_that_is_not_there_is_said_to_be_away() {
    let database = database();
    let elsewhere = database.url().replace("/test_", "/no_such_test_");
    assert!(matches!(migrate(&elsewhere), Err(MigrateError::Connect(_))));
}
