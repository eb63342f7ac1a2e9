//! `tok workspace member`.

mod add;
mod list;
mod remove;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Failure;

/// Say who belongs to a workspace, and as what
///
/// A reader may clone and fetch, a writer may push as well, a maintainer may administer the workspace's repositories,
/// members and tokens.
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum MemberCommand {
    Add(add::AddArgs),
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
}

impl MemberCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Add(arguments) => arguments.run(context).await,
            Self::Remove(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}
