//! What most tests begin with: people, workspaces, repositories with something in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Environment;

impl Environment {
    /// Makes users.
    pub fn users(&self, names: &[&str]) -> &Self {
        for name in names {
            self.tok(&["user", "create", name]).ok();
        }
        self
    }

    /// Makes a workspace with these members, as `("alice", "writer")`.
    pub fn workspace(&self, name: &str, members: &[(&str, &str)]) -> &Self {
        self.tok(&["workspace", "create", name]).ok();
        for (user, role) in members {
            self.tok(&["workspace", "member", "add", name, user, "--role", role]).ok();
        }
        self
    }

    /// A new work tree with one commit.
    pub fn work_tree(&self, name: &str) -> PathBuf {
        let directory = self.work(name);
        fs::create_dir(&directory).expect("the directory is ours");
        self.git(&directory, &["init", "--quiet"]).ok();
        self.commit(&directory, "README", "first\n");
        directory
    }

    /// Commits a file.
    pub fn commit(&self, directory: &Path, file: &str, content: impl AsRef<[u8]>) {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("the directory is ours");
        fs::write(path, content).expect("the directory is ours");
        self.git(directory, &["add", "--", file]).ok();
        self.git(directory, &["commit", "--quiet", "--message", file]).ok();
    }

    /// Pushes a new work tree to a new repository, as this user. Gives the work tree.
    #[track_caller]
    pub fn pushed(&self, user: &str, repo: &str) -> PathBuf {
        let directory = self.work_tree(&repo.replace('/', "-"));
        self.git(&directory, &["remote", "add", "origin", &self.repository(repo)]).ok();
        self.git(&directory, &["push", "--quiet", "--set-upstream", "origin", "main"]).acting_as(user).ok();
        directory
    }

    /// What `git rev-parse` says.
    #[track_caller]
    pub fn revision(&self, directory: &Path, name: &str) -> String {
        self.git(directory, &["rev-parse", "--verify", name]).ok().line().to_owned()
    }
}
