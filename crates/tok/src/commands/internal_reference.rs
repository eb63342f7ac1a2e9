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
