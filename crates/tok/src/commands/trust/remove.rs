//! `tok trust remove`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::TrustRecord;
use tok_model::name::TrustName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

/// Remove a trust rule, and end the tokens that were given under it
///
/// On a terminal you are asked first; elsewhere, and with `--output json`, `--force` is needed.
///
/// Examples:
///
///     $ tok trust remove app
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RemoveArgs {
    /// Its name, or its ID
    name: TrustName,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl RemoveArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let plan = context.client().await?.remove_trust(self.name.clone(), true).await;
        let (trust, _) = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let what = format!("the trust rule {} for {}", safe(&trust.name), safe(&trust.repos.join(", ")));
        if self.dry_run {
            let report = Report { trust: &trust, tokens_revoked: 0, removed: false };
            return context.out.show(&report, || format!("Would remove {what}\n"));
        }
        context.consent(self.force)?.ask(&format!("Remove {what}? Its live tokens end with it."))?;
        let (trust, tokens) = context.client().await?.remove_trust(self.name, false).await?;
        let report = Report { trust: &trust, tokens_revoked: tokens, removed: true };
        context.out.show(&report, || format!("Removed {what} and revoked {}\n", count(tokens, "live token")))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    trust: &'a TrustRecord,
    tokens_revoked: u32,
    removed: bool,
}
