//! `tok`: access tokens for people and scripts. Arguments in, text or JSON and an exit code out.

mod agent;
mod arguments;
mod commands;
mod context;
mod exit;
mod logins;
mod output;
mod reference;
mod route;
mod secret;
mod settings;

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches as _};

use crate::arguments::Cli;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Format;
use crate::settings::Unread;

fn main() -> ExitCode {
    let matches = match settings::read(std::env::args_os().collect()) {
        Ok(matches) => matches,
        Err(Unread::Arguments(error)) => return arguments::explain(&error),
        Err(Unread::Settings(matches, failure)) => {
            let format = Cli::from_arg_matches(&matches).map_or(Format::Table, |cli| cli.globals.output);
            return failure.report(format);
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return arguments::explain(&error),
    };
    let format = cli.globals.output;
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let failure = failure.or_hint_for(&arguments::path(&matches));
            match failure.at_fault().and_then(|field| arguments::variable_of(&matches, field)) {
                Some(variable) => failure.because_of(&variable).report(format),
                None => failure.report(format),
            }
        }
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> Result<(), Failure> {
    cli.command.prepare();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("the runtime does not start: {error}")))?;
    let whereabouts = cli.globals.whereabouts(matches)?;
    let mut context = Context::new(&cli.globals, whereabouts)?;
    runtime.block_on(cli.command.run(&mut context)).map_err(|failure| match context.not_logged_in() {
        Some(advice) => failure.hint_if_not_logged_in(&advice),
        None => failure,
    })
}
