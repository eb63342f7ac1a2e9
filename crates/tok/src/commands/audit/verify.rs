//! `tok audit verify`.

use clap::Args;
use tok_api::convert::{ChainRecord, NotedHead, TrailCheck, TrailReport};
use tok_model::id::ChainId;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Table, count, safe};

/// Recompute the audit trail and say whether anything was changed, added or taken out
///
/// Each run of tokd writes a chain of its own. Every line of it is hashed under a key that is not in the database, and so is
/// every seal over lines, with the seal before it; a chain begins with the ends of those before it. What cannot be seen from
/// the database alone is that the newest end was cut off: note the heads that this command prints, elsewhere, and give them
/// to a later run with `--head`.
///
/// The exit code is 0 if all is as it was written, and 1 if not.
///
/// Examples:
///
///     $ tok audit verify
///     $ tok audit verify --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct VerifyArgs {
    /// Only this chain
    #[arg(long, value_name = "CHAIN")]
    chain: Option<ChainId>,
    /// A head that was printed earlier, which must still be there; can be repeated
    #[arg(long = "head", value_name = "CHAIN:HASH")]
    heads: Vec<NotedHead>,
}

impl VerifyArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let check = TrailCheck { chain: self.chain, heads: self.heads };
        let report = context.client().await?.verify_trail(check).await?;
        context.out.show(&report, || words(&report))?;
        if report.intact { Ok(()) } else { Err(Failure::Silent(Exit::Failed)) }
    }
}

fn words(report: &TrailReport) -> String {
    let mut table = Table::new(["CHAIN:HEAD", "LINES", "FROM (UTC)", "TO (UTC)", "STATE"]);
    for chain in &report.chains {
        let moment = |at: Option<chrono::DateTime<chrono::Utc>>| {
            at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
        };
        let head = format!("{}:{}", chain.chain, chain.head);
        let (from, to) = (moment(chain.first_at), moment(chain.last_at));
        table.row([&head, &(chain.lines + chain.unsealed).to_string(), &from, &to, &state(chain)]);
    }
    let verdict = if report.intact {
        let lines: u64 = report.chains.iter().map(|chain| chain.lines + chain.unsealed - chain.pruned).sum();
        format!("The trail is intact: {} in {}.\n", count(lines, "line"), count(report.chains.len() as u64, "chain"))
    } else {
        let broken = report.chains.iter().filter(|chain| chain.fault.is_some());
        let broken: Vec<String> = broken
            .map(|chain| format!("  {}: {}\n", chain.chain, safe(chain.fault.as_deref().unwrap_or_default())))
            .collect();
        format!("The trail is NOT as it was written:\n{}", broken.concat())
    };
    table.text() + "\n" + &verdict
}

fn state(chain: &ChainRecord) -> String {
    let mut state = vec![if chain.fault.is_some() { "BROKEN" } else { "intact" }.to_owned()];
    if chain.unsealed > 0 {
        state.push(format!("{} not sealed yet", chain.unsealed));
    }
    if chain.pruned > 0 {
        state.push(format!("{} dropped by retention", chain.pruned));
    }
    state.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_each_chain_and_what_is_wrong() {
        let chain = ChainRecord {
            chain: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap(),
            lines: 12,
            unsealed: 1,
            pruned: 3,
            head: "0f".repeat(32),
            first_at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            last_at: None,
            fault: None,
        };
        let text = words(&TrailReport { intact: true, chains: vec![chain.clone()] });
        assert!(text.contains("intact, 1 not sealed yet, 3 dropped by retention"), "{text}");
        assert!(text.ends_with("The trail is intact: 10 lines in 1 chain.\n"), "{text}");
        let broken = ChainRecord { fault: Some("line 7 was changed\u{7}".to_owned()), ..chain };
        let text = words(&TrailReport { intact: false, chains: vec![broken] });
        assert!(text.contains("BROKEN") && text.contains(": line 7 was changed\\u{7}\n"), "{text}");
    }
}
