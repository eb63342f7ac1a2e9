//! The running server: a direct child that ends when this process does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::EmbeddedError;
use super::account::Account;
use super::directory::{ClusterDirectory, first_pid};
use super::layout::free_mib;
use super::log::{Log, LogSink, Tail};
use super::settings::{program, settings};

/// How long the server may be silent while it starts. Recovery after a crash may take longer than this, but it
/// reports its progress each 10 s.
const START_PATIENCE: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(5);

/// After a failure: how long the server's last lines may take through the pipe.
pub(super) const LOG_PATIENCE: Duration = Duration::from_millis(500);

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What the kernel reported.
    pub status: ExitStatus,
    /// Whether it had been asked to stop.
    pub expected: bool,
}

/// Tells when the server has ended; can be kept and waited on in any thread.
#[derive(Clone, Debug)]
pub struct ExitWatch(Arc<Life>);

impl ExitWatch {
    /// How the server ended, or `None` while it runs.
    pub fn exited(&self) -> Option<Exit> {
        self.0.state().exit
    }

    /// Blocks until the server has ended.
    pub fn wait(&self) -> Exit {
        let mut state = self.0.state();
        loop {
            match state.exit {
                Some(exit) => return exit,
                None => state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Blocks until the server has ended, at most for `patience`.
    pub fn wait_timeout(&self, patience: Duration) -> Option<Exit> {
        let waited = self.0.changed.wait_timeout_while(self.0.state(), patience, |state| state.exit.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.exit
    }
}

/// What a server is started with.
pub(super) struct Start<'a> {
    pub(super) postgres: PathBuf,
    pub(super) cluster: &'a Path,
    pub(super) sockets: &'a Path,
    pub(super) account: &'a Account,
    pub(super) durable: bool,
    pub(super) log: LogSink,
}

/// A `postgres` that this process started.
pub(super) struct Server {
    life: Arc<Life>,
    log: Arc<Log>,
    cluster: PathBuf,
}

impl Server {
    /// Starts `postgres` on `directory` and returns as soon as it runs, not when it is ready.
    pub(super) fn spawn(start: Start<'_>, directory: ClusterDirectory) -> Result<Self, EmbeddedError> {
        let mut command = program(&start.postgres, start.account, &directory, start.durable);
        command.args(settings(&start)).stdout(Stdio::null());
        let log = Arc::new(Log::new(start.log.clone(), directory.alias(start.cluster)));
        let (sender, spawned) = mpsc::sync_channel(1);
        let pipe_log = Arc::clone(&log);
        // The kernel ties the child to this thread, not to the process: the thread lives as long as the child.
        let body = move || keep(command, directory, &sender, pipe_log);
        let thread = thread::Builder::new().name("postgres".to_owned()).spawn(body);
        thread.map_err(|error| EmbeddedError::io("start a thread for the server of", start.cluster, error))?;
        let result = spawned.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
        let life = result.map_err(|source| EmbeddedError::Spawn {
            program: start.postgres,
            user: start.account.name.clone(),
            source,
        })?;
        Ok(Self { life, log, cluster: start.cluster.to_owned() })
    }

    /// Waits until the server says in `postmaster.pid` that it takes connections, which unlike trying to connect
    /// leaves no refusals in its log.
    pub(super) fn wait_until_ready(&self) -> Result<(), EmbeddedError> {
        let watch = self.watch();
        loop {
            if let Some(exit) = watch.wait_timeout(START_POLL) {
                let status = exit.status;
                return Err(self.failed(LOG_PATIENCE, |path, log| EmbeddedError::StartFailed { path, status, log }));
            }
            if self.says_ready() {
                return Ok(());
            }
            if self.log.last_news().elapsed() > START_PATIENCE {
                let waited = START_PATIENCE;
                return Err(self.failed(Duration::ZERO, |path, log| EmbeddedError::StartTimeout { path, waited, log }));
            }
        }
    }

    pub(super) fn watch(&self) -> ExitWatch {
        ExitWatch(Arc::clone(&self.life))
    }

    /// An error with the cluster's path and the last lines of its log, which may take up to `patience` to come;
    /// a full disk is told whatever it made fail.
    pub(super) fn failed(
        &self,
        patience: Duration,
        error: impl FnOnce(PathBuf, Tail) -> EmbeddedError,
    ) -> EmbeddedError {
        let (path, log) = (self.cluster.clone(), self.log.tail(patience));
        if log.tells_of_full_disk() {
            return EmbeddedError::NoSpace { free_mib: free_mib(&path), path, log };
        }
        error(path, log)
    }

    /// Asks the server to stop, or kills it. Nothing happens if it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let mut state = self.life.state();
        if state.exit.is_none() {
            state.stopping = true;
            // The process is not reaped while the state is locked: the number is still its own.
            let _ = kill_process(self.life.pid, signal);
        }
    }

    #[cfg(test)]
    pub(super) fn pid(&self) -> Pid {
        self.life.pid
    }

    fn says_ready(&self) -> bool {
        // Line 8 is the state since version 10; line 1 tells our server's file from one left by an earlier.
        let text = std::fs::read_to_string(self.cluster.join("postmaster.pid")).unwrap_or_default();
        let ours = first_pid(&text) == Some(self.life.pid.as_raw_nonzero().get());
        ours && text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
    }
}

/// A child's life as its keeper sees it.
#[derive(Debug)]
struct Life {
    pid: Pid,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    exit: Option<Exit>,
    stopping: bool,
}

impl Life {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of the thread that owns the child: spawn, report, wait, reap.
fn keep(
    mut command: Command,
    directory: ClusterDirectory,
    report: &mpsc::SyncSender<io::Result<Arc<Life>>>,
    log: Arc<Log>,
) {
    let spawned = command.spawn().and_then(|child| follow(child, log));
    // From here on the lock on the directory is the server's alone.
    drop(directory);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    let life = Arc::new(Life { pid: Pid::from_child(&child), state: Mutex::default(), changed: Condvar::new() });
    let _ = report.send(Ok(Arc::clone(&life)));

    // Wait without reaping, then reap under the lock: nobody signals a number that is no longer the child's.
    let without_reaping = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(life.pid), without_reaping), Err(Errno::INTR)) {}
    let mut state = life.state();
    // Fails only if somebody else reaped the child; how it ended is then unknown.
    let status = child.wait().unwrap_or_default();
    state.exit = Some(Exit { status, expected: state.stopping });
    life.changed.notify_all();
}

/// Starts reading the child's log. A server whose log nobody reads would block one day.
fn follow(mut child: Child, log: Arc<Log>) -> io::Result<Child> {
    let Some(pipe) = child.stderr.take() else { return Ok(child) };
    match thread::Builder::new().name("postgres-log".to_owned()).spawn(move || log.follow(pipe)) {
        Ok(_) => Ok(child),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}
