//! Every token of the caller's, a page at a time.
//!
//! ```sh
//! TOK_SERVER=https://git.example.com TOK_TOKEN=… cargo run --example paging 50
//! ```

use std::error::Error;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use tok_api::client::Client;
use tok_api::convert::{PageAsk, TokenFilter};
use tok_api::fault::Fault;

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
    let size = std::env::args().nth(1).map(|size| size.parse()).transpose()?;
    let mut client = Client::from_environment().await?;
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = client.list_tokens(TokenFilter::default(), PageAsk { size, cursor }).await?;
        pages += 1;
        for token in page.rows {
            writeln!(stdout(), "{}… {}", token.token_prefix, token.name)?;
        }
        // Tokens that are made or revoked meanwhile neither repeat a row nor hide one.
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    writeln!(stderr(), "{pages} pages")?;
    Ok(())
}
