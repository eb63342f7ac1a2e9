//! tokd's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use secrecy::SecretString;

/// Access tokens for self-hosted git: the daemon
#[derive(Debug, Parser)]
#[command(name = "tokd", version, about, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    /// What to do [default: serve]
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Temporary tokens.
    #[command(flatten)]
    pub bootstrap: Bootstrap,
}

/// How the first manager comes in, and how broken permissions are mended.
#[derive(Debug, clap::Args)]
pub struct Bootstrap {
    /// Let this name and secret administer the server until tokd stops; it is kept nowhere
    ///
    /// Presented as HTTP Basic. Arguments are visible to every user of this machine: --token-file is better.
    #[arg(long = "token", value_name = "NAME:SECRET", global = true)]
    pub tokens: Vec<SecretString>,
    /// The same from a file that only tokd's user can read, one name:secret a line
    ///
    /// The systemd credential `bootstrap-token` is read without being named.
    #[arg(long, value_name = "PATH", env = "TOKD_TOKEN_FILE", global = true)]
    pub token_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  tokd dev                                   everything on this machine, nothing to configure
  tokd serve --config /etc/tok/tokd.toml     as systemd starts it
  tokd --token-file /etc/tok/first-manager   serve, and let the name:secret in this file administer it
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
