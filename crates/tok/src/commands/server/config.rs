//! `tok server config`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::ServerStatus;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Show what the daemon is set up with, as far as you may know it
///
/// Keys are those of tokd.toml(5), values are what is in effect. Managers see more than others; secrets are shown to
/// nobody.
///
/// Examples:
///
///     $ tok server config
///     $ tok server config --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConfigArgs {}

impl ConfigArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let status = context.client().await?.server_status().await?;
        let config = Config::of(&status);
        context.out.show(&Named("config", &config), || config.text())
    }
}

/// Keys of tokd.toml. What the daemon does not have, or does not tell, is `None`.
#[derive(Debug, Serialize)]
struct Config<'a> {
    #[serde(rename = "store")]
    store: &'a str,
    #[serde(rename = "server.public_url")]
    public_url: Option<&'a str>,
    #[serde(rename = "ipc.socket")]
    socket: Option<&'a str>,
    #[serde(rename = "git.root")]
    git_root: Option<&'a str>,
}

impl<'a> Config<'a> {
    fn of(status: &'a ServerStatus) -> Self {
        Self {
            store: &status.store,
            public_url: status.listen_url.as_deref(),
            socket: status.socket.as_deref(),
            git_root: status.git_root.as_deref(),
        }
    }

    fn text(&self) -> String {
        let rows = [
            ("store", Some(self.store)),
            ("server.public_url", self.public_url),
            ("ipc.socket", self.socket),
            ("git.root", self.git_root),
        ];
        let told = rows.iter().filter_map(|(key, value)| value.map(|value| format!("{key} = \"{}\"\n", safe(value))));
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reads_like_the_file() {
        let config =
            Config { store: "embedded", public_url: Some("http://127.0.0.1:7650"), socket: None, git_root: None };
        assert_eq!(config.text(), "store = \"embedded\"\nserver.public_url = \"http://127.0.0.1:7650\"\n");
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(
            (&json["server.public_url"], &json["git.root"]),
            (&"http://127.0.0.1:7650".into(), &serde_json::Value::Null)
        );
    }
}
