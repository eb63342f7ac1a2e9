//! The command line: options of ours, then the operation that git appends.

use std::ffi::OsString;
use std::path::PathBuf;

use tok_model::credential::Operation;

const VERSION: &str = concat!("git-credential-tok ", env!("CARGO_PKG_VERSION"), "\n");
/// What `git credential capability` asks of a helper: the capabilities that our answers can use.
const CAPABILITIES: &str = "version 0\ncapability authtype\ncapability state\n";
const HELP: &str = "\
git-credential-tok: gives git a token for one repository, minted when it is needed

Git calls it; you do not. To switch it on for one server and nothing else:
    tok git setup https://git.example.com

Usage: git-credential-tok [--socket PATH] [--profile NAME] [--timeout SECONDS] [--push] get|store|erase|capability

Variables:
    TOK_PROFILE         which of several logins, as --profile does: `helper = tok --profile work`
    TOK_PUSH=1          as --push does: whoever asks without saying what for wants to push. git says it, since 2.41;
                        programs with a git of their own (libgit2, gitoxide, JGit) do not, and get a token to read
    TOK_SOCKET          the socket to ask, and no other
    TOK_TOKEN           with TOK_SERVER: the token to answer with, for that server only; without it nothing is answered
    TOK_USER            the user to act as (managers only)
    TOK_TIMEOUT_MS      how long it may take in all (2000)
    TOK_LOG=debug       say on stderr why there is no answer
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// To print this on stdout.
    Print(&'static str),
    /// To say this on stderr and do nothing: git then goes on to its next helper.
    Explain(String),
    /// Nothing: an operation of a later git.
    Nothing,
    /// To pass a request on.
    Relay(Call),
}

/// A call of git's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// What git wants.
    pub(crate) operation: Operation,
    /// `--socket`: the one socket to use.
    pub(crate) socket: Option<PathBuf>,
    /// `--timeout`: for how many seconds a credential may be kept.
    pub(crate) timeout_seconds: Option<u32>,
    /// `--profile`: which of several logins to use.
    pub(crate) profile: Option<String>,
    /// `--push`: that whoever does not say what for wants to push.
    pub(crate) push: bool,
}

/// Reads the arguments behind the program's name.
pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Task {
    let mut arguments = arguments.peekable();
    let (mut socket, mut timeout_seconds, mut profile, mut push) = (None, None, None, false);
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            return Task::Explain("an argument is not UTF-8; see git-credential-tok --help".to_owned());
        };
        let (option, mut value) = match text.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(OsString::from(value))),
            _ => (text, None),
        };
        match option {
            "--version" | "-V" => return Task::Print(VERSION),
            "--help" | "-h" => return Task::Print(HELP),
            "--push" if value.is_none() => push = true,
            "--socket" | "--timeout" | "--profile" => {
                // The last word is git's operation, never an option's value.
                let value = value.take().or_else(|| arguments.next().filter(|_| arguments.peek().is_some()));
                let Some(value) = value.filter(|value| !value.is_empty()) else {
                    return Task::Explain(format!("{option} needs a value"));
                };
                if option == "--socket" {
                    socket = Some(PathBuf::from(value));
                } else if option == "--profile" {
                    profile = value.to_str().map(str::to_owned);
                    if profile.is_none() {
                        return Task::Explain("--profile takes the name of a login".to_owned());
                    }
                } else {
                    timeout_seconds = value.to_str().and_then(|seconds| seconds.parse().ok());
                    if timeout_seconds.is_none() {
                        return Task::Explain("--timeout takes a number of seconds".to_owned());
                    }
                }
            }
            _ if text.starts_with('-') || arguments.peek().is_some() => {
                return Task::Explain(format!("unknown argument {:?}; see git-credential-tok --help", shortened(text)));
            }
            "capability" => return Task::Print(CAPABILITIES),
            _ => match text.parse() {
                Ok(operation) => return Task::Relay(Call { operation, socket, timeout_seconds, profile, push }),
                Err(_) => return Task::Nothing,
            },
        }
    }
    Task::Explain("git calls this program with get, store or erase; see git-credential-tok --help".to_owned())
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(arguments: &[&str]) -> Task {
        read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_come_before_gits_operation() {
        let call = |operation, socket: Option<&str>, timeout_seconds| {
            Task::Relay(Call {
                operation,
                socket: socket.map(PathBuf::from),
                timeout_seconds,
                profile: None,
                push: false,
            })
        };
        assert_eq!(task(&["get"]), call(Operation::Get, None, None));
        assert_eq!(task(&["--socket", "/s", "--timeout=900", "store"]), call(Operation::Store, Some("/s"), Some(900)));
        assert_eq!(task(&["--socket=/a=b", "--timeout", "5", "erase"]), call(Operation::Erase, Some("/a=b"), Some(5)));
        let Task::Relay(pushing) = task(&["--push", "--timeout=5", "get"]) else { panic!("git's operation is there") };
        assert!(pushing.push && pushing.timeout_seconds == Some(5));
        let Task::Relay(named) = task(&["--profile", "work", "get"]) else { panic!("git's operation is there") };
        assert_eq!(named.profile.as_deref(), Some("work"));
        assert_eq!(task(&["capability"]), Task::Print(CAPABILITIES));
        assert_eq!(task(&["--socket", "/s", "--version"]), Task::Print(VERSION));
        assert_eq!(task(&["--help"]), Task::Print(HELP));
    }

    #[test]
    fn what_it_does_not_know_never_stops_git() {
        assert_eq!(task(&["fill"]), Task::Nothing);
        assert_eq!(task(&[""]), Task::Nothing);
        for (arguments, words) in [
            (&["--colour", "get"][..], "--colour"),
            (&["-x", "get"], "-x"),
            (&["get", "get"], "unknown argument"),
            (&["--push=yes", "get"], "unknown argument"),
            (&["--socket", "get"], "--socket needs a value"),
            (&["--socket=", "get"], "--socket needs a value"),
            (&["--timeout", "soon", "get"], "--timeout takes"),
            (&["\x1b[2J", "get"], "\\u{1b}"),
            (&[], "get, store or erase"),
        ] {
            assert!(matches!(task(arguments), Task::Explain(said) if said.contains(words)), "{arguments:?}");
        }
    }
}
