//! Rules that hold for every table, asked of PostgreSQL's catalog: next year's tables are covered, too.

use crate::world::{World, lines};

/// Identifiers without a foreign key, each with its reason.
const NO_REFERENCE: &[(&str, &str)] = &[(
    "tokens.family_id",
    "names a line of rotations by its first token, which is the first to be cleaned away while later ones live on",
)];

#[test]
fn every_identifier_outside_the_trail_refers_to_a_row() {
    let world = World::new();
    let loose = "SELECT c.relname || '.' || a.attname AS line
                 FROM pg_attribute a
                 JOIN pg_class c ON c.oid = a.attrelid
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'audit'
                   AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '%\\_id'
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
                                   AND k.conkey = ARRAY[a.attnum])
                 ORDER BY 1";
    let expected: Vec<&str> = NO_REFERENCE.iter().map(|(column, _)| *column).collect();
    assert_eq!(lines(&mut world.raw(), loose), expected);
}

#[test]
fn the_trail_refers_to_nothing_so_nothing_can_take_it_along() {
    let world = World::new();
    let held = "SELECT conname AS line FROM pg_constraint
                WHERE contype = 'f' AND 'audit'::regclass IN (conrelid, confrelid)";
    assert_eq!(lines(&mut world.raw(), held), Vec::<String>::new());
    let references = "SELECT conname AS line FROM pg_constraint WHERE contype = 'f'";
    assert!(lines(&mut world.raw(), references).len() >= 8, "the query above finds references where there are some");
}

#[test]
fn nothing_is_deleted_by_way_of_something_else() {
    let world = World::new();
    let cascades = "SELECT conname AS line FROM pg_constraint WHERE contype = 'f' AND confdeltype NOT IN ('a', 'r')";
    assert_eq!(lines(&mut world.raw(), cascades), Vec::<String>::new());
}

#[test]
fn every_reference_can_be_followed_backwards_by_an_index() {
    // Without one, each deletion of a user or workspace reads every row that might refer to it.
    let accepted = [
        // Peppers are a handful and never deleted while tokens need them.
        "tokens_pepper_id_fkey",
        // Users are never deleted as rows, and what somebody made or owns is asked only on the day they leave.
        "tokens_created_by_user_id_fkey",
        "workspaces_owner_id_fkey",
    ];
    let world = World::new();
    let bare = "SELECT k.conname AS line FROM pg_constraint k
                WHERE k.contype = 'f' AND NOT EXISTS (
                    SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1])
                ORDER BY 1";
    let mut expected = accepted.to_vec();
    expected.sort_unstable();
    assert_eq!(lines(&mut world.raw(), bare), expected);
}

#[test]
fn every_moment_is_kept_with_its_zone_and_every_text_without_a_length() {
    let world = World::new();
    let odd = "SELECT table_name || '.' || column_name AS line FROM information_schema.columns
               WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
                 AND data_type IN ('timestamp without time zone', 'character varying', 'character', 'date')";
    assert_eq!(lines(&mut world.raw(), odd), Vec::<String>::new());
}
