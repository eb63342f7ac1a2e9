//! `tok trust list`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::TrustRecord;
use tok_model::clock::{Timestamp, ago};
use tok_model::name::TrustName;

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
        context.out.show(&Trusts { trusts: &trusts }, || table(&trusts, now))?;
        if !context.out.is_json() {
            context.out.note(&left_unread(&trusts));
        }
        Ok(())
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
        let permission = match (&trust.unreadable, trust.permission) {
            (None, Some(permission)) => permission.as_str(),
            _ => "[UNREADABLE]",
        };
        table.row([&trust.name, &trust.issuer, &claims, &repos, permission, &used]);
    }
    table.text()
}

/// What there is to do about rules that this server cannot read.
fn left_unread(trusts: &[TrustRecord]) -> String {
    let mut unread = trusts.iter().filter(|trust| trust.unreadable.is_some());
    let Some(first) = unread.next() else { return String::new() };
    let (these, it) = match unread.count() {
        0 => ("1 of these".to_owned(), "it lets nobody in. To see why, and to remove it"),
        more => (format!("{} of these", more + 1), "they let nobody in. To see why, and to remove the first"),
    };
    // By its ID where the name is what cannot be read.
    let name = if first.name.parse::<TrustName>().is_ok() { first.name.clone() } else { first.id.to_string() };
    format!(
        "{these} cannot be read by this version of tokd, and {it}: tok trust show {name}; tok trust remove {name}\n"
    )
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

    #[test]
    fn what_cannot_be_read_comes_with_what_to_do() {
        let good = super::super::fixture::trust();
        let bad = TrustRecord { unreadable: Some("unknown".to_owned()), permission: None, ..good.clone() };
        assert_eq!(left_unread(std::slice::from_ref(&good)), "");
        let of = |trusts: &[TrustRecord]| left_unread(trusts);
        assert!(of(&[good, bad.clone()]).ends_with("tok trust show app; tok trust remove app\n"));
        let nameless = TrustRecord { name: "a\u{1b} b".to_owned(), ..bad.clone() };
        let (id, said) = (nameless.id, of(&[nameless, bad.clone()]));
        assert!(said.starts_with("2 of these") && said.ends_with(&format!("tok trust remove {id}\n")), "{said}");
        let table = table(&[bad], "2026-11-22T10:00:00Z".parse().unwrap());
        assert!(table.contains("[UNREADABLE]"), "{table}");
    }
}
