//! Rules that hold for every table, asked of PostgreSQL's catalog: next year's tables are covered, too.

use crate::world::{World, lines};

/// Identifiers without a foreign key, each with its reason.
const NO_REFERENCE: &[(&str, &str)] = &[
    ("audit_seals.pepper_id", "the trail refers to nothing, so that nothing can take it along"),
    (
        "last_uses.token_id",
        "a reference would lock the token, and with it whoever ends it, to note a use; whoever removes tokens removes these",
    ),
    (
        "tokens.created_by_user_id",
        "users are never deleted as rows, and the maker is who was just let in; a look at each mint cost a tenth of it",
    ),
    (
        "tokens.family_id",
        "names a line of rotations by its first token, which is the first to be cleaned away while later ones live on",
    ),
    (
        "tokens.pepper_id",
        "peppers are never deleted, and tokd registers its own before it makes anything; a look at each mint \
         cost a tenth of it",
    ),
    (
        "tokens.revoked_by_token_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
    (
        "tokens.revoked_by_user_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
    ("trust_uses.token_id", "what was exchanged stays burnt when the token is cleaned away"),
    ("trust_uses.trust_id", "what was exchanged stays burnt when the rule is removed"),
    (
        "users.cutoff_by_token_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
    (
        "users.cutoff_by_user_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
    (
        "workspaces.cutoff_by_token_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
    (
        "workspaces.cutoff_by_user_id",
        "who it was, as in the trail; a reference would lock them, which comes before tokens, and git tokens go",
    ),
];

/// The trail and its months.
const TRAIL: &str =
    "SELECT 'audit'::regclass::oid UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit'::regclass";

#[test]
fn every_identifier_outside_the_trail_refers_to_a_row() {
    let world = World::new();
    let loose = format!(
        "SELECT c.relname || '.' || a.attname AS line
                 FROM pg_attribute a
                 JOIN pg_class c ON c.oid = a.attrelid
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.oid NOT IN ({TRAIL})
                   AND a.attnum > 0 AND NOT a.attisdropped AND a.attname LIKE '%\\_id'
                   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
                                   AND k.conkey = ARRAY[a.attnum])
                 ORDER BY 1"
    );
    let expected: Vec<&str> = NO_REFERENCE.iter().map(|(column, _)| *column).collect();
    assert_eq!(lines(&mut world.raw(), &loose), expected);
}

#[test]
fn the_trail_refers_to_nothing_so_nothing_can_take_it_along() {
    let world = World::new();
    let held = format!(
        "SELECT conname AS line FROM pg_constraint
         WHERE contype = 'f' AND (conrelid IN ({TRAIL}) OR confrelid IN ({TRAIL})
                                  OR 'audit_seals'::regclass IN (conrelid, confrelid))"
    );
    assert_eq!(lines(&mut world.raw(), &held), Vec::<String>::new());
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
        // Users are never deleted as rows, and what somebody owns is asked only on the day they leave.
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

#[test]
fn every_month_of_the_trail_is_as_the_trail_is() {
    let world = World::new();
    // A month before this one, made by hand from a line that lay in the default partition.
    world.sql("SELECT audit_month('2026-02-28 23:59:59.999999+00'), audit_month('2026-03-01 00:00+00')");
    let months = "SELECT relname::text AS line FROM pg_class WHERE relispartition AND relkind = 'r'
                  AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let months = lines(&mut world.raw(), months);
    assert!(months.contains(&"audit_default".to_owned()) && months.contains(&"audit_2026_02".to_owned()), "{months:?}");
    let columns = |table: &str| {
        let query = format!(
            "SELECT format('%s %s %s %s', a.attname, a.atttypid::regtype, a.attnotnull,
                           pg_get_expr(d.adbin, d.adrelid)) AS line
             FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 ORDER BY a.attnum"
        );
        lines(&mut world.raw(), &query)
    };
    // What its checks and indexes say, whatever their names are.
    let rules = |table: &str| {
        let query = format!(
            "SELECT pg_get_constraintdef(oid) AS line FROM pg_constraint WHERE conrelid = '{table}'::regclass
             UNION SELECT regexp_replace(indexdef, 'INDEX .* ON (ONLY )?public\\.\\w+', '') FROM pg_indexes
             WHERE tablename = '{table}' ORDER BY 1"
        );
        lines(&mut world.raw(), &query)
    };
    assert!(columns("audit").len() >= 20 && rules("audit").len() >= 10);
    for month in months {
        assert_eq!(columns(&month), columns("audit"), "{month}");
        assert_eq!(rules(&month), rules("audit"), "{month}");
    }
}
