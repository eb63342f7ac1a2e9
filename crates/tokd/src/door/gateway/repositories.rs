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
        if fs::metadata(&root).await.is_ok_and(|found| found.is_dir()) {
            Ok(Self { root, program })
        } else {
            Err(RepositoryFault::InTheWay { path: root })
        }
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
