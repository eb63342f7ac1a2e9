//! From PostgreSQL's catalog to `diesel::table!`.

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Text};

/// The widest line that rustfmt leaves alone, as `rustfmt.toml` says.
const WIDTH: usize = 120;

/// A table that `diesel::table!` cannot say, with what is in the way.
#[derive(Debug)]
pub struct Unprintable(pub String);

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Array<Text>)]
    key: Vec<String>,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    /// The type, or that of an array's elements.
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    array: bool,
    #[diesel(sql_type = Bool)]
    required: bool,
    /// Whether a constraint says that an array has no hole in it.
    #[diesel(sql_type = Bool)]
    whole: bool,
}

/// Tables and the columns of their primary keys. Diesel's own table is not ours to query, and a partition is queried by way
/// of its table.
const TABLES: &str = "
    SELECT c.relname::text AS name,
           array(SELECT a.attname::text
                 FROM pg_constraint p
                 CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
                 WHERE p.conrelid = c.oid AND p.contype = 'p'
                 ORDER BY k.place) AS key
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> '__diesel_schema_migrations'";

/// The columns of a table, in their order.
const COLUMNS: &str = r"
    SELECT a.attname::text AS name,
           coalesce(e.typname, t.typname)::text AS kind,
           e.oid IS NOT NULL AS array,
           a.attnotnull AS required,
           EXISTS (SELECT FROM pg_constraint k
                   WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
                     AND pg_get_constraintdef(k.oid) ~ 'array_position\(\w+, NULL::\w+\) IS NULL') AS whole
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE a.attrelid = ('public.' || quote_ident($1))::regclass AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

/// Words that cannot name a field.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The text of `src/schema.rs` for the database behind `connection`, exactly as rustfmt leaves it.
pub fn generate(connection: &mut PgConnection) -> Result<String, Unprintable> {
    let mut text =
        "// Generated from the migrations by `just generate`; a test fails when it is stale. Do not edit.\n\n"
            .to_owned();
    let mut tables: Vec<Table> = diesel::sql_query(TABLES).load(connection).unwrap();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    for table in &tables {
        if table.key.is_empty() {
            return Err(Unprintable(format!("{} has no primary key", table.name)));
        }
        text.extend(["diesel::table! {\n    ", &table.name, " (", &table.key.join(", "), ") {\n"]);
        let columns: Vec<Column> = diesel::sql_query(COLUMNS).bind::<Text, _>(&table.name).load(connection).unwrap();
        for column in columns {
            let place = format!("{}.{}", table.name, column.name);
            if KEYWORDS.contains(&column.name.as_str()) {
                return Err(Unprintable(format!("{place} is a word of Rust; give the column another name")));
            }
            text.extend(["        ", &column.name, " -> ", &column.diesel_type(&place)?, ",\n"]);
        }
        text += "    }\n}\n\n";
    }
    let names: Vec<String> = tables.into_iter().map(|table| table.name).collect();
    Ok(text + &same_query(&names))
}

/// `allow_tables_to_appear_in_same_query!` for these tables, on one line or one line each.
pub fn same_query(names: &[String]) -> String {
    let open = "diesel::allow_tables_to_appear_in_same_query!(";
    let line = format!("{open}{});", names.join(", "));
    if line.len() <= WIDTH { line + "\n" } else { format!("{open}\n    {}\n);\n", names.join(",\n    ")) }
}

impl Column {
    fn diesel_type(&self, place: &str) -> Result<String, Unprintable> {
        let element = match self.kind.as_str() {
            "bool" => "Bool",
            "bytea" => "Bytea",
            "float8" => "Float8",
            "inet" => "Inet",
            "int2" => "Int2",
            "int4" => "Int4",
            "int8" => "Int8",
            "jsonb" => "Jsonb",
            "text" => "Text",
            "timestamptz" => "Timestamptz",
            "uuid" => "Uuid",
            other => return Err(Unprintable(format!("{place} has the type {other}; teach the generator its name"))),
        };
        let whole = match (self.array, self.whole) {
            (false, _) => element.to_owned(),
            (true, true) => format!("Array<{element}>"),
            (true, false) => format!("Array<Nullable<{element}>>"),
        };
        Ok(if self.required { whole } else { format!("Nullable<{whole}>") })
    }
}
