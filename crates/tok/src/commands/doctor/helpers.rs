//! The helpers that git asks about a server.

use tok_model::url::Origin;

use super::finding::{Check, Finding};
use crate::commands::git::chain::{Chain, exactly, without_path, writes_to_disk};
use crate::commands::git::helper::{PROGRAM, version};
use crate::commands::git::process::Git;
use crate::commands::git::settings::Settings;
use crate::commands::git::target::Target;
use crate::exit::Failure;

/// Everything about the helpers for one URL.
pub(super) fn all(settings: &Settings, target: &Target) -> Result<Vec<Check>, Failure> {
    let chain = Chain::of(settings, &target.url())?;
    let server = target.server.to_string();
    Ok(vec![
        Check::new("helper-chain", Some(&server), Some(chain.order()), neighbours(&chain, &target.server)),
        Check::new("helper", Some(&server), None, ours(settings.git(), &chain, &target.server).into_iter().collect()),
        Check::new("use-http-path", Some(&server), None, path(settings, target, &chain)?.into_iter().collect()),
    ])
}

/// Whether ours is asked, and who is asked besides.
fn neighbours(chain: &Chain, server: &Origin) -> Vec<Finding> {
    if let Some((what, mend)) = chain.without_ours(server) {
        return vec![Finding::error(what, "git prompts, or uses what another helper remembers").fix(mend)];
    }
    let ahead = chain.before_ours().map(|entry| {
        let what = format!("the helper `{}` is asked before tok ({})", entry.value, entry.place());
        let why = if writes_to_disk(&entry.value) {
            "what it has written down, in plain text, is used instead of a fresh token, even after that was revoked"
        } else {
            "whatever it remembers is used instead of a fresh token, even after that was revoked"
        };
        Finding::error(what, why).fix(chain.put_first(entry, server))
    });
    let behind = chain.after_ours().map(|entry| {
        let what = format!("the helper `{}` is told, too ({})", entry.value, entry.place());
        if writes_to_disk(&entry.value) {
            let why = "it writes down in plain text what git got: before git 2.46 that is tok's token, and on any git what was typed at a prompt";
            Finding::warning(what, why).fix(entry.unset(Some(&exactly(&entry.value))))
        } else {
            Finding::note(what, "it is asked when tok has no answer")
        }
    });
    ahead.chain(behind).collect()
}

/// Whether git finds our helper, and whether it is the one that belongs to this program.
fn ours(git: &Git, chain: &Chain, server: &Origin) -> Option<Finding> {
    let entry = chain.ours()?;
    let value = &entry.value;
    let own = env!("CARGO_PKG_VERSION");
    match version(git, value) {
        None => {
            let what = format!("git cannot run `{value}`");
            let why = format!("{PROGRAM} is neither on PATH nor where git's configuration says, so git asks nobody");
            let local = if entry.scope == "local" { " --local" } else { "" };
            Some(Finding::error(what, why).fix(format!("tok git setup {server}{local}")))
        }
        Some(version) if version != own => {
            let what = format!("{PROGRAM} is {version}, and this is tok {own}");
            let why = "the two are made for each other: one of them is left over from another installation";
            Some(Finding::warning(what, why).fix(format!("command -v tok {PROGRAM}")))
        }
        Some(_) => None,
    }
}

/// Whether git says which repository it means.
fn path(settings: &Settings, target: &Target, chain: &Chain) -> Result<Option<Finding>, Failure> {
    if chain.ours().is_none() {
        return Ok(None);
    }
    let why = "git does not say then which repository it means, and without that there is no token";
    Ok(without_path(settings, target)?.map(|(what, mend)| Finding::error(what, why).fix(mend)))
}
