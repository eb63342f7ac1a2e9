//! How `PostgreSQL`'s programs are started: as whom, with which environment, with which settings.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::StatVfsMountFlags;
use rustix::process::Signal;

use super::account::Account;
use super::child::tie_to_this_thread;
use super::directory::ClusterDirectory;
use super::layout::free_mib;
use super::log::LINE_PREFIX;
use super::server::Start;
use super::socket;

/// Free space below which `/dev/shm` is left alone.
const SHARED_MEMORY_MIB: u64 = 16;

/// A command for one of `PostgreSQL`'s programs: as `account`, on `directory`, ending with the calling thread.
///
/// It sees nothing of our environment, which may hold secrets, and is not in our process group: a Ctrl-C reaches
/// the daemon alone, which then stops the server in order.
pub(super) fn program(path: &Path, account: &Account, directory: &ClusterDirectory, durable: bool) -> Command {
    let mut command = Command::new(path);
    command.arg("-D").arg(directory.inherited_path());
    command.env_clear().envs([("LC_ALL", "C"), ("TZ", "UTC"), ("PATH", "/usr/local/bin:/usr/bin:/bin")]);
    command.current_dir("/").stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    account.apply(&mut command);
    // SIGINT is a fast, clean shutdown: clients are cut off, but the next start needs no recovery. Data that
    // nobody will read again only needs the processes gone: SIGQUIT.
    let signal = if durable { Signal::INT } else { Signal::QUIT };
    tie_to_this_thread(&mut command, directory.as_fd(), signal);
    command
}

/// The server's settings, as arguments: they win over anything written in the cluster's files.
pub(super) fn settings(start: &Start<'_>) -> Vec<String> {
    let sockets = start.sockets.display();
    let mut settings = vec![
        // One private socket, nothing else.
        "listen_addresses=".to_owned(),
        format!("port={}", socket::PORT),
        format!("unix_socket_directories={sockets}"),
        "unix_socket_permissions=0700".to_owned(),
        "ssl=off".to_owned(),
        // A small server beside the daemon, which keeps few connections.
        "max_connections=100".to_owned(),
        // Taken only as it is used.
        "shared_buffers=128MB".to_owned(),
        "max_parallel_workers_per_gather=0".to_owned(),
        "max_logical_replication_workers=0".to_owned(),
        "jit=off".to_owned(),
        // Tables that fill quickly are counted, and statements planned anew, before that is felt.
        "autovacuum_naptime=5s".to_owned(),
        // The log goes through our pipe. Statements stay out of it: they may carry what users typed.
        "log_destination=stderr".to_owned(),
        "logging_collector=off".to_owned(),
        format!("log_line_prefix={LINE_PREFIX}"),
        "log_checkpoints=off".to_owned(),
        "log_min_error_statement=panic".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // For people who look at `ps`: whose server this is (the -D is only a number).
        "cluster_name=tok".to_owned(),
        format!("tok.cluster={}", start.cluster.display()),
    ];
    let durability: &[&str] = if start.durable {
        &["fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_wal_size=1GB"]
    } else {
        &[
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "wal_level=minimal",
            "max_wal_senders=0",
            "autovacuum=off",
        ]
    };
    settings.extend(durability.iter().map(|&setting| setting.to_owned()));
    if !shared_memory_is_usable() {
        settings.push("dynamic_shared_memory_type=mmap".to_owned());
    }
    settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect()
}

/// Whether `/dev/shm` can be counted on. In containers it may be missing, read-only or tiny.
fn shared_memory_is_usable() -> bool {
    let path = Path::new("/dev/shm");
    let open_to_all = rustix::fs::stat(path).is_ok_and(|status| status.st_mode & 0o777 == 0o777);
    let read_only = rustix::fs::statvfs(path).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY));
    open_to_all && !read_only && free_mib(path) >= SHARED_MEMORY_MIB
}
