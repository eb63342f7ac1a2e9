//! `tok workspace member add`.

use clap::Args;
use tok_model::kind::Role;
use tok_model::name::{UserName, WorkspaceName};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Give a user a role in a workspace, or another role than they have
///
/// It takes effect on their next call.
///
/// Examples:
///
///     $ tok workspace member add acme bob
///     $ tok workspace member add acme bob --role writer
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct AddArgs {
    /// The workspace
    workspace: WorkspaceName,
    /// The user's login name
    user: UserName,
    /// reader, writer or maintainer
    #[arg(long, default_value = "reader")]
    role: Role,
}

impl AddArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let added = context.client().await?.add_member(self.workspace, self.user, self.role).await;
        let member = added.map_err(|fault| {
            Failure::from(fault)
                .hint_if_not_found("`tok workspace list` and `tok user list` show who and what there is")
        })?;
        context.out.show(&Named("member", &member), || {
            format!("{} is {} in {}\n", safe(&member.user), member.role, safe(&member.workspace))
        })
    }
}
