//! git, run for what it knows.

use std::ffi::OsString;
use std::io;
use std::process::{Command, Output, Stdio};

use crate::exit::Failure;

/// How git is run: as this process is, and with these variables besides.
#[derive(Debug, Clone, Default)]
pub(in crate::commands) struct Git {
    environment: Vec<(String, OsString)>,
}

impl Git {
    /// With one more variable.
    pub(in crate::commands) fn with(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut environment = self.environment.clone();
        environment.push((name.to_owned(), value.into()));
        Self { environment }
    }

    /// Runs it to its end, whatever that is.
    pub(in crate::commands) fn run(&self, words: &[&str]) -> Result<Output, Failure> {
        Command::new("git")
            .args(words)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // git has no use for it, and what git starts has none either.
            .env_remove("TOK_TOKEN")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Failure::local("git is not installed, or not on PATH").hint("install git, then run this again")
                }
                _ => Failure::local(format!("cannot run git: {error}")),
            })
    }

    /// What it says, if it ends well and says anything.
    pub(in crate::commands) fn says(&self, words: &[&str]) -> Result<Option<String>, Failure> {
        let output = self.run(words)?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
        Ok(Some(text).filter(|text| output.status.success() && !text.is_empty()))
    }
}
