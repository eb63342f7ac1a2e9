//! `tok git setup`.

use std::path::PathBuf;

use clap::Args;
use tok_model::url::Origin;

use super::config::{Change, GitConfig, Scope};
use super::helper::{Helper, is_ours};
use super::{Report, ScopeArgs};
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::{Logins, Profile};
use crate::output::safe;

/// Let git get its credentials for a server from tok
///
/// For that server and no other. It writes two keys of git's configuration: `credential.<url>.helper`, first resetting the
/// helpers that git would have asked otherwise, and `credential.<url>.useHttpPath`, so that git says which repository it
/// means. Running it again changes nothing.
///
/// If the daemon listens on a socket of its own, as `tokd dev` does, the helper is told which. With `--profile` it is told
/// which login to use.
///
/// Examples:
///
///     $ tok git setup https://git.example.com
///     $ tok git setup http://127.0.0.1:7650 --dry-run
///     $ tok git setup https://git.example.com --profile work --local
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetupArgs {
    /// The server's address: scheme, host and port (repeatable)
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
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
        // Nothing is written before all of them are known to be servers.
        let servers = self.urls.iter().map(|url| super::server(url)).collect::<Result<Vec<_>, _>>()?;
        let helper = Helper::find(self.helper.as_deref())?;
        let config = GitConfig::new(self.scope.scope());
        let mut reports = Vec::new();
        for server in &servers {
            let value = value(context, &helper, server, context.profile()).await?;
            let (changes, replaced) = plan(&config, server, &value)?;
            reports.push(Report::carry_out(&config, server, &changes, self.dry_run)?);
            if !replaced.is_empty() {
                let verb = if self.dry_run { "would no longer be" } else { "is no longer" };
                context.out.note(&format!("note: {} {verb} asked for {server}\n", safe(&replaced.join(", "))));
            }
        }
        Report::show(context, &reports, |report| {
            let server = &report.url;
            report.text(
                &format!("Git now gets its credentials for {server} from tok:"),
                &format!("To let git get its credentials for {server} from tok, this would be run:"),
                &format!("Git already gets its credentials for {server} from tok. Nothing was changed."),
            )
        })
    }
}

/// Sets git up for a server, for this user, without a word.
pub(in crate::commands) async fn set_up(
    context: &Context,
    server: &Origin,
    profile: Option<&Profile>,
) -> Result<(), Failure> {
    let config = GitConfig::new(Scope::Global);
    let helper = value(context, &Helper::find(None)?, server, profile).await?;
    let (changes, _) = plan(&config, server, &helper)?;
    Report::carry_out(&config, server, &changes, false).map(drop)
}

/// Whether git asks tok for this server, as this user's configuration says.
pub(in crate::commands) fn is_set_up(server: &Origin) -> Result<bool, Failure> {
    let values = GitConfig::new(Scope::Global).effective(&super::helper_key(server))?;
    Ok(values.last().is_some_and(|value| is_ours(value)))
}

/// What git is told to run for a server.
async fn value(
    context: &Context,
    helper: &Helper,
    server: &Origin,
    profile: Option<&Profile>,
) -> Result<String, Failure> {
    // Whoever is logged in there is answered by the agent, wherever else a daemon listens.
    let elsewhere = context.surroundings.explicit.is_none()
        && Logins::load().is_ok_and(|logins| logins.on(server).next().is_some());
    let socket = if elsewhere { None } else { context.surroundings.unknown_to_helper().await };
    helper.value(socket.as_deref(), profile)
}

/// The changes that are needed, and the helpers of others that they replace.
fn plan(config: &GitConfig, server: &Origin, helper: &str) -> Result<(Vec<Change>, Vec<String>), Failure> {
    let mut changes = Vec::new();
    let mut replaced = Vec::new();
    let key = super::helper_key(server);
    let present = config.values(&key)?;
    // The empty value makes git forget the helpers named before it, in whichever file.
    let wanted = ["", helper];
    // A file that this one includes may say it, too.
    if present != wanted && config.effective(&key)? != wanted {
        changes.extend(Change::all(&key, &wanted));
        replaced.extend(present.into_iter().filter(|value| !value.is_empty() && !is_ours(value)));
    }
    let key = super::path_key(server);
    if config.effective(&key)?.last().is_none_or(|value| value != "true") {
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
