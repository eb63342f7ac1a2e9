//! The place of the local socket in the file system: held by one daemon at a time, freed of what a killed one left,
//! and never taken from anybody else.
//!
//! A socket file says nothing about whether somebody listens on it, so the daemon holds a lock beside it
//! (`<socket>.lock`, flock(2)): the kernel lets go of it however the daemon ends.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::tokio::Listener;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The longest path a socket can have, in bytes (unix(7): 108 with the closing NUL).
const LONGEST_PATH: usize = 107;
/// How long a listener may take to be recognised as one. A full queue counts as one.
const PROBE: Duration = Duration::from_secs(1);

/// Why the local socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// The kernel has no room for it.
    #[error("the socket path {} has {} bytes, and a socket's has at most {LONGEST_PATH}: choose a shorter one", path.display(), path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Its directory is missing and cannot be made, or is none.
    #[error("{} is no directory where a socket can be put: create it (systemd does it with RuntimeDirectory=tok)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why it cannot be made.
        source: Option<Error>,
    },
    /// Another process holds it.
    #[error("{} is served already by {}: stop it first, or choose another socket", path.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Held {
        /// The socket.
        path: PathBuf,
        /// Its process ID.
        pid: Option<i32>,
    },
    /// The lock file is unusable.
    #[error("{} cannot be locked: check that it is a plain file and that you may write it", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// Something that is no socket lies there, and is not ours to remove.
    #[error("{} is {what}, not a socket: move it away, or choose another path", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
    },
    /// Some other program listens there.
    #[error("another program listens on {}: choose another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("the socket {} cannot be made", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

/// A socket in the file system that is ours. Dropping it removes the socket, then lets go of the lock.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    made: (u64, u64),
    _lock: Flock<File>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody may have put something else there; that is then not ours to remove.
        if look(&self.path).ok().flatten().is_some_and(|found| identity(&found) == self.made) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes the place and listens there. `mode` is the socket's, exactly, whatever the umask: its write bits say who may
/// connect.
pub(super) async fn take(path: &Path, mode: u32) -> Result<(Listener, Place), SocketFault> {
    if path.as_os_str().len() > LONGEST_PATH {
        return Err(SocketFault::TooLong { path: path.to_owned() });
    }
    directory(path)?;
    let lock = lock(path)?;
    clear(path).await?;
    let bind = |source| SocketFault::Bind { path: path.to_owned(), source };
    let listener = listen(path, mode).map_err(bind)?;
    let made = look(path).map_err(bind)?.ok_or_else(|| bind(ErrorKind::NotFound.into()))?;
    let place = Place { path: path.to_owned(), made: identity(&made), _lock: lock };
    widen(&place, mode).map_err(bind)?;
    Ok((listener, place))
}

fn directory(path: &Path) -> Result<(), SocketFault> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    // One level only: a typing error shall not grow a tree.
    match std::fs::DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => Ok(()),
        Err(error) => Err(SocketFault::Directory { path: directory.to_owned(), source: Some(error) }),
    }
}

fn lock(socket: &Path) -> Result<Flock<File>, SocketFault> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let fail = |source| SocketFault::Lock { path: path.clone(), source };
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&path)
            .map_err(fail)?;
        let opened = file.metadata().map_err(fail)?;
        if !opened.is_file() {
            return Err(fail(ErrorKind::InvalidInput.into()));
        }
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(SocketFault::Held { path: socket.to_owned(), pid: holder.trim().parse().ok() });
            }
            Err((_, error)) => return Err(fail(error.into())),
        };
        // Whoever cleans up a directory by hand may have removed the file that is locked now; then it protects nothing.
        if look(&path).map_err(fail)?.is_none_or(|found| identity(&found) != identity(&opened)) {
            continue;
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(fail)?;
        writeln!(lock, "{}", std::process::id()).map_err(fail)?;
        return Ok(lock);
    }
}

/// Removes what a killed daemon left. The lock is held, so it cannot be a living daemon's.
async fn clear(path: &Path) -> Result<(), SocketFault> {
    let bind = |source| SocketFault::Bind { path: path.to_owned(), source };
    let Some(found) = look(path).map_err(bind)? else { return Ok(()) };
    let kind = found.file_type();
    if !kind.is_socket() {
        let what = if kind.is_symlink() {
            "a symbolic link"
        } else if kind.is_dir() {
            "a directory"
        } else if kind.is_file() {
            "a file"
        } else {
            "something else"
        };
        return Err(SocketFault::InTheWay { path: path.to_owned(), what });
    }
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(bind),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() != ErrorKind::WouldBlock => Err(bind(error)),
        _ => Err(SocketFault::InUse { path: path.to_owned() }),
    }
}

fn listen(path: &Path, mode: u32) -> Result<Listener, Error> {
    ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>()?)
        .mode(mode)
        .try_overwrite(false)
        .reclaim_name(false)
        .create_tokio_as::<Listener>()
}

/// The mode given before bind(2) is narrowed by the umask; nobody who should not could connect in between.
fn widen(place: &Place, mode: u32) -> Result<(), Error> {
    // By descriptor, so that it cannot be another file's mode that is changed.
    let socket =
        OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_NOFOLLOW).bits()).open(&place.path)?;
    let found = socket.metadata()?;
    if identity(&found) != place.made {
        return Err(ErrorKind::AlreadyExists.into());
    }
    if found.permissions().mode() & 0o777 == mode {
        return Ok(());
    }
    let by_descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
    std::fs::set_permissions(by_descriptor, std::fs::Permissions::from_mode(mode))
}

fn look(path: &Path) -> Result<Option<Metadata>, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(path: &Path) -> String {
        take(path, 0o600).await.map(|_| ()).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_place_is_held_by_one_and_free_again_when_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tok/s");
        let (listener, place) = take(&path, 0o666).await.unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        UnixStream::connect(&path).await.unwrap();

        let error = refused(&path).await;
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        UnixStream::connect(&path).await.unwrap();

        drop(place);
        assert!(!path.exists());
        drop(listener);
        take(&path, 0o600).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        std::fs::write(directory.path().join("s.lock"), "999999\n").unwrap();
        let (_listener, _place) = take(&path, 0o600).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
        let holder = std::fs::read_to_string(directory.path().join("s.lock")).unwrap();
        assert_eq!(holder, format!("{}\n", std::process::id()));
    }

    #[tokio::test]
    async fn what_is_not_ours_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "precious").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(at("other")).unwrap();
        for (name, reason) in [
            ("file", "a file"),
            ("directory", "a directory"),
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("other", "another program listens"),
            ("missing/too/deep", "is no directory"),
            ("file/s", "is no directory"),
        ] {
            let error = refused(&at(name)).await;
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "precious");
        assert!(std::fs::symlink_metadata(at("dangling")).unwrap().is_symlink() && !at("nowhere").exists());
        std::os::unix::net::UnixStream::connect(at("other")).unwrap();

        let long = refused(&at(&"x".repeat(108))).await;
        assert!(long.contains("at most 107"), "{long}");
    }

    #[tokio::test]
    async fn a_planted_lock_cannot_redirect_the_writing_of_the_process_id() {
        let directory = tempfile::tempdir().unwrap();
        let precious = directory.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, directory.path().join("s.lock")).unwrap();
        let error = refused(&directory.path().join("s")).await;
        assert!(error.contains("s.lock cannot be locked"), "{error}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_replaced_ours_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_listener, place) = take(&path, 0o600).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(place);
        assert!(path.exists());
    }
}
