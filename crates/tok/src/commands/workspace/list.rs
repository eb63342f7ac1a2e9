//! `tok workspace list`.

use clap::Args;
use tok_api::convert::WorkspaceRecord;
use tok_model::clock::{Timestamp, ago};

use crate::commands::PageArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Page, Table};

/// List the workspaces you may see, by name
///
/// Examples:
///
///     $ tok workspace list
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    page: PageArgs,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let page = self.page.gather(async |ask| Ok(context.client().await?.list_workspaces(ask).await?)).await?;
        let out = context.out;
        out.show(&Page("workspaces", &page), || table(&page.rows, context.now))?;
        out.more(&context.again(&format!("workspace list{}", self.page.again())), page.next_cursor.as_deref());
        Ok(())
    }
}

fn table(workspaces: &[WorkspaceRecord], now: Timestamp) -> String {
    let mut table = Table::new(["NAME", "OWNER", "MEMBERS", "REPOSITORIES", "CREATED"]);
    for workspace in workspaces {
        let owner = workspace.owner.as_deref().unwrap_or("-");
        let (members, repositories) = (workspace.members.to_string(), workspace.repositories.to_string());
        table.row([&workspace.name, owner, &members, &repositories, &ago(workspace.created_at, now)]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_workspace() {
        let acme = WorkspaceRecord {
            id: "9f2c51aa-0000-4000-8000-000000000002".parse().unwrap(),
            name: "acme".to_owned(),
            owner: None,
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            members: 2,
            repositories: 11,
        };
        assert_eq!(
            table(&[acme], "2026-11-22T10:00:00Z".parse().unwrap()),
            "NAME  OWNER  MEMBERS  REPOSITORIES  CREATED\nacme  -      2        11            2 days ago\n"
        );
    }
}
