//! A database of its own for each test: one throw-away cluster per process, one migrated template, cheap clones.
//!
//! The cluster is not durable, lives in memory ([`in_memory`]) or in the temporary directory, and ends with the process.
//! Its files stay until a later process sweeps what dead ones left.

mod scratch;

use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;
use nix::unistd::Uid;

use crate::embedded::{Cluster, ClusterOptions, EmbeddedError, remove_abandoned};

pub use scratch::{in_memory, on_disk};

/// Brings the database at a libpq URI to the current schema.
pub type Migrate = fn(&str) -> Result<(), Box<dyn Error + Send + Sync>>;

/// The database that all others are clones of.
const TEMPLATE: &str = "tok_template";

/// Why there is no database for a test.
#[derive(Debug, thiserror::Error)]
pub enum TestDatabaseError {
    /// The cluster of this process did not start.
    #[error("cannot start a PostgreSQL cluster for tests")]
    Cluster(#[source] &'static EmbeddedError),
    /// The template could not be made; the text names the cause, since all tests of the process share it.
    #[error("cannot make the template database: {0}")]
    Template(&'static str),
    /// The server could not be reached.
    #[error("cannot connect to the PostgreSQL cluster for tests")]
    Connect(#[from] ConnectionError),
    /// The server refused to clone the template.
    #[error("cannot clone the template database")]
    Clone(#[from] diesel::result::Error),
}

/// A database that one test has for itself; dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    shared: &'static Shared,
}

impl TestDatabase {
    /// A new database with the schema that `migrate` makes.
    ///
    /// The first call in a process starts the cluster and runs `migrate` on the template; later calls only clone
    /// that, so a process has one schema.
    pub fn new(migrate: Migrate) -> Result<Self, TestDatabaseError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let shared = Shared::of_this_process(migrate)?;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        diesel::sql_query(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).execute(&mut shared.connect()?)?;
        Ok(Self { url: shared.cluster.url(&name), name, shared })
    }

    /// The libpq URI, for this process and those it starts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new connection to the database.
    pub fn connect(&self) -> ConnectionResult<PgConnection> {
        PgConnection::establish(&self.url)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Best effort: the whole cluster goes soon. FORCE cuts off connections that the test left open.
        if let Ok(mut connection) = self.shared.connect() {
            let _ = diesel::sql_query(format!("DROP DATABASE {} WITH (FORCE)", self.name)).execute(&mut connection);
        }
    }
}

/// What all tests of a process share.
#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    template: Result<(), String>,
}

impl Shared {
    fn of_this_process(migrate: Migrate) -> Result<&'static Self, TestDatabaseError> {
        static SHARED: OnceLock<Result<Shared, EmbeddedError>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start(migrate)).as_ref().map_err(TestDatabaseError::Cluster)?;
        shared.template.as_ref().map_err(|reason| TestDatabaseError::Template(reason))?;
        Ok(shared)
    }

    fn start(migrate: Migrate) -> Result<Self, EmbeddedError> {
        let parent = in_memory().map_or_else(env::temp_dir, Path::to_owned);
        let mut options = ClusterOptions::new(claim_directory(&parent));
        options.durable = false;
        let mut shared = Self { cluster: Cluster::start(options)?, template: Ok(()) };
        shared.template = shared.make_template(migrate).map_err(|error| chain(&*error));
        Ok(shared)
    }

    fn make_template(&self, migrate: Migrate) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut connection = self.connect()?;
        diesel::sql_query(format!("CREATE DATABASE {TEMPLATE}")).execute(&mut connection)?;
        migrate(&self.cluster.url(TEMPLATE))?;
        // Nobody may connect from here on: cloning would have to wait for them.
        let close = format!("ALTER DATABASE {TEMPLATE} WITH ALLOW_CONNECTIONS false");
        diesel::sql_query(close).execute(&mut connection)?;
        Ok(())
    }

    fn connect(&self) -> ConnectionResult<PgConnection> {
        PgConnection::establish(&self.cluster.url("postgres"))
    }
}

/// Sweeps what dead processes of this user left in `parent` and picks a directory for this one.
fn claim_directory(parent: &Path) -> PathBuf {
    let prefix = format!("tok-test-{}-", Uid::effective());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(|name| name.strip_prefix(&prefix)).is_some_and(is_dead) {
            remove_if_abandoned(&entry.path());
        }
    }
    let mut number = 0_u32;
    loop {
        let path = parent.join(format!("{prefix}{}-{number}", process::id()));
        // One that exists is left by an earlier process with our number, or used by one in another container.
        if !path.exists() || remove_if_abandoned(&path) {
            return path;
        }
        number += 1;
    }
}

/// Whether the process in a directory's name, `<pid>-<number>`, has ended.
fn is_dead(rest: &str) -> bool {
    let pid = rest.split_once('-').and_then(|(pid, _)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn remove_if_abandoned(path: &Path) -> bool {
    let ours = |status: fs::Metadata| status.is_dir() && status.uid() == Uid::effective().as_raw();
    fs::symlink_metadata(path).is_ok_and(ours) && remove_abandoned(path)
}

/// An error and its causes in one line: it is shown long after they are gone.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use diesel::sql_types::BigInt;

    use super::*;

    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }

    fn migrate(url: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        // The process has one schema: the crate's, since other tests of it want that one.
        Ok(crate::migrate(url).map(drop)?)
    }

    fn count(connection: &mut PgConnection, query: &str) -> i64 {
        diesel::sql_query(query).get_result::<Count>(connection).unwrap().count
    }

    #[test]
    fn each_test_has_its_own_rows_and_the_database_goes_with_it() {
        let first = TestDatabase::new(migrate).unwrap();
        let begin = Instant::now();
        let second = TestDatabase::new(migrate).unwrap();
        eprintln!("clone: {:?}", begin.elapsed());
        let mut left = first.connect().unwrap();
        let mut right = second.connect().unwrap();
        let ann = "INSERT INTO users (id, name, manager, created_at) VALUES (gen_random_uuid(), 'ann', false, now())";
        diesel::sql_query(ann).execute(&mut left).unwrap();
        assert_eq!(count(&mut left, "SELECT count(*) FROM users"), 1);
        assert_eq!(count(&mut right, "SELECT count(*) FROM users"), 0);

        // `right` is still connected, as a test that failed half-way would be.
        let (name, shared) = (second.name.clone(), second.shared);
        drop(second);
        let query = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        assert_eq!(count(&mut shared.connect().unwrap(), &query), 0);
    }

    #[test]
    fn what_dead_processes_left_is_swept_and_the_living_are_spared() {
        let parent = tempfile::tempdir().unwrap();
        let (uid, own) = (Uid::effective(), process::id());
        // Larger than any process number (proc(5), pid_max).
        let dead = parent.path().join(format!("tok-test-{uid}-5000000-0"));
        let alive = parent.path().join(format!("tok-test-{uid}-1-0"));
        let reused = parent.path().join(format!("tok-test-{uid}-{own}-0"));
        let other = parent.path().join("tok-test-notes");
        for path in [&dead, &alive, &reused, &other] {
            fs::create_dir_all(path.join("pg")).unwrap();
        }
        fs::write(dead.join("pg/file"), "x").unwrap();

        assert_eq!(claim_directory(parent.path()), reused);
        assert!(!dead.exists() && !reused.exists());
        assert!(alive.exists() && other.exists());

        // In use: another container may have a process with our number.
        let mut options = ClusterOptions::new(&reused);
        options.durable = false;
        let cluster = Cluster::start(options).unwrap();
        assert_eq!(claim_directory(parent.path()), parent.path().join(format!("tok-test-{uid}-{own}-1")));
        cluster.stop();
        assert_eq!(claim_directory(parent.path()), reused);
    }
}
