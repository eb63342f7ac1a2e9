//! `tok workspace`.

mod create;
mod delete;
mod list;
mod member;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Failure;

/// Where to look when a name is unknown.
const LOOK_IN_LIST: &str = "`tok workspace list` shows the workspaces you may see";

/// Make, list and end workspaces, and say who belongs to them
///
/// A workspace owns repositories: acme/app is the repository app of the workspace acme.
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum WorkspaceCommand {
    Create(create::CreateArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
    #[command(subcommand)]
    Member(member::MemberCommand),
}

impl WorkspaceCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
            Self::Delete(arguments) => arguments.run(context).await,
            Self::Member(command) => command.run(context).await,
        }
    }
}
