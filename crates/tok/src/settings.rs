//! The configuration file: what options are when neither a flag nor a variable says it.
//!
//! A key is the long name of an option that has a variable, with `_` for `-`. Options of every command stand at the top,
//! those of one command in the table of its name: `[token.create]`. See tok-config(5).

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use crate::arguments;
use crate::exit::Failure;
use crate::output::safe;

/// Names the file, instead of the usual one.
const VARIABLE: &str = "TOK_CONFIG";
/// What has a variable and is meant for one call only.
const ONE_CALL: [&str; 6] = ["cursor", "idempotency-key", "reason", "label", "secret-file", "secret-stdin"];
/// Two ways to the one daemon: saying one of them is saying no to what the file says about the other.
const WAYS: [&str; 2] = ["server", "socket"];

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The arguments make no sense, or ask for help.
    Arguments(Box<clap::Error>),
    /// The file makes no sense, or an option has nothing in it. With what the arguments alone would have meant.
    Settings(Box<ArgMatches>, Failure),
}

/// Why a command would not be run as the variables and the file have it, if it would not.
pub(crate) fn refuses(command: &[&str]) -> Option<String> {
    match read(command.iter().map(OsString::from).collect()) {
        Ok(_) => None,
        Err(Unread::Arguments(error)) => Some(arguments::message(&error)),
        Err(Unread::Settings(_, failure)) => Some(failure.words()),
    }
}

/// Where the file is, or would be.
pub(crate) fn place() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given(VARIABLE).or_else(|| {
        let directory = given("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        directory.or_else(|| given("HOME").map(|home| home.join(".config"))).map(|path| path.join("tok/config.toml"))
    })
}

/// Reads the arguments, the variables and the configuration file, in this order of precedence.
pub(crate) fn read(arguments: Vec<OsString>) -> Result<ArgMatches, Unread> {
    let tree = without_empty_variables(arguments::command());
    let (tree, matches) = parse(tree, &arguments).map_err(|error| Unread::Arguments(Box::new(error)))?;
    if let Err(failure) = arguments::check_given(&tree, &matches) {
        return Err(Unread::Settings(Box::new(matches), failure));
    }
    let added = match load() {
        Ok(None) => return Ok(matches),
        Ok(Some(file)) => file.fill(&tree, arguments, &matches),
        Err(failure) => Err(failure),
    };
    added.map_err(|failure| Unread::Settings(Box::new(matches), failure))
}

/// Reads the arguments and the variables. A variable that a flag excludes is not set, as far as this command goes.
fn parse(tree: Command, arguments: &[OsString]) -> Result<(Command, ArgMatches), clap::Error> {
    let error = match tree.clone().try_get_matches_from(arguments) {
        Ok(matches) => return Ok((tree, matches)),
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => error,
        Err(error) => return Err(error),
    };
    let mut set = Vec::new();
    variables(&tree, &mut set);
    let without = |name: &OsString| {
        let tree = unset(tree.clone(), &|argument| argument.get_env() == Some(name));
        let matches = tree.clone().try_get_matches_from(arguments).ok()?;
        Some((tree, matches))
    };
    set.iter().find_map(without).ok_or(error)
}

fn variables(command: &Command, found: &mut Vec<OsString>) {
    let set = command.get_arguments().filter_map(Arg::get_env).filter(|name| std::env::var_os(name).is_some());
    found.extend(set.map(OsString::from));
    command.get_subcommands().for_each(|below| variables(below, found));
}

/// The tree without the variables of some of its arguments.
fn unset(command: Command, which: &dyn Fn(&Arg) -> bool) -> Command {
    command
        .mut_args(|argument| if which(&argument) { argument.env(Resettable::Reset) } else { argument })
        .mut_subcommands(|below| unset(below, which))
}

/// An empty variable is one that is not set.
fn without_empty_variables(command: Command) -> Command {
    unset(command, &|argument| argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty()))
}

/// A configuration file that was read.
struct File {
    path: PathBuf,
    table: Table,
}

/// The file, if there is one. One that is named must be there.
fn load() -> Result<Option<File>, Failure> {
    let must_exist = std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty());
    let Some(path) = place() else { return Ok(None) };
    let shown = || safe(&path.display().to_string());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if !must_exist && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Failure::usage(format!("cannot read the configuration file {}: {error}", shown()))
                .hint(format!("make it readable, or name another in {VARIABLE}")));
        }
    };
    let table = text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        Failure::usage(format!("{}, line {line}: {}", shown(), safe(error.message()))).hint(HINT)
    })?;
    Ok(Some(File { path, table }))
}

/// Where to read what can be in the file.
const HINT: &str = "`man tok-config` has every key; a key is an option's long name with `_` for `-`";

impl File {
    fn wrong(&self, key: &str, why: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {}: {why}", safe(&self.path.display().to_string()), safe(key)))
            .field(key)
            .hint(HINT)
    }

    /// Checks the whole file, and puts what it says about this command beside what was given.
    fn fill(&self, tree: &Command, given: Vec<OsString>, matches: &ArgMatches) -> Result<ArgMatches, Failure> {
        // Which keys there are does not depend on the variables that are set.
        let every = arguments::command();
        self.check(&every, &self.table, "")?;
        let mut levels = vec![(&every, Some(&self.table), matches)];
        while let Some((name, below)) = levels.last().and_then(|(_, _, matches)| matches.subcommand()) {
            let Some((command, table, _)) = levels.last().copied() else { break };
            let Some(command) = command.find_subcommand(name) else { break };
            let table = table.and_then(|table| table.get(name)).and_then(Value::as_table);
            levels.push((command, table, below));
        }
        let (mut words, mut filled) = (given, matches.clone());
        for (command, table, matches) in levels {
            for (key, value) in table.into_iter().flatten() {
                let Some(argument) = option(command, key) else { continue };
                if said(matches, argument.get_id().as_str()) || the_other_way_was_said(matches, key) {
                    continue;
                }
                let more = with(&words, self.flags(argument, key, value)?);
                match tree.clone().try_get_matches_from(&more) {
                    Ok(matches) => (words, filled) = (more, matches),
                    // What was given excludes it.
                    Err(error) if error.kind() == ErrorKind::ArgumentConflict => {}
                    Err(error) => return Err(self.wrong(key, arguments::message(&error))),
                }
            }
        }
        Ok(filled)
    }

    /// Refuses what nobody would ever read.
    fn check(&self, command: &Command, table: &Table, path: &str) -> Result<(), Failure> {
        for (key, value) in table {
            let whole = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (value, command.get_subcommands().find(|below| below.get_name() == key)) {
                (Value::Table(table), Some(below)) => self.check(below, table, &whole)?,
                _ => {
                    let argument = option(command, key).ok_or_else(|| {
                        let known: Vec<_> = command.get_arguments().filter_map(key_of).collect();
                        self.wrong(&whole, format!("there is no such key; here stand {}", known.join(", ")))
                    })?;
                    self.flags(argument, &whole, value)?;
                }
            }
        }
        Ok(())
    }

    /// The value as it would be given on the command line.
    fn flags(&self, argument: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, Failure> {
        let long = argument.get_long().unwrap_or_default();
        let switch = !argument.get_action().takes_values();
        let many = matches!(argument.get_action(), ArgAction::Append) || argument.get_value_delimiter().is_some();
        let flag = |value: String| OsString::from(format!("--{long}={value}"));
        match value {
            Value::Boolean(on) if switch => {
                Ok(if *on { vec![OsString::from(format!("--{long}"))] } else { Vec::new() })
            }
            Value::String(text) if !switch => Ok(vec![flag(text.clone())]),
            Value::Integer(number) if !switch => Ok(vec![flag(number.to_string())]),
            Value::Array(values) if many => values
                .iter()
                .map(|value| value.as_str().map(|text| flag(text.to_owned())))
                .collect::<Option<_>>()
                .ok_or_else(|| self.wrong(key, "a list has texts in it, in quotes")),
            _ if switch => Err(self.wrong(key, "it is true or false")),
            _ if many => Err(self.wrong(key, "it is a text in quotes, or a list of them")),
            _ => Err(self.wrong(key, "it is a text in quotes, or a number")),
        }
    }
}

/// The option that a key of this command's table means.
fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| key_of(argument).is_some_and(|known| known == key))
}

/// The key that stands for an option, if one may.
fn key_of(argument: &Arg) -> Option<String> {
    let long = argument.get_long()?;
    let allowed = argument.get_env().is_some() && !argument.is_hide_set() && !ONE_CALL.contains(&long);
    allowed.then(|| long.replace('-', "_"))
}

fn said(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.try_contains_id(id).is_ok();
    known && matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

fn the_other_way_was_said(matches: &ArgMatches, key: &str) -> bool {
    WAYS.contains(&key) && WAYS.iter().any(|other| said(matches, other))
}

/// These words, with flags where flags may still stand.
fn with(words: &[OsString], flags: Vec<OsString>) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (before, after) = words.split_at(end);
    before.iter().cloned().chain(flags).chain(after.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, words: &[&str]) -> Result<ArgMatches, Failure> {
        let file = File { path: "/etc/x.toml".into(), table: text.parse().unwrap() };
        let tree = arguments::command();
        let words: Vec<OsString> = ["tok"].iter().chain(words).map(OsString::from).collect();
        let matches = tree.clone().try_get_matches_from(&words).unwrap();
        file.fill(&tree, words, &matches)
    }

    fn leaf(matches: &ArgMatches) -> &ArgMatches {
        matches.subcommand().map_or(matches, |(_, below)| leaf(below))
    }

    fn values(matches: &ArgMatches, id: &str) -> Vec<String> {
        leaf(matches).get_raw(id).into_iter().flatten().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_file_speaks_where_nobody_else_does() {
        let text = "output = 'json'\nquiet = true\n[token.create]\nexpires = 30\nscopes = ['repo:read', 'user:read']\n";
        let create = fill(text, &["token", "create", "CI"]).unwrap();
        assert_eq!(values(&create, "expires"), ["30"]);
        assert_eq!(values(&create, "scopes"), ["repo:read", "user:read"]);
        assert_eq!(values(&create, "output"), ["json"]);
        assert!(leaf(&create).get_flag("quiet"));
        let flags =
            fill(text, &["token", "create", "--expires", "7", "--output", "table", "--", "--odd name"]).unwrap();
        assert_eq!((values(&flags, "expires"), values(&flags, "name")), (vec!["7".into()], vec!["--odd name".into()]));
        assert_eq!(values(&flags, "output"), ["table"]);
        let other = fill(text, &["token", "list"]).unwrap();
        assert_eq!(values(&other, "output"), ["json"]);
    }

    #[test]
    fn what_was_given_wins_over_what_it_excludes() {
        let text = "socket = '/run/a'\n[token.list]\nall_users = true\n";
        let list = fill(text, &["token", "list", "--user", "bob"]).unwrap();
        assert!(!leaf(&list).get_flag("all_users"));
        assert!(leaf(&fill(text, &["token", "list"]).unwrap()).get_flag("all_users"));
        assert_eq!(values(&fill(text, &["token", "list"]).unwrap(), "socket"), ["/run/a"]);
    }

    #[test]
    fn a_wrong_key_or_value_is_named_wherever_it_stands() {
        for (text, words) in [
            ("colour = 'red'", ["colour", "output"]),
            ("output = 'xml'", ["output", "xml"]),
            ("output = true", ["output", "text"]),
            ("quiet = 'yes'", ["quiet", "true or false"]),
            ("[token.create]\nforce = true", ["token.create.force", "expires"]),
            ("[token.create]\nscopes = [1]", ["token.create.scopes", "in quotes"]),
            ("[token]\ncreate = 1", ["token.create", "no such key"]),
            ("[token.revoke]\nforce = true", ["token.revoke.force", "no such key"]),
        ] {
            let failure = fill(text, &["token", "list"]).unwrap_err();
            let said = format!("{failure:?}");
            assert!(words.iter().all(|word| said.contains(word)) && failure.exit() == 2, "{text}: {said}");
        }
    }
}
