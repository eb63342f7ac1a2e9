//! Where environments are: in memory, if there is room, and nothing of it for longer than somebody needs it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::time::Duration;

use nix::unistd::Uid;
use tempfile::TempDir;
use tok_store::testdb;

use crate::processes::Process;

/// How long nobody must have changed what a dead process left: in another container its number may be alive.
const LEFT: Duration = Duration::from_secs(600);

/// A new directory, which goes with the value.
pub(crate) fn directory() -> TempDir {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(|| sweep(parent()));
    let prefix = format!("{PREFIX}{}-", process::id());
    let made = tempfile::Builder::new().prefix(&prefix).rand_bytes(4).tempdir_in(parent());
    made.unwrap_or_else(|error| panic!("no directory in {}: {error}", parent().display()))
}

/// The path of this process's template, which no destructor removes: a later process does.
pub(crate) fn template() -> PathBuf {
    parent().join(format!("{PREFIX}{}-template", process::id()))
}

/// Short, as all names here: the path of a socket has 107 bytes at most.
const PREFIX: &str = "tokt-";

fn parent() -> &'static Path {
    testdb::in_memory().unwrap_or(Path::new("/tmp"))
}

/// Removes what dead processes of this user left.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok());
        let dead = owner.is_some_and(|pid| Process::read(pid).is_none());
        if dead && entry.metadata().is_ok_and(|status| is_left(&status)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left(status: &Metadata) -> bool {
    let untouched = status.modified().ok().and_then(|modified| modified.elapsed().ok());
    status.is_dir() && status.uid() == Uid::effective().as_raw() && untouched.is_some_and(|age| age >= LEFT)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_dead_processes_left_is_swept_and_the_rest_is_spared() {
        let parent = tempfile::tempdir().unwrap();
        // Larger than any process number (proc(5), pid_max).
        let [old, new, alive, other] = ["tokt-5000000-AbCd", "tokt-5000000-EfGh", "tokt-1-AbCd", "tokt-notes"]
            .map(|name| parent.path().join(name));
        for path in [&old, &new, &alive, &other] {
            fs::create_dir_all(path.join("data")).unwrap();
        }
        for path in [&old, &alive, &other] {
            File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        sweep(parent.path());
        assert!(!old.exists() && new.exists() && alive.exists() && other.exists());
    }
}
