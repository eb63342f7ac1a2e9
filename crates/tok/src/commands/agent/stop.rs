//! `tok agent stop`.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tok_api::client::agent::AgentClient;
use tok_api::fault::FaultCode;
use tokio::time::sleep;

use crate::agent::place;
use crate::context::Context;
use crate::exit::Failure;

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Stop the agent; it forgets everything
///
/// The logins stay: the next agent reads them again, unless this one is locked: then that one is, too. `tok logout` ends a
/// login.
///
/// Examples:
///
///     $ tok agent stop
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StopArgs {}

#[derive(Serialize)]
struct Stopped {
    stopped: bool,
}

impl StopArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let socket = place::socket()?;
        let mut agent = match AgentClient::connect(&socket).await {
            Ok(agent) => agent,
            Err(fault) if fault.code == FaultCode::Unavailable => {
                return context.out.show(&Stopped { stopped: false }, || "No agent runs\n".to_owned());
            }
            Err(fault) => return Err(fault.into()),
        };
        agent.stop().await?;
        let begin = Instant::now();
        while AgentClient::connect(&socket).await.is_ok() {
            if begin.elapsed() > PATIENCE {
                return Err(Failure::local("the agent does not end").hint("`tok agent status` shows its process ID"));
            }
            sleep(PAUSE).await;
        }
        context.out.show(&Stopped { stopped: true }, || "The agent was stopped\n".to_owned())
    }
}
