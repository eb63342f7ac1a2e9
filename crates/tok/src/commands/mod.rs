//! The commands, one file for each verb. The doc comment of its arguments is its help.

mod agent;
mod audit;
mod ci;
mod completions;
mod doctor;
mod git;
mod internal_reference;
mod login;
mod logout;
mod moments;
mod repo;
mod server;
mod status;
mod token;
mod trust;
mod user;
mod whoami;
pub(crate) mod words;
mod workspace;

use clap::{Args, Subcommand};
use tok_api::convert::{PageAsk, PageOf};

use crate::context::Context;
use crate::exit::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    User(user::UserCommand),
    #[command(subcommand)]
    Workspace(workspace::WorkspaceCommand),
    #[command(subcommand)]
    Repo(repo::RepoCommand),
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    #[command(subcommand)]
    Ci(ci::CiCommand),
    #[command(subcommand)]
    Git(git::GitCommand),
    #[command(subcommand)]
    Server(server::ServerCommand),
    Agent(agent::AgentArgs),
    Audit(audit::AuditArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    Whoami(whoami::WhoamiArgs),
    Status(status::StatusArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    InternalReference(internal_reference::InternalReferenceArgs),
}

impl Command {
    /// What has to be done before anything is opened.
    pub(crate) fn prepare(&self) {
        if let Self::Agent(arguments) = self {
            arguments.prepare();
        }
    }

    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Token(command) => command.run(context).await,
            Self::User(command) => command.run(context).await,
            Self::Workspace(command) => command.run(context).await,
            Self::Repo(command) => command.run(context).await,
            Self::Trust(command) => command.run(context).await,
            Self::Ci(command) => command.run(context).await,
            Self::Git(command) => command.run(context).await,
            Self::Server(command) => command.run(context).await,
            Self::Agent(arguments) => arguments.run(context).await,
            Self::Audit(arguments) => arguments.run(context).await,
            Self::Login(arguments) => arguments.run(context).await,
            Self::Logout(arguments) => arguments.run(context).await,
            Self::Whoami(arguments) => arguments.run(context).await,
            Self::Status(arguments) => arguments.run(context).await,
            Self::Doctor(arguments) => arguments.run(context).await,
            Self::Completions(arguments) => arguments.run(),
            Self::InternalReference(arguments) => arguments.run(),
        }
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArgs {
    /// At most so many [default: what the server thinks right]
    #[arg(long, value_name = "N", env = "TOK_LIMIT", hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
    /// Go on where another page ended
    #[arg(long, env = "TOK_CURSOR", hide_env_values = true)]
    cursor: Option<String>,
    /// Every page, from the first or the cursor to the last; --limit is then the size of one request
    #[arg(long, env = "TOK_ALL", hide_env_values = true, value_parser = words::switch())]
    all: bool,
}

impl PageArgs {
    fn ask(&self) -> PageAsk {
        PageAsk { size: self.limit, cursor: self.cursor.clone().filter(|cursor| !cursor.is_empty()) }
    }

    /// The page that was asked for, or with `--all` that one and all that follow it, as one.
    async fn gather<T>(
        &self,
        mut page: impl AsyncFnMut(PageAsk) -> Result<PageOf<T>, Failure>,
    ) -> Result<PageOf<T>, Failure> {
        let mut gathered = page(self.ask()).await?;
        while self.all && gathered.next_cursor.is_some() {
            let next = page(PageAsk { size: self.limit, cursor: gathered.next_cursor.take() }).await?;
            gathered.rows.extend(next.rows);
            gathered.next_cursor = next.next_cursor;
        }
        Ok(gathered)
    }

    /// The flags that the next page needs again, besides its cursor.
    fn again(&self) -> String {
        self.limit.map(|limit| format!(" --limit {limit}")).unwrap_or_default()
    }
}
