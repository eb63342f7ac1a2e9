//! `tok internal-reference`: what the documentation of the command line is made of.

use std::path::PathBuf;

use clap::Args;

use crate::arguments;
use crate::exit::Failure;
use crate::output;
use crate::reference;

/// Print the reference of the command line in Markdown, or write its man pages
#[derive(Debug, Args)]
pub(crate) struct InternalReferenceArgs {
    /// Write one man page for each command into this directory instead
    #[arg(long, value_name = "DIRECTORY")]
    man: Option<PathBuf>,
}

impl InternalReferenceArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.man {
            Some(directory) => std::fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(arguments::command(), &directory))
                .map_err(|error| {
                    Failure::local(format!("cannot write man pages into {}: {error}", directory.display()))
                }),
            None => output::text(&[&reference::markdown()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_man_page() {
        fn collect(command: &clap::Command, pages: &mut Vec<String>) {
            pages.push(format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name())));
            let shown = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
            shown.for_each(|below| collect(below, pages));
        }
        let directory = tempfile::tempdir().unwrap();
        InternalReferenceArgs { man: Some(directory.path().to_owned()) }.run().unwrap();
        let mut tree = arguments::command();
        tree.build();
        let mut pages = Vec::new();
        collect(&tree, &mut pages);
        assert!(pages.len() > 40, "{pages:?}");
        for page in pages {
            let text =
                std::fs::read_to_string(directory.path().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
        }
    }
}
