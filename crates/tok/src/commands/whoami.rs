//! `tok whoami`.

use clap::Args;
use tok_api::convert::Whoami;

use crate::commands::user::places;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{facts, safe};

/// Say who you are to the daemon, and what you may do
///
/// Examples:
///
///     $ tok whoami
///     $ tok --as alice whoami
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WhoamiArgs {}

impl WhoamiArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let who = context.client().await?.whoami().await?;
        context.out.show(&who, || text(&who))
    }
}

fn text(who: &Whoami) -> String {
    let scopes = who.token.as_ref().map(|token| safe(&token.scopes.join(", "))).unwrap_or_default();
    facts(&[
        ("User", safe(who.user.as_deref().unwrap_or("none"))),
        ("Manager", if who.manager { "yes" } else { "no" }.to_owned()),
        ("Known by", safe(&who.via)),
        ("Scopes", scopes),
        ("Workspaces", places(&who.memberships)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tok_api::convert::MembershipRecord;
    use tok_model::kind::Role;

    #[test]
    fn who_how_and_where() {
        let who = Whoami {
            user: Some("alice".to_owned()),
            manager: false,
            via: "local socket, uid 1000".to_owned(),
            peer_uid: Some(1000),
            token: None,
            memberships: vec![MembershipRecord { workspace: "acme".to_owned(), role: Role::Writer, owner: false }],
        };
        assert_eq!(
            text(&who),
            "User:       alice\nManager:    no\nKnown by:   local socket, uid 1000\nWorkspaces: acme (writer)\n"
        );
        assert!(text(&Whoami { user: None, ..who }).starts_with("User:       none\n"));
    }
}
