//! `src/schema.rs` is what the catalog of a migrated database says, and is written from it:
//! `TOK_UPDATE=1 cargo test -p tok-store schema`.

mod generator;

use std::path::Path;
use std::{env, fs};

use diesel::connection::SimpleConnection;

use crate::world;
use generator::{Unprintable, generate};

#[test]
fn the_committed_schema_is_the_one_that_the_migrations_make() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema.rs");
    let generated = generate(&mut world::database().connect().unwrap()).unwrap();
    if env::var_os("TOK_UPDATE").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let stale = generated.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert!(generated == committed, "src/schema.rs is stale, write it anew with `just generate`: {stale:?}");
}

#[test]
fn every_type_and_every_order_has_its_form() {
    let database = world::database();
    let mut connection = database.connect().unwrap();
    connection
        .batch_execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public;
             CREATE TABLE zebra (b int, a bigint, kept real, PRIMARY KEY (a, b));
             ALTER TABLE zebra DROP COLUMN kept;
             CREATE TABLE ape (id uuid PRIMARY KEY, words text[] NOT NULL CHECK (array_position(words, NULL) IS NULL),
                               holes text[], more jsonb NOT NULL);
             CREATE VIEW no_table AS SELECT 1;",
        )
        .unwrap();
    let expected = "\
// Generated from the migrations by `just generate`; a test fails when it is stale. Do not edit.

diesel::table! {
    ape (id) {
        id -> Uuid,
        words -> Array<Text>,
        holes -> Nullable<Array<Nullable<Text>>>,
        more -> Jsonb,
    }
}

diesel::table! {
    zebra (a, b) {
        b -> Int4,
        a -> Int8,
    }
}

diesel::allow_tables_to_appear_in_same_query!(ape, zebra);
";
    assert_eq!(generate(&mut connection).unwrap(), expected);
}

#[test]
fn a_line_too_long_is_broken_as_rustfmt_breaks_it() {
    let names = |count| (0..count).map(|number| format!("a_table_{number:02}")).collect::<Vec<String>>();
    let expected = "\
diesel::allow_tables_to_appear_in_same_query!(
    a_table_00,
    a_table_01,
    a_table_02,
    a_table_03,
    a_table_04,
    a_table_05,
    a_table_06
);
";
    assert_eq!(generator::same_query(&names(7)), expected);
    assert_eq!(generator::same_query(&names(6)).lines().count(), 1);
}

#[test]
fn what_diesel_has_no_form_for_is_refused_with_its_place() {
    for (table, complaint) in [
        ("CREATE TABLE odd (id int PRIMARY KEY, place point)", "odd.place has the type point"),
        ("CREATE TABLE odd (id int PRIMARY KEY, type text)", "odd.type is a word of Rust"),
        ("CREATE TABLE odd (id int)", "odd has no primary key"),
    ] {
        let database = world::database();
        let mut connection = database.connect().unwrap();
        connection.batch_execute(table).unwrap();
        let Unprintable(what) = generate(&mut connection).unwrap_err();
        assert!(what.starts_with(complaint), "{what}");
    }
}
