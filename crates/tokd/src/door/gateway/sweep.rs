//! What a killed git leaves behind, and when it may be taken away.
//!
//! A git that is asked to stop (SIGTERM) cleans up after itself. One that was killed, or whose machine lost its power,
//! leaves the quarantine of a half-received push (harmless, but as large as the push) and, if it died in the wrong
//! microsecond, a `.lock` beside a reference, which would refuse every later push to that branch.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::fs;

use super::repositories::{GROWING, Repositories, RepositoryFault, names};

/// How old a lock must be before it is a leftover: git holds one for milliseconds.
pub const LEFTOVER_AFTER: Duration = Duration::from_secs(15 * 60);
/// How many times older a quarantine must be: nothing in it changes while git works out the deltas of a huge pack.
const PATIENCE: u32 = 24;

/// What a sweep took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Half-received pushes.
    pub quarantines: usize,
    /// Locks whose holder is gone: of references, and of git's own upkeep, which would never run again.
    pub locks: usize,
    /// Repositories that were never finished.
    pub unfinished: usize,
}

impl Repositories {
    /// Takes away what killed gits left: locks that are older than `age`, and quarantines in which nothing changed for
    /// 24 times as long. Call it at start and every few minutes, with [`LEFTOVER_AFTER`].
    ///
    /// # Errors
    /// [`RepositoryFault`] if the root cannot be read; a single leftover that cannot be removed is logged and passed
    /// over.
    pub async fn sweep(&self, now: SystemTime, age: Duration) -> Result<Swept, RepositoryFault> {
        let (Some(locks), Some(trees)) = (now.checked_sub(age), now.checked_sub(age * PATIENCE)) else {
            return Ok(Swept::default());
        };
        let mut swept = Swept::default();
        for workspace in names(&self.root).await? {
            let directory = self.root.join(&workspace);
            if !is_directory(&directory).await {
                continue;
            }
            for name in names(&directory).await?.iter().filter(|name| name.starts_with(GROWING)) {
                swept.unfinished += usize::from(remove_old(&directory.join(name), trees).await);
            }
        }
        for repo in self.list(None).await? {
            sweep_one(&self.path(&repo), locks, trees, &mut swept).await;
        }
        Ok(swept)
    }
}

/// Takes away the quarantine of one push whose processes are gone. They were asked to, but receive-pack may have tried
/// while index-pack was still writing there.
pub(super) async fn discard(quarantine: &Path, repository: &Path) {
    let ours = quarantine.parent() == Some(&repository.join("objects"));
    let name = quarantine.file_name().and_then(|name| name.to_str());
    if ours && name.is_some_and(is_quarantine) && is_directory(quarantine).await {
        remove(quarantine).await;
    }
}

async fn sweep_one(repo: &Path, locks: SystemTime, trees: SystemTime, swept: &mut Swept) {
    let objects = repo.join("objects");
    for name in names(&objects).await.unwrap_or_default() {
        if is_quarantine(&name) {
            swept.quarantines += usize::from(remove_old(&objects.join(name), trees).await);
        } else if is_lock(&name) {
            // Held as long as git tidies up, which takes its time in a large repository.
            swept.locks += usize::from(remove_old(&objects.join(name), trees).await);
        }
    }
    let mut waiting = vec![repo.join("refs")];
    for name in names(repo).await.unwrap_or_default() {
        if is_lock(&name) {
            swept.locks += usize::from(remove_old(&repo.join(name), locks).await);
        }
    }
    while let Some(directory) = waiting.pop() {
        for name in names(&directory).await.unwrap_or_default() {
            let path = directory.join(&name);
            if is_directory(&path).await {
                waiting.push(path);
            } else if is_lock(&name) {
                swept.locks += usize::from(remove_old(&path, locks).await);
            }
        }
    }
}

/// The names git gives a receive-pack's quarantine; before 2.35 without the `tmp_objdir-`.
fn is_quarantine(name: &str) -> bool {
    name.starts_with("tmp_objdir-incoming-") || name.starts_with("incoming-")
}

/// No reference's name may end so, that is what git made the ending for.
fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "lock")
}

async fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).await.is_ok_and(|found| found.is_dir())
}

/// Removes a file or a tree in which nothing changed since `before`.
async fn remove_old(path: &Path, before: SystemTime) -> bool {
    if newest(path).await.is_none_or(|changed| changed >= before) {
        return false;
    }
    remove(path).await
}

async fn remove(path: &Path) -> bool {
    let removed = if is_directory(path).await { fs::remove_dir_all(path).await } else { fs::remove_file(path).await };
    match removed {
        Ok(()) => {
            tracing::info!(path = %path.display(), "Removed what a killed git left");
            true
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "A killed git left this and it cannot be removed");
            false
        }
    }
}

/// When anything in a tree changed last. Nothing, if that cannot be known.
async fn newest(path: &Path) -> Option<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).await.ok()?;
        newest = newest.max(metadata.modified().ok()?);
        if metadata.is_dir() {
            waiting.extend(names(&path).await.ok()?.into_iter().map(|name| path.join(name)));
        }
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::gateway::kit::gits;
    use crate::door::gateway::program::GitProgram;

    async fn repositories(root: &Path) -> (Repositories, PathBuf) {
        let repositories = Repositories::open(root, GitProgram::find(Some(&gits()[0])).await.unwrap()).await.unwrap();
        repositories.create(&"acme/app".parse().unwrap()).await.unwrap();
        let repo = repositories.root().join("acme/app.git");
        (repositories, repo)
    }

    /// When everything that a test made is so much older than `LEFTOVER_AFTER`.
    fn later(path: &Path, times: u32) -> SystemTime {
        std::fs::metadata(path).unwrap().modified().unwrap() + LEFTOVER_AFTER * times
    }

    #[tokio::test]
    async fn what_killed_gits_left_goes_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let (repositories, repo) = repositories(directory.path()).await;
        std::fs::create_dir_all(repo.join("objects/tmp_objdir-incoming-abc/pack")).unwrap();
        std::fs::write(repo.join("objects/tmp_objdir-incoming-abc/pack/tmp_pack_x"), "half").unwrap();
        std::fs::create_dir_all(repo.join("refs/heads/feature")).unwrap();
        std::fs::create_dir_all(repo.join("objects/ab")).unwrap();
        for file in [
            "refs/heads/main.lock",
            "refs/heads/feature/x.lock",
            "packed-refs.lock",
            "objects/maintenance.lock",
            "refs/heads/main",
            "objects/ab/cd",
        ] {
            std::fs::write(repo.join(file), "").unwrap();
        }
        std::fs::create_dir_all(directory.path().join("acme/.new-0123/objects")).unwrap();

        let sweep = async |now| repositories.sweep(now, LEFTOVER_AFTER).await.unwrap();
        assert_eq!(sweep(later(&repo, 0)).await, Swept::default());
        assert_eq!(sweep(later(&repo, 2)).await, Swept { locks: 3, ..Swept::default() });
        assert_eq!(sweep(later(&repo, 2 * PATIENCE)).await, Swept { quarantines: 1, locks: 1, unfinished: 1 });
        for kept in ["refs/heads/main", "refs/heads/feature", "objects/ab/cd", "config"] {
            assert!(repo.join(kept).exists(), "{kept}");
        }
        assert_eq!(sweep(later(&repo, 2 * PATIENCE)).await, Swept::default());
    }

    #[tokio::test]
    async fn a_quarantine_in_which_something_still_moves_is_alive() {
        let directory = tempfile::tempdir().unwrap();
        let (repositories, repo) = repositories(directory.path()).await;
        let quarantine = repo.join("objects/tmp_objdir-incoming-abc");
        std::fs::create_dir_all(&quarantine).unwrap();
        let now = later(&repo, 2 * PATIENCE);
        let pack = std::fs::File::create(quarantine.join("tmp_pack_x")).unwrap();
        pack.set_modified(now - Duration::from_secs(1)).unwrap();
        assert_eq!(repositories.sweep(now, LEFTOVER_AFTER).await.unwrap(), Swept::default());
    }

    #[tokio::test]
    async fn only_a_quarantine_of_that_very_repository_is_discarded() {
        let directory = tempfile::tempdir().unwrap();
        let (_, repo) = repositories(directory.path()).await;
        let other = directory.path().join("tmp_objdir-incoming-x");
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, repo.join("objects/tmp_objdir-incoming-link")).unwrap();
        for kept in [other.clone(), repo.join("objects/pack"), repo.join("objects/tmp_objdir-incoming-link")] {
            discard(&kept, &repo).await;
            assert!(std::fs::symlink_metadata(&kept).is_ok(), "{}", kept.display());
        }
        let real = repo.join("objects/tmp_objdir-incoming-y");
        std::fs::create_dir(&real).unwrap();
        discard(&real, &repo).await;
        assert!(!real.exists());
    }
}
