//! `tok token rotate`.

use clap::Args;
use tok_api::convert::Rotation;
use tok_api::fault::Fault;

use super::once::{ChosenArgs, Made, RetryArgs, can_be_shown};
use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;

/// Give a token a successor with the same authority, and show its text, this once
///
/// The old one works until the successor is first used or the grace ends, whichever comes first. Whoever presents it
/// after that has a secret that was given up: it is recorded, and the whole family is revoked.
///
/// If the connection ends before the answer is here, it is asked once more, under the same key: whatever was lost, one live
/// token is left, and its text is shown.
///
/// Output is as with `tok token create`: into a pipe goes the new text alone.
///
/// Examples:
///
///     $ tok token rotate 1b4e28ba
///     $ TOKEN=$(tok token rotate tokpat_a1b2 --grace 10m)
///     $ tok token rotate 1b4e28ba --grace 1d --expires 90d --idempotency-key 2026-11 --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RotateArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it
    #[arg(value_name = "TOKEN")]
    reference: String,
    /// How long the old one works beside the new one, at most 7 days: 10m, 1d [default: not at all]
    #[arg(long, value_name = "TIME", env = "TOK_GRACE", hide_env_values = true, value_parser = words::some_text())]
    grace: Option<String>,
    /// When the new one ends: days (30), a duration, a date, or never [default: as long as the old one was made for]
    #[arg(long, short, value_name = "WHEN", env = "TOK_EXPIRES", hide_env_values = true, value_parser = words::some_text())]
    expires: Option<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
    #[command(flatten)]
    retry: RetryArgs,
}

impl RotateArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let secret = self.chosen.secret(context.out).await?;
        can_be_shown(secret.as_ref())?;
        let rotation = Rotation {
            reference: self.reference,
            grace: self.grace.filter(|text| !text.is_empty()),
            expires: self.expires.filter(|text| !text.is_empty()),
            idempotency_key: Some(self.retry.key_or_fresh()?),
            secret,
        };
        let mut rotated = context.client().await?.rotate_token(rotation.clone()).await;
        // It may have been done: under the same key, asking again leaves one live token, and gives its text.
        if rotated.as_ref().is_err_and(Fault::is_lost_answer) {
            rotated = context.client_again().await?.rotate_token(rotation).await;
        }
        let rotated = rotated.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        Made { secret: &rotated.secret, token: &rotated.token, predecessor: Some(&rotated.predecessor) }.show(context)
    }
}
