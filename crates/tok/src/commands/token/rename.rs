//! `tok token rename`.

use clap::Args;
use tok_api::convert::TokenChange;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Give a token another name
///
/// Its text stays what it is, and so does everything else. A secret that somebody chose is presented with the name, so
/// wherever that one is kept the new name has to be told.
///
/// Examples:
///
///     $ tok token rename 1b4e28ba "CI of acme/app"
///     $ tok token rename tokpat_a1b2 super-user
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RenameArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it
    #[arg(value_name = "TOKEN")]
    reference: String,
    /// What it is for, so that you know it again
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

impl RenameArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let before = client.show_token(self.reference).await;
        let before = before.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let change = TokenChange { reference: before.id.to_string(), name: Some(self.name), ..TokenChange::default() };
        let token = client.modify_token(change).await?;
        context.out.show(&Named("token", &token), || {
            let (old, new, prefix) = (safe(&before.name), safe(&token.name), safe(&token.token_prefix));
            format!("Token name has been changed from '{old}' to '{new}'\n  {prefix}…\n")
        })?;
        super::note_login_name(context, &before, &token);
        Ok(())
    }
}
