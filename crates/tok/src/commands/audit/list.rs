//! `tok audit` without a subcommand: the trail, and following it.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tok_api::convert::{AuditFilter, AuditRecord, PageAsk};
use tok_api::fault::FaultCode;
use tok_model::audit::{Action, Outcome};
use tok_model::name::{RepoPath, UserName};

use crate::commands::{PageArgs, moments};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Page, Table, json_line, quoted, safe, text};

/// Between two looks for new lines.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what this token did or suffered
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Only what this user did: a login name, or an ID, which tells two apart who had one name
    #[arg(long)]
    user: Option<UserName>,
    /// Only what touched this repository
    #[arg(long, value_name = "WORKSPACE/REPO")]
    repo: Option<RepoPath>,
    /// Only what happened since: a length of time (2h, 7d), a date (2026-11-01), or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what happened before: the same
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only this act, as in `token.create`
    #[arg(long, value_parser = words::<Action>(Action::every().map(Action::as_str)))]
    action: Option<Action>,
    /// Only what ended so
    #[arg(long, value_parser = words::<Outcome>(Outcome::every().map(Outcome::as_str)))]
    outcome: Option<Outcome>,
    /// In the order in which it happened
    #[arg(long)]
    oldest_first: bool,
    /// Go on with each new line as it is written
    #[arg(long, short, conflicts_with = "oldest_first")]
    follow: bool,
    #[command(flatten)]
    page: PageArgs,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let again = context.again(&self.again());
        let when = |flag: &str, text: &Option<String>| {
            text.as_deref().map(|text| moments::behind(flag, text, context.now)).transpose()
        };
        let (since, until) = (when("since", &self.since)?, when("until", &self.until)?);
        let filter = AuditFilter {
            token: self.token,
            user: self.user,
            repository: self.repo,
            since,
            until,
            action: self.action,
            outcome: self.outcome,
            oldest_first: self.oldest_first,
            follow: self.follow,
        };
        filter.check_times()?;
        if self.follow {
            return follow(context, filter, self.page.ask()).await;
        }
        let page =
            self.page.gather(async |ask| Ok(context.client().await?.list_events(filter.clone(), ask).await?)).await?;
        let out = context.out;
        out.show(&Page("events", &page), || table(&page.rows))?;
        out.more(&again, page.next_cursor.as_deref());
        noted(context, page.note.as_deref());
        // The trail keeps what was asked of repositories that are gone or never were, so none is "not found" here.
        if let (true, Some(repo)) = (page.rows.is_empty(), &filter.repository) {
            out.note(&format!("note: you may see no such event about {repo}; is the name right? `tok repo list`\n"));
        }
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
        add("until", self.until.clone());
        add("action", self.action.map(|action| action.to_string()));
        add("outcome", self.outcome.map(|outcome| outcome.to_string()));
        command.push_str(if self.oldest_first { " --oldest-first" } else { "" });
        command
    }
}

/// What the server says besides; in JSON it is a field.
fn noted(context: &Context, note: Option<&str>) {
    if let Some(note) = note.filter(|_| !context.out.is_json()) {
        context.out.note(&format!("note: {}\n", safe(note)));
    }
}

/// Shows each new line until somebody interrupts. A daemon that restarts is waited for.
async fn follow(context: &mut Context, filter: AuditFilter, mut page: PageAsk) -> Result<(), Failure> {
    let out = context.out;
    let mut away = false;
    loop {
        let asked = context.client().await?.list_events(filter.clone(), page.clone()).await;
        let found = match asked {
            Ok(found) => found,
            Err(fault) if fault.code == FaultCode::Unavailable && page.cursor.is_some() => {
                if !away {
                    out.note("tokd does not answer; waiting for it\n");
                }
                away = true;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        away = false;
        // The same each time, so once is enough.
        noted(context, found.note.as_deref().filter(|_| page.cursor.is_none()));
        for event in &found.rows {
            if out.is_json() { json_line(event)? } else { text(&[&line(event)])? }
        }
        // How many there are at first says nothing of how many are fetched at a time.
        page = PageAsk { size: None, cursor: found.next_cursor };
        if found.rows.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One event on a line of its own, in columns that nearly everything fits.
fn line(event: &AuditRecord) -> String {
    let [time, who, action, what, outcome, detail] = cells(event).map(|cell| safe(&cell));
    format!("{time}  {who:<12}  {action:<16}  {what:<40}  {outcome:<7}  {detail}").trim_end().to_owned() + "\n"
}

fn table(events: &[AuditRecord]) -> String {
    let mut table = Table::new(["TIME (UTC)", "WHO", "ACTION", "WHAT", "OUTCOME", "DETAIL"]);
    for event in events {
        table.row(cells(event).each_ref().map(String::as_str));
    }
    table.text()
}

fn cells(event: &AuditRecord) -> [String; 6] {
    let time = event.at.format("%Y-%m-%d %H:%M:%S").to_string();
    let times = Some(format!("×{}", event.times)).filter(|_| event.times > 1);
    let detail = [event.detail.clone(), times].into_iter().flatten().collect::<Vec<_>>().join(" ");
    [time, who(event), event.action.clone(), what(event), event.outcome.clone(), detail]
}

/// The user, else the system user, else the address; and who really acted, if that is somebody else.
fn who(event: &AuditRecord) -> String {
    let who = match (&event.actor_user, event.actor_uid, &event.address) {
        (Some(user), _, _) => user.clone(),
        (None, Some(uid), _) => format!("uid {uid}"),
        (None, None, Some(address)) => address.clone(),
        (None, None, None) => "tokd".to_owned(),
    };
    match &event.acted_by {
        Some(really) => format!("{who} (by {really})"),
        None => who,
    }
}

/// What it was done to: git's command or the call, the place, the user, the token.
fn what(event: &AuditRecord) -> String {
    let place = event.repository.as_ref().or(event.workspace.as_ref());
    let token = event.token_prefix.as_ref().map(|prefix| format!("{prefix}…"));
    // A user's own workspace has the user's name; once is enough.
    let user = event.subject_user.as_ref().filter(|user| place != Some(user));
    let call = event.git_command.as_ref().or(event.operation.as_ref());
    let parts = [call, place, user, token.as_ref()];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// One of these words, which completions offer.
fn words<T>(known: impl Iterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(known).try_map(|text| text.parse())
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
            actor_token_id: None,
            acted_by: None,
            operation: None,
            times: 1,
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
        let really = AuditRecord {
            acted_by: Some("root".to_owned()),
            times: 3,
            operation: Some("TokenService/List".to_owned()),
            git_command: None,
            ..event()
        };
        assert_eq!(
            line(&really),
            "2026-11-22 10:00:00  alice (by root)  token.use         TokenService/List acme/app tokgit_a1b2…   refused  may only read\\u{7} ×3\n"
        );
        assert_eq!(
            table(&[event(), made]),
            "\
TIME (UTC)           WHO    ACTION       WHAT                                OUTCOME  DETAIL
2026-11-22 10:00:00  alice  token.use    receive-pack acme/app tokgit_a1b2…  refused  may only read\\u{7}
2026-11-22 10:00:00  uid 0  user.create  bob                                 done
"
        );
    }
}
