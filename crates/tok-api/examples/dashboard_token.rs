//! A dashboard reads two repositories for thirty days: it can neither push to them nor see any other, and cannot make
//! tokens.
//!
//! ```sh
//! TOK_SERVER=https://git.example.com TOK_TOKEN=… cargo run --example dashboard_token acme/app acme/docs
//! ```

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use tok_api::client::Client;
use tok_api::convert::TokenDraft;
use tok_api::fault::Fault;
use tok_api::model::kind::{Permission, TokenKind};
use tok_api::secrecy::ExposeSecret as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A fault says what happened and why; its hint says what to try.
            let hint = error.downcast_ref().and_then(|fault: &Fault| fault.hint.as_deref()).unwrap_or_default();
            let _ = writeln!(stderr(), "error: {error}\n{hint}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let repositories: Vec<String> = std::env::args().skip(1).collect();
    if repositories.is_empty() {
        return Err("usage: dashboard_token <workspace>/<repository>…".into());
    }
    let mut client = Client::from_environment().await?;
    let draft = TokenDraft {
        name: "Dashboard".to_owned(),
        description: format!("shows {}", repositories.join(" and ")),
        kind: Some(TokenKind::Repo),
        permission: Some(Permission::Read),
        repos: repositories,
        expires: Some("30d".to_owned()),
        ..TokenDraft::default()
    };
    let created = client.create_token(draft).await?;
    writeln!(stderr(), "{} reads {}", created.token.id, created.token.repo_allowlist.join(", "))?;
    writeln!(stdout(), "{}", created.secret.expose_secret())?;
    Ok(())
}
