//! `tok agent unlock`.

use clap::Args;
use serde::Serialize;

use super::AgentOptions;
use crate::agent::latch::Latch;
use crate::agent::{place, start};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::count;

/// Let the agent answer again
///
/// It reads the logins anew. Those in the keyring are asked of the keyring when they are needed, which may ask you to
/// unlock it. If the agent that was locked does not run any more, another one is started and unlocked.
///
/// Examples:
///
///     $ tok agent unlock
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UnlockArgs {}

#[derive(Serialize)]
struct Unlocked {
    locked: bool,
    logins: u32,
}

impl UnlockArgs {
    pub(super) async fn run(self, options: &AgentOptions, context: &mut Context) -> Result<(), Failure> {
        let socket = place::socket()?;
        if Latch::beside(&socket).is_on() {
            start::ensure(&socket, &options.arguments()).await?;
        }
        let logins = super::agent().await?.unlock().await?;
        context.out.show(&Unlocked { locked: false, logins }, || {
            format!("The agent is unlocked and knows {}\n", count(logins, "login"))
        })
    }
}
