//! Which git serves the repositories: found once at start, and the same one for every child.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The oldest git that can be told everything it needs through its environment (`GIT_CONFIG_COUNT`), so that no
/// configuration file of the machine or of a user ever decides how a push is received.
pub const OLDEST: GitVersion = GitVersion { major: 2, minor: 31 };

/// A git release, as far as it decides what may be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl std::fmt::Display for GitVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl GitVersion {
    /// Reads what `git --version` prints, with whatever a distributor appended.
    fn parse(printed: &str) -> Option<Self> {
        let mut numbers = printed.trim().strip_prefix("git version ")?.split(['.', ' ', '-']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

/// Why no git can serve repositories here.
#[derive(Debug, thiserror::Error)]
pub enum GitNotUsable {
    /// Nothing called `git` on the search path.
    #[error("no git on PATH, and the git gateway runs it: install git, or name it with git.program")]
    NotFound,
    /// It is there but does not start or does not answer as git does.
    #[error("{} is not a git that answers `{asked}`: install git {OLDEST} or newer, or name another with git.program", git.display())]
    NoAnswer {
        /// The program tried.
        git: PathBuf,
        /// What it was asked.
        asked: &'static str,
        /// Why it did not start, if it did not.
        source: Option<std::io::Error>,
    },
    /// Too old to be configured through its environment.
    #[error("{} is git {found}, and the gateway needs {OLDEST} or newer: install a newer git or name it with git.program", git.display())]
    TooOld {
        /// The program tried.
        git: PathBuf,
        /// Its release.
        found: GitVersion,
    },
    /// git without its HTTP server half; some distributors ship it as a package of its own.
    #[error("{} is missing, so git here cannot be served over HTTP: install the package that has git-http-backend (git, git-core or git-daemon)", backend.display())]
    NoBackend {
        /// Where it should be.
        backend: PathBuf,
    },
}

/// A git that was tried and found able to serve.
#[derive(Debug, Clone)]
pub struct GitProgram {
    git: PathBuf,
    exec_path: PathBuf,
    version: GitVersion,
}

impl GitProgram {
    /// Looks for git (on PATH if no program is named), asks for its release and its HTTP half.
    ///
    /// # Errors
    /// [`GitNotUsable`] names what is missing and what to install.
    pub async fn find(named: Option<&Path>) -> Result<Self, GitNotUsable> {
        let git = match named {
            Some(path) => path.to_owned(),
            None => on_path("git").ok_or(GitNotUsable::NotFound)?,
        };
        let printed = ask(&git, "--version").await?;
        let version = GitVersion::parse(&printed).ok_or_else(|| GitNotUsable::NoAnswer {
            git: git.clone(),
            asked: "--version",
            source: None,
        })?;
        if version < OLDEST {
            return Err(GitNotUsable::TooOld { git, found: version });
        }
        let exec_path = PathBuf::from(ask(&git, "--exec-path").await?.trim_end_matches('\n'));
        let program = Self { git, exec_path, version };
        let backend = program.http_backend();
        match tokio::fs::metadata(&backend).await {
            Ok(found) if found.is_file() => Ok(program),
            _ => Err(GitNotUsable::NoBackend { backend }),
        }
    }

    /// Its release.
    pub fn version(&self) -> GitVersion {
        self.version
    }

    /// A git command with nothing of this process's environment in it.
    pub(super) fn command(&self) -> Command {
        self.bare(&self.git)
    }

    /// `git-http-backend` itself: one process fewer than through `git`.
    pub(super) fn backend(&self) -> Command {
        self.bare(&self.http_backend())
    }

    fn http_backend(&self) -> PathBuf {
        self.exec_path.join("git-http-backend")
    }

    /// No secret of the daemon, no proxy setting, no locale and no trace variable may reach a child; what it needs is
    /// named here and in `settings`.
    fn bare(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.search_path())
            .env("GIT_EXEC_PATH", &self.exec_path)
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The directory of this git comes first, so that its children are its own and not another installation's.
    fn search_path(&self) -> std::ffi::OsString {
        let mut path = self.git.parent().unwrap_or(Path::new("/usr/bin")).as_os_str().to_owned();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        path
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

async fn ask(git: &Path, asked: &'static str) -> Result<String, GitNotUsable> {
    let fail = |source| GitNotUsable::NoAnswer { git: git.to_owned(), asked, source };
    let output = Command::new(git)
        .arg(asked)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| fail(Some(error)))?;
    match String::from_utf8(output.stdout) {
        Ok(text) if output.status.success() => Ok(text),
        _ => Err(fail(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_with_whatever_a_distributor_appended() {
        for (printed, version) in [
            ("git version 2.47.3\n", (2, 47)),
            ("git version 2.39.5 (Apple Git-154)", (2, 39)),
            ("git version 2.55.GIT", (2, 55)),
            ("git version 2.31-rc1", (2, 31)),
        ] {
            assert_eq!(
                GitVersion::parse(printed),
                Some(GitVersion { major: version.0, minor: version.1 }),
                "{printed}"
            );
        }
        assert_eq!(GitVersion::parse("hub version 2"), None);
        assert!(GitVersion { major: 2, minor: 9 } < OLDEST);
    }

    #[tokio::test]
    async fn a_program_that_is_not_git_is_named_in_the_refusal() {
        let error = GitProgram::find(Some(Path::new("/bin/true"))).await.unwrap_err().to_string();
        assert!(error.contains("/bin/true") && error.contains("git.program"), "{error}");
        let error = GitProgram::find(Some(Path::new("/no/such/git"))).await.unwrap_err();
        assert!(matches!(error, GitNotUsable::NoAnswer { source: Some(_), .. }), "{error}");
    }

    #[tokio::test]
    async fn an_old_git_and_a_git_without_its_http_half_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let fake = |name: &str, version: &str| {
            let path = directory.path().join(name);
            let text =
                format!("#!/bin/sh\ncase $1 in --version) echo git version {version};; *) echo /nowhere;; esac\n");
            crate::door::testing::script(&path, &text);
            path
        };
        let old = GitProgram::find(Some(&fake("old", "2.25.1"))).await.unwrap_err();
        assert!(matches!(old, GitNotUsable::TooOld { .. }), "{old}");
        let half = GitProgram::find(Some(&fake("half", "2.47.0"))).await.unwrap_err();
        assert!(half.to_string().contains("/nowhere/git-http-backend"), "{half}");
    }
}
