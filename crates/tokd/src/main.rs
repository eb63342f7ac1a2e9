//! The daemon: who is calling, may they, do it, record it.

mod args;
mod clock;
mod config;
mod door;
mod executor;
mod failures;
mod fault;
mod lifecycle;
mod metrics;
mod pepper;
mod sealer;
mod service;
mod slow_hash;
mod strength;
mod telemetry;
mod temporary;
mod uses;
mod verdicts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use args::{Args, Command};
use config::Config;
use lifecycle::Mode;
use temporary::TemporaryError;

/// A request is a few hundred small pieces of memory, most of which another thread gives back.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit status for a wrong command line or configuration; clap's own.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            // What only an edit of the configuration can mend is told apart, so that systemd does not try again.
            if error.is::<config::ConfigError>() || error.is::<TemporaryError>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a daemon that cannot run, for whoever started it")]
fn complain(error: &anyhow::Error) {
    eprintln!("tokd: {error:#}");
}

fn run(Args { command, bootstrap }: Args) -> Result<()> {
    let command = command.unwrap_or_else(|| Command::Serve { config: std::env::var_os("TOKD_CONFIG").map(Into::into) });
    let serves = matches!(command, Command::Serve { .. } | Command::Dev { .. });
    if !serves && !bootstrap.tokens.is_empty() {
        return Err(TemporaryError::Command.into());
    }
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let temporary = || temporary::given(&bootstrap.tokens, bootstrap.token_file.as_deref(), credentials.as_deref());
    match command {
        Command::Serve { config } => {
            let file = config;
            let mut config = load(file.as_deref())?;
            config.temporary = temporary()?;
            telemetry::start(&config.log);
            if file.is_none() && !Path::new(config::DEFAULT_FILE).exists() {
                tracing::info!("There is no {}: everything is at its default", config::DEFAULT_FILE);
            }
            if config.git.is_none() {
                tracing::info!("No git.root is configured, so the git gateway is off");
            }
            lifecycle::run(&config, Mode::Serve)
        }
        Command::Dev { data, listen, socket, git_root } => {
            let data = data.map_or_else(default_data, Ok)?;
            let data = std::path::absolute(&data)?;
            anyhow::ensure!(
                listen.ip().is_loopback(),
                "tokd dev speaks plain HTTP, so it listens on this machine only: use 127.0.0.1, or `tokd serve` with server.tls"
            );
            let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
            let mut config = Config::dev(&data, listen, absolute(socket)?, absolute(git_root)?);
            config.temporary = temporary()?;
            telemetry::start(&config.log);
            lifecycle::run(&config, Mode::Dev)
        }
        Command::Migrate { config } => {
            let config = load(config.as_deref())?;
            telemetry::start(&config.log);
            let migrated = lifecycle::migrate(&config)?;
            say(&match migrated.run.len() {
                0 => format!("the schema is up to date (version {})", migrated.version),
                count => format!("migrations run: {count}; the schema is at version {}", migrated.version),
            });
            Ok(())
        }
        Command::CheckConfig { config } => {
            check_certificate(&load(config.as_deref())?.server)?;
            let said = match config {
                Some(path) => format!("{} is all right", path.display()),
                None if Path::new(config::DEFAULT_FILE).exists() => format!("{} is all right", config::DEFAULT_FILE),
                None => format!("there is no {}; the defaults are all right", config::DEFAULT_FILE),
            };
            say(&said);
            Ok(())
        }
    }
}

/// Files that do not belong together, and a certificate out of its dates, are errors. What a proxy in front, or clients of
/// another kind, may take is only said.
fn check_certificate(server: &config::Server) -> Result<()> {
    let Some(files) = &server.tls else { return Ok(()) };
    let (_, objections) = door::http::tls::Certificates::open(files, server.certified_urls())?;
    for objection in objections {
        let words = format!("names {}: {}", files.certificate.display(), objection.words);
        let objection_to = config::ConfigError::value("server.tls.certificate", words);
        if objection.out_of_dates {
            return Err(objection_to.into());
        }
        warn(&objection_to);
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what is said beside the answer to a question asked on the command line")]
fn warn(words: &dyn std::fmt::Display) {
    eprintln!("tokd: warning: {words}");
}

#[expect(clippy::print_stdout, reason = "the answer to a question asked on the command line")]
fn say(words: &str) {
    println!("{words}");
}

fn load(path: Option<&Path>) -> Result<Config> {
    Ok(Config::load(path, std::env::vars())?)
}

/// The XDG state directory, or `/var/lib/tok` for root.
fn default_data() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/tok"));
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("tok"))
        .context("neither XDG_STATE_HOME nor HOME is set: say where to keep the data with --data")
}
