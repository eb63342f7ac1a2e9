//! `tok ci`.

mod door;
mod exec;
mod identity;
mod token;

use clap::{Args, Subcommand};
use tok_model::url::Origin;

use self::identity::Identity;
use crate::context::Context;
use crate::exit::Failure;

/// Use git in a CI job, without a stored secret
///
/// The job's identity, as its CI system signs it, is exchanged for a token for one repository that lives for minutes, if a
/// trust rule of the server lets the job in (`tok trust add`). Where there is no identity, TOK_TOKEN is used.
#[expect(clippy::doc_markdown, reason = "it is the help that people read in a terminal")]
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum CiCommand {
    Exec(exec::ExecArgs),
    Token(token::TokenArgs),
}

impl CiCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Exec(arguments) => arguments.run(context).await,
            Self::Token(arguments) => arguments.run(context).await,
        }
    }
}

/// The variable that names the socket of the `tok ci exec` that a command runs in, so that what looks at git there knows it
/// from a daemon's.
pub(in crate::commands) const SOCKET: &str = "TOK_CI_SOCKET";

/// Where the job's identity comes from.
#[derive(Debug, Args)]
struct IdentityArgs {
    /// For whom the identity token is: what the rule has as its audience [default: the server's address]
    #[arg(long, env = "TOK_AUDIENCE", hide_env_values = true)]
    audience: Option<String>,
    /// Read the identity token from this file, as Kubernetes and others write it
    #[arg(long, value_name = "FILE", env = "TOK_ID_TOKEN_FILE", hide_env_values = true)]
    id_token_file: Option<std::path::PathBuf>,
}

impl IdentityArgs {
    /// The job's identity, and the server that it is for.
    fn find(&self, context: &Context) -> Result<(Origin, Identity), Failure> {
        let server = context.named().server.clone().ok_or_else(|| {
            Failure::usage("say which server: --server https://git.example.com")
                .hint("or set TOK_SERVER in the job's environment")
        })?;
        let audience = self.audience.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| server.to_string());
        let identity = Identity::find(self.id_token_file.as_deref(), audience)?;
        Ok((server, identity))
    }
}
