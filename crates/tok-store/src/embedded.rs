//! A private `PostgreSQL` cluster: made, run and stopped by this process, from the installed server programs.
//!
//! The cluster lives in `<data>/pg` and listens on one Unix socket that only its own user and root can reach;
//! `pg_ident.conf` maps that user and the daemon's to the role `tok`, so there is no password anywhere. It is
//! durable unless asked otherwise, ends with the process (also when that is killed), and recovers by itself.
//! Everything here blocks: call it from a thread that may.

mod account;
mod binaries;
mod child;
mod directory;
mod error;
mod init;
mod layout;
mod log;
mod server;
mod settings;
mod socket;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;
use rustix::process::Signal;

pub use self::binaries::{Binaries, OLDEST_MAJOR};
pub use self::error::EmbeddedError;
pub use self::log::{LogSink, Tail};
pub use self::server::{Exit, ExitWatch};

use self::account::Account;
use self::directory::ClusterDirectory;
use self::init::{Found, ROLE};
use self::layout::Layout;
use self::server::{LOG_PATIENCE, Server, Start};
use self::socket::SocketDirectory;

/// The database that [`Cluster::start`] makes for the daemon.
pub const DATABASE: &str = "tok";

/// A server that is ready refuses nobody for long; it may still be short of a resource for a moment.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
const CONNECT_FIRST_PAUSE: Duration = Duration::from_millis(10);
const CONNECT_LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A fast shutdown writes everything back; then the server gets harder words.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const QUIT_PATIENCE: Duration = Duration::from_secs(10);

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The data directory; the cluster is `pg` inside it. Made if missing, mode 0700.
    pub data: PathBuf,
    /// The system user that runs the cluster. Only root can name another than itself; by default root takes the
    /// owner of an existing cluster, else `tokd`, `postgres` or `nobody`, whichever exists first.
    pub system_user: Option<String>,
    /// The directory of `PostgreSQL`'s programs; by default they are looked for ([`Binaries::find`]).
    pub binaries: Option<PathBuf>,
    /// Whether commits survive a power cut. `false` is for tests; a cluster stays what it was made as.
    pub durable: bool,
    /// Where to make the socket's directory; by default `/run/tok`, `$XDG_RUNTIME_DIR/tok` or `/tmp`.
    pub sockets: Option<PathBuf>,
    /// Where the server's log lines go; by default to this process's log, target `postgres`.
    pub log: LogSink,
}

impl ClusterOptions {
    /// A durable cluster in `data`, everything else by default.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            system_user: None,
            binaries: None,
            durable: true,
            sockets: None,
            log: LogSink::default(),
        }
    }
}

/// A running cluster. Dropping it stops it as well, without saying how that went; prefer [`Cluster::stop`].
///
/// If the server ends by itself ([`Cluster::watch`] tells), [`Cluster::restart`] brings it back at the same
/// address. `PostgreSQL` itself restarts what crashes below its first process, so this is rare.
pub struct Cluster {
    server: Server,
    sockets: SocketDirectory,
    // Holds the data directory's lock, which thus outlives the server: `drop` below ends that first.
    launch: Launch,
    stopped: bool,
}

/// What stays the same from one start of the server to the next.
struct Launch {
    layout: Layout,
    binaries: Binaries,
    account: Account,
    options: ClusterOptions,
}

impl Cluster {
    /// Starts the cluster in `options.data`, making it first if there is none, and waits until it answers.
    ///
    /// What a killed process left is dealt with: half-made clusters are removed, a server that is still stopping
    /// is waited for (30 s), stale files are replaced.
    ///
    /// # Errors
    /// [`EmbeddedError`]; nothing half-made is ever used, so that the next start works once the cause is gone.
    pub fn start(options: ClusterOptions) -> Result<Self, EmbeddedError> {
        let layout = Layout::claim(&options.data)?;
        let path = layout.cluster();
        let found = init::examine(&path)?;
        let (binaries, owner) = match found {
            Found::Nothing => (Binaries::find(options.binaries.as_deref())?, None),
            Found::Cluster { major, owner, durable } => {
                let binaries = Binaries::for_cluster(options.binaries.as_deref(), &path, major)?;
                match (options.durable, durable) {
                    (true, false) => return Err(EmbeddedError::NotDurable { path }),
                    (false, true) => return Err(EmbeddedError::Durable { path }),
                    _ => (binaries, Some(owner)),
                }
            }
        };
        let account = Account::choose(options.system_user.as_deref(), &path, owner)?;
        match found {
            Found::Nothing => init::create(&layout, &binaries, &account, options.durable)?,
            Found::Cluster { .. } => layout.clear_unfinished()?,
        }
        let launch = Launch { layout, binaries, account, options };
        let (server, sockets) = launch.run()?;
        let cluster = Self { server, sockets, launch, stopped: false };
        cluster.create_database()?;
        Ok(cluster)
    }

    /// The libpq URI of a database in this cluster, as the role `tok`.
    pub fn url(&self, database: &str) -> String {
        url(self.sockets.path(), database)
    }

    /// The major version of the server.
    pub fn major(&self) -> u32 {
        self.launch.binaries.major()
    }

    /// Whether the server has ended.
    pub fn exited(&self) -> bool {
        self.server.watch().exited().is_some()
    }

    /// A handle to wait for the server's end with. After a [`Cluster::restart`] a new one is needed.
    pub fn watch(&self) -> ExitWatch {
        self.server.watch()
    }

    /// Starts the server again after it has ended, at the same address; stops it first if it still runs.
    ///
    /// # Errors
    /// [`EmbeddedError`]; the cluster then stays ended and this can be tried again.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.end(self.gentle());
        (self.server, self.sockets) = self.launch.run()?;
        self.create_database()
    }

    /// Stops the server in order: clients are cut off, everything is written, its socket is removed.
    ///
    /// A server that takes longer than 30 s is told to drop everything, which costs a recovery at the next start
    /// but no committed data.
    pub fn stop(mut self) -> Exit {
        self.stopped = true;
        let exit = self.end(Signal::INT);
        self.sockets.remove();
        exit
    }

    fn end(&self, first: Signal) -> Exit {
        let watch = self.server.watch();
        for (signal, patience) in [(first, STOP_PATIENCE), (Signal::QUIT, QUIT_PATIENCE)] {
            self.server.signal(signal);
            if let Some(exit) = watch.wait_timeout(patience) {
                return exit;
            }
            tracing::warn!("PostgreSQL has not stopped {} s after being asked", patience.as_secs());
        }
        self.server.signal(Signal::KILL);
        watch.wait()
    }

    /// How to stop without being asked: in order, but data that nobody will read again is not written first.
    fn gentle(&self) -> Signal {
        if self.launch.options.durable { Signal::INT } else { Signal::QUIT }
    }

    fn create_database(&self) -> Result<(), EmbeddedError> {
        let mut connection = self.connect()?;
        let created = database_exists(&mut connection, DATABASE).and_then(|exists| {
            if exists {
                return Ok(0);
            }
            diesel::sql_query(format!("CREATE DATABASE {DATABASE}")).execute(&mut connection)
        });
        match created {
            Ok(_) => Ok(()),
            Err(source) => {
                Err(self.server.failed(LOG_PATIENCE, |path, log| EmbeddedError::CreateDatabase { path, log, source }))
            }
        }
    }

    fn connect(&self) -> Result<PgConnection, EmbeddedError> {
        let (url, begin) = (self.url("postgres"), Instant::now());
        let mut pause = CONNECT_FIRST_PAUSE;
        loop {
            match PgConnection::establish(&url) {
                Ok(connection) => return Ok(connection),
                Err(source) if self.exited() || begin.elapsed() > CONNECT_PATIENCE => {
                    return Err(self.server.failed(LOG_PATIENCE, |path, log| EmbeddedError::Connect {
                        path,
                        log,
                        source,
                    }));
                }
                Err(_) => thread::sleep(pause),
            }
            pause = (pause * 2).min(CONNECT_LONGEST_PAUSE);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            self.end(self.gentle());
            self.sockets.remove();
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("data", &self.launch.layout.data()).finish_non_exhaustive()
    }
}

impl Launch {
    /// Starts the server on a complete cluster and waits until it is ready.
    fn run(&self) -> Result<(Server, SocketDirectory), EmbeddedError> {
        let path = self.layout.cluster();
        let directory = ClusterDirectory::open(&path)?;
        directory.wait_until_unused(&path)?;
        directory.remove_stale_pid_file(&path)?;
        init::write_access(&directory, &path, &self.account)?;
        let sockets = SocketDirectory::prepare(self.layout.data(), self.options.sockets.as_deref(), &self.account)?;
        sockets.clear();
        let start = Start {
            postgres: self.binaries.program("postgres"),
            cluster: &path,
            sockets: sockets.path(),
            account: &self.account,
            durable: self.options.durable,
            log: self.options.log.clone(),
        };
        let server = Server::spawn(start, directory)?;
        match server.wait_until_ready() {
            Ok(()) => Ok((server, sockets)),
            Err(error) => {
                server.signal(Signal::QUIT);
                server.watch().wait_timeout(QUIT_PATIENCE);
                sockets.remove();
                Err(error)
            }
        }
    }
}

/// Removes the data directory, with its cluster, of a process that was killed. `false`, and nothing done, if
/// somebody still uses any of it.
#[cfg(any(test, feature = "testdb"))]
pub(crate) fn remove_abandoned(data: &Path) -> bool {
    let Ok(layout) = Layout::claim(data) else { return false };
    let unused = [layout.cluster(), layout.unfinished()].iter().all(|path| match ClusterDirectory::open(path) {
        Ok(directory) => directory.is_unused(path),
        Err(error) => {
            matches!(error, EmbeddedError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
        }
    });
    if unused {
        socket::sweep(layout.data());
    }
    unused && std::fs::remove_dir_all(layout.data()).is_ok()
}

fn database_exists(connection: &mut PgConnection, name: &str) -> QueryResult<bool> {
    let query = diesel::sql_query("SELECT FROM pg_database WHERE datname = $1").bind::<Text, _>(name);
    Ok(query.execute(connection)? > 0)
}

/// `postgresql://tok@/database?host=/dir&port=5432`, percent-encoded. The port is named because the variable
/// PGPORT would change it otherwise.
fn url(sockets: &Path, database: &str) -> String {
    let host = percent_encoded(&sockets.to_string_lossy());
    format!("postgresql://{ROLE}@/{}?host={host}&port={}", percent_encoded(database), socket::PORT)
}

/// RFC 3986, section 2.1: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
