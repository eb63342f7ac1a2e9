//! `tok token restore`.

use clap::Args;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

/// Bring back a token that was revoked in the last 15 minutes
///
/// Everything that ended by the same act comes back with it. A token that has expired in the meantime stays expired, and
/// who does not administer the server brings back only what they ended themselves.
///
/// Examples:
///
///     $ tok token restore 1b4e28ba
///     $ tok token restore tokpat_a1b2 --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RestoreArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it
    #[arg(value_name = "TOKEN")]
    reference: String,
}

impl RestoreArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let restored = context.client().await?.restore_token(self.reference).await;
        let restored = restored.map_err(|fault| {
            Failure::from(fault).hint_if_not_found("`tok token list --state revoked` shows what was revoked")
        })?;
        context.out.show(&restored, || {
            let with = match restored.restored.saturating_sub(1) {
                0 => String::new(),
                others => format!("  with {} that ended with it", count(others, "token")),
            };
            let token = &restored.token;
            format!("Restored token: {}\n  {}…{with}\n", safe(&token.name), safe(&token.token_prefix))
        })
    }
}
