//! `tok repo list`.

use clap::Args;
use tok_api::convert::RepositoryRecord;
use tok_model::clock::{Timestamp, ago};
use tok_model::name::WorkspaceName;

use crate::commands::PageArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Page, Table};

/// List the repositories you may see
///
/// Examples:
///
///     $ tok repo list
///     $ tok repo list --workspace acme
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    page: PageArgs,
    /// Only those of this workspace
    #[arg(long, value_name = "NAME", env = "TOK_WORKSPACE", hide_env_values = true)]
    workspace: Option<WorkspaceName>,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let workspace = self.workspace.as_ref().map(|name| format!(" --workspace {name}")).unwrap_or_default();
        let fetch = async |ask| Ok(context.client().await?.list_repositories(self.workspace.clone(), ask).await?);
        let page = self.page.gather(fetch).await?;
        let out = context.out;
        out.show(&Page("repositories", &page), || table(&page.rows, context.now))?;
        out.more(&context.again(&format!("repo list{}{workspace}", self.page.again())), page.next_cursor.as_deref());
        Ok(())
    }
}

fn table(repositories: &[RepositoryRecord], now: Timestamp) -> String {
    let mut table = Table::new(["REPOSITORY", "CREATED", "URL"]);
    for repository in repositories {
        let path = format!("{}/{}", repository.workspace, repository.name);
        let url = repository.url.as_deref().unwrap_or_default();
        table.row([&path, &ago(repository.created_at, now), url]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_repository() {
        let app = RepositoryRecord {
            workspace: "acme".to_owned(),
            name: "app".to_owned(),
            url: Some("http://127.0.0.1:7650/acme/app.git".to_owned()),
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        assert_eq!(
            table(&[app], "2026-11-22T10:00:00Z".parse().unwrap()),
            "REPOSITORY  CREATED     URL\nacme/app    2 days ago  http://127.0.0.1:7650/acme/app.git\n"
        );
    }
}
