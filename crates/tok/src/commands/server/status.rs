//! `tok server status`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::ServerStatus;
use tok_model::clock::Period;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, facts, safe};

/// Say whether the daemon answers, and how it is
///
/// Examples:
///
///     $ tok server status
///     $ tok --server https://git.example.com server status --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {}

impl StatusArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let status = client.server_status().await?;
        let address = client.place().to_string();
        let client = Asked::at(&address);
        context.out.show(&Report { client, server: &status }, || text(&status, &address))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    client: Asked<'a>,
    server: &'a ServerStatus,
}

/// Who asked, and where.
#[derive(Serialize)]
pub(crate) struct Asked<'a> {
    version: &'static str,
    /// The socket or the URL that answered.
    address: &'a str,
}

impl<'a> Asked<'a> {
    pub(crate) fn at(address: &'a str) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), address }
    }
}

/// The daemon in words for people.
pub(crate) fn text(status: &ServerStatus, address: &str) -> String {
    let given = |text: &Option<String>| text.as_deref().map(safe).unwrap_or_default();
    let uptime = i64::try_from(status.uptime_seconds)
        .ok()
        .and_then(Period::from_seconds)
        .map_or_else(|| "just started".to_owned(), |period| format!("up {period}"));
    let counted = [
        status.users.map(|users| count(users, "user")),
        status.workspaces.map(|workspaces| count(workspaces, "workspace")),
        status.repositories.map(|repositories| match repositories {
            1 => "1 repository".to_owned(),
            many => format!("{many} repositories"),
        }),
        status.live_tokens.map(|tokens| count(tokens, "live token")),
    ];
    // Only managers are told.
    let contents: Vec<String> = counted.into_iter().flatten().collect();
    facts(&[
        ("Server", format!("tokd {}, {uptime}", safe(&status.version))),
        ("Client", concat!("tok ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Address", given(&status.listen_url)),
        ("Asked at", safe(address)),
        ("Store", store(status).unwrap_or_default()),
        ("Git", given(&status.git_version)),
        ("Git root", given(&status.git_root)),
        ("Contents", contents.join(", ")),
    ])
}

/// What only managers are told.
fn store(status: &ServerStatus) -> Option<String> {
    let (store, postgres) = (status.store.as_deref()?, status.postgres_version.as_deref()?);
    let schema = status.schema_version.as_deref()?;
    Some(format!("{}, PostgreSQL {}, schema {}", safe(store), safe(postgres), safe(schema)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_matters_on_one_screen() {
        let status = ServerStatus {
            version: "0.1.0".to_owned(),
            protocol: 1,
            uptime_seconds: 3_725,
            listen_url: Some("http://127.0.0.1:7650".to_owned()),
            socket: None,
            store: Some("embedded".to_owned()),
            postgres_version: Some("17.2".to_owned()),
            schema_version: Some("20261122000000".to_owned()),
            git_version: Some("2.47.3".to_owned()),
            git_root: None,
            users: Some(1),
            workspaces: Some(2),
            repositories: Some(1),
            live_tokens: Some(0),
            settings: std::collections::BTreeMap::new(),
        };
        let text = text(&status, "/run/tok/tokd.sock");
        assert!(text.starts_with("Server:   tokd 0.1.0, up 1h2m5s\n"), "{text}");
        assert!(text.contains("Store:    embedded, PostgreSQL 17.2, schema 20261122000000\n"), "{text}");
        assert!(text.ends_with("Contents: 1 user, 2 workspaces, 1 repository, 0 live tokens\n"), "{text}");
    }
}
