//! Starting an agent in the background, and waiting until it answers.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tok_api::client::agent::AgentClient;
use tok_api::fault::FaultCode;
use tokio::time::sleep;

use super::{place, serve};
use crate::exit::Failure;

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// What a process that runs for days has no business with: secrets, and what is about one command.
const LEFT_BEHIND: [&str; 6] = ["TOK_TOKEN", "TOK_SERVER", "TOK_SOCKET", "TOK_USER", "TOK_PROFILE", "TOK_TIMEOUT_MS"];

/// An agent that answers.
pub(crate) struct Running {
    /// Its process ID.
    pub(crate) pid: u32,
    /// Whether it was there already.
    pub(crate) already: bool,
}

/// Makes sure that an agent answers: starts one with these arguments if none does.
pub(crate) async fn ensure(socket: &Path, arguments: &[String]) -> Result<Running, Failure> {
    if let Some(pid) = answers(socket).await? {
        return Ok(Running { pid, already: true });
    }
    place::private_directory(socket)?;
    let mut child = spawn(socket, arguments)?;
    let begin = Instant::now();
    loop {
        if let Some(pid) = answers(socket).await? {
            // Whoever else started one at the same time may have been faster.
            return Ok(Running { pid, already: pid != child.id() });
        }
        let ended = child.try_wait().map_err(|why| Failure::local(format!("the agent cannot be waited for: {why}")))?;
        if let Some(status) = ended {
            // The other one, which took the place, may need another moment.
            if let Some(pid) = within(socket, PAUSE * 40).await? {
                return Ok(Running { pid, already: true });
            }
            return Err(Failure::local(format!("the agent ended at once ({status}): {}", last_words(socket)))
                .hint("`tok agent start --foreground` shows what it says"));
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            return Err(Failure::local(format!("the agent did not answer within {} s", PATIENCE.as_secs()))
                .hint(format!("its log is {}", serve::log_file(socket).display())));
        }
        sleep(PAUSE).await;
    }
}

async fn within(socket: &Path, patience: Duration) -> Result<Option<u32>, Failure> {
    let begin = Instant::now();
    loop {
        match answers(socket).await? {
            None if begin.elapsed() < patience => sleep(PAUSE).await,
            found => return Ok(found),
        }
    }
}

/// The process ID of the agent that answers, if one does.
async fn answers(socket: &Path) -> Result<Option<u32>, Failure> {
    match AgentClient::connect(socket).await {
        Ok(mut client) => Ok(client.status().await.ok().map(|status| status.pid)),
        Err(fault) if fault.code == FaultCode::Forbidden => Err(fault.into()),
        Err(_) => Ok(None),
    }
}

/// The same program again, with no terminal, no input, and a log of its own.
fn spawn(socket: &Path, arguments: &[String]) -> Result<Child, Failure> {
    let failed = |what: &str, why: std::io::Error| Failure::local(format!("{what}: {why}"));
    let log = serve::log_file(socket);
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&log)
        .map_err(|why| failed(&format!("{} cannot be written", log.display()), why))?;
    let program = std::env::current_exe().map_err(|why| failed("this program cannot be found again", why))?;
    let mut command = Command::new(program);
    command.args(["agent", "start", "--foreground", "--detached"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    for name in LEFT_BEHIND {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GIT_")) {
            command.env_remove(name);
        }
    }
    command.spawn().map_err(|why| failed("the agent cannot be started", why))
}

fn last_words(socket: &Path) -> String {
    let said = std::fs::read_to_string(serve::log_file(socket)).unwrap_or_default();
    crate::output::safe(said.lines().last().unwrap_or("it said nothing"))
}
