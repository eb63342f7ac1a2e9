//! The helpers that git asks about a server.

use std::process::{Command, Stdio};

use super::finding::{Check, Finding};
use crate::commands::git::chain::{Chain, writes_to_disk};
use crate::commands::git::helper::PROGRAM;
use crate::commands::git::process::Git;
use crate::commands::git::settings::{Entry, Settings};
use crate::commands::git::target::Target;
use crate::exit::Failure;

/// Everything about the helpers for one URL.
pub(super) fn all(settings: &Settings, target: &Target) -> Result<Vec<Check>, Failure> {
    let chain = Chain::of(settings, &target.url())?;
    let server = target.server.to_string();
    Ok(vec![
        Check::new("helper-chain", Some(&server), Some(order(&chain)), neighbours(&chain, &server)),
        Check::new("helper", Some(&server), None, ours(settings.git(), &chain, &server).into_iter().collect()),
        Check::new("use-http-path", Some(&server), None, path(settings, target, &chain)?.into_iter().collect()),
    ])
}

fn order(chain: &Chain) -> String {
    chain.helpers().iter().map(|entry| entry.value.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whether ours is asked, and who is asked besides.
fn neighbours(chain: &Chain, server: &str) -> Vec<Finding> {
    let setup = format!("tok git setup {server}");
    if chain.ours().is_none() {
        let others = if chain.helpers().is_empty() { "nobody".to_owned() } else { order(chain) };
        let what = format!("git does not ask tok; it asks {others}");
        return vec![Finding::error(what, "git prompts, or uses what another helper remembers").fix(setup)];
    }
    let ahead = chain.before_ours().map(|entry| {
        let what = format!("the helper `{}` is asked before tok ({})", entry.value, entry.place());
        let why = if writes_to_disk(&entry.value) {
            "what it has written down, in plain text, is used instead of a fresh token, even after that was revoked"
        } else {
            "whatever it remembers is used instead of a fresh token, even after that was revoked"
        };
        Finding::error(what, why).fix(setup.clone())
    });
    let behind = chain.after_ours().map(|entry| {
        let what = format!("the helper `{}` is told, too ({})", entry.value, entry.place());
        if writes_to_disk(&entry.value) {
            let why = "it writes down in plain text what git got: before git 2.46 that is tok's token, and on any git what was typed at a prompt";
            Finding::warning(what, why).fix(entry.unset(Some(&pattern(entry))))
        } else {
            Finding::note(what, "it is asked when tok has no answer")
        }
    });
    ahead.chain(behind).collect()
}

/// A regular expression for exactly this value.
fn pattern(entry: &Entry) -> String {
    let literal =
        |c: char| if c.is_ascii_alphanumeric() || " /_-=:,@".contains(c) { c.to_string() } else { format!("[{c}]") };
    let value: String = entry.value.chars().map(literal).collect();
    format!("^{value}$")
}

/// Whether git finds our helper, and whether it is the one that belongs to this program.
fn ours(git: &Git, chain: &Chain, server: &str) -> Option<Finding> {
    let value = &chain.ours()?.value;
    let own = env!("CARGO_PKG_VERSION");
    match version(git, value) {
        None => {
            let what = format!("git cannot run `{value}`");
            let why = format!("{PROGRAM} is neither on PATH nor where git's configuration says, so git asks nobody");
            Some(Finding::error(what, why).fix(format!("tok git setup {server}")))
        }
        Some(version) if version != own => {
            let what = format!("{PROGRAM} is {version}, and this is tok {own}");
            let why = "the two are made for each other: one of them is left over from another installation";
            Some(Finding::warning(what, why).fix(format!("command -v tok {PROGRAM}")))
        }
        Some(_) => None,
    }
}

/// What the helper says it is, run as git runs it.
fn version(git: &Git, value: &str) -> Option<String> {
    let own = std::env::var("PATH").unwrap_or_default();
    // git looks among its own programs first.
    let path = match git.says(&["--exec-path"]).ok().flatten() {
        Some(programs) => format!("{programs}:{own}"),
        None => own,
    };
    let output = Command::new("sh")
        .args(["-c", &format!("exec {} --version", crate::commands::git::command(value))])
        .env("PATH", path)
        .env_remove("TOK_TOKEN")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    said.strip_prefix(PROGRAM).map(|version| version.trim().to_owned())
}

/// Whether git says which repository it means.
fn path(settings: &Settings, target: &Target, chain: &Chain) -> Result<Option<Finding>, Failure> {
    let entries = settings.about("credential", "usehttppath", &target.url())?;
    // Of several, git takes the one whose URL fits best, and of equals the last.
    let chosen =
        settings.git().says(&["config", "--type=bool", "--get-urlmatch", "credential.useHttpPath", &target.url()])?;
    if chosen.as_deref() == Some("true") || chain.ours().is_none() {
        return Ok(None);
    }
    let why = "git does not say then which repository it means, and without that there is no token";
    let off = entries.into_iter().rev().find(|entry| entry.parts().1.is_some());
    Ok(Some(match off {
        Some(entry) => {
            let what = format!("useHttpPath is off ({})", entry.place());
            let off = Finding::error(what, why);
            match entry.scope.as_str() {
                "global" => off.fix(format!("tok git setup {}", target.server)),
                _ => off.fix(entry.unset(None)),
            }
        }
        None => Finding::error("useHttpPath is not on", why).fix(format!("tok git setup {}", target.server)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_one_value_and_no_other() {
        let entry = |value: &str| Entry {
            scope: "global".to_owned(),
            file: Some("/h/.gitconfig".to_owned()),
            key: "credential.helper".to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(pattern(&entry("store")), "^store$");
        assert_eq!(pattern(&entry("store --file ~/.x")), "^store --file [~]/[.]x$");
    }
}
