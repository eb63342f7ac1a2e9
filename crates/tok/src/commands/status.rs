//! `tok status`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tok_api::client::agent::AgentClient;
use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::convert::ServerStatus;
use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Timestamp;
use tokio::task::JoinSet;

use super::login::LoginRecord;
use super::server::status::{Asked, text as server_text};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::logins::{Login, Logins, Trouble, TroubleKind};
use crate::output::{Table, facts, safe, when};

/// How long a server may take to say whether a session is good.
const PATIENCE: Duration = Duration::from_secs(5);

/// Say where commands go and whether that daemon answers, and show the logins of this machine
///
/// Every server that you are logged in to is asked whether it answers, and whether it still knows the session. Commands go
/// to the server or socket that is named; else to the login that is the default, the only one, or the only one without a
/// profile; else to the daemon of this machine. Where several logins would do, commands have to name one.
///
/// Examples:
///
///     $ tok status
///     $ tok status --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct StatusArgs {}

#[derive(Serialize)]
struct Report<'a> {
    client: Option<Asked<'a>>,
    /// The daemon that commands go to, if it answers.
    server: Option<&'a ServerStatus>,
    /// Why it is that one.
    route: &'static str,
    logins: &'a [Seen],
    agent: Agent,
}

/// A login, and how it stands.
#[derive(Debug, Serialize)]
struct Seen {
    #[serde(flatten)]
    record: LoginRecord,
    /// Whether commands are made with it.
    used: bool,
    /// `active`, `ended`, `unreachable` or `unknown`.
    state: &'static str,
    /// Whether the server answered.
    reachable: bool,
    /// What is wrong, if anything is.
    detail: Option<String>,
    #[serde(skip)]
    expires_at: Option<Timestamp>,
}

/// What git's helper asks before it asks anybody else.
#[derive(Debug, Serialize)]
struct Agent {
    running: bool,
    socket: Option<PathBuf>,
}

impl StatusArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let logins = match Logins::load() {
            Err(Trouble { kind: TroubleKind::SomebodyElses, .. }) => Logins::default(),
            other => other?,
        };
        let (daemon, failure) = match daemon(context).await {
            Ok(answered) => (Some(answered), None),
            // Nobody logged in, and nobody there: that is all there is to say.
            Err(failure) if logins.all().is_empty() => return Err(failure),
            Err(failure) => (None, Some(failure)),
        };
        let daemon = daemon.as_ref().map(|(status, address)| (status, address.as_str()));
        let used = context.login().map(|login| login.session);
        let mut seen = look(&logins, context.now).await;
        for (login, seen) in logins.all().iter().zip(&mut seen) {
            seen.used = used == Some(login.session);
        }
        let report = Report {
            client: daemon.map(|(_, address)| Asked::at(address)),
            server: daemon.map(|(status, _)| status),
            route: context.why_there(),
            logins: &seen,
            agent: Agent::look(context).await,
        };
        context.out.show(&report, || text(&report, daemon, context.now))?;
        match failure {
            // That commands have to say where to is no trouble; what the logins are like may be.
            Some(failure) if failure.is_ambiguous() => {
                context.out.note(&failure.note());
                gravest(&seen).map_or(Ok(()), |exit| Err(Failure::Silent(exit)))
            }
            other => other.map_or(Ok(()), Err),
        }
    }
}

/// What the worst of several logins is worth as an exit code.
fn gravest(logins: &[Seen]) -> Option<Exit> {
    let any = |state: &str| logins.iter().any(|login| login.state == state);
    match () {
        () if any("unreachable") => Some(Exit::Unreachable),
        () if any("ended") => Some(Exit::NotLoggedIn),
        () if any("unknown") => Some(Exit::Failed),
        () => None,
    }
}

async fn daemon(context: &mut Context) -> Result<(ServerStatus, String), Failure> {
    let client = context.client().await?;
    let status = client.server_status().await?;
    Ok((status, client.place().to_string()))
}

impl Agent {
    async fn look(context: &Context) -> Self {
        let socket = context.surroundings.agent_socket();
        let running = match &socket {
            Some(socket) => AgentClient::connect(socket).await.is_ok(),
            None => false,
        };
        Self { running, socket }
    }
}

/// Asks the servers of all logins at the same time.
async fn look(logins: &Logins, now: Timestamp) -> Vec<Seen> {
    let mut asking = JoinSet::new();
    for (index, login) in logins.all().iter().cloned().enumerate() {
        asking.spawn(async move { (index, ask(&login).await) });
    }
    let mut found: Vec<Option<Result<(), Fault>>> = logins.all().iter().map(|_| None).collect();
    while let Some(answer) = asking.join_next().await {
        if let Ok((index, answer)) = answer
            && let Some(place) = found.get_mut(index)
        {
            *place = Some(answer);
        }
    }
    logins.all().iter().zip(found).map(|(login, answer)| Seen::new(login, answer, now)).collect()
}

/// Whether the server knows the session.
async fn ask(login: &Login) -> Result<(), Fault> {
    let secret = login.secret().await;
    let secret = secret.map_err(|trouble| Fault::new(FaultCode::Internal, trouble.message).hint(trouble.hint))?;
    let options = RemoteOptions { connect_deadline: PATIENCE, call_deadline: PATIENCE, ..RemoteOptions::default() };
    let caller = Caller { token: Some(secret), act_as: None };
    Client::remote(&login.server, &caller, &options).await?.whoami().await.map(drop)
}

impl Seen {
    fn new(login: &Login, answer: Option<Result<(), Fault>>, now: Timestamp) -> Self {
        let (state, reachable, detail) = match answer {
            Some(Ok(())) => ("active", true, None),
            Some(Err(fault)) => {
                let (state, reachable) = match fault.code {
                    FaultCode::Unauthenticated => ("ended", true),
                    FaultCode::Unavailable => ("unreachable", false),
                    _ => ("unknown", false),
                };
                (state, reachable, Some(fault.message))
            }
            None => ("unknown", false, None),
        };
        let record = LoginRecord::new(login, now);
        Self { record, used: false, state, reachable, detail, expires_at: login.expires_at }
    }
}

fn text(report: &Report<'_>, daemon: Option<(&ServerStatus, &str)>, now: Timestamp) -> String {
    let mut text = daemon.map(|(status, address)| server_text(status, address)).unwrap_or_default();
    if report.logins.is_empty() {
        return text;
    }
    let agent = if report.agent.running { "running" } else { "not running" };
    text.push_str(&facts(&[("Commands", report.route.to_owned()), ("Agent", agent.to_owned())]));
    let mut table = Table::new(["", "SERVER", "USER", "PROFILE", "STATE", "EXPIRES", "KEPT IN", "FOR"]);
    for login in report.logins {
        let record = &login.record;
        table.row([
            if login.used { "*" } else { "" },
            &record.server,
            &record.user,
            record.profile.as_deref().unwrap_or_default(),
            login.state,
            &login.expires_at.map_or_else(|| "never".to_owned(), |end| when(end, now)),
            record.storage.as_str(),
            &record.paths.join(", "),
        ]);
    }
    let separated = if text.is_empty() { "" } else { "\n" };
    text = format!("{text}{separated}{}", table.text());
    for login in report.logins {
        if let Some(detail) = &login.detail {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{} at {}: {}", safe(&login.record.user), safe(&login.record.server), safe(detail));
        }
    }
    text
}
