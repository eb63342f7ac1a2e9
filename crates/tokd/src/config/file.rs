//! The configuration file as it is written, before anything is checked; and the variables that override it.

use serde::Deserialize;
use toml::{Table, Value};

use super::ConfigError;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) data_dir: Option<String>,
    pub(super) store: Option<String>,
    pub(super) database_url: Option<String>,
    pub(super) database_url_file: Option<String>,
    pub(super) database_connections: Option<u32>,
    pub(super) pepper_file: Option<String>,
    pub(super) embedded: Embedded,
    pub(super) server: Server,
    pub(super) ipc: Ipc,
    pub(super) git: Git,
    pub(super) tokens: Tokens,
    pub(super) audit: Audit,
    pub(super) log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Embedded {
    pub(super) user: Option<String>,
    pub(super) binaries: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) listen: Option<String>,
    pub(super) public_url: Option<String>,
    pub(super) aliases: Option<Vec<String>>,
    pub(super) behind_proxy: Option<bool>,
    pub(super) trusted_proxies: Option<Vec<String>>,
    pub(super) max_connections: Option<usize>,
    pub(super) failed_logins_per_minute: Option<u32>,
    pub(super) drain_timeout: Option<String>,
    pub(super) metrics: Option<String>,
    pub(super) tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ipc {
    pub(super) socket: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) map_system_users: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Git {
    pub(super) root: Option<String>,
    pub(super) program: Option<String>,
    pub(super) create_on_push: Option<bool>,
    pub(super) max_push_size: Option<String>,
    pub(super) max_processes: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tokens {
    pub(super) default_lifetime: Option<String>,
    pub(super) max_lifetime: Option<String>,
    pub(super) idle_lifetime: Option<String>,
    pub(super) git_lifetime: Option<String>,
    pub(super) personal: Kind,
    pub(super) workspace: Kind,
    pub(super) repo: Kind,
    pub(super) session: Kind,
}

/// One kind of token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kind {
    pub(super) default_lifetime: Option<String>,
    pub(super) max_lifetime: Option<String>,
    pub(super) idle_lifetime: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) retention: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
}

/// Every key, with its section; the variable of `("server", "listen")` is `TOKD_SERVER_LISTEN`.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("", "data_dir"),
    ("", "store"),
    ("", "database_url"),
    ("", "database_url_file"),
    ("", "database_connections"),
    ("", "pepper_file"),
    ("embedded", "user"),
    ("embedded", "binaries"),
    ("server", "listen"),
    ("server", "public_url"),
    ("server", "aliases"),
    ("server", "behind_proxy"),
    ("server", "trusted_proxies"),
    ("server", "max_connections"),
    ("server", "failed_logins_per_minute"),
    ("server", "drain_timeout"),
    ("server", "metrics"),
    ("server.tls", "certificate"),
    ("server.tls", "key"),
    ("ipc", "socket"),
    ("ipc", "mode"),
    ("ipc", "map_system_users"),
    ("git", "root"),
    ("git", "program"),
    ("git", "create_on_push"),
    ("git", "max_push_size"),
    ("git", "max_processes"),
    ("tokens", "default_lifetime"),
    ("tokens", "max_lifetime"),
    ("tokens", "idle_lifetime"),
    ("tokens", "git_lifetime"),
    ("tokens.personal", "default_lifetime"),
    ("tokens.personal", "max_lifetime"),
    ("tokens.personal", "idle_lifetime"),
    ("tokens.workspace", "default_lifetime"),
    ("tokens.workspace", "max_lifetime"),
    ("tokens.workspace", "idle_lifetime"),
    ("tokens.repo", "default_lifetime"),
    ("tokens.repo", "max_lifetime"),
    ("tokens.repo", "idle_lifetime"),
    ("tokens.session", "default_lifetime"),
    ("tokens.session", "max_lifetime"),
    ("tokens.session", "idle_lifetime"),
    ("audit", "retention"),
    ("log", "format"),
    ("log", "level"),
];

/// Keys whose value is a list; their variables hold it with commas.
const LISTS: &[&str] = &["aliases", "trusted_proxies"];

/// Variables of tokd's own that are no configuration keys.
const OTHER_VARIABLES: &[&str] = &["TOKD_CONFIG", "TOKD_TOKEN_FILE"];

impl File {
    /// Reads the file's text and lays the variables over it.
    pub(super) fn read(text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table: Table = text.parse().map_err(ConfigError::Syntax)?;
        for (name, value) in variables {
            if name.starts_with("TOKD_") && !OTHER_VARIABLES.contains(&name.as_str()) {
                overlay(&mut table, &name, &value)?;
            }
        }
        table.try_into().map_err(ConfigError::Syntax)
    }
}

fn variable(section: &str, key: &str) -> String {
    let joined = if section.is_empty() { key.to_owned() } else { format!("{section}_{key}") };
    format!("TOKD_{}", joined.replace('.', "_").to_uppercase())
}

fn overlay(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let (section, key) = KEYS
        .iter()
        .find(|(section, key)| variable(section, key) == name)
        .ok_or_else(|| ConfigError::Variable(name.to_owned()))?;
    let value = if LISTS.contains(key) {
        Value::Array(
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(|t| Value::String(t.into())).collect(),
        )
    } else if let Ok(flag) = text.parse::<bool>() {
        Value::Boolean(flag)
    } else if key.starts_with("max_") || key.ends_with("_per_minute") || *key == "database_connections" {
        text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer)
    } else {
        Value::String(text.to_owned())
    };
    let mut target = table;
    for part in section.split('.').filter(|part| !part.is_empty()) {
        let slot = target.entry(part).or_insert_with(|| Value::Table(Table::new()));
        target = slot.as_table_mut().ok_or_else(|| ConfigError::value(*section, "is a section, as in [server]"))?;
    }
    target.insert((*key).to_owned(), value);
    Ok(())
}
