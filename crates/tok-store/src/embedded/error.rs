//! Everything that can keep the private cluster from running, said so that the reader knows what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::log::Tail;

/// Why the private `PostgreSQL` cluster cannot be found, made, started or stopped.
///
/// The texts end in what to do next; a cause that the operating system or libpq named is the error's source and
/// is not repeated.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No directory with `initdb` and `postgres` of a version that tok can use.
    #[error(
        "no PostgreSQL server programs of version {oldest} or newer were found (looked in {looked_in}); install \
         them with `apt install postgresql` (Debian, Ubuntu) or `dnf install postgresql-server` (Fedora, RHEL), \
         or name their directory with TOK_PG_BIN"
    )]
    BinariesMissing {
        /// The oldest usable major version.
        oldest: u32,
        /// The places searched, comma separated.
        looked_in: String,
    },

    /// The directory that was named explicitly does not hold a usable `PostgreSQL`.
    #[error("{} cannot be used as the directory of PostgreSQL's server programs: {reason}", directory.display())]
    BinariesUnusable {
        /// The directory as named.
        directory: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The cluster was made by a major version whose programs are not installed.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, but here is only {installed}; install version \
         {cluster} (`apt install postgresql-{cluster}` or `dnf install postgresql{cluster}-server`), or dump it \
         where {cluster} runs and load it into a new data directory", path.display()
    )]
    WrongMajor {
        /// The cluster directory.
        path: PathBuf,
        /// Major version of the cluster.
        cluster: u32,
        /// Versions found, for people.
        installed: String,
    },

    /// Another daemon holds the lock of this data directory.
    #[error(
        "the data directory {} is in use by {}; stop that one or choose another directory",
        path.display(), Holder(*pid)
    )]
    DataInUse {
        /// The data directory.
        path: PathBuf,
        /// The process that wrote the lock file, if it could be read.
        pid: Option<i32>,
    },

    /// A server of an earlier run still has the cluster and did not end in time.
    #[error(
        "the PostgreSQL server of an earlier run ({}) still uses {} after {} s; end it and start again",
        Holder(*pid), path.display(), waited.as_secs()
    )]
    ClusterBusy {
        /// The cluster directory.
        path: PathBuf,
        /// The postmaster named in `postmaster.pid`.
        pid: Option<i32>,
        /// How long tok waited for it.
        waited: Duration,
    },

    /// The cluster directory exists, holds something, and is not a cluster that tok made.
    #[error(
        "{} is not empty and is not a cluster that tok made ({missing}); choose another data directory or move \
         it away", path.display()
    )]
    NotOurs {
        /// The cluster directory.
        path: PathBuf,
        /// The file that would have proved it ours.
        missing: &'static str,
    },

    /// The file that tok leaves in its clusters says something this version does not understand.
    #[error(
        "{} was written by another version of tok: {reason}; start the version that made it", path.display()
    )]
    UnknownMarker {
        /// The marker file.
        path: PathBuf,
        /// What could not be understood.
        reason: String,
    },

    /// A cluster made without durability (for tests) was asked to hold real data.
    #[error(
        "the cluster in {} was made for tests, without fsync, and must not hold real data; choose another data \
         directory", path.display()
    )]
    NotDurable {
        /// The cluster directory.
        path: PathBuf,
    },

    /// A cluster with real data was asked to run without durability.
    #[error("the cluster in {} holds real data and is never run without fsync; choose another directory for tests", path.display())]
    Durable {
        /// The cluster directory.
        path: PathBuf,
    },

    /// The system user that was asked for does not exist.
    #[error(
        "there is no system user {name:?} to run PostgreSQL as; create it (`useradd --system {name}`) or name another"
    )]
    NoSuchUser {
        /// The name as given.
        name: String,
    },

    /// Only root can run the cluster as somebody else.
    #[error("only root can run PostgreSQL as {name:?}; this process runs as {own:?}")]
    UserNeedsRoot {
        /// The user asked for.
        name: String,
        /// The user of this process.
        own: String,
    },

    /// `PostgreSQL` needs a name for its user, and this uid has none.
    #[error("uid {uid} has no name in /etc/passwd, and PostgreSQL needs one; add an entry or run as a named user")]
    UnnamedUser {
        /// The nameless uid.
        uid: u32,
    },

    /// root was left as the only choice, and `PostgreSQL` refuses it.
    #[error(
        "PostgreSQL refuses to run as root, and none of {tried} is a system user here; create one with \
         `useradd --system tokd`"
    )]
    NoUnprivilegedUser {
        /// The names tried, comma separated.
        tried: String,
    },

    /// root was asked for explicitly.
    #[error("PostgreSQL refuses to run as root; name an unprivileged system user for the cluster")]
    RootRefused,

    /// The cluster belongs to another system user than the one that is to run it.
    #[error(
        "the cluster in {} belongs to {owner}, but PostgreSQL is to run as {wanted}; run tok as {owner} or root, \
         or give it away with `chown -R {wanted} {}`", path.display(), path.display()
    )]
    OwnedByOther {
        /// The cluster directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
        /// The user that should run it.
        wanted: String,
    },

    /// No directory for the server's socket that is short, ours and private.
    #[error("{} cannot hold PostgreSQL's socket: {reason}", path.display())]
    SocketDirectory {
        /// The directory tried.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The file system is full.
    #[error(
        "the file system of {} is full ({free_mib} MiB free; a new cluster needs about 64 MiB); make room and \
         start again{log}", path.display()
    )]
    NoSpace {
        /// The cluster directory.
        path: PathBuf,
        /// What is left for unprivileged users, in MiB.
        free_mib: u64,
        /// The last lines the program printed.
        log: Tail,
    },

    /// This user may not do what is needed in the data directory.
    #[error("{user} may not {action} {}; choose another data directory or give this one to {user}", path.display())]
    NotAllowed {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Who tried.
        user: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// Any other failure of the operating system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A program of `PostgreSQL` could not be started at all.
    #[error("cannot run {} as {user}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system user it should run as.
        user: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// `initdb` ran and failed.
    #[error("initdb could not make a cluster in {} ({status}){log}", path.display())]
    InitFailed {
        /// The cluster directory that was to be made.
        path: PathBuf,
        /// How `initdb` ended.
        status: std::process::ExitStatus,
        /// Its last lines.
        log: Tail,
    },

    /// `postgres` ended before it was ready.
    #[error("PostgreSQL stopped before it was ready ({status}; cluster in {}){log}", path.display())]
    StartFailed {
        /// The cluster directory.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last lines.
        log: Tail,
    },

    /// `postgres` runs but did not become ready.
    #[error("PostgreSQL was not ready after {} s without news (cluster in {}){log}", waited.as_secs(), path.display())]
    StartTimeout {
        /// The cluster directory.
        path: PathBuf,
        /// How long nothing was heard.
        waited: Duration,
        /// Its last lines.
        log: Tail,
    },

    /// The server says it is ready, but refuses tok's own connection.
    #[error("PostgreSQL runs but refuses tok's own connection (cluster in {}){log}", path.display())]
    Connect {
        /// The cluster directory.
        path: PathBuf,
        /// The server's last lines.
        log: Tail,
        /// What libpq said.
        source: diesel::ConnectionError,
    },

    /// The database `tok` could not be made.
    #[error("cannot create tok's database in the cluster in {}{log}", path.display())]
    CreateDatabase {
        /// The cluster directory.
        path: PathBuf,
        /// The server's last lines.
        log: Tail,
        /// What the server said.
        source: diesel::result::Error,
    },
}

impl EmbeddedError {
    /// An I/O failure: a missing right says who lacks it, a full disk is told apart, the rest keeps its cause.
    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotAllowed { action, path, user: super::account::own_name(), source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { free_mib: super::layout::free_mib(&path), path, log: Tail::default() }
            }
            _ => Self::Io { action, path, source },
        }
    }
}

/// "process 12", or words for not knowing.
struct Holder(Option<i32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}
