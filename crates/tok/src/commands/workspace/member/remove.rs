//! `tok workspace member remove`.

use clap::Args;
use tok_model::name::{UserName, WorkspaceName};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Take a user out of a workspace
///
/// It takes effect on their next call: what their tokens could do there ends with it.
///
/// Examples:
///
///     $ tok workspace member remove acme bob
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RemoveArgs {
    /// The workspace
    workspace: WorkspaceName,
    /// The user's login name
    user: UserName,
}

impl RemoveArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let list = format!(
            "`tok workspace member list {}` shows who belongs to it, `tok workspace list` what there is",
            self.workspace
        );
        let removed = context.client().await?.remove_member(self.workspace, self.user).await;
        let member = removed.map_err(|fault| Failure::from(fault).hint_if_not_found(&list))?;
        context.out.show(&Named("member", &member), || {
            format!("{} no longer belongs to {}\n", safe(&member.user), safe(&member.workspace))
        })
    }
}
