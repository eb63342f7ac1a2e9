//! `tok logout`.

use clap::Args;
use serde::Serialize;
use tok_api::client::agent::AgentClient;
use tok_model::name::UserName;
use tok_model::url::Origin;

use super::login::{LoginRecord, address, file};
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::Login;
use crate::output::safe;

/// Log out: end the session on the server, and forget it here
///
/// Git tokens that were minted through the session end with it. If the server is away the session is forgotten here all the
/// same; it then still works for whoever has a copy, until it ends by itself or is revoked with `tok token revoke`. A token
/// that was brought along with `tok login --with-token` is forgotten and goes on working.
///
/// Without a server it is the only login there is; where several fit, say which, or `--all`.
///
/// Examples:
///
///     $ tok logout
///     $ tok logout https://git.example.com --user alice
///     $ tok logout --all
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LogoutArgs {
    /// The server's address; https:// if nothing is said
    #[arg(value_name = "SERVER")]
    url: Option<String>,
    /// The login of this user
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Every login that fits
    #[arg(long)]
    all: bool,
}

/// What became of a login.
#[derive(Debug, Serialize)]
struct LoggedOut {
    #[serde(flatten)]
    login: LoginRecord,
    /// Whether the session ended on the server.
    revoked: bool,
    /// Why not.
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    logged_out: Vec<LoggedOut>,
}

impl LogoutArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let file = file()?;
        let server = match &self.url {
            Some(url) => Some(address(url)?),
            None => context.named().server.clone(),
        };
        let logins = file.read()?;
        let meant: Vec<&Login> =
            logins.all().iter().filter(|login| self.means(login, server.as_ref(), context)).collect();
        match meant.as_slice() {
            [] => return Err(nobody(server.as_ref(), logins.all().is_empty())),
            [_, _, ..] if !self.all => {
                let several = meant.iter().map(ToString::to_string).collect();
                return Err(Failure::ambiguous("several logins fit; nothing was changed", several)
                    .hint("name the server, `--user` or `--profile`, or take them all with `--all`"));
            }
            _ => {}
        }
        let mut logged_out = Vec::new();
        for login in meant {
            let ended = end(context, login).await;
            file.remove(login).await?;
            agent_forgets(context, login).await;
            let note = ended.err();
            if let Some(note) = &note {
                context.out.note(&format!("note: {}: {note}\n", safe(&login.to_string())));
            }
            let record = LoginRecord::new(login, context.now);
            logged_out.push(LoggedOut { login: record, revoked: note.is_none(), note });
        }
        let report = Report { logged_out };
        context.out.show(&report, || text(&report))
    }

    fn means(&self, login: &Login, server: Option<&Origin>, context: &Context) -> bool {
        server.is_none_or(|server| login.server == *server)
            && self.user.as_ref().is_none_or(|user| login.user.as_str().eq_ignore_ascii_case(user.as_str()))
            && context.profile().is_none_or(|profile| login.profile.as_ref() == Some(profile))
    }
}

/// Has the agent drop what it minted through the login. One that is not running has nothing.
pub(super) async fn agent_forgets(context: &Context, login: &Login) {
    let Some(socket) = context.surroundings.agent_socket() else { return };
    if let Ok(mut agent) = AgentClient::connect(&socket).await {
        let _ = agent.forget(Some(&login.server.to_string())).await;
    }
}

/// Ends the session. Why it did not, in words, if it did not.
async fn end(context: &Context, login: &Login) -> Result<(), String> {
    if !login.is_session() {
        return Err(format!(
            "the token {}… was brought along, so it goes on working; `tok token revoke {}` ends it",
            login.token_prefix, login.session
        ));
    }
    let ended = async {
        let secret = login.secret().await?;
        let mut client = context.server(&login.server, None).await?;
        Ok::<_, Failure>(client.revoke_secret(&secret, Some("logged out".to_owned())).await?)
    };
    match ended.await {
        Ok(_) => Ok(()),
        // The server knows it no more: it has ended.
        Err(failure) if matches!(failure.exit(), 3 | 5) => Ok(()),
        Err(failure) => Err(format!(
            "forgotten here, but not ended on the server, where it may still work: {}. Later, or on another machine: tok token revoke {}",
            safe(&failure.words()),
            login.session
        )),
    }
}

fn nobody(server: Option<&Origin>, none: bool) -> Failure {
    match server {
        _ if none => Failure::not_logged_in("nobody is logged in").hint("`tok login <server>` begins a session"),
        Some(server) => Failure::not_found(format!("no login at {server} fits")).hint("`tok status` lists the logins"),
        None => Failure::not_found("no login fits").hint("`tok status` lists the logins"),
    }
}

fn text(report: &Report) -> String {
    let line = |one: &LoggedOut| {
        let ended = if one.revoked { ", and the session has ended" } else { "" };
        format!("Logged out: {} at {}{ended}.\n", safe(&one.login.user), safe(&one.login.server))
    };
    report.logged_out.iter().map(line).collect()
}
