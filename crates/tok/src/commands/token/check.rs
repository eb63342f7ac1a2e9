//! `tok token check`.

use std::io::IsTerminal as _;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::CheckedToken;
use tok_model::clock::Timestamp;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{facts, safe};
use crate::secret;

/// Read a token's text from stdin and say whose it is and what it may do
///
/// The text is never an argument: arguments are seen by everybody on the machine. Exit code 0 means that the token works
/// now, 1 that it does not, 5 that the daemon does not know it.
///
/// Examples:
///
///     $ tok token check < token.txt
///     $ printenv CI_TOKEN | tok token check --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CheckArgs {}

impl CheckArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let secret = read(context).await?;
        let checked = context.client().await?.check_token(&secret).await?;
        context.out.show(&checked, || text(&checked, context.now))?;
        if checked.usable { Ok(()) } else { Err(Failure::Silent(Exit::Failed)) }
    }
}

async fn read(context: &Context) -> Result<SecretString, Failure> {
    const HINT: &str = "`tok token check < file`, or `printenv VARIABLE | tok token check`";
    let text = if std::io::stdin().is_terminal() && context.out.interactive {
        secret::typed(context.out, "Token: ").await?
    } else {
        secret::from_stdin("the token").map_err(|failure| failure.hint(HINT))?
    };
    match text.expose_secret().trim() {
        "" => Err(Failure::usage("there is no token on stdin").hint(HINT)),
        text => Ok(SecretString::from(text)),
    }
}

fn text(checked: &CheckedToken, now: Timestamp) -> String {
    let token = &checked.token;
    facts(&[
        ("Verdict", safe(&checked.verdict)),
        ("Works now", if checked.usable { "yes" } else { "no" }.to_owned()),
        ("Owner", safe(&checked.owner)),
        ("May now", safe(&checked.effective_scopes.join(", "))),
        ("Token", format!("{}…", safe(&token.token_prefix))),
        ("Name", safe(&token.name)),
        ("ID", token.id.to_string()),
        ("Kind", token.kind.to_string()),
        super::reach(token),
        ("Routes", safe(&token.routes.join(", "))),
        super::end(token, now),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{now, token};
    use super::*;

    #[test]
    fn whose_what_and_until_when() {
        let checked = CheckedToken {
            usable: true,
            verdict: "works".to_owned(),
            owner: "alice".to_owned(),
            effective_scopes: vec!["repo:read".to_owned()],
            token: token(),
        };
        let text = text(&checked, now());
        for part in ["Owner:     alice\n", "May now:   repo:read\n", "Expires:   2027-04-15"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
