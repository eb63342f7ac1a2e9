//! `tok token scopes`.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use tok_api::convert::ScopeRecord;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Style, safe};

/// List every scope that a token can have
///
/// repo:admin includes repo:write, which includes repo:read; x:write includes x:read.
///
/// Examples:
///
///     $ tok token scopes
///     $ tok token scopes --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ScopesArgs {}

#[derive(Serialize)]
struct Scopes {
    scopes: Vec<ScopeRecord>,
}

impl ScopesArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let scopes = context.client().await?.list_scopes().await?;
        let listed = Scopes { scopes };
        context.out.show(&listed, || text(&listed.scopes, context.out.style()))
    }
}

fn text(scopes: &[ScopeRecord], style: Style) -> String {
    let mut text = format!("{}\n", style.strong("Available Token Scopes"));
    for scope in scopes {
        let _ = write!(text, "\n{}\n  {}\n", style.strong(&safe(&scope.scope)), safe(&scope.description));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_has_its_line() {
        let scope =
            ScopeRecord { scope: "repo:read".to_owned(), description: "Clone and pull repositories".to_owned() };
        let expected = "Available Token Scopes\n\nrepo:read\n  Clone and pull repositories\n";
        assert_eq!(text(&[scope], Style::default()), expected);
    }
}
