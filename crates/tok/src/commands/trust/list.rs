//! `tok trust list`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::TrustRecord;
use tok_model::clock::{Timestamp, ago};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Table;

/// List the trust rules, by name
///
/// Examples:
///
///     $ tok trust list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let trusts = context.client().await?.list_trusts().await?;
        let now = context.now;
        context.out.show(&Trusts { trusts: &trusts }, || table(&trusts, now))
    }
}

#[derive(Serialize)]
struct Trusts<'a> {
    trusts: &'a [TrustRecord],
}

fn table(trusts: &[TrustRecord], now: Timestamp) -> String {
    let mut table = Table::new(["NAME", "ISSUER", "CLAIMS", "REPOSITORIES", "PERMISSION", "LAST USED"]);
    for trust in trusts {
        let claims: Vec<String> =
            trust.claims.iter().map(|claim| format!("{}={}", claim.name, claim.pattern)).collect();
        let used = trust.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
        let (claims, repos) = (claims.join(" "), trust.repos.join(" "));
        table.row([&trust.name, &trust.issuer, &claims, &repos, trust.permission.as_str(), &used]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_rule() {
        let table = table(&[super::super::fixture::trust()], "2026-11-22T10:00:00Z".parse().unwrap());
        assert!(
            table.ends_with(
                "app   https://token.actions.githubusercontent.com  repository=acme/app  acme/app      write       never\n"
            ),
            "{table}"
        );
    }
}
