//! `tok agent lock`.

use clap::Args;
use serde::Serialize;

use super::AgentOptions;
use crate::agent::{place, start};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::count;

/// Have the agent forget every secret, and answer nobody
///
/// It drops sessions, git tokens and remembered passwords, and says no to git until `tok agent unlock`. The logins stay
/// where they are stored: in the keyring, which may ask for its password, or in a file that whoever is you can read. So a
/// lock protects what is in memory; what is in a file it does not protect from you.
///
/// A lock outlives the agent: one that is started after it was stopped, or killed, is locked as well. It ends with `tok agent
/// unlock`, or with the directory of the socket (`$XDG_RUNTIME_DIR`, which goes when you log out). If no agent runs one is
/// started for this.
///
/// Examples:
///
///     $ tok agent lock
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LockArgs {}

#[derive(Serialize)]
struct Locked {
    locked: bool,
    forgotten: u32,
}

impl LockArgs {
    pub(super) async fn run(self, options: &AgentOptions, context: &mut Context) -> Result<(), Failure> {
        start::ensure(&place::socket()?, &options.arguments()).await?;
        let forgotten = super::agent().await?.lock().await?;
        context.out.show(&Locked { locked: true, forgotten }, || {
            format!("The agent is locked and forgot {}\n", count(forgotten, "secret"))
        })
    }
}
