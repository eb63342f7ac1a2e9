//! `tok git setup`.

use std::path::PathBuf;

use clap::Args;
use tok_model::url::Origin;

use super::chain::{Chain, has_flag, option, same_words, without_path};
use super::config::{Change, GitConfig, Scope};
use super::helper::{Helper, is_ours};
use super::process::Git;
use super::settings::{Entry, Settings};
use super::target::Target;
use super::{InTheWay, Report, ScopeArgs, here};
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::{Logins, Profile};
use crate::output::{quoted, safe};

/// Let git get its credentials for a server from tok
///
/// For that server and no other. It writes two keys of git's configuration: `credential.<url>.helper`, first resetting the
/// helpers that git would have asked otherwise, and `credential.<url>.useHttpPath`, so that git says which repository it
/// means. Running it again changes nothing, unless lines behind these take them back: git goes by what it reads last, so
/// these are then written at the end. What else keeps git from asking tok where you are is named, with what mends it.
///
/// If the daemon listens on a socket of its own, as `tokd dev` does, the helper is told which. With `--profile` it is told
/// which login to use. `--profile`, `--push` and `--timeout` of the helper's line stay if they are not given anew.
///
/// With `--local` and no URL it is for the servers of this repository's remotes that you are logged in to, or that git asks
/// tok about already.
///
/// Examples:
///
///     $ tok git setup https://git.example.com
///     $ tok git setup http://127.0.0.1:7650 --dry-run
///     $ tok git setup --profile work --local
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SetupArgs {
    /// The server's address: scheme, host and port (repeatable) [default with `--local`: those of the remotes]
    #[arg(value_name = "URL", required_unless_present = "local")]
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
        let servers = super::servers(&self.urls)?;
        let helper = Helper::find(self.helper.as_deref())?;
        let config = GitConfig::new(self.scope.scope());
        let mut reports = Vec::new();
        for server in &servers {
            let (value, kept) = value(context, &config, &helper, server, context.profile()).await?;
            let (changes, replaced) = plan(&config, server, &value)?;
            let report = Report::carry_out(&config, server, &changes, self.dry_run)?;
            // What is only planned cannot be looked at.
            let seen = !self.dry_run || changes.is_empty();
            let in_the_way = if seen { in_the_way(&Settings::read(&Git::default())?, server)? } else { Vec::new() };
            let report = Report { replaced, kept: kept.options, in_the_way, ..report };
            self.note(context, &report, &kept.place);
            reports.push(report);
        }
        Report::show(context, &reports, |report| {
            let server = &report.url;
            let text = report.text(
                &format!("Git now gets its credentials for {server} from tok:"),
                &format!("To let git get its credentials for {server} from tok, this would be run:"),
                &if report.in_the_way.is_empty() {
                    format!("Git already gets its credentials for {server} from tok. Nothing was changed.")
                } else {
                    format!("The {} configuration says so already. Nothing was changed.", report.scope)
                },
            );
            let but = |found: &InTheWay| format!("But not here: {}\n  mend: {}\n", safe(&found.what), safe(&found.fix));
            text + &report.in_the_way.iter().map(but).collect::<String>()
        })
    }

    /// What is said besides.
    fn note(&self, context: &Context, report: &Report, place: &str) {
        let server = &report.url;
        if !report.replaced.is_empty() {
            let verb = if self.dry_run { "would no longer be" } else { "is no longer" };
            context.out.note(&format!("note: {} {verb} asked for {server}\n", safe(&report.replaced.join(", "))));
        }
        if !report.kept.is_empty() {
            let kept = safe(&report.kept.join(" "));
            context.out.note(&format!("note: `{kept}` stays in what git runs for {server}, as in {}\n", safe(place)));
        }
    }
}

/// Sets git up for a server, for this user, without a word.
pub(in crate::commands) async fn set_up(
    context: &Context,
    server: &Origin,
    profile: Option<&Profile>,
) -> Result<(), Failure> {
    let config = GitConfig::new(Scope::Global);
    let (helper, _) = value(context, &config, &Helper::find(None)?, server, profile).await?;
    let (changes, _) = plan(&config, server, &helper)?;
    Report::carry_out(&config, server, &changes, false).map(drop)
}

/// Whether git asks tok for this server, as this user's configuration says.
pub(in crate::commands) fn is_set_up(server: &Origin) -> Result<bool, Failure> {
    let values = GitConfig::new(Scope::Global).effective(&super::helper_key(server))?;
    Ok(values.last().is_some_and(|value| is_ours(value)))
}

/// What git is told to run for a server, and what of it stays from before.
async fn value(
    context: &Context,
    config: &GitConfig,
    helper: &Helper,
    server: &Origin,
    profile: Option<&Profile>,
) -> Result<(String, Kept), Failure> {
    // Whoever is logged in there is answered by the agent, wherever else a daemon listens.
    let elsewhere = context.surroundings.explicit.is_none()
        && Logins::load().is_ok_and(|logins| logins.on(server).next().is_some());
    let socket = if elsewhere { None } else { context.surroundings.unknown_to_helper().await };
    let value = helper.value(socket.as_deref(), profile)?;
    let before = config.settings()?;
    let before = before.about("credential", "helper", &server.to_string())?;
    let Some(before) = before.into_iter().rev().find(|entry| is_ours(&entry.value)) else {
        return Ok((value, Kept::default()));
    };
    let options = kept(&before.value, profile.is_some());
    let value = [value].into_iter().chain(options.iter().cloned()).collect::<Vec<_>>().join(" ");
    // In whichever order somebody wrote it.
    let value = if same_words(&before.value, &value) { before.value.clone() } else { value };
    Ok((value, Kept { options, place: before.place() }))
}

/// What stays of the helper's line, and where it stood.
#[derive(Debug, Default)]
struct Kept {
    options: Vec<String>,
    place: String,
}

/// The options of a helper's line that are not setup's own to find out.
fn kept(line: &str, profile_given: bool) -> Vec<String> {
    let with_value = |name: &str| option(line, name).map(|value| format!("{name} {}", quoted(&value)));
    let profile = with_value("--profile").filter(|_| !profile_given);
    let push = has_flag(line, "--push").then(|| "--push".to_owned());
    profile.into_iter().chain(with_value("--timeout")).chain(push).collect()
}

/// The changes that are needed, and the helpers of others that they replace.
fn plan(config: &GitConfig, server: &Origin, helper: &str) -> Result<(Vec<Change>, Vec<String>), Failure> {
    let mut changes = Vec::new();
    let mut replaced = Vec::new();
    let (key, path_key) = (super::helper_key(server), super::path_key(server));
    let present = config.values(&key)?;
    // The empty value makes git forget the helpers named before it, in whichever file.
    let wanted = ["", helper];
    // A file that this one includes may say it, too.
    let said = present == wanted || config.effective(&key)? == wanted;
    let path_said = config.effective(&path_key)?.last().is_some_and(|value| value == "true");
    if !said {
        replaced.extend(present.iter().filter(|value| !value.is_empty() && !is_ours(value)).cloned());
    }
    if is_outdone(&config.settings()?, config.scope(), server)? {
        // git goes by what it reads last, however closely it fits: these lines have to be written at the end.
        for (key, present) in [(&key, present), (&path_key, config.values(&path_key)?)] {
            if !present.is_empty() {
                changes.extend(Change::all(key, &[]));
            }
        }
        let add = |key: &str, value: &str| Change::Add { key: key.to_owned(), value: value.to_owned() };
        changes.extend([add(&key, ""), add(&key, helper), add(&path_key, "true")]);
        return Ok((changes, replaced));
    }
    if !said {
        changes.extend(Change::all(&key, &wanted));
    }
    if !path_said {
        changes.extend(Change::all(&path_key, &["true"]));
    }
    Ok((changes, replaced))
}

/// Whether lines behind this server's own, in the same file or one that is read with it, take back what it says.
fn is_outdone(settings: &Settings, scope: Scope, server: &Origin) -> Result<bool, Failure> {
    let section = server.to_string();
    let own = |entry: &Entry| {
        let (name, subsection, _) = entry.parts();
        name == "credential" && subsection == Some(&section) && entry.scope == scope.as_str()
    };
    let Some(last) = settings.entries().iter().rposition(own) else { return Ok(false) };
    let behind = settings.entries().get(last + 1..).unwrap_or_default();
    for url in urls(settings, server) {
        let takes_back =
            |name: &str, entry: &&Entry, counts: bool| counts && behind.contains(entry) && entry.parts().2 == name;
        let asked = Chain::of(settings, &url)?.ours().is_some();
        let helpers = settings.about("credential", "helper", &url)?;
        let paths = settings.about("credential", "usehttppath", &url)?;
        if !asked && helpers.iter().any(|entry| takes_back("helper", entry, entry.value.is_empty()))
            || paths.last().is_some_and(|entry| takes_back("usehttppath", entry, !entry.is_true()))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server, and what this repository's remotes have there.
fn urls(settings: &Settings, server: &Origin) -> Vec<String> {
    let remotes = here::remotes(settings).into_iter().filter(|remote| remote.server == *server);
    [server.to_string()].into_iter().chain(remotes.map(|remote| remote.url())).collect()
}

/// What keeps git from asking tok for this server where one is.
fn in_the_way(settings: &Settings, server: &Origin) -> Result<Vec<InTheWay>, Failure> {
    let mut found = Vec::new();
    for url in urls(settings, server) {
        let without_ours = Chain::of(settings, &url)?.without_ours(server);
        let without_path = without_path(settings, &Target::parse(&url)?)?;
        for (what, fix) in without_ours.into_iter().chain(without_path) {
            let one = InTheWay { what, fix };
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    Ok(found)
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

    #[test]
    fn what_lines_behind_take_back_is_written_at_the_end_and_then_stays() {
        for behind in ["\tuseHttpPath = false\n", "\thelper =\n\thelper = store\n", "\thelper\t=\n\tuseHttpPath = no\n"]
        {
            let home = Home::new();
            let server = super::super::server("https://g.example").unwrap();
            home.apply(&plan(&home.config, &server, "tok").unwrap().0);
            home.write(&format!("{}[credential]\n{behind}", home.text()));
            home.apply(&plan(&home.config, &server, "tok").unwrap().0);
            let settings = home.config.settings().unwrap();
            let chain = Chain::of(&settings, "https://g.example/acme/app.git").unwrap();
            assert_eq!(chain.order(), "tok", "{}", home.text());
            let target = Target::parse("https://g.example/acme/app.git").unwrap();
            assert_eq!(without_path(&settings, &target).unwrap(), None, "{}", home.text());
            assert_eq!(plan(&home.config, &server, "tok").unwrap(), (Vec::new(), Vec::new()), "{}", home.text());
        }
    }

    #[test]
    fn options_of_the_line_stay_if_they_are_not_given_anew() {
        assert_eq!(
            kept("tok --socket /x --profile work --timeout=900 --push", false),
            ["--profile work", "--timeout 900", "--push"]
        );
        assert_eq!(kept("tok --push --profile work", true), ["--push"]);
        assert!(kept("tok", false).is_empty());
    }
}
