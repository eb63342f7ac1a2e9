//! `tok repo`.

mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Failure;

/// List repositories
#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
}

impl RepoCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run(context).await,
        }
    }
}
