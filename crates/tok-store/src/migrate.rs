//! Migrations, under an advisory lock so that two daemons that start together do not race.

use diesel::connection::SimpleConnection;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::StoreError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// `tok` and a number of our own; any constant would do.
const LOCK: i64 = 0x0074_6f6b_0000_0001;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error("cannot reach PostgreSQL to migrate its schema")]
    Connect(#[source] diesel::ConnectionError),
    /// The schema was made by a later tokd.
    #[error(
        "the database has schema version {found}, made by a later tokd; this one knows versions up to {known}: install that tokd again, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The newest version in the database.
        found: String,
        /// The newest version that this binary knows.
        known: String,
    },
    /// A migration failed; its transaction was rolled back.
    #[error("the schema could not be migrated; the database is as it was")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Asking failed.
    #[error("the schema version could not be read")]
    Store(#[from] StoreError),
}

/// What [`migrate`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The schema version now.
    pub version: String,
    /// The migrations that were run, oldest first; empty if there was nothing to do.
    pub run: Vec<String>,
}

/// The newest schema version that this binary knows.
pub fn newest_version() -> String {
    let mut versions: Vec<String> = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .unwrap_or_default()
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    versions.sort();
    versions.pop().unwrap_or_default()
}

/// Brings the schema of the database at `url` up to date. Refuses a schema that a later tokd made.
pub fn migrate(url: &str) -> Result<Migrated, MigrateError> {
    let mut connection = PgConnection::establish(url).map_err(MigrateError::Connect)?;
    // Held by the connection, so that a daemon that dies in the middle lets go of it.
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .map_err(StoreError::from)?;
    refuse_newer(&mut connection)?;
    let run = connection
        .run_pending_migrations(MIGRATIONS)
        .map_err(MigrateError::Failed)?
        .iter()
        .map(ToString::to_string)
        .collect();
    connection.batch_execute("SELECT pg_advisory_unlock_all()").map_err(StoreError::from)?;
    Ok(Migrated { version: newest_version(), run })
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Text>)]
    version: Option<String>,
}

fn refuse_newer(connection: &mut PgConnection) -> Result<(), MigrateError> {
    connection.setup_migrations_table()?;
    let found: Found = diesel::sql_query("SELECT max(version) AS version FROM __diesel_schema_migrations")
        .get_result(connection)
        .map_err(StoreError::from)?;
    let known = newest_version();
    match found.version {
        Some(found) if found > known => Err(MigrateError::Newer { found, known }),
        _ => Ok(()),
    }
}

trait SetUp {
    fn setup_migrations_table(&mut self) -> Result<(), MigrateError>;
}

impl SetUp for PgConnection {
    fn setup_migrations_table(&mut self) -> Result<(), MigrateError> {
        // Asking the harness for what ran creates its table.
        MigrationHarness::<Pg>::applied_migrations(self).map(drop).map_err(MigrateError::Failed)
    }
}
