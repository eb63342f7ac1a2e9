//! `tok server`.

mod config;
pub(super) mod status;

use clap::Subcommand;

use crate::context::Context;
use crate::exit::Failure;

/// Ask the daemon how it is, and how it is set up
#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    Status(status::StatusArgs),
    Config(config::ConfigArgs),
}

impl ServerCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Status(arguments) => arguments.run(context).await,
            Self::Config(arguments) => arguments.run(context).await,
        }
    }
}
