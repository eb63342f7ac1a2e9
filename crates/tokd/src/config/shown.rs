//! What of the configuration is told to callers: values in effect, under the keys of the file, and no secrets.

use tok_api::convert::Setting;
use tok_model::clock::Period;

use super::{Config, LogFormat, MetricsFor, StoreChoice};

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// With its section.
    pub key: &'static str,
    /// What is in effect.
    pub value: Setting,
    /// Whether everybody may know, or managers only.
    pub to_all: bool,
}

impl Config {
    /// Every key that has a value and is no secret. `listen` and `public_url` are as they turned out to be.
    pub fn told(&self, listen: &str, public_url: &str) -> Vec<Told> {
        let mut told = self.tokens_told();
        told.extend(everybodys([
            ("server.public_url", text(&public_url)),
            ("ipc.socket", text(&self.ipc.socket.display())),
            (
                "store",
                text(&match self.store {
                    StoreChoice::Embedded { .. } => "embedded",
                    StoreChoice::Postgres { .. } => "postgres",
                }),
            ),
        ]));
        told.extend(managers([
            ("data_dir", text(&self.data.display())),
            ("database_connections", Setting::Number(self.database_connections.into())),
            ("pepper_file", text(&self.pepper_file.display())),
            ("server.listen", text(&listen)),
            ("ipc.mode", text(&format!("{:04o}", self.ipc.mode))),
            ("ipc.map_system_users", Setting::Flag(self.ipc.map_system_users)),
            ("audit.retention", text(&self.audit.retention.map_or("forever".to_owned(), |period| period.to_string()))),
            (
                "log.format",
                text(&match self.log.format {
                    LogFormat::Auto => "auto",
                    LogFormat::Human => "human",
                    LogFormat::Json => "json",
                }),
            ),
            ("log.level", text(&self.log.level)),
        ]));
        if let StoreChoice::Embedded { user, binaries } = &self.store {
            told.extend(user.iter().map(|user| manager("embedded.user", text(&user))));
            told.extend(binaries.iter().map(|path| manager("embedded.binaries", text(&path.display()))));
        }
        told.extend(self.server_told());
        told.extend(self.git_told());
        told.sort_by_key(|told| told.key);
        told
    }

    fn tokens_told(&self) -> Vec<Told> {
        let kinds = &self.tokens.kinds;
        let keys = [
            (
                ["tokens.personal.default_lifetime", "tokens.personal.max_lifetime", "tokens.personal.idle_lifetime"],
                kinds.personal,
            ),
            (
                [
                    "tokens.workspace.default_lifetime",
                    "tokens.workspace.max_lifetime",
                    "tokens.workspace.idle_lifetime",
                ],
                kinds.workspace,
            ),
            (["tokens.repo.default_lifetime", "tokens.repo.max_lifetime", "tokens.repo.idle_lifetime"], kinds.repo),
            (
                ["tokens.session.default_lifetime", "tokens.session.max_lifetime", "tokens.session.idle_lifetime"],
                kinds.session,
            ),
        ];
        let mut told = vec![everybody("tokens.git_lifetime", text(&self.tokens.git_lifetime))];
        for (keys, lifetimes) in keys {
            let values = [lifetimes.default, lifetimes.most, lifetimes.idle];
            told.extend(keys.into_iter().zip(values).map(|(key, value)| everybody(key, text(&value))));
        }
        told
    }

    fn server_told(&self) -> Vec<Told> {
        let server = &self.server;
        let texts = |values: Vec<String>| Setting::Texts(values);
        let failed = server.failed_logins_per_minute.map_or(0, std::num::NonZeroU32::get);
        let mut told = managers([
            ("server.aliases", texts(server.aliases.iter().map(ToString::to_string).collect())),
            ("server.behind_proxy", Setting::Flag(server.behind_proxy)),
            ("server.trusted_proxies", texts(server.trusted_proxies.iter().map(ToString::to_string).collect())),
            ("server.max_connections", number(server.max_connections)),
            ("server.failed_logins_per_minute", Setting::Number(failed.into())),
            ("server.drain_timeout", text(&duration(server.drain_timeout))),
            (
                "server.metrics",
                text(&match server.metrics {
                    MetricsFor::Loopback => "loopback",
                    MetricsFor::Managers => "manager",
                    MetricsFor::Nobody => "off",
                }),
            ),
        ]);
        if let Some(tls) = &server.tls {
            told.push(manager("server.tls.certificate", text(&tls.certificate.display())));
            told.push(manager("server.tls.key", text(&tls.key.display())));
        }
        told
    }

    fn git_told(&self) -> Vec<Told> {
        let Some(git) = &self.git else { return Vec::new() };
        let program = git.program.as_ref().map_or("git".to_owned(), |path| path.display().to_string());
        managers([
            ("git.root", text(&git.root.display())),
            ("git.program", text(&program)),
            ("git.create_on_push", Setting::Flag(git.create_on_push)),
            ("git.max_push_size", Setting::Number(git.max_push_size)),
            ("git.max_processes", number(git.max_processes)),
        ])
    }
}

fn everybody(key: &'static str, value: Setting) -> Told {
    Told { key, value, to_all: true }
}

fn manager(key: &'static str, value: Setting) -> Told {
    Told { key, value, to_all: false }
}

fn everybodys<const N: usize>(told: [(&'static str, Setting); N]) -> Vec<Told> {
    told.into_iter().map(|(key, value)| everybody(key, value)).collect()
}

fn managers<const N: usize>(told: [(&'static str, Setting); N]) -> Vec<Told> {
    told.into_iter().map(|(key, value)| manager(key, value)).collect()
}

fn text(value: &(impl ToString + ?Sized)) -> Setting {
    Setting::Text(value.to_string())
}

fn number(value: usize) -> Setting {
    Setting::Number(value.try_into().unwrap_or(u64::MAX))
}

fn duration(value: std::time::Duration) -> String {
    let period = i64::try_from(value.as_secs()).ok().and_then(Period::from_seconds);
    period.map_or_else(|| format!("{}s", value.as_secs()), |period| period.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::file::KEYS;
    use super::*;

    /// Keys that are never told: they hold or name a secret of somebody else's.
    const UNTOLD: [&str; 2] = ["database_url", "database_url_file"];
    /// What is said once for every kind is told for each kind.
    const SAID_BY_KIND: [&str; 3] = ["tokens.default_lifetime", "tokens.max_lifetime", "tokens.idle_lifetime"];

    #[test]
    fn every_key_of_the_file_is_told_or_is_meant_not_to_be() {
        let text = "[embedded]\nuser = \"pg\"\nbinaries = \"/pg\"\n[git]\nroot = \"/g\"\n\
                    [server.tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n[tokens.repo]\nmax_lifetime = \"90d\"";
        let told = Config::parse(text, []).unwrap().told("127.0.0.1:1", "https://git.example.com");
        let keys: BTreeSet<String> = told.iter().map(|told| told.key.to_owned()).collect();
        let written = KEYS.iter().map(
            |(section, key)| {
                if section.is_empty() { (*key).to_owned() } else { format!("{section}.{key}") }
            },
        );
        let expected: BTreeSet<String> =
            written.filter(|key| !UNTOLD.contains(&key.as_str()) && !SAID_BY_KIND.contains(&key.as_str())).collect();
        assert_eq!(keys, expected);
        let value = |key: &str| told.iter().find(|told| told.key == key).unwrap();
        assert_eq!(value("tokens.repo.max_lifetime").value, Setting::Text("90d".to_owned()));
        assert_eq!(value("tokens.personal.default_lifetime").value, Setting::Text("180d".to_owned()));
        assert!(value("tokens.session.idle_lifetime").to_all && !value("server.tls.key").to_all);
        assert_eq!(value("server.drain_timeout").value, Setting::Text("30s".to_owned()));
    }

    #[test]
    fn a_database_url_is_never_told() {
        let url = ("DATABASE_URL".to_owned(), "postgres://u:hunter2@h/d".to_owned());
        let told = Config::parse("", [url]).unwrap().told("127.0.0.1:1", "http://127.0.0.1:1");
        assert!(!format!("{told:?}").contains("hunter2"));
    }
}
