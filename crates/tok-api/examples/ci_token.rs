//! A CI server gives one job what it needs and no more: one repository, to push to, for an hour.
//!
//! ```sh
//! TOKEN=$(TOK_SERVER=https://git.example.com TOK_TOKEN=… cargo run --example ci_token acme/app 4711)
//! git clone "https://ci:$TOKEN@git.example.com/acme/app.git"
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
    let mut arguments = std::env::args().skip(1);
    let (Some(repository), Some(job)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ci_token <workspace>/<repository> <job>".into());
    };
    let mut client = Client::from_environment().await?;
    let draft = TokenDraft {
        name: format!("CI job {job}"),
        kind: Some(TokenKind::Repo),
        permission: Some(Permission::Write),
        repos: vec![repository],
        expires: Some("1h".to_owned()),
        // Asked again for the same job after a lost answer, the server makes no second token.
        idempotency_key: Some(format!("ci-job-{job}")),
        ..TokenDraft::default()
    };
    let created = client.create_token(draft).await?;
    writeln!(stderr(), "{}, good until {:?}", created.token.id, created.token.expires_at)?;
    writeln!(stdout(), "{}", created.secret.expose_secret())?;
    Ok(())
}
