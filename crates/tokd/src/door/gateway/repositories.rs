//! Where repositories lie: `<root>/<workspace>/<repository>.git`, bare.
//!
//! Names come in as checked types, so no path is ever made of text a client chose; and a symbolic link is never
//! followed, neither a workspace's nor a repository's, so nothing planted under the root leads out of it.

use std::fs::Metadata;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;
use tok_model::clock::Timestamp;
use tok_model::name::{RepoPath, WorkspaceName};
use tokio::fs;

use super::program::GitProgram;
use super::settings;

/// A new repository grows under such a name (which is no repository's, names do not start with a dot) and is then
/// renamed, so that it exists completely or not at all.
pub(super) const GROWING: &str = ".new-";

/// The directory of a workspace lets the daemon's own group look, and nobody else.
const WORKSPACE_MODE: u32 = 0o750;

/// Why a repository could not be made or found.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryFault {
    /// The file system said no.
    #[error("{} cannot be used as a place for repositories: check that it exists, who owns it and that the disk is not full", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// Something else lies where the repository's or the workspace's directory belongs.
    #[error("{} is not a directory (a symbolic link is not followed): move it away", path.display())]
    InTheWay {
        /// What.
        path: PathBuf,
    },
    /// The root cannot be written.
    #[error("{} cannot be written by tokd, so nobody could push: give it to tokd's user, and under systemd add ReadWritePaths={} to the unit (systemctl edit tokd)", path.display(), path.display())]
    NotWritable {
        /// The root.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// `git init` failed.
    #[error("git init failed in {}: {said}", path.display())]
    Init {
        /// Where.
        path: PathBuf,
        /// What git printed.
        said: String,
    },
}

/// What [`Repositories::create`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there already, perhaps made by somebody else in the same moment.
    Existed,
}

/// All repositories of this server.
#[derive(Debug, Clone)]
pub struct Repositories {
    pub(super) root: PathBuf,
    pub(super) program: GitProgram,
}

impl Repositories {
    /// Opens the root, making it if it is missing (its parent must exist).
    ///
    /// # Errors
    /// [`RepositoryFault`] if it cannot be made or is no directory.
    pub async fn open(root: &Path, program: GitProgram) -> Result<Self, RepositoryFault> {
        // The root itself may be a symbolic link: that is how admins move it to a larger disk.
        directory(root, WORKSPACE_MODE).await.map_err(|source| disk(root, source))?;
        let root = fs::canonicalize(root).await.map_err(|source| disk(root, source))?;
        if !fs::metadata(&root).await.is_ok_and(|found| found.is_dir()) {
            return Err(RepositoryFault::InTheWay { path: root });
        }
        // Said at the start rather than at somebody's first push.
        if let Err(error) = rustix::fs::access(&root, rustix::fs::Access::WRITE_OK) {
            return Err(RepositoryFault::NotWritable { path: root, source: error.into() });
        }
        Ok(Self { root, program })
    }

    /// The root, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The version of git that serves them.
    pub fn git_version(&self) -> String {
        self.program.version().to_string()
    }

    /// When a repository was made. File systems that do not keep that tell when its configuration last changed.
    ///
    /// # Errors
    /// [`RepositoryFault`] if the disk cannot be asked.
    pub async fn created_at(&self, repo: &RepoPath) -> Result<Timestamp, RepositoryFault> {
        let path = self.path(repo);
        let found = fs::metadata(path.join("config")).await.map_err(|source| disk(&path, source))?;
        let made = found.created().or_else(|_| found.modified()).map_err(|source| disk(&path, source))?;
        Ok(made.into())
    }

    /// Whether there is such a repository.
    ///
    /// # Errors
    /// [`RepositoryFault`] if the disk cannot be asked, which is not the same as "no".
    pub async fn exists(&self, repo: &RepoPath) -> Result<bool, RepositoryFault> {
        Ok(self.locate(repo).await?.is_some())
    }

    /// The directory of a repository, if it is there.
    ///
    /// # Errors
    /// [`RepositoryFault`] if the disk cannot be asked.
    pub async fn locate(&self, repo: &RepoPath) -> Result<Option<PathBuf>, RepositoryFault> {
        if !is_directory(&self.workspace(&repo.workspace)).await? {
            return Ok(None);
        }
        let path = self.path(repo);
        Ok(is_directory(&path).await?.then_some(path))
    }

    /// Makes an empty repository whose HEAD is `main`. Two creators at once: one makes it, the other finds it.
    ///
    /// # Errors
    /// [`RepositoryFault`]; nothing is left behind.
    pub async fn create(&self, repo: &RepoPath) -> Result<Created, RepositoryFault> {
        if self.exists(repo).await? {
            return Ok(Created::Existed);
        }
        let workspace = self.workspace(&repo.workspace);
        directory(&workspace, WORKSPACE_MODE).await.map_err(|source| disk(&workspace, source))?;
        if !is_directory(&workspace).await? {
            return Err(RepositoryFault::InTheWay { path: workspace });
        }
        let chance = SysRng.try_next_u64().map_err(|error| disk(&workspace, Error::other(error)))?;
        let growing = workspace.join(format!("{GROWING}{chance:016x}"));
        let made = self.init(&growing).await;
        let placed = match made {
            Ok(()) => self.place(&growing, &self.path(repo)).await,
            Err(fault) => Err(fault),
        };
        if !matches!(placed, Ok(Created::New)) {
            let _ = fs::remove_dir_all(&growing).await;
        }
        placed
    }

    /// All repositories, or those of one workspace, in order of their names. What is no repository's name is passed over.
    ///
    /// # Errors
    /// [`RepositoryFault`] if a directory cannot be read.
    pub async fn list(&self, workspace: Option<&WorkspaceName>) -> Result<Vec<RepoPath>, RepositoryFault> {
        let workspaces = match workspace {
            Some(one) => vec![one.clone()],
            None => names(&self.root).await?.iter().filter_map(|name| name.parse().ok()).collect(),
        };
        let mut found = Vec::new();
        for workspace in workspaces {
            let directory = self.workspace(&workspace);
            if !is_directory(&directory).await? {
                continue;
            }
            for name in names(&directory).await? {
                let Some(Ok(repo)) = name.strip_suffix(".git").map(str::parse) else { continue };
                let repo = RepoPath { workspace: workspace.clone(), repo };
                if is_directory(&self.path(&repo)).await? {
                    found.push(repo);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn path(&self, repo: &RepoPath) -> PathBuf {
        self.workspace(&repo.workspace).join(format!("{}.git", repo.repo))
    }

    fn workspace(&self, workspace: &WorkspaceName) -> PathBuf {
        self.root.join(workspace.as_str())
    }

    async fn init(&self, path: &Path) -> Result<(), RepositoryFault> {
        let mut command = self.program.command();
        settings::apply_common(&mut command, self.program.version());
        // An empty template: no sample hooks, no description, nothing that differs between distributions.
        let output = command
            .args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main"])
            .arg(path)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| disk(path, source))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(RepositoryFault::Init { path: path.to_owned(), said })
    }

    /// Renaming over a directory that has something in it fails, and that is how the second of two creators learns of
    /// the first.
    async fn place(&self, growing: &Path, path: &Path) -> Result<Created, RepositoryFault> {
        match fs::rename(growing, path).await {
            Ok(()) => {
                // The name, too, shall be there after a power cut.
                if let Some(workspace) = path.parent() {
                    super::settle::sync_directory(workspace).await.map_err(|source| disk(workspace, source))?;
                }
                Ok(Created::New)
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                Ok(Created::Existed)
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                Err(RepositoryFault::InTheWay { path: path.to_owned() })
            }
            Err(source) => Err(disk(path, source)),
        }
    }
}

fn disk(path: &Path, source: Error) -> RepositoryFault {
    RepositoryFault::Disk { path: path.to_owned(), source }
}

async fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(mode).create(path).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// A directory, and no link to one.
async fn is_directory(path: &Path) -> Result<bool, RepositoryFault> {
    Ok(look(path).await?.is_some_and(|found| found.is_dir()))
}

async fn look(path: &Path) -> Result<Option<Metadata>, RepositoryFault> {
    match fs::symlink_metadata(path).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(disk(path, source)),
    }
}

/// The names in a directory that are text.
pub(super) async fn names(path: &Path) -> Result<Vec<String>, RepositoryFault> {
    let fail = |source| disk(path, source);
    let mut names = Vec::new();
    let mut entries = fs::read_dir(path).await.map_err(fail)?;
    while let Some(entry) = entries.next_entry().await.map_err(fail)? {
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::gateway::kit::gits;
    use std::os::unix::fs::{PermissionsExt, symlink};

    async fn open(root: &Path) -> Repositories {
        Repositories::open(root, GitProgram::find(Some(&gits()[0])).await.unwrap()).await.unwrap()
    }

    fn path(text: &str) -> RepoPath {
        text.parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_creators_at_once_one_makes_it_and_the_others_find_it() {
        let directory = tempfile::tempdir().unwrap();
        let repositories = open(&directory.path().join("git")).await;
        let creators: Vec<_> = (0..8)
            .map(|_| {
                let repositories = repositories.clone();
                tokio::spawn(async move { repositories.create(&path("acme/app")).await.unwrap() })
            })
            .collect();
        let mut made = 0;
        for creator in creators {
            made += usize::from(creator.await.unwrap() == Created::New);
        }
        assert_eq!(made, 1);
        assert_eq!(names(&directory.path().join("git/acme")).await.unwrap(), ["app.git"]);
        assert!(repositories.exists(&path("acme/app")).await.unwrap());
        assert!(!repositories.exists(&path("acme/App")).await.unwrap());
    }

    #[tokio::test]
    async fn a_new_repository_is_bare_empty_and_without_hooks() {
        let directory = tempfile::tempdir().unwrap();
        let repositories = open(directory.path()).await;
        repositories.create(&path("acme/app")).await.unwrap();
        let made = repositories.locate(&path("acme/app")).await.unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(made.join("HEAD")).unwrap(), "ref: refs/heads/main\n");
        let mut found = names(&made).await.unwrap();
        found.sort();
        assert_eq!(found, ["HEAD", "config", "objects", "refs"]);
    }

    #[tokio::test]
    async fn only_what_is_a_repository_by_name_and_kind_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let repositories = open(root).await;
        for name in ["zoo/b", "acme/app", "zoo/a"] {
            repositories.create(&path(name)).await.unwrap();
        }
        std::fs::create_dir_all(root.join("zoo/no-ending")).unwrap();
        std::fs::create_dir_all(root.join("zoo/.hidden.git")).unwrap();
        std::fs::create_dir_all(root.join(".lost/x.git")).unwrap();
        std::fs::write(root.join("zoo/file.git"), "").unwrap();
        std::fs::write(root.join("note"), "").unwrap();
        symlink(root.join("zoo"), root.join("link")).unwrap();
        symlink(root.join("zoo/a.git"), root.join("zoo/link.git")).unwrap();
        let names = |found: Vec<RepoPath>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(repositories.list(None).await.unwrap()), ["acme/app", "zoo/a", "zoo/b"]);
        let of = |workspace: &str| workspace.parse().unwrap();
        assert_eq!(names(repositories.list(Some(&of("zoo"))).await.unwrap()), ["zoo/a", "zoo/b"]);
        for none in ["none", "link", "note"] {
            assert!(repositories.list(Some(&of(none))).await.unwrap().is_empty(), "{none}");
        }
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let repositories = open(root).await;
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), root.join("linked")).unwrap();
        std::fs::write(root.join("file"), "precious").unwrap();
        repositories.create(&path("acme/app")).await.unwrap();
        std::fs::write(root.join("acme/file.git"), "precious").unwrap();
        for blocked in ["linked/app", "file/app", "acme/file"] {
            let error = repositories.create(&path(blocked)).await.unwrap_err();
            assert!(matches!(error, RepositoryFault::InTheWay { .. }), "{blocked}: {error}");
        }
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string(root.join("acme/file.git")).unwrap(), "precious");
        assert_eq!(names(&root.join("acme")).await.unwrap().len(), 2, "something half-made is left");
    }

    #[tokio::test]
    async fn a_root_that_cannot_be_had_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        for root in ["file", "missing/git"] {
            let root = directory.path().join(root);
            let program = GitProgram::find(Some(&gits()[0])).await.unwrap();
            let error = Repositories::open(&root, program).await.unwrap_err().to_string();
            assert!(error.contains(root.to_str().unwrap()), "{error}");
        }
    }

    #[tokio::test]
    async fn strangers_on_the_machine_cannot_look_into_a_workspace() {
        let directory = tempfile::tempdir().unwrap();
        let repositories = open(&directory.path().join("git")).await;
        repositories.create(&path("acme/app")).await.unwrap();
        for made in ["git", "git/acme"] {
            let mode = std::fs::metadata(directory.path().join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o007, 0, "{made}: {mode:o}");
        }
    }
}
