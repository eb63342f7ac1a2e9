//! `tok trust show`.

use clap::Args;
use tok_model::name::TrustName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Named;

/// Show a trust rule, and which IDs it has pinned
///
/// Examples:
///
///     $ tok trust show app
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ShowArgs {
    /// Its name, or its ID
    name: TrustName,
}

impl ShowArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let trust = context.client().await?.show_trust(self.name).await;
        let trust = trust.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let now = context.now;
        context.out.show(&Named("trust", &trust), || super::details(&trust, now))
    }
}
