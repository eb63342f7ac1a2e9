//! `tok workspace create`.

use clap::Args;
use tok_model::name::{UserName, WorkspaceName};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Make a workspace
///
/// Examples:
///
///     $ tok workspace create acme
///     $ tok workspace create acme --owner alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CreateArgs {
    /// The first part of its repositories' addresses
    name: WorkspaceName,
    /// Whose it is [default: yours]
    #[arg(long, value_name = "USER")]
    owner: Option<UserName>,
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let workspace = context.client().await?.create_workspace(self.name, self.owner).await?;
        context.out.show(&Named("workspace", &workspace), || {
            let owner = match &workspace.owner {
                Some(owner) => format!(" of {}", safe(owner)),
                None => String::new(),
            };
            format!("Created workspace {}{owner}\n  ID: {}\n", safe(&workspace.name), workspace.id)
        })
    }
}
