//! `tok agent`.

mod lock;
mod start;
mod status;
mod stop;
mod unlock;

use clap::{Args, Subcommand, ValueEnum};
use tok_api::client::agent::AgentClient;
use tok_model::clock::Lifetime;

use crate::agent::hardening::close_inherited;
use crate::agent::keeper::Settings;
use crate::agent::place;
use crate::context::Context;
use crate::exit::Failure;

/// Keep logins and git's tokens at hand, in the background
///
/// The agent keeps a connection to each server you are logged in at, and the tokens that git needed lately, in memory
/// and nowhere else. It answers git's helper and you, on a socket that nobody else may open. git's helper starts it when
/// it needs one; `systemctl --user enable --now tok-agent.socket` does so, too.
///
/// With `remember = "memory"` it also keeps what you type for servers that are not tok's, for as long and in the same way
/// as `git credential-cache` does: then one helper serves every server.
///
/// Examples:
///
///     $ tok agent status
///     $ tok agent lock
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, arg_required_else_help = true)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    options: AgentOptions,
    #[command(subcommand)]
    command: AgentCommand,
}

/// How an agent is, if this command starts one.
#[derive(Debug, Clone, Args)]
struct AgentOptions {
    /// For an agent that is started: keep the credentials of other servers in memory, too
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHERE",
        env = "TOK_AGENT_REMEMBER",
        hide_env_values = true,
        default_value = "off"
    )]
    remember: Remember,
    /// For an agent that is started: end after so long without work, or `never`
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        env = "TOK_AGENT_IDLE",
        hide_env_values = true,
        default_value = "8h"
    )]
    idle: Lifetime,
}

/// Where the credentials of other servers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Remember {
    /// In the agent's memory.
    Memory,
    /// Nowhere.
    Off,
}

impl AgentOptions {
    fn settings(&self) -> Settings {
        let idle = match self.idle {
            Lifetime::Never => None,
            Lifetime::For(period) => Some(period.duration()),
        };
        Settings { idle, remember: self.remember == Remember::Memory }
    }

    /// The same for another process.
    fn arguments(&self) -> Vec<String> {
        let remember = match self.remember {
            Remember::Memory => "memory",
            Remember::Off => "off",
        };
        vec![format!("--remember={remember}"), format!("--idle={}", self.idle)]
    }
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Status(status::StatusArgs),
    Lock(lock::LockArgs),
    Unlock(unlock::UnlockArgs),
}

impl AgentArgs {
    /// What has to be done before anything is opened.
    pub(crate) fn prepare(&self) {
        if let AgentCommand::Start(arguments) = &self.command {
            close_inherited();
            arguments.prepare();
        }
    }

    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self.command {
            AgentCommand::Start(arguments) => arguments.run(&self.options, context).await,
            AgentCommand::Stop(arguments) => arguments.run(context).await,
            AgentCommand::Status(arguments) => arguments.run(context).await,
            AgentCommand::Lock(arguments) => arguments.run(&self.options, context).await,
            AgentCommand::Unlock(arguments) => arguments.run(&self.options, context).await,
        }
    }
}

/// This user's agent.
async fn agent() -> Result<AgentClient, Failure> {
    Ok(AgentClient::connect(&place::socket()?).await?)
}
