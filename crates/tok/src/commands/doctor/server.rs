//! The way to a server, and its clock.

use std::time::{Duration, Instant, SystemTime};

use chrono::TimeDelta;
use tok_api::client::{Probe, RemoteOptions, Stage};
use tok_api::fault::Fault;
use tok_model::clock::Timestamp;
use tok_model::url::Origin;
use tokio::time::timeout;

use super::finding::{Check, Class, Finding};
use crate::context::Context;

/// How long each step of the way may take, and each question that is asked there.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that ends so soon is worth a word.
const SOON: TimeDelta = TimeDelta::days(14);
/// Clocks so far apart are worth a word: a token has a minute left at least when git gets it.
const APART: TimeDelta = TimeDelta::seconds(30);
/// And so far apart they spoil it.
const TOO_FAR_APART: TimeDelta = TimeDelta::seconds(60);

/// Name, connection, TLS; and whether all of it works.
pub(super) async fn way(server: &Origin) -> (Check, bool) {
    let options = RemoteOptions { connect_deadline: PATIENCE, call_deadline: PATIENCE, ..RemoteOptions::default() };
    let about = server.to_string();
    let check = |detail, findings| Check::new("server", Some(about.as_str()), detail, findings);
    match Probe::run(server, &options).await {
        Err((stage, fault)) => (check(None, vec![trouble(server, stage, fault)]), false),
        Ok(probe) => {
            let address = probe.addresses.first().map(ToString::to_string);
            let ends = probe.certificate_ends.and_then(|end| soon_over(end, now()));
            (check(address, ends.into_iter().collect()), true)
        }
    }
}

/// Why the way ends where it does.
fn trouble(server: &Origin, stage: Stage, fault: Fault) -> Finding {
    let why = match stage {
        Stage::Address => "tokens travel over TLS only, or inside this machine",
        Stage::Name => "DNS knows no such name: is it typed right, and is this machine online (VPN)?",
        Stage::Connection => "the name is known, but nobody answers there: a firewall, a proxy, or the server is down",
        Stage::Tls => "somebody answers, but not in a way that can be trusted",
    };
    let fix = match stage {
        Stage::Address => format!("tok login {}", server.over_tls()),
        Stage::Name => format!("getent hosts {}", server.host()),
        Stage::Connection => format!("curl -v {server}/healthz"),
        Stage::Tls => {
            format!("openssl s_client -connect {0}:{1} -servername {0} </dev/null", server.host(), server.port())
        }
    };
    let hint = fault.hint.filter(|_| stage == Stage::Tls).map(|hint| format!(": {hint}")).unwrap_or_default();
    Finding::error(fault.message, format!("{why}{hint}")).class(Class::Unreachable).fix(fix)
}

fn soon_over(end: Timestamp, now: Timestamp) -> Option<Finding> {
    (end - now < SOON).then(|| {
        let what = format!("the server's certificate ends {}", tok_model::clock::in_future(end, now));
        Finding::warning(what, "then nobody gets through any more; tell whoever runs the server")
    })
}

/// This machine's clock against the server's.
pub(super) async fn clocks(context: &Context, server: &Origin) -> Check {
    let about = server.to_string();
    let asked = Instant::now();
    let theirs = async { context.server(server, None).await.ok()?.server_time().await.ok().flatten() };
    let Ok(Some(theirs)) = timeout(PATIENCE, theirs).await else {
        let detail = Some("the server does not say what time it has".to_owned());
        return Check::new("clock", Some(&about), detail, Vec::new());
    };
    // Somewhere between the question and the answer, in whole seconds.
    let slack = TimeDelta::from_std(asked.elapsed()).unwrap_or_default() + TimeDelta::seconds(1);
    let findings = compare(now(), theirs, slack).into_iter().collect();
    Check::new("clock", Some(&about), None, findings)
}

fn compare(ours: Timestamp, theirs: Timestamp, slack: TimeDelta) -> Option<Finding> {
    let apart = (ours - theirs).abs() - slack;
    if apart <= APART {
        return None;
    }
    let word = if ours > theirs { "ahead of" } else { "behind" };
    let what = format!("this machine's clock is {} s {word} the server's", (ours - theirs).num_seconds().abs());
    let why = "git throws away what seems to have ended already, and keeps what has ended long ago";
    let finding = if apart > TOO_FAR_APART { Finding::error(what, why) } else { Finding::warning(what, why) };
    Some(finding.fix("sudo timedatectl set-ntp true"))
}

#[expect(clippy::disallowed_methods, reason = "the time of this very moment is what is looked at")]
fn now() -> Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity;

    #[test]
    fn clocks_that_are_apart_are_told_apart() {
        let at = |seconds: i64| Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let severity = |ours: i64| compare(at(ours), at(0), TimeDelta::seconds(1)).map(|finding| finding.severity);
        assert_eq!((severity(0), severity(31), severity(-31)), (None, None, None));
        assert_eq!((severity(45), severity(-45)), (Some(Severity::Warning), Some(Severity::Warning)));
        assert_eq!((severity(90), severity(-3600)), (Some(Severity::Error), Some(Severity::Error)));
        let said = compare(at(-90), at(0), TimeDelta::zero()).unwrap();
        assert!(said.what.contains("90 s behind"), "{said:?}");
    }

    #[test]
    fn a_certificate_that_ends_soon_is_mentioned() {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        assert!(soon_over(now + TimeDelta::days(13), now).is_some());
        assert!(soon_over(now + TimeDelta::days(15), now).is_none());
    }
}
