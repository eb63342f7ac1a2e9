//! git's own configuration, read and written by git itself.

use std::process::Output;

use super::process::Git;
use super::settings::Settings;
use crate::exit::Failure;
use crate::output::{quoted, safe};

/// Which of git's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    System,
    Local,
}

impl Scope {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::System => "system",
            Self::Local => "local",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Global => "--global",
            Self::System => "--system",
            Self::Local => "--local",
        }
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Makes this the only value.
    Replace { key: String, value: String },
    /// Adds a value after those that are there.
    Add { key: String, value: String },
    /// Removes every value.
    Unset { key: String },
}

impl Change {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Replace { key, value } => vec!["--replace-all", key, value],
            Self::Add { key, value } => vec!["--add", key, value],
            Self::Unset { key } => vec!["--unset-all", key],
        }
    }

    /// The command that makes it, for a shell.
    pub(super) fn command(&self, scope: Scope) -> String {
        let words: Vec<_> = self.words().into_iter().map(quoted).collect();
        format!("git config {} {}", scope.flag(), words.join(" "))
    }

    /// The changes that leave a key with exactly these values.
    pub(super) fn all(key: &str, values: &[&str]) -> Vec<Self> {
        let key = || key.to_owned();
        match values {
            [] => vec![Self::Unset { key: key() }],
            [first, rest @ ..] => {
                let add = rest.iter().map(|&value| Self::Add { key: key(), value: value.to_owned() });
                [Self::Replace { key: key(), value: (*first).to_owned() }].into_iter().chain(add).collect()
            }
        }
    }
}

/// One of git's configuration files.
#[derive(Debug)]
pub(super) struct GitConfig {
    scope: Scope,
    git: Git,
}

impl GitConfig {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, git: Git::default() }
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// The values of a key in this file, in order.
    pub(super) fn values(&self, key: &str) -> Result<Vec<String>, Failure> {
        self.read(&["-z", "--get-all", key], key)
    }

    /// The values of a key in this file and those that it includes, in order.
    pub(super) fn effective(&self, key: &str) -> Result<Vec<String>, Failure> {
        self.read(&["--includes", "-z", "--get-all", key], key)
    }

    fn read(&self, words: &[&str], key: &str) -> Result<Vec<String>, Failure> {
        let output = self.git(words)?;
        match output.status.code() {
            Some(0) => {
                let text = String::from_utf8(output.stdout).map_err(|_| {
                    Failure::local(format!("git's configuration has a value of {key} that is not text"))
                })?;
                Ok(text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect())
            }
            Some(1) => Ok(Vec::new()),
            _ => Err(self.refused(&output)),
        }
    }

    /// Everything that git's configuration says up to these files: what is written here has to stand up to it.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::read(&self.git)?.up_to(self.scope.as_str()))
    }

    /// Makes a change.
    pub(super) fn apply(&self, change: &Change) -> Result<(), Failure> {
        let output = self.git(&change.words())?;
        if output.status.success() { Ok(()) } else { Err(self.refused(&output)) }
    }

    fn git(&self, words: &[&str]) -> Result<Output, Failure> {
        self.git.run(&[&["config", self.scope.flag()], words].concat())
    }

    fn refused(&self, output: &Output) -> Failure {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().trim_start_matches("fatal: ").trim_start_matches("error: ");
        Failure::local(format!("git does not touch its {} configuration: {}", self.scope.as_str(), safe(words))).hint(
            match self.scope {
                Scope::Global => {
                    "check that you may write your git configuration: `git config --global --list --show-origin`"
                }
                Scope::System => "run this as root, or without `--system` for yourself alone",
                Scope::Local => "run this inside a repository, or without `--local`",
            },
        )
    }
}

#[cfg(test)]
pub(super) mod fixture {
    //! A home with nothing in it.

    use super::*;
    use tempfile::TempDir;

    pub(crate) struct Home {
        pub(crate) config: GitConfig,
        directory: TempDir,
    }

    impl Home {
        pub(crate) fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join(".gitconfig");
            let git = Git::default()
                .with("HOME", directory.path())
                .with("GIT_CONFIG_GLOBAL", file)
                .with("GIT_CONFIG_NOSYSTEM", "1");
            Self { config: GitConfig { scope: Scope::Global, git }, directory }
        }

        pub(crate) fn write(&self, text: &str) {
            std::fs::write(self.directory.path().join(".gitconfig"), text).unwrap();
        }

        pub(crate) fn text(&self) -> String {
            std::fs::read_to_string(self.directory.path().join(".gitconfig")).unwrap_or_default()
        }

        pub(crate) fn apply(&self, changes: &[Change]) {
            for change in changes {
                self.config.apply(change).unwrap();
            }
        }

        /// What git asks when it needs a credential for a URL, with everything in its configuration taken together.
        pub(crate) fn asks(&self, url: &str, key: &str) -> String {
            let output = self.config.command_for_tests(&["--get-urlmatch", key, url]);
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }
    }

    impl GitConfig {
        fn command_for_tests(&self, words: &[&str]) -> Output {
            self.git(words).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Home;
    use super::*;

    #[test]
    fn git_keeps_what_it_is_told_and_says_what_it_keeps() {
        let home = Home::new();
        let key = "credential.https://git.example.com.helper";
        assert_eq!(home.config.values(key).unwrap(), Vec::<String>::new());
        home.apply(&Change::all(key, &["", "tok --socket '/a b/x.sock'"]));
        assert_eq!(home.config.values(key).unwrap(), ["", "tok --socket '/a b/x.sock'"]);
        home.apply(&Change::all(key, &[]));
        assert_eq!(home.config.values(key).unwrap(), Vec::<String>::new());
        assert_eq!(home.text(), "", "no empty section is left behind");
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let change = Change::Replace { key: "credential.https://g.helper".to_owned(), value: String::new() };
        assert_eq!(change.command(Scope::Global), "git config --global --replace-all credential.https://g.helper ''");
        let change = Change::Unset { key: "a.it's.b".to_owned() };
        assert_eq!(change.command(Scope::System), "git config --system --unset-all 'a.it'\\''s.b'");
    }

    #[test]
    fn a_broken_file_is_reported_in_gits_words() {
        let home = Home::new();
        home.write("[credential\n");
        let failure = format!("{:?}", home.config.values("credential.helper").unwrap_err());
        assert!(failure.contains("bad config") && failure.contains(".gitconfig"), "{failure}");
    }
}
