//! Each section of the file, checked: a complaint names the key and says what it takes.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tok_model::clock::{Lifetime, Period};
use tok_model::policy::{Lifetimes, Policy};
use tok_model::url::Origin;

use super::{
    Audit, ConfigError, DEFAULT_LISTEN, Git, Ipc, Log, LogFormat, MetricsFor, Server, StoreChoice, TlsFiles, Tokens,
    file,
};

/// Wrong tokens and secrets from one source in a minute, when nobody says otherwise.
pub(super) const FAILED_LOGINS: u32 = 120;
const DEFAULT_SOCKET: &str = "/run/tok/tokd.sock";
/// The longest life of a git token, in seconds: one hour.
const LONGEST_GIT_LIFETIME: i64 = 3600;
/// The shortest, in seconds: an answer must have 60 s left when it is given.
const SHORTEST_GIT_LIFETIME: i64 = 120;

/// The shortest time after which a token is ended for resting, in seconds: its last use is written down to the minute.
const SHORTEST_IDLE_LIFETIME: i64 = 3600;

pub(super) fn default_lifetime() -> Lifetime {
    Period::from_seconds(180 * 86_400).map_or(Lifetime::Never, Lifetime::For)
}

#[expect(clippy::expect_used, reason = "a constant within the limits of Period")]
pub(super) fn default_git_lifetime() -> Period {
    Period::from_seconds(15 * 60).expect("15 minutes are a period")
}

pub(super) fn absolute(key: &str, path: &str) -> Result<PathBuf, ConfigError> {
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(ConfigError::value(key, format!("takes an absolute path, not {path:?}")))
    }
}

pub(super) fn secret_file(key: &str, path: &Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::value(key, format!("names {}, which cannot be read: {error}", path.display())))?;
    let text = Zeroizing::new(text);
    Ok(SecretString::from(text.trim()))
}

pub(super) fn bounded<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    if least <= value && value <= most {
        Ok(value)
    } else {
        Err(ConfigError::value(key, format!("takes {least} to {most}, not {value}")))
    }
}

pub(super) fn store(
    choice: Option<&str>,
    url: Option<SecretString>,
    embedded: &file::Embedded,
) -> Result<StoreChoice, ConfigError> {
    match (choice, url) {
        (Some("postgres") | None, Some(url)) => Ok(StoreChoice::Postgres { url }),
        (Some("embedded") | None, None) => Ok(StoreChoice::Embedded {
            user: embedded.user.clone(),
            binaries: embedded.binaries.as_deref().map(|p| absolute("embedded.binaries", p)).transpose()?,
        }),
        (Some("embedded"), Some(_)) => Err(ConfigError::value(
            "store",
            "is \"embedded\", and a database URL is given as well: remove one of them (DATABASE_URL counts)",
        )),
        (Some("postgres"), None) => Err(ConfigError::value(
            "store",
            "is \"postgres\", which takes a database URL: set DATABASE_URL, database_url_file, or the systemd credential database-url",
        )),
        (Some(other), _) => {
            Err(ConfigError::value("store", format!("takes \"embedded\" or \"postgres\", not {other:?}")))
        }
    }
}

fn origin(key: &str, url: &str) -> Result<Origin, ConfigError> {
    let origin = Origin::parse(url).map_err(|why| ConfigError::value(key, format!("takes a URL: {why}")))?;
    if origin.acceptable() {
        Ok(origin)
    } else {
        Err(ConfigError::value(key, format!("takes an https URL ({url} would send tokens in the clear)")))
    }
}

/// Both or neither. A systemd credential, `tls-certificate` or `tls-key`, wins over the key of the file.
fn tls(file: &file::Tls, credential: impl Fn(&str) -> Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    let found = |name, key, given: &Option<String>| match credential(name) {
        Some(path) => Ok(Some(path)),
        None => given.as_deref().map(|path| absolute(key, path)).transpose(),
    };
    let certificate = found("tls-certificate", "server.tls.certificate", &file.certificate)?;
    let key = found("tls-key", "server.tls.key", &file.key)?;
    let missing = |key: &str, what: &str| {
        ConfigError::value(
            key,
            format!("is missing: TLS takes a certificate and its key, and only the {what} is named"),
        )
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing("server.tls.key", "certificate")),
        (None, Some(_)) => Err(missing("server.tls.certificate", "key")),
    }
}

pub(super) fn server(file: file::Server, credential: impl Fn(&str) -> Option<PathBuf>) -> Result<Server, ConfigError> {
    let text = file.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let listen: SocketAddr = text.parse().map_err(|_| {
        ConfigError::value("server.listen", format!("takes address:port, as in 127.0.0.1:7650, not {text:?}"))
    })?;
    let behind_proxy = file.behind_proxy.unwrap_or(false);
    let tls = tls(&file.tls, credential)?;
    if !listen.ip().is_loopback() && !behind_proxy && tls.is_none() {
        return Err(ConfigError::value(
            "server.listen",
            format!(
                "is {listen}, which others reach, and tokens would travel in the clear: set server.tls.certificate and server.tls.key, or server.behind_proxy = true if a proxy with TLS stands in front, or listen on 127.0.0.1"
            ),
        ));
    }
    let proxies = file.trusted_proxies.unwrap_or_else(|| vec!["127.0.0.0/8".into(), "::1/128".into()]);
    Ok(Server {
        listen,
        tls,
        public_url: file.public_url.as_deref().map(|url| origin("server.public_url", url)).transpose()?,
        aliases: file
            .aliases
            .unwrap_or_default()
            .iter()
            .map(|url| origin("server.aliases", url))
            .collect::<Result<_, _>>()?,
        behind_proxy,
        trusted_proxies: proxies
            .iter()
            .map(|block| {
                block
                    .parse()
                    .map_err(|e| ConfigError::value("server.trusted_proxies", format!("takes address blocks: {e}")))
            })
            .collect::<Result<_, _>>()?,
        max_connections: bounded("server.max_connections", file.max_connections.unwrap_or(1024), 1, 100_000)?,
        failed_logins_per_minute: NonZeroU32::new(bounded(
            "server.failed_logins_per_minute",
            file.failed_logins_per_minute.unwrap_or(FAILED_LOGINS),
            0,
            1_000_000,
        )?),
        drain_timeout: period("server.drain_timeout", file.drain_timeout.as_deref().unwrap_or("30s"))?.duration(),
        metrics: metrics(file.metrics.as_deref())?,
    })
}

fn metrics(text: Option<&str>) -> Result<MetricsFor, ConfigError> {
    match text {
        None | Some("loopback") => Ok(MetricsFor::Loopback),
        Some("manager") => Ok(MetricsFor::Managers),
        Some("off") => Ok(MetricsFor::Nobody),
        Some(other) => Err(ConfigError::value(
            "server.metrics",
            format!("takes \"loopback\", \"manager\" or \"off\", not {other:?}"),
        )),
    }
}

fn period(key: &str, text: &str) -> Result<Period, ConfigError> {
    text.parse().map_err(|why| ConfigError::value(key, format!("takes a duration: {why}")))
}

pub(super) fn ipc(file: &file::Ipc) -> Result<Ipc, ConfigError> {
    let mode = file.mode.as_deref().unwrap_or("0666");
    let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| *bits <= 0o777);
    Ok(Ipc {
        socket: absolute("ipc.socket", file.socket.as_deref().unwrap_or(DEFAULT_SOCKET))?,
        mode: bits.ok_or_else(|| {
            ConfigError::value("ipc.mode", format!("takes octal digits, as in \"0666\", not {mode:?}"))
        })?,
        map_system_users: file.map_system_users.unwrap_or(true),
    })
}

pub(super) fn git(file: file::Git) -> Result<Option<Git>, ConfigError> {
    let size = file.max_push_size.as_deref().unwrap_or("2GiB");
    let max_push_size = bytes(size).ok_or_else(|| {
        ConfigError::value("git.max_push_size", format!("takes a size such as \"500MiB\" or \"2GiB\", not {size:?}"))
    })?;
    let max_processes = bounded("git.max_processes", file.max_processes.unwrap_or(64), 1, 4096)?;
    let Some(root) = file.root else { return Ok(None) };
    Ok(Some(Git {
        root: absolute("git.root", &root)?,
        program: file.program.map(PathBuf::from).filter(|program| program != Path::new("git")),
        create_on_push: file.create_on_push.unwrap_or(false),
        max_push_size,
        max_processes,
    }))
}

/// `500MiB`, `2GiB`, `1000000`; `None` if it is no size.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(1 << shift).filter(|size| *size > 0)
}

pub(super) fn tokens(file: &file::Tokens) -> Result<Tokens, ConfigError> {
    let built_in = Lifetimes { default: default_lifetime(), most: Lifetime::Never, idle: Lifetime::Never };
    let all = lifetimes(
        "tokens",
        [file.default_lifetime.as_ref(), file.max_lifetime.as_ref(), file.idle_lifetime.as_ref()],
        built_in,
    )?;
    let kind = |name: &str, kind: &file::Kind| {
        let said = [kind.default_lifetime.as_ref(), kind.max_lifetime.as_ref(), kind.idle_lifetime.as_ref()];
        lifetimes(&format!("tokens.{name}"), said, all)
    };
    let kinds = Policy {
        personal: kind("personal", &file.personal)?,
        workspace: kind("workspace", &file.workspace)?,
        repo: kind("repo", &file.repo)?,
        session: kind("session", &file.session)?,
    };
    let git_lifetime = match file.git_lifetime.as_deref() {
        None => default_git_lifetime(),
        Some(text) => period("tokens.git_lifetime", text)?,
    };
    if !(SHORTEST_GIT_LIFETIME..=LONGEST_GIT_LIFETIME).contains(&git_lifetime.seconds()) {
        return Err(ConfigError::value("tokens.git_lifetime", "takes 2m to 1h"));
    }
    Ok(Tokens { git_lifetime, kinds })
}

/// The lifetimes of a section: default, maximum, idle; what it does not say is as in `unsaid`.
fn lifetimes(
    section: &str,
    [default, most, idle]: [Option<&String>; 3],
    unsaid: Lifetimes,
) -> Result<Lifetimes, ConfigError> {
    let read = |key: &str, text: Option<&String>, unsaid| match text {
        None => Ok(unsaid),
        Some(text) => text.parse::<Lifetime>().map_err(|why| {
            ConfigError::value(format!("{section}.{key}"), format!("takes a duration or \"never\": {why}"))
        }),
    };
    let mut lifetimes = Lifetimes {
        default: read("default_lifetime", default, unsaid.default)?,
        most: read("max_lifetime", most, unsaid.most)?,
        idle: read("idle_lifetime", idle, unsaid.idle)?,
    };
    if let (Lifetime::For(chosen), Lifetime::For(longest)) = (lifetimes.default, lifetimes.most)
        && chosen.seconds() > longest.seconds()
    {
        if default.is_some() {
            let why = format!("cannot be longer than max_lifetime, {longest}");
            return Err(ConfigError::value(format!("{section}.default_lifetime"), why));
        }
        lifetimes.default = lifetimes.most;
    }
    if matches!(lifetimes.idle, Lifetime::For(idle) if idle.seconds() < SHORTEST_IDLE_LIFETIME) {
        let why = "takes 1h or more, or \"never\": uses are written down some time after they happen";
        return Err(ConfigError::value(format!("{section}.idle_lifetime"), why));
    }
    Ok(lifetimes)
}

/// Of the audit trail: more than a year, so that what happens once a year can be compared with last year's.
pub(super) fn default_retention() -> Option<Period> {
    Period::from_seconds(400 * 86_400)
}

pub(super) fn audit(file: &file::Audit) -> Result<Audit, ConfigError> {
    let retention = match file.retention.as_deref() {
        None => default_retention(),
        Some("forever") => None,
        Some(text) => Some(text.parse::<Period>().map_err(|why| {
            ConfigError::value("audit.retention", format!("takes a duration such as \"400d\", or \"forever\": {why}"))
        })?),
    };
    if retention.is_some_and(|period| period.seconds() < 86_400) {
        return Err(ConfigError::value("audit.retention", "takes at least a day"));
    }
    Ok(Audit { retention })
}

pub(super) fn log(file: file::Log) -> Result<Log, ConfigError> {
    let format = match file.format.as_deref() {
        None | Some("auto") => LogFormat::Auto,
        Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(ConfigError::value(
                "log.format",
                format!("takes \"auto\", \"human\" or \"json\", not {other:?}"),
            ));
        }
    };
    let level = file.level.unwrap_or_else(|| "info".to_owned());
    level.parse::<tracing_subscriber::filter::EnvFilter>().map_err(|why| {
        ConfigError::value("log.level", format!("takes a level such as \"info\" or \"debug\": {why}"))
    })?;
    Ok(Log { format, level })
}
