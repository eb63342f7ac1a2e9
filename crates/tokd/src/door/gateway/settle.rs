//! What happens between git's last byte of a push and the client's.
//!
//! `core.fsync` makes git sync the files a push writes, but not the directories it renames them into, and an
//! acknowledged push is gone after a power cut if the rename was. So the end of git's report is held back until the
//! directories are synced too. Measured cost: one journal commit per push.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::fs;

use super::program::GitProgram;
use super::settings;

/// Directories changed this long before a push began are synced too: file systems read a coarser clock. (Network file
/// systems may have another clock altogether, but make renames durable before they answer.)
const SLACK: Duration = Duration::from_millis(50);

/// The moment to remember when a push begins.
#[expect(clippy::disallowed_methods, reason = "compared with the times of directories only; no authority ends by it")]
pub(super) fn begin() -> SystemTime {
    SystemTime::now()
}

/// Makes a push that [began](begin) then durable.
#[expect(clippy::disallowed_methods, reason = "at most one for each git child, and those are counted")]
pub(super) async fn settle(program: &GitProgram, repo: &Path, since: SystemTime) -> Result<(), Error> {
    adopt_first_branch(program, repo).await?;
    let repo = repo.to_owned();
    // Some hundred small questions to the file system: one job instead of as many.
    tokio::task::spawn_blocking(move || sync_touched(&repo, since - SLACK)).await.map_err(Error::other)?
}

/// Waits until the names in a directory are on the disk.
pub(super) async fn sync_directory(path: &Path) -> Result<(), Error> {
    fs::File::open(path).await?.sync_all().await
}

/// Points HEAD at a branch that exists.
///
/// A new repository's HEAD is `main`; if the first push brings `master` or `trunk` instead, a clone would check out
/// nothing.
async fn adopt_first_branch(program: &GitProgram, repo: &Path) -> Result<(), Error> {
    let head = fs::read_to_string(repo.join("HEAD")).await?;
    let Some(target) = head.trim_end().strip_prefix("ref: ") else { return Ok(()) };
    // The usual case, without a process: the branch is there as a file of its own.
    if target.starts_with("refs/heads/") && fs::symlink_metadata(repo.join(target)).await.is_ok() {
        return Ok(());
    }
    if run(program, repo, &["rev-parse", "--verify", "--quiet", "HEAD"]).await?.is_some() {
        return Ok(());
    }
    let branches =
        run(program, repo, &["for-each-ref", "--format=%(refname)", "refs/heads"]).await?.unwrap_or_default();
    let usual = ["refs/heads/main", "refs/heads/master"].into_iter().find(|name| branches.lines().any(|b| b == *name));
    if let Some(branch) = usual.or_else(|| branches.lines().next()) {
        run(program, repo, &["symbolic-ref", "HEAD", branch]).await?;
    }
    Ok(())
}

/// What a git command printed, or nothing if it failed.
async fn run(program: &GitProgram, repo: &Path, arguments: &[&str]) -> Result<Option<String>, Error> {
    let mut command = program.command();
    settings::apply_common(&mut command, program.version());
    let output = command.arg("--git-dir").arg(repo).args(arguments).kill_on_drop(true).output().await?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn sync_touched(repo: &Path, since: SystemTime) -> Result<(), Error> {
    for directory in touched(repo, since)? {
        // A reference's directory goes when its last reference does.
        if let Some(directory) = present(std::fs::File::open(&directory))? {
            directory.sync_all()?;
        }
    }
    Ok(())
}

/// The directories of a repository in which a name came, changed or went.
fn touched(repo: &Path, since: SystemTime) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    // References nest as deep as their names do; objects lie one level deep. The packed references lie at the top.
    let mut waiting = vec![(repo.join("refs"), usize::MAX), (repo.join("objects"), 1), (repo.to_owned(), 0)];
    while let Some((directory, levels)) = waiting.pop() {
        let Some(metadata) = present(std::fs::symlink_metadata(&directory))? else { continue };
        if metadata.modified()? >= since {
            found.push(directory.clone());
        }
        if levels == 0 {
            continue;
        }
        let Some(entries) = present(std::fs::read_dir(&directory))? else { continue };
        for entry in entries {
            let entry = entry?;
            if present(entry.file_type())?.is_some_and(|kind| kind.is_dir()) {
                waiting.push((entry.path(), levels - 1));
            }
        }
    }
    Ok(found)
}

fn present<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_a_push_renamed_into_is_found_and_no_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let repo = directory.path();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let directories = [
            "objects/pack",
            "objects/ab",
            "objects/cd",
            "objects/info",
            "refs/heads/a/b/c",
            "refs/heads/old",
            "refs/tags",
        ];
        for name in directories {
            std::fs::create_dir_all(repo.join(name)).unwrap();
        }
        let age = |path: &Path| std::fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
        for name in ["objects", "refs", "refs/heads", "refs/heads/a", "refs/heads/a/b"].iter().chain(&directories) {
            age(&repo.join(name));
        }
        for touched in ["objects/pack/pack-1.pack", "objects/cd/ef", "refs/heads/a/b/c/d"] {
            std::fs::write(repo.join(touched), "").unwrap();
        }
        let mut found = touched(repo, long_ago + Duration::from_secs(1)).unwrap();
        found.sort();
        let expected = ["", "objects/cd", "objects/pack", "refs/heads/a/b/c"];
        assert_eq!(found, expected.map(|name| if name.is_empty() { repo.to_owned() } else { repo.join(name) }));
        assert!(touched(&repo.join("missing"), long_ago).unwrap().is_empty());
    }
}
