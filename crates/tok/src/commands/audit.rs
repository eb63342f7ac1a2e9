//! `tok audit`.

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use tok_api::convert::{AuditFilter, AuditRecord};
use tok_model::clock::{Expiry, Timestamp};
use tok_model::name::{RepoPath, UserName};

use crate::commands::PageArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Page, Table, quoted};

/// Show what was done, by whom, through which token, and how it ended
///
/// Newest first, unless `--oldest-first` is given. Tokens appear by the first characters of their text.
///
/// Examples:
///
///     $ tok audit --since 2h
///     $ tok audit --token tokpat_a1b2 --limit 20
///     $ tok audit --repo acme/app --since 2026-11-01 --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct AuditArgs {
    /// Only what this token did or suffered
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Only what this user did
    #[arg(long)]
    user: Option<UserName>,
    /// Only what touched this repository
    #[arg(long, value_name = "WORKSPACE/REPO")]
    repo: Option<RepoPath>,
    /// Only what happened since: a length of time (2h, 7d), a date (2026-11-01), or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// In the order in which it happened
    #[arg(long)]
    oldest_first: bool,
    #[command(flatten)]
    page: PageArgs,
}

impl AuditArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let again = context.again(&self.again());
        let since = self.since.as_deref().map(|text| moment(text, context.now)).transpose()?;
        let filter = AuditFilter {
            token: self.token,
            user: self.user,
            repository: self.repo,
            since,
            oldest_first: self.oldest_first,
        };
        let page =
            self.page.gather(async |ask| Ok(context.client().await?.list_events(filter.clone(), ask).await?)).await?;
        let out = context.out;
        out.show(&Page("events", &page), || table(&page.rows))?;
        out.more(&again, page.next_cursor.as_deref());
        Ok(())
    }

    fn again(&self) -> String {
        let mut command = format!("audit{}", self.page.again());
        let mut add = |flag: &str, value: Option<String>| {
            command.extend(value.map(|value| format!(" --{flag} {}", quoted(&value))));
        };
        add("token", self.token.clone());
        add("user", self.user.as_ref().map(ToString::to_string));
        add("repo", self.repo.as_ref().map(ToString::to_string));
        add("since", self.since.clone());
        command.push_str(if self.oldest_first { " --oldest-first" } else { "" });
        command
    }
}

/// A moment behind: how long ago, or when. A date means its first second, in UTC.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let wrong = || Failure::usage("--since takes a length of time (2h, 7d), a date (2026-11-01) or an RFC 3339 time");
    match text.parse() {
        Ok(Expiry::After(period)) => now.checked_sub_signed(period.delta()).ok_or_else(wrong),
        Ok(Expiry::At(at)) => Ok(at),
        Ok(Expiry::Never) | Err(_) => Err(wrong()),
    }
}

fn table(events: &[AuditRecord]) -> String {
    let mut table = Table::new(["TIME (UTC)", "WHO", "ACTION", "WHAT", "OUTCOME", "DETAIL"]);
    for event in events {
        let time = event.at.format("%Y-%m-%d %H:%M:%S").to_string();
        let detail = event.detail.as_deref().unwrap_or_default();
        table.row([&time, &who(event), &event.action, &what(event), &event.outcome, detail]);
    }
    table.text()
}

/// The user, else the system user, else the address.
fn who(event: &AuditRecord) -> String {
    match (&event.actor_user, event.actor_uid, &event.address) {
        (Some(user), _, _) => user.clone(),
        (None, Some(uid), _) => format!("uid {uid}"),
        (None, None, Some(address)) => address.clone(),
        (None, None, None) => "tokd".to_owned(),
    }
}

/// What it was done to: the place, the user, git's command, the token.
fn what(event: &AuditRecord) -> String {
    let place = event.repository.as_ref().or(event.workspace.as_ref());
    let token = event.token_prefix.as_ref().map(|prefix| format!("{prefix}…"));
    // A user's own workspace has the user's name; once is enough.
    let user = event.subject_user.as_ref().filter(|user| place != Some(user));
    let parts = [event.git_command.as_ref(), place, user, token.as_ref()];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditRecord {
        AuditRecord {
            id: "42".to_owned(),
            at: "2026-11-22T10:00:00.250Z".parse().unwrap(),
            action: "token.use".to_owned(),
            outcome: "refused".to_owned(),
            actor_user: Some("alice".to_owned()),
            actor_uid: None,
            token_id: None,
            token_prefix: Some("tokgit_a1b2".to_owned()),
            parent_id: None,
            address: Some("127.0.0.1".to_owned()),
            user_agent: None,
            repository: Some("acme/app".to_owned()),
            workspace: Some("acme".to_owned()),
            git_command: Some("receive-pack".to_owned()),
            detail: Some("may only read\u{7}".to_owned()),
            subject_user: None,
        }
    }

    #[test]
    fn a_line_reads_alone() {
        let made = AuditRecord {
            action: "user.create".to_owned(),
            outcome: "done".to_owned(),
            actor_user: None,
            actor_uid: Some(0),
            token_prefix: None,
            repository: None,
            workspace: Some("bob".to_owned()),
            git_command: None,
            detail: None,
            subject_user: Some("bob".to_owned()),
            ..event()
        };
        assert_eq!(
            table(&[event(), made]),
            "\
TIME (UTC)           WHO    ACTION       WHAT                                OUTCOME  DETAIL
2026-11-22 10:00:00  alice  token.use    receive-pack acme/app tokgit_a1b2…  refused  may only read\\u{7}
2026-11-22 10:00:00  uid 0  user.create  bob                                 done
"
        );
    }

    #[test]
    fn since_is_read_in_three_ways() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-11-22T08:00:00Z"),
            ("7", "2026-11-15T10:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), expected.parse::<Timestamp>().unwrap(), "{text}");
        }
        assert!(moment("never", now).is_err() && moment("soon", now).is_err() && moment("", now).is_err());
    }
}
