//! `tok user show`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::{MembershipRecord, UserRecord};
use tok_model::clock::Timestamp;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{ended, facts, safe};

/// Show a user and where they belong
///
/// Examples:
///
///     $ tok user show alice
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ShowArgs {
    /// Login name
    name: UserName,
}

impl ShowArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let shown = context.client().await?.show_user(self.name).await;
        let (user, memberships) = shown.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let shown = Shown { user: &user, memberships: &memberships };
        context.out.show(&shown, || text(&user, &memberships, context.now))
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    user: &'a UserRecord,
    memberships: &'a [MembershipRecord],
}

fn text(user: &UserRecord, memberships: &[MembershipRecord], now: Timestamp) -> String {
    let state = match user.disabled_at {
        Some(at) => format!("disabled {}", ended(at, now)),
        None => "enabled".to_owned(),
    };
    facts(&[
        ("Name", safe(&user.name)),
        ("ID", user.id.to_string()),
        ("State", state),
        ("Manager", if user.manager { "yes" } else { "no" }.to_owned()),
        ("Live tokens", user.live_tokens.to_string()),
        ("Created", ended(user.created_at, now)),
        ("Workspaces", places(memberships)),
    ])
}

/// `acme (writer), alice (owner)`.
pub(in crate::commands) fn places(memberships: &[MembershipRecord]) -> String {
    let place = |membership: &MembershipRecord| {
        let role = if membership.owner { "owner" } else { membership.role.as_str() };
        format!("{} ({role})", safe(&membership.workspace))
    };
    memberships.iter().map(place).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tok_model::kind::Role;

    #[test]
    fn owners_are_told_from_members() {
        let place =
            |workspace: &str, owner| MembershipRecord { workspace: workspace.to_owned(), role: Role::Writer, owner };
        assert_eq!(places(&[place("acme", false), place("alice", true)]), "acme (writer), alice (owner)");
    }
}
