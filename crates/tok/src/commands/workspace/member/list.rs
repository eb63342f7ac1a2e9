//! `tok workspace member list`.

use clap::Args;
use tok_api::convert::MemberRecord;
use tok_model::clock::{Timestamp, ago};
use tok_model::name::WorkspaceName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, Table};

/// List the members of a workspace
///
/// Examples:
///
///     $ tok workspace member list acme
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    /// The workspace
    workspace: WorkspaceName,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let listed = context.client().await?.list_members(self.workspace).await;
        let members =
            listed.map_err(|fault| Failure::from(fault).hint_if_not_found(crate::commands::workspace::LOOK_IN_LIST))?;
        context.out.show(&Named("members", &members), || table(&members, context.now))
    }
}

fn table(members: &[MemberRecord], now: Timestamp) -> String {
    let mut table = Table::new(["USER", "ROLE", "ADDED"]);
    for member in members {
        let role = if member.owner { "owner" } else { member.role.as_str() };
        table.row([&member.user, role, &ago(member.added_at, now)]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tok_model::kind::Role;

    #[test]
    fn a_row_for_each_member() {
        let bob = MemberRecord {
            workspace: "acme".to_owned(),
            user: "bob".to_owned(),
            role: Role::Reader,
            owner: false,
            added_at: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        let alice = MemberRecord { user: "alice".to_owned(), owner: true, ..bob.clone() };
        assert_eq!(
            table(&[alice, bob], "2026-11-22T10:00:00Z".parse().unwrap()),
            "USER   ROLE    ADDED\nalice  owner   2 days ago\nbob    reader  2 days ago\n"
        );
    }
}
