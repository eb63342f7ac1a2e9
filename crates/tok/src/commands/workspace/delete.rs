//! `tok workspace delete`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::WorkspaceRecord;
use tok_model::name::WorkspaceName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

/// Delete a workspace that has no repositories, and revoke its tokens
///
/// It cannot be undone. On a terminal you are asked first; elsewhere, and with `--output json`, `--force` is needed.
///
/// Examples:
///
///     $ tok workspace delete acme
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DeleteArgs {
    /// Its name
    name: WorkspaceName,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl DeleteArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let plan = context.client().await?.delete_workspace(self.name.clone(), true).await;
        let (workspace, tokens) = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let what = format!("workspace {} and revoke {}", safe(&workspace.name), count(tokens, "live token"));
        if self.dry_run {
            let report = Report { workspace: &workspace, tokens_revoked: tokens, deleted: false };
            return context.out.show(&report, || format!("Would delete {what}\n"));
        }
        context.consent(self.force)?.ask(&format!("Delete {what}? This cannot be undone."))?;
        let (workspace, tokens) = context.client().await?.delete_workspace(self.name, false).await?;
        let report = Report { workspace: &workspace, tokens_revoked: tokens, deleted: true };
        context.out.show(&report, || {
            format!("Deleted workspace {} and revoked {}\n", safe(&workspace.name), count(tokens, "live token"))
        })
    }
}

#[derive(Serialize)]
struct Report<'a> {
    workspace: &'a WorkspaceRecord,
    tokens_revoked: u32,
    deleted: bool,
}
