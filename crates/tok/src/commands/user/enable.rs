//! `tok user enable`.

use clap::Args;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, count, safe};

/// Let a disabled user's tokens work again
///
/// Those that have neither expired nor been revoked in the meantime.
///
/// Examples:
///
///     $ tok user enable bob
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EnableArgs {
    /// Login name
    name: UserName,
}

impl EnableArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let enabled = context.client().await?.enable_user(self.name).await;
        let user = enabled.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        context.out.show(&Named("user", &user), || {
            format!("Enabled user {}, with {}\n", safe(&user.name), count(user.live_tokens, "live token"))
        })
    }
}
