//! tokd's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Access tokens for self-hosted git: the daemon
#[derive(Debug, Parser)]
#[command(name = "tokd", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tokd dev                                   everything on this machine, nothing to configure
  tokd serve --config /etc/tok/tokd.toml     as systemd starts it
  tokd check-config                          is /etc/tok/tokd.toml all right?";

/// What tokd can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve, as the configuration says
    Serve {
        /// The configuration file [default: /etc/tok/tokd.toml, if it is there]
        #[arg(long, env = "TOKD_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Serve without any configuration: a private PostgreSQL, the git gateway, and you as the first manager
    ///
    /// Prints one line `ready http://… socket …` when it answers. A push to a repository that does not exist makes it,
    /// if you may write there. SIGTERM or Ctrl-C stops everything, the database included; the data stays.
    Dev {
        /// Where everything is kept [default: /var/lib/tok for root, else ~/.local/state/tok]
        #[arg(long)]
        data: Option<PathBuf>,
        /// Where to listen; port 0 takes a free one
        #[arg(long, default_value = crate::config::DEFAULT_LISTEN)]
        listen: SocketAddr,
        /// The local socket [default: tokd.sock in the data directory]
        #[arg(long)]
        socket: Option<PathBuf>,
        /// Where repositories are kept [default: git in the data directory]
        #[arg(long)]
        git_root: Option<PathBuf>,
    },
    /// Bring the database's schema up to date and exit
    Migrate {
        /// The configuration file [default: /etc/tok/tokd.toml, if it is there]
        #[arg(long, env = "TOKD_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Check the configuration, the variables over it included, and exit
    CheckConfig {
        /// The configuration file [default: /etc/tok/tokd.toml, if it is there]
        #[arg(long, env = "TOKD_CONFIG")]
        config: Option<PathBuf>,
    },
}
