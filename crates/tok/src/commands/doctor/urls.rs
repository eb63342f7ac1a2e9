//! Passwords and tokens in URLs, wherever git's configuration has them besides the remotes of the repository one is in.

use std::path::{Path, PathBuf};

use super::finding::{Check, Finding};
use crate::commands::git::chain::literally;
use crate::commands::git::process::Git;
use crate::commands::git::settings::{Entry, Settings, of_file};
use crate::commands::git::target::{Target, without_secret};
use crate::output::quoted;

/// How deep submodules are looked for in git's directory: their names may have slashes, and they may have submodules.
const DEEPEST: usize = 8;

/// All of them.
pub(super) fn passwords(settings: &Settings) -> Check {
    let mut findings: Vec<Finding> = Vec::new();
    let why = "it stands there in plain text, and is used instead of a fresh token; revoke it as well";
    let why_committed = "whoever has a copy of the repository has it, from each commit that it is in; revoke it";
    for entry in settings.entries().iter().filter(|entry| !is_of_a_remote(entry)) {
        findings.extend(match entry.parts() {
            ("url", Some(base), "insteadof" | "pushinsteadof") => put_in_place(entry, base, why),
            ("url" | "credential", ..) => None,
            // What a proxy is told is no business of tok's, and git has no other way to say it.
            (.., name) if name.ends_with("proxy") => None,
            _ => said(entry, why),
        });
    }
    let git = settings.git();
    if let Some(top) = place(git, "--show-toplevel") {
        let modules = of_file(git, &top.join(".gitmodules"));
        findings.extend(modules.iter().filter_map(|entry| said(entry, why_committed)));
        let own = modules.iter().filter(|entry| entry.parts().2 == "path");
        let own = own.map(|entry| top.join(&entry.value).join(".git/config"));
        findings.extend(of_submodules(git, own, why));
    }
    if let Some(directory) = place(git, "--git-common-dir") {
        let mut files = Vec::new();
        configurations(&directory.join("modules"), DEEPEST, &mut files);
        findings.extend(of_submodules(git, files.into_iter(), why));
    }
    let mut once: Vec<Finding> = Vec::new();
    for finding in findings {
        if once.iter().all(|other| other.fix != finding.fix) {
            once.push(finding);
        }
    }
    Check::new("url-passwords", None, None, once)
}

/// URLs in the clear that git puts in the place of others.
pub(super) fn put_in_the_clear(settings: &Settings) -> Vec<Finding> {
    let lines = settings.section("url", "insteadof").chain(settings.section("url", "pushinsteadof"));
    let in_the_clear = |entry: &Entry| {
        let base = entry.parts().1?;
        let (scheme, rest) = base.split_once("://")?;
        let authority = rest.split('/').next()?;
        let server = Target::parse(&format!("{scheme}://{authority}")).ok()?.server;
        if server.acceptable() {
            return None;
        }
        let what =
            format!("git goes to {server} in the clear in the place of {} ({})", shown(&entry.value), entry.place());
        let why = "whoever is on the way reads every token and changes every commit; tok gives it none";
        let finding = Finding::error(what, why);
        // The key may hold a password, which a command must not repeat.
        let secret = without_secret(base).is_some() || without_secret(&entry.value).is_some();
        Some(if secret { finding } else { finding.fix(entry.unset(Some(&format!("^{}$", literally(&entry.value))))) })
    };
    lines.filter_map(in_the_clear).collect()
}

/// The remotes that a check of their own knows, with the command of git's for them.
fn is_of_a_remote(entry: &Entry) -> bool {
    matches!(entry.parts(), ("remote", Some(_), "url" | "pushurl")) && Target::parse(&entry.value).is_ok()
}

/// A line whose value is a URL with a password.
fn said(entry: &Entry, why: &str) -> Option<Finding> {
    let plain = without_secret(&entry.value)?;
    let what = format!("{} in {} is a URL with a password or a token in it", entry.key, entry.place());
    let finding = Finding::error(what, why);
    let Some(file) = &entry.file else { return Some(finding.fix(entry.unset(None))) };
    // Of several the one of this host and path, without repeating what was in it.
    let rest = plain.split_once("://").map_or(plain.as_str(), |(_, rest)| rest);
    let old = format!("^[hH][tT][tT][pP][sS]?://[^/]*@{}$", literally(rest));
    Some(finding.fix(format!(
        "git config --file {} --replace-all {} {} {}",
        quoted(file),
        quoted(&entry.key),
        quoted(&plain),
        quoted(&old)
    )))
}

/// A section whose name is a URL with a password, which git puts in the place of others.
fn put_in_place(entry: &Entry, base: &str, why: &str) -> Option<Finding> {
    let plain = without_secret(base)?;
    let file = entry.file.as_ref()?;
    let what = format!(
        "{} puts a URL with a password or a token in the place of others, for {}",
        entry.place(),
        plain.trim_end_matches('/')
    );
    let fix = format!("sed -i -E '/^\\[url /s#(https?://)[^/@]*@#\\1#' {}", quoted(file));
    Some(Finding::error(what, why).fix(fix))
}

/// What the submodules' own repositories say.
fn of_submodules(git: &Git, files: impl Iterator<Item = PathBuf>, why: &str) -> Vec<Finding> {
    let entries = files.filter(|file| file.is_file()).flat_map(|file| of_file(git, &file));
    entries.filter_map(|entry| said(&entry, why)).collect()
}

/// The configurations of the repositories below a directory.
fn configurations(directory: &Path, deeper: usize, found: &mut Vec<PathBuf>) {
    let Some(deeper) = deeper.checked_sub(1) else { return };
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()) {
        let (config, below) = (path.join("config"), path.join("modules"));
        if config.is_file() && path.join("HEAD").is_file() {
            found.push(config);
            configurations(&below, deeper, found);
        } else {
            configurations(&path, deeper, found);
        }
    }
}

fn place(git: &Git, which: &str) -> Option<PathBuf> {
    let said = git.says(&["rev-parse", which]).ok().flatten()?;
    std::path::absolute(said).ok()
}

/// A prefix of URLs without what must not be shown.
fn shown(url: &str) -> String {
    without_secret(url).unwrap_or_else(|| url.to_owned())
}
