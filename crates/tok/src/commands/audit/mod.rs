//! `tok audit`, and its one subcommand.

mod list;
mod verify;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::exit::Failure;

/// Show what was done, by whom, through which token, and how it ended
///
/// Newest first, unless `--oldest-first` is given. Tokens appear by the first characters of their text.
///
/// With `--follow` it shows the last lines (or those since `--since`) and then each new one as it is written, until it is
/// interrupted; with `--output json` as one object a line. No line is missed and none is shown twice.
///
/// Examples:
///
///     $ tok audit --since 2h
///     $ tok audit --token tokpat_a1b2 --limit 20
///     $ tok audit --outcome refused --since 2026-11-01 --until 2026-12-01
///     $ tok audit --repo acme/app --output json
///     $ tok audit --follow --action token.create
///     $ tok audit verify
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    list: list::ListArgs,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(verify::VerifyArgs),
}

impl AuditArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self.command {
            Some(AuditCommand::Verify(arguments)) => arguments.run(context).await,
            None => self.list.run(context).await,
        }
    }
}
