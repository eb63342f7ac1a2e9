//! Configuration: `/etc/tok/tokd.toml`, `TOKD_…` variables over it, secrets by file, variable or systemd credential.
//!
//! Everything is checked here, before anything is started; each complaint names the key and says what it takes.

mod check;
mod file;
mod shown;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use tok_model::clock::{Lifetime, Period};
use tok_model::grant::Cidr;
use tok_model::policy::{Lifetimes, Policy};
use tok_model::url::Origin;

use crate::temporary::Given;

use check::{absolute, bounded, default_git_lifetime, default_lifetime, default_retention, secret_file};
use file::File;

pub use shown::Told;

/// Where the file is when nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/tok/tokd.toml";
/// Where repositories are served when nobody says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7650";
const DEFAULT_DATA: &str = "/var/lib/tok";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("the configuration is not valid: {0}")]
    Syntax(toml::de::Error),
    /// A variable that overrides nothing.
    #[error(
        "the variable {0} sets no key of tokd's configuration; config/tokd.toml lists the keys, and TOKD_SERVER_LISTEN is the form"
    )]
    Variable(String),
    /// A value that makes no sense.
    #[error("the configuration key {key} {why}")]
    Value {
        /// Which key, with its section.
        key: String,
        /// What it takes.
        why: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { key: key.into(), why: why.into() }
    }
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where tokd keeps what is its own.
    pub data: PathBuf,
    /// Which database.
    pub store: StoreChoice,
    /// The most database connections, and so the most statements at a time.
    pub database_connections: u32,
    /// The pepper file.
    pub pepper_file: PathBuf,
    /// The remote address.
    pub server: Server,
    /// The local socket.
    pub ipc: Ipc,
    /// The git gateway; `None` is off.
    pub git: Option<Git>,
    /// Lifetimes.
    pub tokens: Tokens,
    /// The audit trail.
    pub audit: Audit,
    /// Logging.
    pub log: Log,
    /// Temporary tokens, which no file of configuration has.
    pub temporary: Vec<Given>,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum StoreChoice {
    /// A private cluster that tokd runs itself.
    Embedded {
        /// The system user that runs it, when tokd is root.
        user: Option<String>,
        /// Where PostgreSQL's programs are.
        binaries: Option<PathBuf>,
    },
    /// A server that is there already.
    Postgres {
        /// A libpq URI.
        url: SecretString,
    },
}

/// The remote address.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What people clone from; `None` is `http://<listen>`, or `https://…` with TLS.
    pub public_url: Option<Origin>,
    /// Further URLs of this server.
    pub aliases: Vec<Origin>,
    /// Whether a proxy in front adds TLS and says who calls.
    pub behind_proxy: bool,
    /// The proxies that are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// The most connections at a time.
    pub max_connections: usize,
    /// Wrong tokens and secrets from one source in a minute; `None` is any number.
    pub failed_logins_per_minute: Option<NonZeroU32>,
    /// How long requests may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    /// Who may read the metrics.
    pub metrics: MetricsFor,
    /// TLS; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl Server {
    /// What the certificate has to name: where clients go, unless they go to a proxy that has another one.
    pub fn certified_urls(&self) -> Vec<Origin> {
        self.public_url.iter().chain(&self.aliases).filter(|_| !self.behind_proxy).cloned().collect()
    }
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFor {
    /// Programs on this machine, and managers from anywhere.
    Loopback,
    /// Managers.
    Managers,
    /// Nobody: they are not there.
    Nobody,
}

/// What TLS is made of. That the two fit is seen when they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those that signed it, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The local socket.
#[derive(Debug, Clone)]
pub struct Ipc {
    /// Its path.
    pub socket: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Whether a system user is the tok user of the same name.
    pub map_system_users: bool,
}

/// The git gateway.
#[derive(Debug, Clone)]
pub struct Git {
    /// The directory of bare repositories.
    pub root: PathBuf,
    /// The git program; `None` looks on PATH.
    pub program: Option<PathBuf>,
    /// Whether a push by somebody who may write makes a missing repository.
    pub create_on_push: bool,
    /// The largest pack, in bytes.
    pub max_push_size: u64,
    /// The most git processes at a time.
    pub max_processes: usize,
}

/// Lifetimes of tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Of tokens minted for git.
    pub git_lifetime: Period,
    /// Of each other kind: what is said for it, else the same for all.
    pub kinds: Policy,
}

/// The audit trail.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    /// How long its lines are kept at least; `None` is for ever.
    pub retention: Option<Period>,
}

/// Logging.
#[derive(Debug, Clone)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// A level, or a filter such as `info,tokd=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a configuration file with the variables over it. `None` reads [`DEFAULT_FILE`] if it is there.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
        };
        let text = match path {
            Some(path) => read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
            None => String::new(),
        };
        Self::parse(&text, variables)
    }

    /// Checks the text of a configuration file with the variables over it.
    pub fn parse(text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let variable = |name: &str| variables.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.clone());
        let credentials = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let credential = |name: &str| credentials.as_ref().map(|dir| dir.join(name)).filter(|file| file.exists());
        let database_url = variable("DATABASE_URL");
        let file = File::read(text, variables.iter().cloned())?;
        let data = absolute("data_dir", file.data_dir.as_deref().unwrap_or(DEFAULT_DATA))?;
        let pepper_file = match (credential("pepper"), &file.pepper_file) {
            (Some(file), _) => file,
            (None, Some(path)) => absolute("pepper_file", path)?,
            (None, None) => data.join("pepper"),
        };
        let url = match (database_url, &file.database_url, &file.database_url_file) {
            (Some(url), _, _) => Some(SecretString::from(url)),
            (None, Some(url), None) => Some(SecretString::from(url.as_str())),
            (None, Some(_), Some(_)) => {
                return Err(ConfigError::value("database_url", "and database_url_file exclude each other"));
            }
            (None, None, Some(path)) => Some(secret_file("database_url_file", &absolute("database_url_file", path)?)?),
            (None, None, None) => {
                credential("database-url").map(|path| secret_file("the credential database-url", &path)).transpose()?
            }
        };
        Ok(Self {
            store: check::store(file.store.as_deref(), url, &file.embedded)?,
            database_connections: bounded("database_connections", file.database_connections.unwrap_or(8), 2, 100)?,
            pepper_file,
            server: check::server(file.server, credential)?,
            ipc: check::ipc(&file.ipc)?,
            git: check::git(file.git)?,
            tokens: check::tokens(&file.tokens)?,
            audit: check::audit(&file.audit)?,
            log: check::log(file.log)?,
            data,
            temporary: Vec::new(),
        })
    }

    /// The configuration of `tokd dev`: nothing to configure.
    pub fn dev(data: &Path, listen: SocketAddr, socket: Option<PathBuf>, git_root: Option<PathBuf>) -> Self {
        Self {
            data: data.to_owned(),
            store: StoreChoice::Embedded { user: None, binaries: None },
            database_connections: 8,
            pepper_file: data.join("pepper"),
            server: Server {
                listen,
                public_url: None,
                aliases: Vec::new(),
                behind_proxy: false,
                trusted_proxies: Vec::new(),
                max_connections: 1024,
                failed_logins_per_minute: NonZeroU32::new(check::FAILED_LOGINS),
                drain_timeout: Duration::from_secs(30),
                metrics: MetricsFor::Loopback,
                tls: None,
            },
            ipc: Ipc { socket: socket.unwrap_or_else(|| data.join("tokd.sock")), mode: 0o666, map_system_users: true },
            git: Some(Git {
                root: git_root.unwrap_or_else(|| data.join("git")),
                program: None,
                create_on_push: true,
                max_push_size: 2 << 30,
                max_processes: 64,
            }),
            tokens: Tokens {
                git_lifetime: default_git_lifetime(),
                kinds: Policy::uniform(Lifetimes {
                    default: default_lifetime(),
                    most: Lifetime::Never,
                    idle: Lifetime::Never,
                }),
            },
            audit: Audit { retention: default_retention() },
            log: Log { format: LogFormat::Auto, level: "info".to_owned() },
            temporary: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(text, variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn defaults_are_safe_and_variables_win() {
        let config = parse("", &[]).unwrap();
        assert!(config.server.listen.ip().is_loopback() && config.git.is_none());
        assert!(matches!(config.store, StoreChoice::Embedded { .. }));
        let config = parse(
            "[server]\nlisten = \"127.0.0.1:1\"",
            &[
                ("TOKD_SERVER_LISTEN", "127.0.0.1:2"),
                ("TOKD_GIT_MAX_PROCESSES", "3"),
                ("TOKD_GIT_ROOT", "/g"),
                ("HOME", "/x"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.git.unwrap().max_processes, 3);
        let kept = |text| parse(text, &[]).unwrap().audit.retention.map(Period::seconds);
        assert_eq!(kept(""), Some(400 * 86_400));
        assert_eq!(kept("[audit]\nretention = \"90d\""), Some(90 * 86_400));
        assert_eq!(kept("[audit]\nretention = \"forever\""), None);
        assert!(matches!(parse("", &[("DATABASE_URL", "postgres://x")]).unwrap().store, StoreChoice::Postgres { .. }));
    }

    #[test]
    fn each_mistake_is_named_with_its_key() {
        for (text, variables, says) in [
            ("[server]\nlisten = \"0.0.0.0:80\"", &[][..], "server.listen"),
            ("[server.tls]\ncertificate = \"/c.pem\"", &[], "server.tls.key"),
            ("", &[("TOKD_SERVER_TLS_KEY", "/k.pem")], "server.tls.certificate"),
            ("[server.tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"", &[], "absolute"),
            ("[server]\nlisten = \"nowhere\"", &[], "address:port"),
            ("[server]\npublic_url = \"http://git.example.com\"", &[], "https"),
            ("[sever]\n", &[], "sever"),
            ("store = \"mysql\"", &[], "mysql"),
            ("store = \"postgres\"", &[], "database-url"),
            ("store = \"embedded\"", &[("DATABASE_URL", "x")], "remove one"),
            ("data_dir = \"here\"", &[], "absolute"),
            ("[git]\nroot = \"/g\"\nmax_push_size = \"2GB\"", &[], "2GB"),
            ("[tokens]\ngit_lifetime = \"2h\"", &[], "2m to 1h"),
            ("[tokens]\ndefault_lifetime = \"400d\"\nmax_lifetime = \"90d\"", &[], "longer than max_lifetime"),
            ("[tokens.repo]\nmax_lifetime = \"soon\"", &[], "tokens.repo.max_lifetime"),
            ("[tokens.repo]\ndefault_lifetime = \"9d\"\nmax_lifetime = \"8d\"", &[], "tokens.repo.default_lifetime"),
            ("[tokens]\nidle_lifetime = \"10m\"", &[], "1h"),
            ("[tokens.git]\nmax_lifetime = \"8d\"", &[], "git"),
            ("", &[("TOKD_TOKENS_SESSION_IDLE_LIFETIME", "x")], "tokens.session.idle_lifetime"),
            ("[audit]\nretention = \"soon\"", &[], "audit.retention"),
            ("[audit]\nretention = \"12h\"", &[], "at least a day"),
            ("[ipc]\nmode = \"999\"", &[], "octal"),
            ("[server]\nmetrics = \"on\"", &[], "server.metrics"),
            ("[log]\nformat = \"xml\"", &[], "xml"),
            ("", &[("TOKD_LISTEN", "x")], "TOKD_LISTEN"),
            ("database_connections = 1", &[], "2 to 100"),
        ] {
            let error = parse(text, variables).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn with_tls_any_address_may_be_listened_on() {
        let text = "[server]\nlisten = \"0.0.0.0:443\"\n[server.tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"";
        let tls = parse(text, &[("TOKD_SERVER_TLS_KEY", "/other.pem")]).unwrap().server.tls.unwrap();
        assert_eq!(tls, TlsFiles { certificate: "/c.pem".into(), key: "/other.pem".into() });
        // systemd's credentials win over the file, as the pepper's does.
        let credentials = tempfile::tempdir().unwrap();
        let directory = credentials.path().to_str().unwrap();
        let passed = [("CREDENTIALS_DIRECTORY", directory)];
        assert_eq!(parse("", &passed).unwrap().server.tls, None);
        std::fs::write(credentials.path().join("tls-key"), "").unwrap();
        let tls = parse(text, &passed).unwrap().server.tls.unwrap();
        assert_eq!((tls.certificate, tls.key), ("/c.pem".into(), credentials.path().join("tls-key")));
        std::fs::write(credentials.path().join("tls-certificate"), "").unwrap();
        let tls = parse("", &passed).unwrap().server.tls.unwrap();
        assert_eq!(tls.certificate, credentials.path().join("tls-certificate"));
    }

    #[test]
    fn each_kind_has_its_own_lifetimes_or_those_of_all() {
        let text =
            "[tokens]\nmax_lifetime = \"90d\"\nidle_lifetime = \"30d\"\n[tokens.repo]\nmax_lifetime = \"never\"\n";
        let config = parse(text, &[("TOKD_TOKENS_PERSONAL_MAX_LIFETIME", "7d")]).unwrap();
        let kinds = config.tokens.kinds;
        let most = [kinds.personal, kinds.workspace, kinds.repo, kinds.session].map(|kind| kind.most.to_string());
        assert_eq!(most, ["7d", "90d", "never", "90d"]);
        assert_eq!(kinds.session.idle.to_string(), "30d");
        // A default that nobody chose gives way to a maximum.
        assert_eq!(kinds.personal.default.to_string(), "7d");
        assert_eq!(kinds.repo.default.to_string(), "90d");
    }

    #[test]
    fn a_database_url_never_prints() {
        let config = parse("", &[("DATABASE_URL", "postgres://u:hunter2@h/d")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
