//! `git-credential-tok`: git's credential helper for tok.
//!
//! It starts thousands of times a day, so it does little: read git's lines, check them, pass them over a local socket,
//! print the answer in one piece. All thinking is in the daemon. Whatever goes wrong, it exits with 0 and prints
//! nothing on stdout: git ignores a helper's exit status, and half an answer is worse than none.

mod agent;
mod ancestors;
mod arguments;
mod deadline;
mod environment;
mod output;
mod relay;
mod sockets;
mod trouble;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tok_model::credential::{CredentialRequest, Hint, Operation, RelayRequest, RelayedAnswer};
use tok_model::url::Origin;

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
    let hint = match call.operation {
        Operation::Get if !request.wwwauth().is_empty() => None,
        Operation::Get => ancestors::hint().or_else(|| (call.push || environment::pushes()).then_some(Hint::Push)),
        _ => None,
    };
    let message = RelayRequest::new(call.operation, request)
        .with_acting_as(acting_as)
        .with_agent(AGENT)
        .with_hint(hint)
        .with_timeout(call.timeout_seconds)
        .with_deadline(environment::given_timeout())
        .with_profile(agent::profile(call.profile.clone()).as_deref())
        .map_err(|_| Trouble::Profile)?;
    ask(call, &message, &deadline)
}

/// Asks the agent and the daemon in their order, until one has something to say.
fn ask(call: &Call, message: &RelayRequest, deadline: &Deadline) -> Result<(), Trouble> {
    // A system-wide daemon has no use for the passwords of other servers; only the user's own socket may see them.
    let private_only = call.operation != Operation::Get && !message.credential().answered_by_tok();
    let agent = agent::socket();
    let bytes = message.to_bytes();
    let mut answered = false;
    for candidate in sockets::candidates(call.socket.as_deref(), agent.as_deref(), private_only) {
        let mut connection = sockets::connect(&candidate, deadline)?;
        if connection.is_none() && candidate.is_agent && agent::is_needed(call.operation, message.credential()) {
            let mut starting = agent::start()?;
            while connection.is_none() {
                if starting.try_wait().is_ok_and(|ended| ended.is_some_and(|status| !status.success())) {
                    return Err(Trouble::NoAgent);
                }
                deadline.pause(agent::PAUSE)?;
                connection = sockets::connect(&candidate, deadline)?;
            }
        }
        let Some(connection) = connection else { continue };
        answered = true;
        let answer = relay::exchange(&connection, &bytes, deadline)?;
        if call.operation != Operation::Get {
            // Whoever kept it has forgotten it now, and the next one may have kept it, too.
            continue;
        }
        let answer = RelayedAnswer::parse(&answer).map_err(Trouble::BadAnswer)?;
        for message in answer.messages() {
            output::complain(message);
        }
        if !answer.for_git().is_empty() || !answer.messages().is_empty() {
            output::stdout(answer.for_git());
            return Ok(());
        }
    }
    let gone = call.operation == Operation::Get && !answered;
    match (&call.socket, sockets::of_variable()) {
        (Some(path), _) if gone => {
            Err(Trouble::Gone { path: path.clone(), server: message.credential().origin().ok() })
        }
        // The variable is there for every server; only of one that is ours by its own challenge a word is said.
        (None, Some(path)) if gone && message.credential().challenge().is_some() => {
            Err(Trouble::GoneByVariable { path })
        }
        (None, None) => {
            advise(call.operation, message.credential(), message.profile());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Nobody had anything to say, and git goes on to its next helper or asks somebody: whoever reads its question should know
/// that there is another way, if the server is one of ours by its own challenge.
fn advise(operation: Operation, credential: &CredentialRequest, profile: Option<&str>) {
    if operation == Operation::Get
        && credential.challenge().is_some()
        && let Some(server) = credential.origin().ok().filter(Origin::acceptable)
    {
        let profile = profile.map(|name| format!(" --profile {name}")).unwrap_or_default();
        output::complain(&format!("nobody is logged in at {server} from here; run `tok login {server}{profile}`"));
    }
}
