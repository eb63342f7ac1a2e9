//! The remotes of the repository one is in.

use tok_model::url::{Origin, Scheme};
use tokio::time::timeout;

use super::finding::{Check, Finding};
use super::server::PATIENCE;
use super::urls;
use crate::commands::git::settings::{Entry, Settings};
use crate::commands::git::target::Target;
use crate::context::Context;
use crate::output::quoted;

/// A remote's URL, and the command that replaces it.
struct Remote<'a> {
    name: &'a str,
    push: bool,
    target: Target,
    /// Whether there are more of that name.
    several: bool,
}

/// The servers that a remote or a target names by http, and that speak TLS there.
pub(super) async fn that_speak_tls(context: &Context, settings: &Settings, targets: &[Target]) -> Vec<Origin> {
    let named = remotes(settings).into_iter().map(|remote| remote.target.server);
    let mut plain: Vec<Origin> = named.chain(targets.iter().map(|target| target.server.clone())).collect();
    plain.retain(|server| server.scheme() == Scheme::Http && server.acceptable());
    plain.sort_by_key(ToString::to_string);
    plain.dedup();
    let mut speaking = Vec::new();
    for server in plain {
        let asked = async { context.server(&server, None).await.ok()?.whoami().await.err() };
        let answer = timeout(PATIENCE, asked).await.ok().flatten();
        if answer.is_some_and(|fault| fault.is_plain_where_tls_is()) {
            speaking.push(server);
        }
    }
    speaking
}

/// The same server, by the address that it has.
pub(super) fn over_tls(target: Target, tls: &[Origin]) -> Target {
    if tls.contains(&target.server) { target.over_tls() } else { target }
}

/// Passwords and tokens in URLs.
pub(super) fn passwords(settings: &Settings, targets: &[Target], tls: &[Origin]) -> Check {
    let mut findings: Vec<_> = remotes(settings)
        .into_iter()
        .filter(|remote| remote.target.password)
        .map(|remote| {
            let what = format!("the URL of the remote {} has a password or a token in it", remote.name);
            let why = "it stands in plain text in .git/config, goes wherever that is copied, and is used instead of a fresh token; revoke it as well";
            Finding::error(what, why).fix(remote.set(&over_tls(remote.target.clone(), tls).plain()))
        })
        .collect();
    for target in targets.iter().filter(|target| target.password && target.remote.is_none()) {
        let what = "the URL that was given has a password or a token in it";
        let why = "the shell's history has it now, and others on this machine saw it; revoke it";
        findings.push(Finding::warning(what, why).fix(format!("tok doctor {}", quoted(&target.plain()))));
    }
    Check::new("remote-passwords", None, None, findings)
}

/// Remotes over http.
pub(super) fn in_the_clear(settings: &Settings, targets: &[Target], tls: &[Origin]) -> Check {
    let mut findings: Vec<_> = remotes(settings)
        .into_iter()
        .filter(|remote| !remote.target.server.acceptable())
        .map(|remote| {
            let what = format!("the remote {} is spoken to in the clear: {}", remote.name, remote.target.plain());
            let why = "whoever is on the way reads every token and changes every commit; tok gives it none";
            Finding::error(what, why).fix(remote.set(&remote.target.over_tls().url()))
        })
        .collect();
    for remote in remotes(settings).into_iter().filter(|remote| tls.contains(&remote.target.server)) {
        let what = format!("the remote {} is http, and {} speaks TLS", remote.name, remote.target.server.host());
        let why = "no request gets through: the server takes no plain HTTP there";
        findings.push(Finding::error(what, why).fix(remote.set(&over_tls(remote.target.clone(), tls).plain())));
    }
    findings.extend(urls::put_in_the_clear(settings));
    for target in targets.iter().filter(|target| !target.server.acceptable() && target.remote.is_none()) {
        let what = format!("{} is spoken to in the clear", target.server);
        let why = "whoever is on the way reads every token; tok gives it none";
        let secure = target.over_tls().url();
        findings.push(Finding::error(what, why).fix(format!("tok doctor {}", quoted(&secure))));
    }
    Check::new("remote-http", None, None, findings)
}

/// The command that takes the user name out of a remote's URL.
pub(super) fn without_user(settings: &Settings, target: &Target) -> Option<String> {
    let remotes = remotes(settings);
    let remote = remotes.into_iter().find(|remote| {
        remote.target.server == target.server
            && remote.target.username == target.username
            && target.remote.as_deref().is_none_or(|name| name == remote.name)
    })?;
    Some(remote.set(&remote.target.plain()))
}

impl Remote<'_> {
    fn set(&self, url: &str) -> String {
        let push = if self.push { "--push " } else { "" };
        // Of several, the one of this host and path, without repeating what was in it.
        let old = if self.several {
            let plain = self.target.plain();
            let (_, rest) = plain.split_once("://").unwrap_or(("", &plain));
            format!(" {}", quoted(&format!("^https?://([^/]*@)?{}$", rest.replace('.', "[.]"))))
        } else {
            String::new()
        };
        format!("git remote set-url {push}{} {}{old}", quoted(self.name), quoted(url))
    }
}

fn remotes(settings: &Settings) -> Vec<Remote<'_>> {
    let of = |key: &'static str| {
        let entries: Vec<&Entry> = settings.section("remote", key).collect();
        let several = |name: &str| entries.iter().filter(|entry| entry.parts().1 == Some(name)).count() > 1;
        let read = |entry: &&'_ Entry| Target::parse(&entry.value).ok();
        entries
            .iter()
            .filter_map(|entry| {
                let name = entry.parts().1?;
                Some(Remote { name, push: key == "pushurl", target: read(entry)?, several: several(name) })
            })
            .collect::<Vec<_>>()
    };
    of("url").into_iter().chain(of("pushurl")).collect()
}
