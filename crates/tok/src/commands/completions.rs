//! `tok completions`.

use clap::Args;
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
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut arguments::command(), "tok", &mut script);
        let script = String::from_utf8(script).map_err(Failure::local)?;
        output::text(&[&script])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut arguments::command(), "tok", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["revoke", "completions", "member"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(!script.contains("\ninternal-reference"), "{shell}");
        }
    }
}
