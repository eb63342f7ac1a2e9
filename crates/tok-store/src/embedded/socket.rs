//! The directory of the server's socket: short (a socket's path has 107 bytes at most), private, and the same at
//! each start on the same data.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use rustix::fs::{Mode, OFlags};

use super::EmbeddedError;
use super::account::Account;

/// The name that libpq and `postgres` derive from the port; the port has no other use here.
pub(super) const PORT: u16 = 5432;

/// `sun_path` holds 108 bytes with the closing NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// Where root keeps what runs.
const ROOT_PARENT: &str = "/run/tok";

/// The directory that holds the socket and nothing else.
#[derive(Debug)]
pub(super) struct SocketDirectory(PathBuf);

impl SocketDirectory {
    /// Makes, or verifies, the directory for the cluster in `data`: in `parent` if one is named, else in
    /// `/run/tok` (root) or `$XDG_RUNTIME_DIR/tok` (a user), else in `/tmp`.
    pub(super) fn prepare(data: &Path, parent: Option<&Path>, account: &Account) -> Result<Self, EmbeddedError> {
        let name = format!("pg-{:016x}", fnv1a(data.as_os_str().as_bytes()));
        let named = parent.map(Path::to_owned);
        let home = named.clone().or_else(runtime_parent).map(|parent| (parent.join(&name), parent));
        if let Some((path, parent)) = home {
            match usable(&path).and_then(|()| make_parent(&parent)).and_then(|()| private(&path, account)) {
                Ok(()) => return Ok(Self(path)),
                Err(reason) if named.is_some() => return Err(EmbeddedError::SocketDirectory { path, reason }),
                Err(reason) => tracing::debug!(path = %path.display(), "no socket there: {reason}"),
            }
        }
        let path = fallback(data);
        match private(&path, account) {
            Ok(()) => Ok(Self(path)),
            Err(reason) => Err(EmbeddedError::SocketDirectory { path, reason }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes what a killed server left. Its lock file names a process, and by now that number may be another's, which
    /// `postgres` would take for a running server. The caller holds the cluster's lock, so there is none.
    pub(super) fn clear(&self) {
        clear(&self.0);
    }

    /// Removes the directory after the server has ended. What cannot be removed is reused by the next start.
    pub(super) fn remove(&self) {
        remove(&self.0);
    }
}

/// Removes what a killed process left for the cluster in `data`; the caller knows that no server runs there.
#[cfg(any(test, feature = "testdb"))]
pub(super) fn sweep(data: &Path) {
    let name = format!("pg-{:016x}", fnv1a(data.as_os_str().as_bytes()));
    let parent = runtime_parent().map(|parent| parent.join(name));
    parent.iter().chain([&fallback(data)]).for_each(|path| remove(path));
}

/// A server that was killed leaves these two; one that stopped has removed them.
fn clear(path: &Path) {
    for leftover in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let _ = fs::remove_file(path.join(leftover));
    }
}

fn remove(path: &Path) {
    clear(path);
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::debug!(path = %path.display(), "the socket directory stays: {error}");
        }
        _ => {}
    }
}

/// The usual parent for this user, if there is one.
fn runtime_parent() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        return Some(ROOT_PARENT.into());
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())?;
    let mine = fs::metadata(&runtime).is_ok_and(|status| {
        use std::os::unix::fs::MetadataExt;
        status.is_dir() && status.uid() == Uid::effective().as_raw()
    });
    mine.then(|| runtime.join("tok"))
}

fn fallback(data: &Path) -> PathBuf {
    let hash = fnv1a(data.as_os_str().as_bytes());
    PathBuf::from(format!("/tmp/tok-{}-{hash:016x}", Uid::effective().as_raw()))
}

/// Whether a socket in `path` has a short enough name that `postgres` takes literally in its list of directories.
fn usable(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes();
    let length = bytes.len() + format!("/.s.PGSQL.{PORT}").len();
    if length > LONGEST_PATH {
        return Err(format!("a socket's path has {LONGEST_PATH} bytes at most, and this would have {length}"));
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@~".contains(byte);
    if !path.is_absolute() || !bytes.iter().all(plain) {
        return Err("its name is not a plain absolute path".to_owned());
    }
    Ok(())
}

fn make_parent(parent: &Path) -> Result<(), String> {
    // The daemon's own socket may live here as well, for others to reach: only the cluster's directory is private.
    let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(parent) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(format!("{}: {error}", parent.display())),
        _ => Ok(()),
    }
}

/// Makes `path` a directory that `account` owns and nobody else can enter, or finds it so.
///
/// In `/tmp` anybody could have made it first: a link, another owner or an open mode is refused, never repaired.
fn private(path: &Path, account: &Account) -> Result<(), String> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error.to_string()),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory: OwnedFd = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| format!("it exists and is not a directory that can be used ({errno}); remove it"))?;
    let status = rustix::fs::fstat(&directory).map_err(|errno| errno.to_string())?;
    let own = Uid::effective().as_raw();
    // Root's own, too: an earlier start may have died between making it and giving it away.
    if status.st_uid != account.uid && status.st_uid != own {
        return Err(format!("it exists and belongs to uid {}, not to {}; remove it", status.st_uid, account.name));
    }
    if !made && status.st_mode & 0o077 != 0 {
        return Err(format!("it exists and others may enter it (mode {:o}); remove it", status.st_mode & 0o7777));
    }
    if status.st_uid != account.uid {
        account.give(&directory).map_err(|errno| errno.to_string())?;
    }
    Ok(())
}

/// The FNV-1a hash, 64 bits: the same in every version of tok and of Rust.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn account() -> Account {
        Account::choose(None, Path::new("/data/pg"), None).unwrap()
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn however_long_the_data_path_the_socket_path_fits() {
        let data = PathBuf::from(format!("/{}", "d/".repeat(1000)));
        let directory = SocketDirectory::prepare(&data, None, &account()).unwrap();
        assert!(directory.path().as_os_str().len() + ".s.PGSQL.5432".len() < LONGEST_PATH);
        let status = fs::symlink_metadata(directory.path()).unwrap();
        assert_eq!((status.mode() & 0o7777, status.uid()), (0o700, account().uid));
        directory.remove();
        assert!(!directory.path().exists());
    }

    #[test]
    fn a_parent_that_is_too_long_or_strange_is_refused_when_named() {
        for parent in [format!("/tmp/{}", "x".repeat(90)), "/tmp/with,comma".to_owned(), "relative".to_owned()] {
            let error = SocketDirectory::prepare(Path::new("/d"), Some(Path::new(&parent)), &account()).unwrap_err();
            assert!(matches!(error, EmbeddedError::SocketDirectory { .. }), "{error}");
            assert!(!Path::new(&parent).exists());
        }
    }

    #[test]
    fn planted_directories_are_refused() {
        let parent = tempfile::Builder::new().prefix("tok").tempdir_in("/tmp").unwrap();
        let prepare = || SocketDirectory::prepare(Path::new("/d"), Some(parent.path()), &account());
        let path = prepare().unwrap().path().to_owned();

        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(prepare().unwrap_err().to_string().contains("others may enter it"));

        fs::remove_dir(&path).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(prepare().unwrap_err().to_string().contains("not a directory"));

        fs::remove_file(&path).unwrap();
        prepare().unwrap();
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(&path, Some(4_000_000), None).unwrap();
            assert!(prepare().unwrap_err().to_string().contains("belongs to uid 4000000"));
        }
    }
}
