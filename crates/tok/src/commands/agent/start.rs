//! `tok agent start`.

use clap::Args;
use serde::Serialize;

use super::AgentOptions;
use crate::agent::{place, serve, start};
use crate::context::Context;
use crate::exit::Failure;

/// Start the agent, unless one runs already
///
/// It goes on in the background and answers when this command ends. Its log is beside its socket.
///
/// Examples:
///
///     $ tok agent start
///     $ tok agent start --remember memory --idle never
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StartArgs {
    /// Stay here, and log to stderr
    #[arg(long)]
    foreground: bool,
    /// In a session of its own
    #[arg(long, hide = true, requires = "foreground")]
    detached: bool,
}

#[derive(Serialize)]
struct Started {
    pid: u32,
    socket: String,
    already_running: bool,
}

impl StartArgs {
    pub(crate) fn prepare(&self) {
        if self.detached {
            // Whoever closes the terminal does not mean the agent.
            let _ = rustix::process::setsid();
        }
    }

    pub(super) async fn run(self, options: &AgentOptions, context: &mut Context) -> Result<(), Failure> {
        if self.foreground {
            return serve::run(options.settings()).await;
        }
        let socket = place::socket()?;
        let running = start::ensure(&socket, &options.arguments()).await?;
        let started =
            Started { pid: running.pid, socket: socket.display().to_string(), already_running: running.already };
        context.out.show(&started, || {
            let how = if started.already_running { "runs already" } else { "runs" };
            format!("The agent {how}: process {}, socket {}\n", started.pid, crate::output::safe(&started.socket))
        })
    }
}
