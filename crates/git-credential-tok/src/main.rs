//! `git-credential-tok`: git's credential helper for tok.
//!
//! It starts thousands of times a day, so it does little: read git's lines, check them, pass them over a local socket,
//! print the answer in one piece. All thinking is in the daemon. Whatever goes wrong, it exits with 0 and prints
//! nothing on stdout: git ignores a helper's exit status, and half an answer is worse than none.

mod ancestors;
mod arguments;
mod deadline;
mod environment;
mod output;
mod relay;
mod sockets;
mod trouble;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tok_model::credential::{CredentialRequest, Operation, RelayRequest, RelayedAnswer};

use crate::arguments::{Call, Task};
use crate::deadline::Deadline;
use crate::environment::Held;
use crate::trouble::Trouble;

/// Names this program in the daemon's audit trail.
const AGENT: &str = concat!("git-credential-tok/", env!("CARGO_PKG_VERSION"));

fn main() {
    // A core dump or a debugger of the same user would show the token. Where the kernel refuses, there is nothing to do.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    match arguments::read(std::env::args_os().skip(1)) {
        Task::Print(text) => output::stdout(text.as_bytes()),
        Task::Explain(words) => output::complain(&words),
        Task::Nothing => {}
        Task::Relay(call) => {
            if let Err(trouble) = relay(&call) {
                output::complain(&trouble.to_string());
            }
        }
    }
}

fn relay(call: &Call) -> Result<(), Trouble> {
    let deadline = Deadline::start(environment::timeout());
    let Some(bytes) = relay::read_stdin(&deadline)? else {
        return Ok(());
    };
    let request = match CredentialRequest::parse(&bytes) {
        Ok(request) => request,
        Err(malformed) => {
            output::debug(|| format!("git's request was refused: {malformed}"));
            return Ok(());
        }
    };
    if call.operation == Operation::Store && request.answered_by_tok() {
        return Ok(());
    }
    match environment::held(call.operation, &request)? {
        Held::Answer(answer) => {
            output::stdout(&answer.to_bytes());
            return Ok(());
        }
        Held::Silence => return Ok(()),
        Held::Nothing => {}
    }
    let acting_as = environment::acting_as()?;
    // A system-wide daemon has no use for the passwords of other servers; only the user's own socket may see them.
    let private_only = call.operation != Operation::Get && !request.answered_by_tok();
    let Some(connection) = sockets::connect(call.socket.as_deref(), private_only, &deadline)? else {
        return Ok(());
    };
    let hint = match call.operation {
        Operation::Get if request.wwwauth().is_empty() => ancestors::hint(),
        _ => None,
    };
    let message = RelayRequest::new(call.operation, request)
        .with_acting_as(acting_as)
        .with_agent(AGENT)
        .with_hint(hint)
        .with_timeout(call.timeout_seconds)
        .to_bytes();
    let answer = relay::exchange(&connection, &message, &deadline)?;
    if call.operation != Operation::Get {
        return Ok(());
    }
    let answer = RelayedAnswer::parse(&answer).map_err(Trouble::BadAnswer)?;
    for message in answer.messages() {
        output::complain(message);
    }
    output::stdout(answer.for_git());
    Ok(())
}
