//! `tok user list`.

use clap::Args;
use tok_api::convert::UserRecord;
use tok_model::clock::{Timestamp, ago};

use crate::commands::PageArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Page, Table};

/// List users by name
///
/// Examples:
///
///     $ tok user list
///     $ tok user list --output json --limit 100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    page: PageArgs,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let page = self.page.gather(async |ask| Ok(context.client().await?.list_users(ask).await?)).await?;
        let out = context.out;
        out.show(&Page("users", &page), || table(&page.rows, context.now))?;
        out.more(&context.again(&format!("user list{}", self.page.again())), page.next_cursor.as_deref());
        Ok(())
    }
}

fn table(users: &[UserRecord], now: Timestamp) -> String {
    let mut table = Table::new(["NAME", "STATE", "MANAGER", "LIVE TOKENS", "CREATED"]);
    for user in users {
        let state = if user.disabled_at.is_some() { "disabled" } else { "enabled" };
        let manager = if user.manager { "yes" } else { "no" };
        let tokens = user.live_tokens.to_string();
        table.row([&user.name, state, manager, &tokens, &ago(user.created_at, now)]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_user() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let alice = UserRecord {
            id: "9f2c51aa-0000-4000-8000-000000000001".parse().unwrap(),
            name: "alice".to_owned(),
            manager: true,
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            disabled_at: None,
            live_tokens: 3,
            has_password: false,
        };
        let bob = UserRecord { name: "bob".to_owned(), manager: false, disabled_at: Some(now), ..alice.clone() };
        assert_eq!(
            table(&[alice, bob], now),
            "\
NAME   STATE     MANAGER  LIVE TOKENS  CREATED
alice  enabled   yes      3            2 days ago
bob    disabled  no       3            2 days ago
"
        );
    }
}
