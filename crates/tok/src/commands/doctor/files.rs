//! Files and sockets of tok's own on this machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tok_api::client::agent::AgentClient;

use super::finding::{Check, Class, Finding};
use super::session::start;
use crate::agent::latch::Latch;
use crate::context::Context;
use crate::logins::{Logins, LoginsFile};
use crate::output::quoted;

/// The file of logins.
pub(super) fn logins() -> Check {
    let (detail, finding) = match Logins::load() {
        Ok(logins) => {
            let path = LoginsFile::usual().map(|file| file.path().display().to_string()).unwrap_or_default();
            (Some(format!("{} in {path}", crate::output::count(logins.all().len() as u64, "login"))), None)
        }
        Err(trouble) => {
            let why = "whoever can read or change it has your sessions, so it is not used";
            (None, Some(Finding::error(trouble.message, why).fix(trouble.hint)))
        }
    };
    Check::new("logins-file", None, detail, finding.into_iter().collect())
}

/// The sockets that git's helper looks at, and the directories that they are in.
pub(super) fn sockets(context: &Context) -> Check {
    let mut findings = Vec::new();
    let own = rustix::process::geteuid().as_raw();
    if let Some(socket) = context.surroundings.agent_socket() {
        // The agent's own directory, and the user's around it.
        findings.extend(socket.parent().and_then(|directory| private(directory, own, 0o077)));
        findings.extend(private(&socket, own, 0o077));
    }
    for socket in context.surroundings.known_to_helper() {
        if socket.starts_with("/run/tok") {
            findings.extend(socket.parent().and_then(|directory| private(directory, 0, 0o002)));
        }
    }
    if let Some(named) = &context.surroundings.explicit
        && let Err(why) = std::os::unix::net::UnixStream::connect(named)
    {
        let what = format!("TOK_SOCKET or --socket names {}, where nobody answers: {why}", named.display());
        findings.push(
            Finding::error(
                what,
                "no other socket is tried then, so git gets no answer; start tokd there, or unset TOK_SOCKET",
            )
            .class(Class::Unreachable)
            .fix(start(named)),
        );
    }
    Check::new("sockets", None, None, findings)
}

/// A file of this user's (or of root's and the daemon's) that others must not touch.
fn private(path: &Path, owner: u32, forbidden: u32) -> Option<Finding> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let shown = quoted(&path.display().to_string());
    if found.file_type().is_symlink() {
        let why = "whoever made the link decides where it leads";
        return Some(Finding::error(format!("{shown} is a symbolic link"), why).fix(format!("rm {shown}")));
    }
    if owner != 0 && found.uid() != owner {
        let what = format!("{shown} belongs to user ID {}, not to you", found.uid());
        return Some(
            Finding::error(what, "whoever owns it can answer git in tok's place").fix(format!("sudo rm -r {shown}")),
        );
    }
    let mode = found.mode() & 0o777;
    if mode & forbidden == 0 {
        return None;
    }
    let good = if found.is_dir() { if forbidden == 0o002 { "o-w" } else { "700" } } else { "600" };
    let what = format!("{shown} is open to others (mode {mode:04o})");
    let sudo = if owner == 0 && !rustix::process::geteuid().is_root() { "sudo " } else { "" };
    Some(
        Finding::error(what, "whoever gets in can answer git in tok's place, or ask for your tokens")
            .fix(format!("{sudo}chmod {good} {shown}")),
    )
}

/// The agent: none is no fault, an old one is.
pub(super) async fn agent(context: &Context) -> Check {
    let Some(socket) = context.surroundings.agent_socket() else {
        return Check::new("agent", None, Some("there is no place for its socket".to_owned()), Vec::new());
    };
    let own = env!("CARGO_PKG_VERSION");
    let status = match AgentClient::connect(&socket).await {
        Ok(mut agent) => agent.status().await.ok(),
        Err(_) => None,
    };
    let locked = || {
        let why = "it answers nobody until it is unlocked";
        Finding::error("the agent is locked", why).fix("tok agent unlock")
    };
    let Some(status) = status else {
        let (detail, findings) = if Latch::beside(&socket).is_on() {
            ("not running; the next one is locked", vec![locked()])
        } else {
            ("not running; it is started when git needs it", Vec::new())
        };
        let findings = findings.into_iter().chain(unstartable()).collect();
        return Check::new("agent", None, Some(detail.to_owned()), findings);
    };
    let mut findings = Vec::new();
    if status.version != own {
        let what = format!("the agent is tok {}, and this is tok {own}", status.version);
        findings.push(Finding::warning(what, "it was started before tok was replaced").fix("tok agent stop"));
    }
    if status.locked {
        findings.push(locked());
    }
    Check::new("agent", None, Some(format!("process {}", status.pid)), findings)
}

/// Whether what starts the agent would fail over its settings: git's helper cannot say more of that than that it did.
fn unstartable() -> Option<Finding> {
    let why = crate::settings::refuses(&["tok", "agent", "start"])?;
    let what = format!("the agent cannot be started: {why}");
    let finding =
        Finding::error(what, "git's helper starts it for whoever is logged in, and git gets no answer without it");
    Some(match crate::settings::place() {
        Some(path) if path.exists() => finding.fix(format!("${{EDITOR:-vi}} {}", quoted(&path.display().to_string()))),
        _ => finding.fix("tok agent start"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_open_to_others_is_closed_by_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let inside = directory.path().join("a b");
        fs::create_dir(&inside).unwrap();
        fs::set_permissions(&inside, Permissions::from_mode(0o755)).unwrap();
        let finding = private(&inside, own, 0o077).unwrap();
        let fix = finding.fix.unwrap();
        assert!(std::process::Command::new("sh").args(["-c", &fix]).status().unwrap().success(), "{fix}");
        assert_eq!(private(&inside, own, 0o077), None);
        assert_eq!(private(&directory.path().join("none"), own, 0o077), None);
        assert!(private(&inside, own + 1, 0o077).unwrap().what.contains("belongs to"));
    }
}
