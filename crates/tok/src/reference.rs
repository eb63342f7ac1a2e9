//! The reference of the command line, made from the commands themselves, so that it cannot be wrong.
//!
//! `docs/cli.md` is what [`markdown`] returns; a test fails when the file is stale.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::arguments;

/// The whole tree of commands in Markdown.
pub(crate) fn markdown() -> String {
    let mut root = arguments::command();
    root.build();
    let mut text = "# Commands of `tok`\n\n\
        Made by `tok internal-reference > docs/cli.md`; do not edit it by hand.\n\n"
        .to_owned();
    let mut commands = Vec::new();
    collect(&root, &mut commands);
    for (path, _) in &commands {
        let depth = path.split(' ').count() - 1;
        let _ = writeln!(text, "{}- [`{path}`](#{})", "  ".repeat(depth), path.replace(' ', "-"));
    }
    for (path, command) in &commands {
        section(path, command, &root, &mut text);
    }
    text
}

fn collect<'a>(command: &'a Command, found: &mut Vec<(String, &'a Command)>) {
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name());
    found.push((path.to_owned(), command));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        collect(below, found);
    }
}

fn section(path: &str, command: &Command, root: &Command, text: &mut String) {
    let _ = write!(text, "\n## `{path}`\n\n");
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let (words, examples) = about.split_once("\nExamples:\n\n").unwrap_or((&about, ""));
    let _ = writeln!(text, "{}", words.trim_end());
    let aliases: Vec<_> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = write!(text, "\nAlso: {}\n", aliases.join(", "));
    }
    if !examples.is_empty() {
        let lines: Vec<_> = examples.lines().map(|line| line.trim().trim_start_matches("$ ")).collect();
        let _ = write!(text, "\n```sh\n{}\n```\n", lines.join("\n"));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(text, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    // A flag that goes for all below is said once, where it belongs; built commands have those from above as their own.
    let above = path.rsplit_once(' ').map(|(above, _)| above);
    let said_above = |argument: &Arg| argument.is_global_set() && above.is_some_and(|above| has(root, above, argument));
    let own = |argument: &&Arg| {
        let id = argument.get_id();
        !argument.is_hide_set() && id != "help" && id != "version" && !said_above(argument)
    };
    let arguments: Vec<_> = command.get_arguments().filter(own).map(line).collect();
    if !arguments.is_empty() {
        let _ = write!(text, "\n{}", arguments.concat());
    }
}

/// Whether the command of this path has this flag, of its own or from above.
fn has(root: &Command, path: &str, argument: &Arg) -> bool {
    let mut words = path.split(' ').skip(1);
    let command = words.try_fold(root, |command, word| command.find_subcommand(word));
    command.is_some_and(|command| command.get_arguments().any(|found| found.get_id() == argument.get_id()))
}

fn line(argument: &Arg) -> String {
    let mut facts = Vec::new();
    if let Some(variable) = argument.get_env().and_then(|name| name.to_str()) {
        facts.push(format!("variable `{variable}`"));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let switch = !argument.get_action().takes_values();
    if !defaults.is_empty() && !switch {
        facts.push(format!("default `{}`", defaults.join(",")));
    }
    let values: Vec<_> = argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() && !switch {
        facts.push(format!("one of {}", values.join(", ")));
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
    format!("- `{argument}`{}: {help}{facts}\n", argument.get_short().map(|s| format!(", `-{s}`")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_reference_is_up_to_date() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/cli.md is stale: run `cargo run -p tok -- internal-reference > docs/cli.md` and look at the difference"
        );
    }

    #[test]
    fn what_goes_for_all_below_is_said_once() {
        let text = markdown();
        for flag in ["- `--remember <WHERE>`", "- `--idle <DURATION>`", "- `--output <FORMAT>`"] {
            assert_eq!(text.matches(flag).count(), 1, "{flag}");
        }
        assert!(text.contains("variable `TOK_AGENT_REMEMBER`"));
    }

    #[test]
    fn every_command_has_its_examples_and_they_parse() {
        let mut root = arguments::command();
        root.build();
        let mut commands = Vec::new();
        collect(&root, &mut commands);
        let mut tried = 0;
        for (path, command) in &commands {
            let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> = about.lines().filter_map(|line| line.trim().strip_prefix("$ ")).collect();
            assert!(command.has_subcommands() || !examples.is_empty(), "{path} has no example");
            for example in examples {
                let result = arguments::command().try_get_matches_from(words(example));
                assert!(result.is_ok(), "{example}: {}", result.unwrap_err());
                tried += 1;
            }
        }
        assert!(tried > 30, "{tried}");
    }

    /// The words of the tok command in an example, as a shell would find them.
    fn words(example: &str) -> Vec<String> {
        let command = example.rsplit_once("$(").map_or(example, |(_, inside)| inside.trim_end_matches(')'));
        let command = command.split(" | ").find(|part| part.starts_with("tok ")).unwrap_or(command);
        let command =
            command.split([' ', '\t']).take_while(|word| !matches!(*word, "<" | ">")).collect::<Vec<_>>().join(" ");
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for character in command.chars() {
            match (quote, character) {
                (None, '"' | '\'') => quote = Some(character),
                (Some(open), close) if open == close => quote = None,
                (None, ' ') => words.push(std::mem::take(&mut word)),
                _ => word.push(character),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn no_flag_takes_a_secret() {
        let mut commands = Vec::new();
        let root = arguments::command();
        collect(&root, &mut commands);
        for (path, command) in commands {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                assert!(!["secret", "password", "bearer"].contains(&name), "{path} {name}");
            }
        }
    }
}
