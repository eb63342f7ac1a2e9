//! `tok user create`.

use clap::Args;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Make a user, and the workspace of the same name
///
/// The user needs no password: on this machine the system user of the same name is known by the local socket, and a
/// manager can make a token for anybody with `--as`. Whether a user is a manager is said when they are made, and not
/// changed afterwards; the user that root, or the daemon's own user, makes of their own system name is always one.
///
/// Examples:
///
///     $ tok user create alice
///     $ tok user create bob --manager
///     $ tok --as alice token create "Laptop"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CreateArgs {
    /// Login name
    name: UserName,
    /// Let them administer the whole server
    #[arg(long)]
    manager: bool,
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let user = context.client().await?.create_user(self.name, self.manager).await?;
        context.out.show(&Named("user", &user), || {
            let what = if user.manager { "manager" } else { "user" };
            format!("Created {what} {}\n  ID: {}\n", safe(&user.name), user.id)
        })
    }
}
