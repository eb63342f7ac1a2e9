//! The open cluster directory: how `PostgreSQL`'s programs get at it without a path, and who still uses it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::EmbeddedError;
use super::account::Account;
use super::log::Alias;

/// How long a server of an earlier run gets to end.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);
const BUSY_POLL: Duration = Duration::from_millis(20);

/// An open directory that holds a cluster, or will.
///
/// `initdb` and `postgres` inherit the open directory and are told `/proc/self/fd/<number>` as its path. So they
/// need no right to the directories above it (root's data directory may be in `/root`), no path is too long for
/// them, and nobody can put another directory in its place. The `flock(2)` taken here belongs to the open
/// directory, so it lasts until the last of their processes has ended, also when this process has been killed.
#[derive(Debug)]
pub(super) struct ClusterDirectory(OwnedFd);

impl ClusterDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(Self).map_err(|errno| EmbeddedError::io("open", path, errno))
    }

    /// The path by which a program that inherited the directory finds it.
    pub(super) fn inherited_path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// The same for the log, where people should read `path`.
    pub(super) fn alias(&self, path: &Path) -> Alias {
        Alias { inherited: self.inherited_path(), path: path.display().to_string() }
    }

    /// The uid that owns it.
    pub(super) fn owner(&self, path: &Path) -> Result<u32, EmbeddedError> {
        let status = rustix::fs::fstat(&self.0).map_err(|errno| EmbeddedError::io("examine", path, errno))?;
        Ok(status.st_uid)
    }

    /// Reads a small file; `None` if there is none.
    pub(super) fn read(&self, path: &Path, name: &str) -> Result<Option<String>, EmbeddedError> {
        let failed = |error: std::io::Error| EmbeddedError::io("read", &path.join(name), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        let mut text = String::new();
        file.take(64 * 1024).read_to_string(&mut text).map_err(failed)?;
        Ok(Some(text))
    }

    /// Replaces a small file as a whole, unless it already says `text`. It belongs to `account`, mode 0600.
    ///
    /// The directory belongs to another user when root calls this: a link that user planted is never followed.
    pub(super) fn write(&self, path: &Path, name: &str, text: &str, account: &Account) -> Result<(), EmbeddedError> {
        if self.read(path, name)?.as_deref() == Some(text) {
            return Ok(());
        }
        let failed = |error: std::io::Error| EmbeddedError::io("write", &path.join(name), error);
        let draft = format!("{name}.tok-new");
        match rustix::fs::unlinkat(&self.0, &draft, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, &draft, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|errno| failed(errno.into()))?);
        account.give(&file).map_err(|errno| failed(errno.into()))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        rustix::fs::renameat(&self.0, &draft, &self.0, name).map_err(|errno| failed(errno.into()))
    }

    /// Waits until no process of an earlier server has the directory open, and takes its lock.
    ///
    /// # Errors
    /// [`EmbeddedError::ClusterBusy`] after 30 s.
    pub(super) fn wait_until_unused(&self, path: &Path) -> Result<(), EmbeddedError> {
        let begin = Instant::now();
        let mut told = false;
        while !self.is_unused(path) {
            if begin.elapsed() > BUSY_PATIENCE {
                let pid = self.postmaster(path);
                return Err(EmbeddedError::ClusterBusy { path: path.to_owned(), pid, waited: BUSY_PATIENCE });
            }
            if !told {
                tracing::info!(path = %path.display(), "waiting for the PostgreSQL server of an earlier run to end");
                told = true;
            }
            thread::sleep(BUSY_POLL);
        }
        Ok(())
    }

    /// Whether no process of a server uses the directory; then its lock is ours.
    pub(super) fn is_unused(&self, path: &Path) -> bool {
        match rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            // A postmaster that somebody started by hand has no lock, but it works in the directory.
            Ok(()) => !self.postmaster(path).is_some_and(|pid| self.is_home_of(pid)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => false,
            // Some network file systems have no locks on directories; PostgreSQL's own check remains.
            Err(errno) => {
                tracing::warn!(path = %path.display(), "cannot lock the cluster directory: {errno}");
                true
            }
        }
    }

    /// Removes a `postmaster.pid` that would keep `postgres` from starting although its server is gone.
    ///
    /// `postgres` looks after this file itself, except where the number now belongs to another process of the
    /// same user (likely in containers, where numbers start at 1 again). That this is another process is certain
    /// here: [`Self::wait_until_unused`] has seen that no process holds the lock, and a living postmaster's
    /// working directory is always its cluster.
    pub(super) fn remove_stale_pid_file(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some(pid) = self.postmaster(path) else { return Ok(()) };
        let elsewhere = fs::metadata(format!("/proc/{pid}/cwd")).is_ok_and(|home| !self.is(&home));
        if !elsewhere && !is_dead(pid) {
            return Ok(()); // No such process, or not ours: postgres can tell by itself.
        }
        tracing::info!(pid, "postmaster.pid names a process that is not PostgreSQL: removing it");
        rustix::fs::unlinkat(&self.0, "postmaster.pid", AtFlags::empty())
            .map_err(|errno| EmbeddedError::io("remove", &path.join("postmaster.pid"), errno))
    }

    /// The process that `postmaster.pid` names. What cannot be read is left for postgres to judge.
    fn postmaster(&self, path: &Path) -> Option<i32> {
        first_pid(&self.read(path, "postmaster.pid").ok()??)
    }

    /// Whether `pid` works in this directory, as a postmaster somebody started by hand would.
    fn is_home_of(&self, pid: i32) -> bool {
        fs::metadata(format!("/proc/{pid}/cwd")).is_ok_and(|home| self.is(&home))
    }

    fn is(&self, other: &fs::Metadata) -> bool {
        rustix::fs::fstat(&self.0).is_ok_and(|own| own.st_dev == other.dev() && own.st_ino == other.ino())
    }
}

impl AsFd for ClusterDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The number on the first line of `postmaster.pid` (a standalone backend writes it negative).
pub(super) fn first_pid(text: &str) -> Option<i32> {
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    Some(number.abs()).filter(|pid| *pid > 0)
}

/// Whether a process has ended but still has its number, because its parent has not asked how it ended. As first
/// processes of containers often never do, such a number can stay for ever.
fn is_dead(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains("Z (zombie)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_pid_file_is_a_process() {
        assert_eq!(first_pid("123\n/data\n"), Some(123));
        assert_eq!(first_pid("-123\n"), Some(123));
        assert_eq!(first_pid("0\n"), None);
        assert_eq!(first_pid("\n"), None);
        assert_eq!(first_pid("x"), None);
    }

    #[test]
    fn a_directory_is_in_use_while_a_process_has_it_or_a_postmaster_works_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path();
        let first = ClusterDirectory::open(path).unwrap();
        let second = ClusterDirectory::open(path).unwrap();
        assert!(first.is_unused(path) && !second.is_unused(path));
        drop(first);
        assert!(second.is_unused(path));

        // One that somebody started by hand; it has no lock.
        let mut server = std::process::Command::new("sleep").arg("5").current_dir(path).spawn().unwrap();
        fs::write(path.join("postmaster.pid"), server.id().to_string()).unwrap();
        assert!(!second.is_unused(path));
        second.remove_stale_pid_file(path).unwrap();
        assert!(path.join("postmaster.pid").exists());
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(second.is_unused(path));
    }

    #[test]
    fn a_planted_link_is_replaced_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let victim = parent.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let cluster = parent.path().join("pg");
        fs::create_dir(&cluster).unwrap();
        std::os::unix::fs::symlink(&victim, cluster.join("pg_hba.conf.tok-new")).unwrap();
        let account = Account::choose(None, &cluster, None).unwrap();
        let directory = ClusterDirectory::open(&cluster).unwrap();
        directory.write(&cluster, "pg_hba.conf", "local", &account).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(cluster.join("pg_hba.conf")).unwrap(), "local");
    }
}
