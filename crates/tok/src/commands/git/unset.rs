//! `tok git unset`.

use clap::Args;
use tok_model::url::Origin;

use super::config::{Change, GitConfig};
use super::helper::is_ours;
use super::{Report, ScopeArgs};
use crate::context::Context;
use crate::exit::Failure;

/// Undo `tok git setup` for a server
///
/// It removes what setup wrote and nothing else: other helpers for the same server stay.
///
/// Examples:
///
///     $ tok git unset https://git.example.com
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UnsetArgs {
    /// The server's address: scheme, host and port (repeatable) [default with `--local`: those of the remotes]
    #[arg(value_name = "URL", required_unless_present = "local")]
    urls: Vec<String>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl UnsetArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let servers = super::servers(&self.urls)?;
        let config = GitConfig::new(self.scope.scope());
        let mut reports = Vec::new();
        for server in &servers {
            let changes = plan(&config, server)?;
            reports.push(Report::carry_out(&config, server, &changes, self.dry_run)?);
        }
        Report::show(context, &reports, |report| {
            let server = &report.url;
            report.text(
                &format!("Git no longer gets its credentials for {server} from tok:"),
                &format!("To end that git gets its credentials for {server} from tok, this would be run:"),
                &format!("Git does not get its credentials for {server} from tok. Nothing was changed."),
            )
        })
    }
}

fn plan(config: &GitConfig, server: &Origin) -> Result<Vec<Change>, Failure> {
    let key = super::helper_key(server);
    let present = config.values(&key)?;
    let kept = others(&present);
    if kept.len() == present.len() {
        return Ok(Vec::new());
    }
    let mut changes = Change::all(&key, &kept);
    let key = super::path_key(server);
    if config.values(&key)? == ["true"] {
        changes.extend(Change::all(&key, &[]));
    }
    Ok(changes)
}

/// The values that are not ours: neither our helper nor the reset right before it.
fn others(values: &[String]) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::new();
    for value in values {
        if is_ours(value) {
            if kept.last().is_some_and(|last| last.is_empty()) {
                kept.pop();
            }
        } else {
            kept.push(value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::config::fixture::Home;
    use super::*;

    #[test]
    fn it_removes_what_setup_wrote_and_nothing_else() {
        let home = Home::new();
        let before = "[user]\n\tname = Alice\n[credential]\n\thelper = store\n";
        home.write(&format!(
            "{before}[credential \"https://g.example\"]\n\thelper = \n\thelper = tok --socket /x\n\tuseHttpPath = true\n"
        ));
        let server = super::super::server("https://g.example").unwrap();
        home.apply(&plan(&home.config, &server).unwrap());
        assert_eq!(home.text(), before);
        assert_eq!(plan(&home.config, &server).unwrap(), Vec::new(), "a second time there is nothing to do");
    }

    #[test]
    fn helpers_of_others_stay_in_their_order() {
        let home = Home::new();
        home.write(
            "[credential \"https://g.example\"]\n\thelper = \n\thelper = cache\n\thelper = \n\thelper = tok\n\thelper = store\n",
        );
        let server = super::super::server("https://g.example").unwrap();
        home.apply(&plan(&home.config, &server).unwrap());
        assert_eq!(home.config.values(&super::super::helper_key(&server)).unwrap(), ["", "cache", "store"]);
    }

    #[test]
    fn a_server_that_was_never_set_up_is_left_alone() {
        let home = Home::new();
        home.write("[credential \"https://g.example\"]\n\thelper = store\n\tuseHttpPath = true\n");
        let server = super::super::server("https://g.example").unwrap();
        assert_eq!(plan(&home.config, &server).unwrap(), Vec::new());
    }
}
