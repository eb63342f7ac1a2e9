//! `tok completions`.

use clap::{Args, Command as Tree};
use clap_complete::Shell;

use crate::arguments;
use crate::exit::Failure;
use crate::output;

/// Print what a shell needs to complete the commands of tok
///
/// Examples:
///
///     $ tok completions bash > /etc/bash_completion.d/tok
///     $ tok completions zsh > ~/.zfunc/_tok
///     $ tok completions fish > ~/.config/fish/completions/tok.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        output::text(&[&script(self.shell)?])
    }
}

fn script(shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible(&arguments::command()), "tok", &mut script);
    String::from_utf8(script).map_err(Failure::local)
}

/// The tree without what nobody should be offered.
fn visible(command: &Tree) -> Tree {
    let bare = command.get_subcommands().filter(|below| !below.is_hide_set()).cloned().collect::<Vec<_>>();
    let mut tree = Tree::new("tok").version(env!("CARGO_PKG_VERSION"));
    for argument in command.get_arguments() {
        tree = tree.arg(argument.clone());
    }
    tree.subcommands(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::process::Command;

    const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    #[test]
    fn every_shell_learns_every_command_and_the_words_of_options() {
        for shell in SHELLS {
            let script = script(shell).unwrap().replace("\\:", ":");
            for word in ["revoke", "completions", "member", "rotate", "explain", "repo:admin", "maintainer", "htpasswd"]
            {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(!script.contains("internal-reference"), "{shell}");
        }
    }

    #[test]
    fn each_shell_that_is_here_understands_its_script() {
        let directory = tempfile::tempdir().unwrap();
        let mut understood = 0;
        for shell in SHELLS {
            let file = directory.path().join(shell.to_string());
            std::fs::write(&file, script(shell).unwrap()).unwrap();
            match Command::new(shell.to_string()).arg("-n").arg(&file).output() {
                Ok(output) => {
                    assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
                    understood += 1;
                }
                // Whoever lacks a shell need not install it for this.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("{shell}: {error}"),
            }
        }
        assert!(understood > 0, "there is a bash wherever this is built");
    }

    #[test]
    fn bash_offers_what_can_come_next() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tok.bash");
        std::fs::write(&file, script(Shell::Bash).unwrap()).unwrap();
        let offers = |line: &str| {
            let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
            let ask = format!(
                ". '{}'; COMP_WORDS=({}); COMP_CWORD={}; _tok tok '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                file.display(),
                words.join(" "),
                words.len() - 1,
                line.split(' ').next_back().unwrap_or_default(),
                line.split(' ').rev().nth(1).unwrap_or_default(),
            );
            let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(offers("tok token ro").contains(&"rotate".to_owned()));
        assert_eq!(offers("tok token create --kind w"), ["workspace"]);
        assert_eq!(offers("tok token list --state ex"), ["expired"]);
        assert!(offers("tok token create --scopes u").contains(&"user:read".to_owned()));
        assert_eq!(offers("tok workspace member add --role m"), ["maintainer"]);
        assert_eq!(offers("tok --output j"), ["json"]);
    }
}
