//! `tok ci token`.

use clap::Args;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::convert::Exchange;
use tok_model::kind::Permission;
use tok_model::name::RepoPath;

use super::IdentityArgs;
use super::identity::Identity;
use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;
use crate::output;

/// Exchange the job's identity for a token, and print it
///
/// For what does not ask git's credential helpers; git itself is better off with `tok ci exec`. The token goes to stdout
/// alone. At GitHub let the log hide it: `echo "::add-mask::$TOKEN"`.
///
/// Examples:
///
///     $ TOKEN=$(tok ci token --repo acme/app --permission read)
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TokenArgs {
    /// For which repository [default: the rule's, if it is for one]
    #[arg(long, value_name = "WORKSPACE/REPO")]
    repo: Option<RepoPath>,
    /// What it shall be able to do [default: as much as the rule gives]
    #[arg(long, value_parser = words::permissions())]
    permission: Option<Permission>,
    #[command(flatten)]
    identity: IdentityArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    secret: &'a str,
    repository: String,
    permission: &'static str,
    expires_at: String,
}

impl TokenArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let (server, identity) = self.identity.find(context)?;
        if let Identity::Stored(_) = identity {
            return Err(Failure::local("this job has no identity token to exchange; TOK_TOKEN is a token already")
                .hint("`tok ci exec` lets git use TOK_TOKEN"));
        }
        // An identity is exchanged once: not for a token that nobody gets.
        if !output::stdout_is_read() {
            return Err(Failure::local("stdout is closed, and the token would be lost; nothing was exchanged")
                .hint("let stdout go to a file or a program that keeps it"));
        }
        let token = identity.token().await?;
        let mut client = Client::remote(&server, &Caller::default(), &RemoteOptions::default()).await?;
        let wish = Exchange { token, repository: self.repo, permission: self.permission };
        let exchanged = client.exchange(wish).await?;
        if context.out.is_json() {
            return output::json(&Report {
                secret: exchanged.secret.expose_secret(),
                repository: exchanged.repository.to_string(),
                permission: exchanged.permission.as_str(),
                expires_at: exchanged.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            });
        }
        let (permission, repository) = (exchanged.permission, &exchanged.repository);
        let end = exchanged.expires_at.format("%H:%M:%S UTC");
        context.out.note(&format!("A token to {permission} {repository}, until {end}:\n"));
        output::text(&[exchanged.secret.expose_secret(), "\n"])
    }
}
