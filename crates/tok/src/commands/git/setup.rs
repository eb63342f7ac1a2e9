//! `tok git setup`.

use std::path::PathBuf;

use clap::Args;
use tok_model::url::Origin;

use super::config::{Change, GitConfig};
use super::helper::{Helper, is_ours};
use super::{Report, ScopeArgs};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::safe;

/// Let git get its credentials for a server from tok
///
/// For that server and no other. It writes two keys of git's configuration: `credential.<url>.helper`, first resetting the
/// helpers that git would have asked otherwise, and `credential.<url>.useHttpPath`, so that git says which repository it
/// means. Running it again changes nothing.
///
/// If the daemon listens on a socket of its own, as `tokd dev` does, the helper is told which.
///
/// Examples:
///
///     $ tok git setup https://git.example.com
///     $ tok git setup http://127.0.0.1:7650 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetupArgs {
    /// The server's address: scheme, host and port
    url: String,
    /// Where git-credential-tok is [default: on PATH, or beside this program]
    #[arg(long, value_name = "PATH")]
    helper: Option<PathBuf>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl SetupArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let server = super::server(&self.url)?;
        let socket = context.surroundings.unknown_to_helper().await;
        let helper = Helper::find(self.helper.as_deref())?.value(socket.as_deref())?;
        let config = GitConfig::new(self.scope.scope());
        let (changes, replaced) = plan(&config, &server, &helper)?;
        let report = Report::carry_out(&config, &server, &changes, self.dry_run)?;
        if !replaced.is_empty() {
            let verb = if self.dry_run { "would no longer be" } else { "is no longer" };
            context.out.note(&format!("note: {} {verb} asked for {server}\n", safe(&replaced.join(", "))));
        }
        context.out.show(&report, || {
            report.text(
                &format!("Git now gets its credentials for {server} from tok:"),
                &format!("To let git get its credentials for {server} from tok, this would be run:"),
                &format!("Git already gets its credentials for {server} from tok. Nothing was changed."),
            )
        })
    }
}

/// The changes that are needed, and the helpers of others that they replace.
fn plan(config: &GitConfig, server: &Origin, helper: &str) -> Result<(Vec<Change>, Vec<String>), Failure> {
    let mut changes = Vec::new();
    let mut replaced = Vec::new();
    let key = super::helper_key(server);
    let present = config.values(&key)?;
    // The empty value makes git forget the helpers named before it, in whichever file.
    let wanted = ["", helper];
    if present != wanted {
        changes.extend(Change::all(&key, &wanted));
        replaced.extend(present.into_iter().filter(|value| !value.is_empty() && !is_ours(value)));
    }
    let key = super::path_key(server);
    if config.values(&key)? != ["true"] {
        changes.extend(Change::all(&key, &["true"]));
    }
    Ok((changes, replaced))
}

#[cfg(test)]
mod tests {
    use super::super::config::fixture::Home;
    use super::*;

    #[test]
    fn it_writes_two_keys_for_one_server_and_then_nothing_more() {
        let home = Home::new();
        home.write("[credential]\n\thelper = store\n[user]\n\tname = Alice\n");
        let server = super::super::server("http://127.0.0.1:7650/").unwrap();
        let (changes, replaced) = plan(&home.config, &server, "tok").unwrap();
        assert_eq!((changes.len(), replaced.len()), (3, 0));
        home.apply(&changes);
        assert_eq!(
            home.text(),
            "[credential]\n\thelper = store\n[user]\n\tname = Alice\n\
             [credential \"http://127.0.0.1:7650\"]\n\thelper = \n\thelper = tok\n\tuseHttpPath = true\n"
        );
        assert_eq!(plan(&home.config, &server, "tok").unwrap(), (Vec::new(), Vec::new()));
        let url = "http://127.0.0.1:7650/acme/app.git";
        assert_eq!(
            (home.asks(url, "credential.helper"), home.asks(url, "credential.useHttpPath")),
            ("tok".into(), "true".into())
        );
        assert_eq!(home.asks("http://127.0.0.1:7651/acme/app.git", "credential.helper"), "store");
    }

    #[test]
    fn another_helper_or_an_older_value_is_replaced_and_named() {
        let home = Home::new();
        home.write("[credential \"https://g.example\"]\n\thelper = store\n\thelper = tok\n\tuseHttpPath = false\n");
        let server = super::super::server("https://g.example").unwrap();
        let (changes, replaced) = plan(&home.config, &server, "tok --socket /x").unwrap();
        assert_eq!(replaced, ["store"]);
        home.apply(&changes);
        let key = super::super::helper_key(&server);
        assert_eq!(home.config.values(&key).unwrap(), ["", "tok --socket /x"]);
        assert_eq!(home.config.values(&super::super::path_key(&server)).unwrap(), ["true"]);
    }
}
