//! The data directory: who has it, and the places in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use super::EmbeddedError;
use super::account::Account;
use super::directory::{ClusterDirectory, first_pid};

/// How long a killed daemon gets to be gone; then somebody really has the data directory.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A data directory that this process holds the lock of.
#[derive(Debug)]
pub(super) struct Layout {
    data: PathBuf,
    /// Held open for its `flock(2)`, which ends with it.
    _lock: File,
}

impl Layout {
    /// Makes the data directory if it is missing and takes its lock.
    pub(super) fn claim(data: &Path) -> Result<Self, EmbeddedError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(|error| EmbeddedError::io("create the data directory", data, error))?;
        let data = fs::canonicalize(data).map_err(|error| EmbeddedError::io("open the data directory", data, error))?;
        let lock = lock(&data)?;
        Ok(Self { data, _lock: lock })
    }

    /// The data directory, absolute and without symbolic links.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Where the cluster lives.
    pub(super) fn cluster(&self) -> PathBuf {
        self.data.join("pg")
    }

    /// Where a cluster is made before it is complete.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.data.join("pg.new")
    }

    /// Throws away what an interrupted `initdb` left, after its processes have ended.
    pub(super) fn clear_unfinished(&self) -> Result<(), EmbeddedError> {
        let path = self.unfinished();
        match ClusterDirectory::open(&path) {
            Ok(directory) => directory.wait_until_unused(&path)?,
            Err(EmbeddedError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(()),
            Err(other) => return Err(other),
        }
        tracing::info!(path = %path.display(), "removing an unfinished cluster");
        fs::remove_dir_all(&path).map_err(|error| EmbeddedError::io("remove the unfinished cluster", &path, error))
    }

    /// Makes the empty directory for a new cluster, owned by `account`.
    pub(super) fn create_unfinished(&self, account: &Account) -> Result<ClusterDirectory, EmbeddedError> {
        let path = self.unfinished();
        let failed = |error| EmbeddedError::io("create", &path, error);
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let directory = ClusterDirectory::open(&path)?;
        account.give(&directory).map_err(|errno| EmbeddedError::io("give away", &path, errno))?;
        directory.wait_until_unused(&path)?;
        Ok(directory)
    }

    /// Puts the finished cluster in its place: from here on it exists.
    pub(super) fn finish(&self, durable: bool) -> Result<(), EmbeddedError> {
        let (from, to) = (self.unfinished(), self.cluster());
        fs::rename(&from, &to).map_err(|error| EmbeddedError::io("put the new cluster at", &to, error))?;
        if durable {
            let synced = File::open(&self.data).and_then(|data| data.sync_all());
            synced.map_err(|error| EmbeddedError::io("write", &self.data, error))?;
        }
        Ok(())
    }
}

/// MiB that unprivileged users can still write to the file system of `path`, or of what exists of it.
pub(super) fn free_mib(path: &Path) -> u64 {
    let status = path.ancestors().find_map(|existing| rustix::fs::statvfs(existing).ok());
    status.map_or(0, |status| status.f_bavail.saturating_mul(status.f_frsize) / (1024 * 1024))
}

/// Takes `<data>/lock`, which says who has the data directory.
fn lock(data: &Path) -> Result<File, EmbeddedError> {
    let path = data.join("lock");
    let failed = |error| EmbeddedError::io("lock", &path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path).map_err(failed)?;
    match wait_for_lock(&file) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Whoever holds the lock may not have written its number yet.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| first_pid(&text));
            return Err(EmbeddedError::DataInUse { path: data.to_owned(), pid });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    // The number is for people: a full disk must not keep an existing cluster from starting.
    let noted = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
    if let Err(error) = noted {
        tracing::warn!(path = %path.display(), "cannot note this process in the lock file: {error}");
    }
    Ok(file)
}

/// Tries for a moment: a daemon that was just killed may still be closing its files.
fn wait_for_lock(file: &File) -> rustix::io::Result<()> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) if begin.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_POLL),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_data_directory_has_one_holder_and_its_refusal_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("a/b");
        let first = Layout::claim(&data).unwrap();
        let error = Layout::claim(&data).unwrap_err();
        assert!(
            matches!(&error, EmbeddedError::DataInUse { pid: Some(pid), .. } if pid.cast_unsigned() == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(first);
        Layout::claim(&data).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    }
}
