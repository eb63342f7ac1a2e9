//! The command line as a whole: the flags that every command takes, and what happens when it cannot be read.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command as Tree, CommandFactory as _, Parser};

use tok_model::url::Origin;

use crate::commands::{Command, words};
use crate::exit::Failure;
use crate::output::{self, Format};

/// Access tokens for your git server
///
/// `tok` talks to the daemon `tokd`: to a server elsewhere with `--server` or `TOK_SERVER`, else to the server that you
/// are logged in to (`tok login`), else over a local socket on this machine. It looks at `--socket` or `TOK_SOCKET` and
/// nowhere else if one of them is given; otherwise at `$XDG_RUNTIME_DIR/tok/agent.sock`, `/run/tok/tokd.sock`, and where
/// `tokd dev` listens. A flag wins over a variable, and `TOK_SERVER` over `TOK_SOCKET`. A variable that is empty is not set;
/// a flag that is given and empty is refused. With a token in `TOK_TOKEN` and no server named, logins are left aside.
///
/// Who you are is the token in `TOK_TOKEN`, or without one the login for that server, or over a local socket your user on
/// this machine. `tok status` shows which it is.
///
/// A server's certificate must be trusted by this machine, or signed by one in the file that `SSL_CERT_FILE` names.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not logged in, 4 not allowed, 5 not found or ambiguous,
/// 6 daemon unreachable.
///
/// Examples:
///
///     $ tok login https://git.example.com
///     $ tok token create "CI of acme/app" --expires 90d --scopes repo:read
///     $ tok token list --expiring 14d
///     $ tok --server https://git.example.com token list
///     $ tok git setup https://git.example.com
#[derive(Debug, Parser)]
#[command(name = "tok", version, verbatim_doc_comment, arg_required_else_help = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What other programs take as an argument.
const SECRETS: [&str; 5] = ["secret", "password", "token", "api_key", "bearer"];
/// And why this one does not.
const NO_SECRETS: &str = "a secret is never an argument, which others on this machine can see: put your token into TOK_TOKEN, and secrets that a command takes into stdin or a file (`--secret-stdin`, `--secret-file`)";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// A server elsewhere, instead of this machine's socket; takes a login there, or a token in `TOK_TOKEN`
    #[arg(long, global = true, value_name = "URL", env = "TOK_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// The daemon's socket; no other is tried
    #[arg(long, global = true, value_name = "PATH", env = "TOK_SOCKET", hide_env_values = true)]
    pub(crate) socket: Option<PathBuf>,
    /// The login to use, by the name it was given
    #[arg(long, global = true, value_name = "NAME", env = "TOK_PROFILE", hide_env_values = true)]
    pub(crate) profile: Option<String>,
    /// Act as this user (managers only)
    #[arg(long = "as", global = true, value_name = "USER", env = "TOK_USER", hide_env_values = true)]
    pub(crate) act_as: Option<String>,
    /// What to print on stdout; errors on stderr take the same form
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "TOK_OUTPUT",
        hide_env_values = true,
        default_value = "table"
    )]
    pub(crate) output: Format,
    /// Never ask, even on a terminal
    #[arg(
        long,
        global = true,
        env = "TOK_NO_INPUT",
        hide_env_values = true,
        value_parser = words::switch()
    )]
    pub(crate) no_input: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, env = "TOK_QUIET", hide_env_values = true, value_parser = words::switch())]
    pub(crate) quiet: bool,
}

/// Where the daemon is, as the flags and variables say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// A server elsewhere.
    Server(Origin),
    /// On this machine: at this socket, or wherever one is usually found.
    Local(Option<PathBuf>),
}

impl Globals {
    /// A flag wins over a variable, and of two variables the server's. Two flags contradict each other.
    pub(crate) fn whereabouts(&self, matches: &ArgMatches) -> Result<Whereabouts, Failure> {
        let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        if typed("server") && typed("socket") {
            return Err(Failure::usage("`--server` and `--socket` name two daemons").hint("leave one of them out"));
        }
        let socket = self.socket.clone().filter(|path| !path.as_os_str().is_empty());
        match self.server.as_deref().filter(|url| !url.is_empty() && !typed("socket")) {
            None => Ok(Whereabouts::Local(socket)),
            Some(url) => {
                let name = if typed("server") { "--server" } else { "TOK_SERVER" };
                let origin = url.parse().map_err(|why| Failure::usage(format!("{name}: {why}")));
                Ok(Whereabouts::Server(origin.map_err(|failure| failure.hint("as in https://git.example.com"))?))
            }
        }
    }
}

/// The tree of commands, with help texts that fill whatever width there is.
pub(crate) fn command() -> Tree {
    flowing(Cli::command())
}

/// Joins the lines of each paragraph, which the source breaks where it likes; indented lines are examples and stay.
fn flowing(command: Tree) -> Tree {
    let about = command.get_long_about().map(|about| joined(&about.to_string()));
    let command = match about {
        Some(about) => command.long_about(about),
        None => command,
    };
    command.mut_subcommands(flowing)
}

fn joined(text: &str) -> String {
    let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut().filter(|last| prose(last) && prose(line)) {
            Some(last) => last.extend([" ", line]),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// The words that led to the command: `tok token create`.
pub(crate) fn path(matches: &ArgMatches) -> String {
    let mut words = vec!["tok"];
    let mut here = matches;
    while let Some((word, below)) = here.subcommand() {
        words.push(word);
        here = below;
    }
    words.join(" ")
}

/// Options that mean something when they are empty: no scopes, no words, the first page.
const MAY_BE_EMPTY: [&str; 4] = ["scopes", "description", "reason", "cursor"];
/// And a command whose options all do: they empty what they name.
const EMPTIES: &str = "tok token modify";

/// Refuses an option that is given and has nothing in it. That is nearly always a variable of a script that was not set, and
/// to go on without the option would be to do something else than what was asked for.
pub(crate) fn check_given(tree: &Tree, matches: &ArgMatches) -> Result<(), Failure> {
    if path(matches) == EMPTIES {
        return Ok(());
    }
    let (mut tree, mut here) = (tree, matches);
    loop {
        for argument in tree.get_arguments().filter(|argument| argument.get_action().takes_values()) {
            let Some(long) = argument.get_long().filter(|long| !MAY_BE_EMPTY.contains(long)) else { continue };
            if empty(here, argument.get_id().as_str()) {
                return Err(Failure::usage(format!("`--{long}` is given, and is empty"))
                    .field(&long.replace('-', "_"))
                    .hint("give it a value, or leave it out; was a variable not set that should have held it?"));
            }
        }
        let Some((name, below)) = here.subcommand() else { return Ok(()) };
        let Some(command) = tree.find_subcommand(name) else { return Ok(()) };
        (tree, here) = (command, below);
    }
}

fn empty(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine);
    known
        && matches
            .get_raw(id)
            .is_some_and(|mut values| values.all(|value| value.as_encoded_bytes().trim_ascii().is_empty()))
}

/// The variable that said this field, if none else did: whoever set it for another command may not think of it.
pub(crate) fn variable_of(matches: &ArgMatches, field: &str) -> Option<String> {
    let mut tree = command();
    let mut here = matches;
    while let Some((name, below)) = here.subcommand() {
        tree = tree.find_subcommand(name)?.clone();
        here = below;
    }
    let argument = tree.get_arguments().find(|argument| argument.get_id() == field)?;
    let said = here.try_contains_id(field).is_ok() && here.value_source(field) == Some(ValueSource::EnvVariable);
    argument.get_env().filter(|_| said)?.to_str().map(str::to_owned)
}

/// Prints help or version on stdout, or says on stderr why the arguments make no sense.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return ExitCode::from(2);
        }
        _ => {}
    }
    // The format was not read; what is left is to look for it.
    let asks_for_json = |argument: &str| matches!(argument, "json" | "--output=json");
    let json = std::env::args_os().any(|argument| argument.to_str().is_some_and(asks_for_json))
        || std::env::var_os("TOK_OUTPUT").is_some_and(|format| format == "json");
    let (message, hint) = split(&error.render().to_string());
    let typed: Vec<_> = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok()).collect();
    let field = field(error).unwrap_or_default();
    let secret = error.kind() == ErrorKind::UnknownArgument && SECRETS.contains(&field.as_str());
    let hint =
        if secret { NO_SECRETS.to_owned() } else { better(error, &hint, &field, &meant(&typed)).unwrap_or(hint) };
    let failure = Failure::usage(message).hint(hint).field(&field).or_hint_for(&meant(&typed));
    let failure = match said_by(error, &field, &meant(&typed)) {
        Some(variable) => failure.because_of(&variable),
        None => failure,
    };
    failure.report(if json { Format::Json } else { Format::Table })
}

/// What is wrong, in a line.
pub(crate) fn message(error: &clap::Error) -> String {
    split(&error.render().to_string()).0
}

/// The option or argument that is at fault: `expires`, of `--expires <WHEN>`.
fn field(error: &clap::Error) -> Option<String> {
    let culprit = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(text) => text,
        ContextValue::Strings(texts) => texts.first()?,
        _ => return None,
    };
    let name = culprit.split([' ', '=']).next().unwrap_or_default();
    let name = name.trim_start_matches('-').trim_matches(|c: char| "<>[].".contains(c));
    let name = name.replace('-', "_").to_ascii_lowercase();
    // What was typed where no option was expected is no name of anything.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain)).then_some(name)
}

/// The variable that holds the value which is refused.
fn said_by(error: &clap::Error, field: &str, command: &str) -> Option<String> {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return None };
    let tree = tree_of(command)?;
    let argument = tree.get_arguments().find(|argument| argument.get_long() == Some(&*field.replace('_', "-")))?;
    let variable = argument.get_env()?;
    let holds = std::env::var(variable).is_ok_and(|held| held.split(',').any(|part| part == value) || held == *value);
    let typed = format!("--{}", argument.get_long()?);
    let given = std::env::args().any(|word| word == typed || word.starts_with(&format!("{typed}=")));
    variable.to_str().filter(|_| holds && !given).map(str::to_owned)
}

/// What helps more than clap's own tip; empty if nothing does but the command's help.
fn better(error: &clap::Error, tip: &str, field: &str, command: &str) -> Option<String> {
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand
            if command == "tok token" && matches!(given(ContextKind::InvalidSubcommand), Some("remove" | "del")) =>
        {
            Some("`tok token revoke` ends a token".to_owned())
        }
        ErrorKind::UnknownArgument => match given(ContextKind::InvalidArg)? {
            "--json" => Some("`--output json`".to_owned()),
            _ if takes(command, field) => {
                Some(format!("it stands by itself, without `--{field}`: `{command} {}`", field.to_uppercase()))
            }
            // clap would have it behind `--`, which only a name of several words is likely to be meant for.
            text if tip.starts_with("to pass") && !text.contains(' ') => Some(String::new()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a command takes an argument of this name that is no option.
fn takes(path: &str, field: &str) -> bool {
    tree_of(path).is_some_and(|tree| tree.get_positionals().any(|argument| argument.get_id() == field))
}

/// The command that these words lead to, with the options that every command takes.
fn tree_of(path: &str) -> Option<Tree> {
    let mut tree = command();
    tree.build();
    for word in path.split(' ').skip(1) {
        tree = tree.find_subcommand(word)?.clone();
    }
    Some(tree)
}

/// The command that was meant, as far as words name one.
fn meant(typed: &[String]) -> String {
    let mut tree = command();
    let mut words = vec!["tok".to_owned()];
    for word in typed {
        if let Some(below) = tree.find_subcommand(word).cloned() {
            words.push(below.get_name().to_owned());
            tree = below;
        }
    }
    words.join(" ")
}

/// clap's paragraphs: what is wrong, then tips, usage, and where to read on.
fn split(text: &str) -> (String, String) {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    // Where to read on is said the way every other error says it.
    let tells =
        |line: &&str| !line.is_empty() && !line.starts_with("For more information") && !line.starts_with("Usage:");
    let rest: Vec<_> =
        rest.lines().map(str::trim).filter(tells).map(|line| output::safe(line.trim_start_matches("tip: "))).collect();
    let message: Vec<_> = message.lines().map(|line| output::safe(line.trim())).collect();
    (message.join(" "), rest.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(arguments: &[&str]) -> (String, String) {
        split(&command().try_get_matches_from(arguments).unwrap_err().render().to_string())
    }

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_wrong_argument_is_one_line_with_where_to_look() {
        let (message, hint) = fails(&["tok", "token", "create", "CI", "--kind", "gold"]);
        assert!(message.starts_with("invalid value 'gold' for '--kind <KIND>'"), "{message}");
        assert_eq!(hint, "");
        let (_, hint) = fails(&["tok", "token", "scpes"]);
        assert_eq!(hint, "a similar subcommand exists: 'scopes'");
        let typed = ["--as", "alice", "token", "ls", "--state", "x"].map(str::to_owned);
        assert_eq!(meant(&typed), "tok token list");
        let (message, _) = fails(&["tok", "user", "create", "a\u{1b}[2Jb"]);
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }

    #[test]
    fn tips_lead_to_what_was_meant() {
        let hint = |words: &[&str]| {
            let error = command().try_get_matches_from(words).unwrap_err();
            let typed: Vec<_> = words.iter().skip(1).map(|word| (*word).to_owned()).collect();
            let (_, tip) = split(&error.render().to_string());
            better(&error, &tip, &field(&error).unwrap_or_default(), &meant(&typed))
        };
        assert_eq!(hint(&["tok", "token", "list", "--json"]).unwrap(), "`--output json`");
        assert_eq!(hint(&["tok", "token", "create", "CI", "-e", "-5"]).unwrap(), "");
        assert_eq!(
            hint(&["tok", "token", "create", "--name", "x"]).unwrap(),
            "it stands by itself, without `--name`: `tok token create NAME`"
        );
        assert_eq!(hint(&["tok", "token", "create", "--odd name"]), None);
        assert_eq!(hint(&["tok", "token", "remove", "x"]).unwrap(), "`tok token revoke` ends a token");
        assert_eq!(hint(&["tok", "user", "remove", "x"]), None);
        assert_eq!(hint(&["tok", "token", "create", "CI", "--expire", "30"]), None, "clap knows a similar one");
    }

    #[test]
    fn flags_say_where_the_daemon_is_and_contradict_each_other() {
        let whereabouts = |arguments: &[&str]| {
            let matches = command().try_get_matches_from(arguments).unwrap();
            let cli = <Cli as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            cli.globals.whereabouts(&matches)
        };
        let server = Whereabouts::Server("https://git.example.com".parse().unwrap());
        // Before the command and behind it.
        assert_eq!(whereabouts(&["tok", "--server", "https://git.example.com/", "whoami"]).unwrap(), server);
        assert_eq!(whereabouts(&["tok", "whoami", "--server", "https://git.example.com"]).unwrap(), server);
        let socket = Whereabouts::Local(Some("/x".into()));
        assert_eq!(whereabouts(&["tok", "whoami", "--socket", "/x"]).unwrap(), socket);
        assert!(whereabouts(&["tok", "--server", "https://g.example", "whoami", "--socket", "/x"]).is_err());
        assert!(whereabouts(&["tok", "--server", "git.example.com", "whoami"]).is_err());
    }

    #[test]
    fn an_option_that_is_given_and_empty_is_refused_where_that_means_nothing() {
        let check = |arguments: &[&str]| {
            let tree = command();
            let matches = tree.clone().try_get_matches_from(["tok"].iter().chain(arguments)).unwrap();
            check_given(&tree, &matches).map_err(|failure| failure.words())
        };
        for bad in [
            &["--as", "", "whoami"][..],
            &["whoami", "--as="],
            &["--server", " ", "whoami"],
            &["whoami", "--profile", ""],
            &["audit", "--token", ""],
            &["token", "create", "x", "--allow-cidr", ""],
            &["token", "create", "x", "--route", "", "--route", ","],
            &["token", "create", "x", "--workspace", ""],
            &["trust", "add", "x", "--claim", "a=b", "--permission", "read", "--audience", ""],
        ] {
            assert!(check(bad).is_err_and(|why| why.contains("is given, and is empty")), "{bad:?}");
        }
        for good in [
            &["whoami"][..],
            &["token", "create", "x", "--scopes", "", "--description", ""],
            &["token", "create", "x", "--repo", "acme/app,"],
            &["token", "modify", "1b4e", "--label", ""],
            &["token", "list", "--cursor", ""],
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn paragraphs_flow_and_examples_stay() {
        assert_eq!(
            joined("Make it\n\nOne line\nand another.\n\n    $ a\n    $ b"),
            "Make it\n\nOne line and another.\n\n    $ a\n    $ b"
        );
    }

    #[test]
    fn the_path_is_what_was_typed() {
        let matches = command().try_get_matches_from(["tok", "workspace", "member", "list", "acme"]).unwrap();
        assert_eq!(path(&matches), "tok workspace member list");
    }
}
