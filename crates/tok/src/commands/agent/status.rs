//! `tok agent status`.

use clap::Args;
use tok_api::convert::{AgentLogin, AgentStatus};
use tok_model::clock::{Period, Timestamp};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Style, count, ended, facts, safe, when};

/// A session that ends so soon is worth a word.
const SOON_DAYS: i64 = 7;

/// Say what the agent holds, and how it sees the servers
///
/// Examples:
///
///     $ tok agent status
///     $ tok agent status --output json | jq .logins
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {}

impl StatusArgs {
    pub(super) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let status = super::agent().await?.status().await?;
        let style = context.out.style();
        context.out.show(&status, || text(&status, context.now, style))
    }
}

fn text(status: &AgentStatus, now: Timestamp, style: Style) -> String {
    let idle = status.idle_seconds.and_then(|seconds| i64::try_from(seconds).ok()).and_then(Period::from_seconds);
    let mut text = facts(&[
        (
            "Agent",
            format!("tok {}, process {}, started {}", safe(&status.version), status.pid, ended(status.started_at, now)),
        ),
        ("Socket", safe(&status.socket)),
        ("Locked", if status.locked { style.warning("yes; `tok agent unlock` ends it") } else { "no".to_owned() }),
        (
            "Memory",
            (if status.memory_locked {
                "kept from the swap space"
            } else {
                "may be swapped out: `ulimit -l` is not unlimited"
            })
            .to_owned(),
        ),
        ("Ends", idle.map_or_else(|| "when it is stopped".to_owned(), |idle| format!("after {idle} without work"))),
        (
            "Remembers",
            match (status.remembers, status.remembered) {
                (false, _) => "tok's own servers only".to_owned(),
                (true, held) => format!("{} of other servers, in memory", count(held, "credential")),
            },
        ),
        ("Trouble", status.logins_fault.as_deref().map(|fault| style.warning(&safe(fault))).unwrap_or_default()),
    ]);
    for login in &status.logins {
        text.push('\n');
        text.push_str(&about(login, now, style));
    }
    text
}

fn about(login: &AgentLogin, now: Timestamp, style: Style) -> String {
    let profile = login.profile.as_deref().map(|name| format!(" (profile {})", safe(name))).unwrap_or_default();
    let expires = match login.expires_at {
        None => "never".to_owned(),
        Some(end) if end <= now => style.warning(&ended(end, now)),
        Some(end) if (end - now).num_days() < SOON_DAYS => {
            style.warning(&format!("{}; `tok login {}` makes it anew", when(end, now), safe(&login.server)))
        }
        Some(end) => when(end, now),
    };
    let state = match &login.detail {
        Some(detail) => style.warning(&format!("{}: {}", safe(&login.state), safe(detail))),
        None => safe(&login.state),
    };
    let name = style.strong(&format!("{} at {}{profile}", safe(&login.user), safe(&login.server)));
    format!(
        "{name}\n{}",
        facts(&[("  Session ends", expires), ("  Server", state), ("  Git tokens", login.tokens.to_string())])
    )
}
