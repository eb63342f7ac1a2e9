//! `tok git`.

pub(super) mod answerer;
pub(super) mod chain;
mod config;
pub(crate) mod helper;
pub(super) mod here;
pub(super) mod process;
pub(super) mod settings;
mod setup;
pub(super) mod target;
mod unset;
pub(super) mod why;

use clap::{Args, Subcommand};
use serde::Serialize;
use tok_model::url::Origin;

use self::config::{Change, GitConfig, Scope};
use self::process::Git;
use self::settings::Settings;
use crate::context::Context;
use crate::exit::Failure;
use crate::output;

pub(super) use self::setup::{is_set_up, set_up};
pub(super) use self::why::command;

/// Let git get its credentials from tok
#[derive(Debug, Subcommand)]
pub(crate) enum GitCommand {
    Setup(setup::SetupArgs),
    Unset(unset::UnsetArgs),
    Why(why::WhyArgs),
}

impl GitCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Setup(arguments) => arguments.run(context).await,
            Self::Unset(arguments) => arguments.run(context),
            Self::Why(arguments) => arguments.run(context).await,
        }
    }
}

/// Which of git's files is written.
#[derive(Debug, Clone, Copy, Args)]
struct ScopeArgs {
    /// Write the configuration of this machine instead of yours
    #[arg(long)]
    system: bool,
    /// Write the configuration of the repository you are in instead of yours
    #[arg(long, conflicts_with = "system")]
    local: bool,
}

impl ScopeArgs {
    fn scope(self) -> Scope {
        match (self.system, self.local) {
            (true, _) => Scope::System,
            (_, true) => Scope::Local,
            _ => Scope::Global,
        }
    }
}

/// The servers that were named; in a repository without one, those of its remotes.
fn servers(urls: &[String]) -> Result<Vec<Origin>, Failure> {
    if urls.is_empty() {
        return here::servers(&Settings::read(&Git::default())?);
    }
    urls.iter().map(|url| server(url)).collect()
}

/// The server of a URL, for git's configuration. The fault never repeats the URL, which may hold a password.
fn server(url: &str) -> Result<Origin, Failure> {
    let origin = Origin::parse(url).map_err(|why| {
        Failure::usage(why).hint("give scheme, host and port alone, as in `tok git setup https://git.example.com`")
    })?;
    if origin.acceptable() {
        Ok(origin)
    } else {
        Err(Failure::usage(format!(
            "git would send tokens to {origin} in the clear, so the helper does not answer for it"
        ))
        .hint("use its https:// address; http:// is for servers on this machine"))
    }
}

fn helper_key(server: &Origin) -> String {
    format!("credential.{server}.helper")
}

fn path_key(server: &Origin) -> String {
    format!("credential.{server}.useHttpPath")
}

/// What was or would be done to git's configuration.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    scope: &'static str,
    dry_run: bool,
    changed: bool,
    commands: Vec<String>,
    /// The helpers of others that are no longer asked.
    replaced: Vec<String>,
    /// What stays in the helper's line, though it was not asked for again.
    kept: Vec<String>,
    /// What keeps it from working where one is.
    in_the_way: Vec<InTheWay>,
}

/// What keeps git from asking tok where one is, whatever the file says that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct InTheWay {
    what: String,
    /// The command that mends it.
    fix: String,
}

impl Report {
    /// Makes the changes, unless this is a dry run.
    fn carry_out(config: &GitConfig, server: &Origin, changes: &[Change], dry_run: bool) -> Result<Self, Failure> {
        if !dry_run {
            for change in changes {
                config.apply(change)?;
            }
        }
        Ok(Self {
            url: server.to_string(),
            scope: config.scope().as_str(),
            dry_run,
            changed: !dry_run && !changes.is_empty(),
            commands: changes.iter().map(|change| change.command(config.scope())).collect(),
            replaced: Vec::new(),
            kept: Vec::new(),
            in_the_way: Vec::new(),
        })
    }

    /// The reports on the servers, however many.
    fn show(context: &Context, reports: &[Self], words: impl Fn(&Self) -> String) -> Result<(), Failure> {
        let text = || reports.iter().map(words).collect::<String>();
        context.out.show(&output::Named("servers", &reports), text)
    }

    fn text(&self, done: &str, would: &str, nothing: &str) -> String {
        let words = match (self.commands.is_empty(), self.dry_run) {
            (true, _) => return format!("{nothing}\n"),
            (false, true) => would,
            (false, false) => done,
        };
        let commands: Vec<_> = self.commands.iter().map(|command| format!("  {command}\n")).collect();
        format!("{words}\n{}", commands.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port_and_never_in_the_clear() {
        assert_eq!(
            helper_key(&server("https://Git.Example.com:443/").unwrap()),
            "credential.https://git.example.com.helper"
        );
        assert_eq!(path_key(&server("http://127.0.0.1:7650").unwrap()), "credential.http://127.0.0.1:7650.useHttpPath");
        for bad in
            ["git.example.com", "https://git.example.com/acme", "http://git.example.com", "ssh://git.example.com"]
        {
            assert_eq!(server(bad).unwrap_err().exit(), 2, "{bad}");
        }
        let refusal = format!("{:?}", server("https://alice:hunter2@git.example.com").unwrap_err());
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}
