//! `tok user delete`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::UserRecord;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

/// Delete a user and revoke their tokens
///
/// It takes effect on the next call of any of their tokens, and cannot be undone; `tok user disable` can. On a terminal
/// you are asked first; elsewhere, and with `--output json`, `--force` is needed.
///
/// Examples:
///
///     $ tok user delete bob
///     $ tok user delete --force bob
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DeleteArgs {
    /// Login name
    name: UserName,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl DeleteArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let plan = context.client().await?.delete_user(self.name.clone(), true).await;
        let (user, tokens, kept) = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let what = format!("user {} and revoke {}", safe(&user.name), count(tokens, "live token"));
        if self.dry_run {
            let report =
                Report { user: &user, tokens_revoked: tokens, deleted: false, workspace_kept: kept.as_deref() };
            return context.out.show(&report, || format!("Would delete {what}\n{}", left_over(kept.as_deref())));
        }
        context.consent(self.force)?.ask(&format!("Delete {what}? This cannot be undone."))?;
        let (user, tokens, kept) = context.client().await?.delete_user(self.name, false).await?;
        let report = Report { user: &user, tokens_revoked: tokens, deleted: true, workspace_kept: kept.as_deref() };
        context.out.show(&report, || {
            let done = format!("Deleted user {} and revoked {}", safe(&user.name), count(tokens, "live token"));
            format!("{done}\n{}", left_over(kept.as_deref()))
        })
    }
}

/// What is said of a workspace that outlives its owner.
fn left_over(workspace: Option<&str>) -> String {
    match workspace {
        Some(name) => {
            let name = safe(name);
            format!("The workspace {name} stays, with what is in it; once it is empty: tok workspace delete {name}\n")
        }
        None => String::new(),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    user: &'a UserRecord,
    tokens_revoked: u32,
    deleted: bool,
    workspace_kept: Option<&'a str>,
}
