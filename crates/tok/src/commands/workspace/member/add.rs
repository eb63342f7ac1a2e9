//! `tok workspace member add`.

use clap::Args;
use tok_model::kind::Role;
use tok_model::name::{UserName, WorkspaceName};

use crate::commands::words;
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
    /// What they may do there; without it a new member is a reader, and one who is there already stays what they are
    #[arg(long, value_parser = words::roles())]
    role: Option<Role>,
}

impl AddArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let role = match self.role {
            Some(role) => role,
            None => {
                let members = client.list_members(self.workspace.clone()).await.unwrap_or_default();
                let known = members.into_iter().find(|member| member.user == self.user.as_str());
                known.map_or(Role::Reader, |member| member.role)
            }
        };
        let added = client.add_member(self.workspace, self.user, role).await;
        let member = added.map_err(|fault| {
            Failure::from(fault)
                .hint_if_not_found("`tok workspace list` and `tok user list` show who and what there is")
        })?;
        context.out.show(&Named("member", &member), || {
            format!("{} is {} in {}\n", safe(&member.user), member.role, safe(&member.workspace))
        })
    }
}
