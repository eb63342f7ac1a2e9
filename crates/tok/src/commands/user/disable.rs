//! `tok user disable`.

use clap::Args;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, count, safe};

/// Stop every token of a user, until they are enabled again
///
/// It takes effect on the next call of any of their tokens. Nothing is lost: `tok user enable` undoes it.
///
/// Examples:
///
///     $ tok user disable bob
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DisableArgs {
    /// Login name
    name: UserName,
}

impl DisableArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let disabled = context.client().await?.disable_user(self.name).await;
        let user = disabled.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        context.out.show(&Named("user", &user), || {
            let (name, tokens) = (safe(&user.name), count(user.live_tokens, "live token"));
            format!("Disabled user {name}, and with them {tokens}\n")
        })
    }
}
