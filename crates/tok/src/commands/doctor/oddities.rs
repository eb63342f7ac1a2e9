//! What gets between git and its helper, or between tok and its server.

use super::finding::{Check, Finding};
use crate::commands::git::answerer::unplaced_token;
use crate::commands::git::settings::{Entry, Settings};
use crate::commands::git::target::Target;
use crate::exit::Failure;

/// Variables.
pub(super) fn of_the_environment() -> Vec<Check> {
    let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let mut findings = Vec::new();
    if let Some(what) = unplaced_token() {
        let why = "git's helper uses the token only for the server that TOK_SERVER names, and answers nothing at all meanwhile: no login and no socket takes the token's place";
        findings.push(Finding::error(what, why).fix("unset TOK_TOKEN"));
    }
    if given("GIT_SSL_NO_VERIFY") {
        let why = "git then speaks to whoever is on the way, and gives them tokens";
        findings.push(Finding::error("GIT_SSL_NO_VERIFY is set", why).fix("unset GIT_SSL_NO_VERIFY"));
    }
    for name in ["GIT_ASKPASS", "SSH_ASKPASS"] {
        if given(name) {
            let why = "git asks it, which may open a window, where tok has no answer";
            findings.push(Finding::note(format!("{name} is set"), why).fix(format!("unset {name}")));
        }
    }
    for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        if given(name) {
            let why = "git goes through it; tok goes to the server directly";
            findings.push(Finding::note(format!("{name} is set"), why));
        }
    }
    vec![Check::new("environment", None, None, findings)]
}

/// What git does about one URL that is not the helper's business and spoils it.
pub(super) fn about(settings: &Settings, target: &Target) -> Result<Check, Failure> {
    let url = target.url();
    let mut findings = Vec::new();
    for entry in settings.about("http", "extraheader", &url)? {
        let Some((name, _)) =
            entry.value.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        else {
            continue;
        };
        let what = format!("git sends a header `{name}` of its own with every request ({})", entry.place());
        let why =
            "it is a credential in plain text, the helper is never asked, and what it lets in is never revoked by tok";
        findings.push(Finding::error(what, why).fix(entry.unset(Some(&format!("^{name}:")))));
    }
    let verified = settings.git().says(&["config", "--type=bool", "--get-urlmatch", "http.sslVerify", &url])?;
    if verified.as_deref() == Some("false") {
        let entry = settings.about("http", "sslverify", &url)?.pop();
        let what = format!("http.sslVerify is off ({})", entry.map_or_else(String::new, Entry::place));
        let why = "git then speaks to whoever is on the way, and gives them tokens";
        let fix = entry.map(|entry| entry.unset(None)).unwrap_or_default();
        findings.push(Finding::error(what, why).fix(fix));
    }
    if let Some(proxy) = settings.git().says(&["config", "--get-urlmatch", "http.proxy", &url])? {
        let proxy = Target::parse(&proxy).map_or_else(|_| "a proxy".to_owned(), |proxy| proxy.plain());
        findings.push(Finding::note(format!("git goes through {proxy}"), "tok goes to the server directly"));
    }
    findings.extend(rewritten(settings, target)?);
    Ok(Check::new("git-settings", Some(&target.server.to_string()), None, findings))
}

/// Whether git goes somewhere else than the URL says.
fn rewritten(settings: &Settings, target: &Target) -> Result<Option<Finding>, Failure> {
    let url = target.plain();
    let url = if target.repository.is_some() { url } else { format!("{url}/acme/app.git") };
    let Some(real) = settings.git().says(&["ls-remote", "--get-url", &url])? else { return Ok(None) };
    let elsewhere = Target::parse(&real).ok();
    if elsewhere.as_ref().is_some_and(|real| real.server == target.server) {
        return Ok(None);
    }
    let culprit = settings
        .section("url", "insteadof")
        .filter(|entry| url.starts_with(&entry.value))
        .max_by_key(|entry| entry.value.len());
    let Some(culprit) = culprit else { return Ok(None) };
    let to = elsewhere.map_or_else(|| "another kind of address".to_owned(), |real| real.server.to_string());
    let what = format!("git goes to {to} in the place of {} ({})", target.server, culprit.place());
    let why = "url.….insteadOf says so; tokens of the one server are no good at the other";
    // The key may hold a password, which a command must not repeat.
    let password = culprit.parts().1.and_then(|url| Target::parse(url).ok()).is_some_and(|target| target.password);
    let finding = Finding::warning(what, why);
    Ok(Some(if password { finding } else { finding.fix(culprit.unset(None)) }))
}
