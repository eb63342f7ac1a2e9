//! Whether somebody would answer, and whether their session is good.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use chrono::TimeDelta;
use tok_api::fault::{Fault, FaultCode};
use tokio::time::timeout;

use super::finding::{Check, Class, Finding};
use super::remotes;
use super::server::PATIENCE;
use crate::commands::git::answerer::Answerer;
use crate::commands::git::chain::{Chain, exactly, option};
use crate::commands::git::settings::{Entry, Settings};
use crate::commands::git::target::Target;
use crate::commands::git::why;
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::{Absence, Choice, Login};
use crate::output::when;

/// A session that ends so soon is worth a word.
const SOON: TimeDelta = TimeDelta::hours(24);

/// Who answers for a URL, and whether the server knows them. Nothing if that is the socket of `TOK_SOCKET` and nobody is
/// there: that is the check of sockets to say, once.
pub(super) async fn check(
    context: &Context,
    settings: &Settings,
    target: &Target,
    reached: bool,
) -> Result<Option<Check>, Failure> {
    let chain = Chain::of(settings, &target.url())?;
    let helper = chain.ours().map(|entry| entry.value.clone());
    let about = target.server.to_string();
    let check = |detail, findings| Some(Check::new("session", Some(about.as_str()), detail, findings));
    let profile = helper.as_deref().and_then(|helper| option(helper, "--profile"));
    let profile = profile.or_else(|| context.profile().map(ToString::to_string));
    let log_in = match profile {
        Some(name) => format!("tok login {} --profile {name}", target.server),
        None => format!("tok login {}", target.server),
    };
    // What keeps the logins from being read is another check's finding.
    let (target, said_by) = &target.clone().with_configured_user(settings)?;
    let Ok(answerer) = Answerer::find(context, target, helper.as_deref()).await else {
        return Ok(check(None, Vec::new()));
    };
    let (detail, finding) = match &answerer {
        Answerer::Job => {
            let detail = "the `tok ci exec` that this runs in, which exchanges the job's identity when git asks";
            return Ok(check(Some(detail.to_owned()), Vec::new()));
        }
        Answerer::Token(_) => ("the token in TOK_TOKEN".to_owned(), None),
        Answerer::Agent(login, rule) => (format!("{login}: {}", rule.as_str()), soon_over(login, context)),
        Answerer::Socket(socket) => {
            let detail = format!("the daemon at {}", socket.display());
            let gone = UnixStream::connect(socket).err().map(|why| gone(socket, target, &why));
            let set_up = helper.as_deref().is_some_and(|helper| option(helper, "--socket").is_some());
            if gone.is_some() && !set_up {
                return Ok(None);
            }
            (detail, gone)
        }
        Answerer::Daemon(socket) => (format!("the daemon at {}", socket.display()), None),
        Answerer::NoLogin(absence) => {
            let of_configuration = said_by.as_ref().and_then(|entry| other_user(entry, target, absence));
            (String::new(), Some(of_configuration.unwrap_or_else(|| no_login(settings, target, absence, log_in))))
        }
        Answerer::Ambiguous(logins) => (String::new(), Some(ambiguous(logins))),
        Answerer::Unplaced(what) => (String::new(), Some(unplaced(what, target))),
        Answerer::Nobody => (String::new(), Some(nobody(target, log_in))),
    };
    if finding.is_some() || !reached {
        return Ok(check(Some(detail), finding.into_iter().collect()));
    }
    let known = async {
        let mut client = answerer.client(context, &target.server).await?;
        Ok::<_, Failure>(client.whoami().await)
    };
    let finding = match timeout(PATIENCE, known).await {
        Ok(Ok(Ok(_))) => None,
        Ok(Ok(Err(fault))) if fault.code == FaultCode::Unauthenticated => Some(ended(&answerer, target, fault)),
        Err(_) => Some(silent(target)),
        Ok(Ok(Err(fault))) => Some(
            Finding::error(fault.message, "the server answers, but not tok")
                .class(Class::Unreachable)
                .fix("tok status"),
        ),
        Ok(Err(failure)) => {
            Some(Finding::error(failure.words(), "the session cannot be read, or nobody answers").fix("tok status"))
        }
    };
    Ok(check(Some(detail), finding.into_iter().collect()))
}

fn silent(target: &Target) -> Finding {
    let what = format!("{} takes the connection and says nothing within {} s", target.server, PATIENCE.as_secs());
    let why = "it hangs or has too much to do, and git waits for it as long";
    Finding::error(what, why).class(Class::Unreachable).fix(format!("curl -v {}/healthz", target.server))
}

fn ended(answerer: &Answerer, target: &Target, fault: Fault) -> Finding {
    // A user who is disabled, say.
    if fault.no_login_mends_it {
        let what = format!("{} does not take you now: {}", target.server, fault.message);
        let why = format!("no login mends that; {}", fault.hint.unwrap_or_default());
        return Finding::error(what, why).class(Class::NotLoggedIn);
    }
    let why = "the server does not know it any more: it ran out or was revoked";
    let finding = match answerer.login() {
        Some((login, _)) => Finding::error(format!("the session of {login} has ended"), why).fix(login.login_command()),
        None => Finding::error("the token in TOK_TOKEN does not work", why).fix(format!("tok login {}", target.server)),
    };
    finding.class(Class::NotLoggedIn)
}

fn soon_over(login: &Login, context: &Context) -> Option<Finding> {
    let end = login.expires_at?;
    if end <= context.now {
        let what = format!("the session of {login} has ended");
        let finding = Finding::error(what, "it ran out").class(Class::NotLoggedIn);
        return Some(finding.fix(login.login_command()));
    }
    (end - context.now < SOON).then(|| {
        let what = format!("the session of {login} ends {}", when(end, context.now));
        Finding::warning(what, "then git asks for a login in the middle of something").fix(login.login_command())
    })
}

/// Nobody listens at a socket that git's configuration for this target names.
fn gone(socket: &Path, target: &Target, why: &io::Error) -> Finding {
    let what = format!("nobody answers at {}, which git is set up to ask: {why}", socket.display());
    let why = format!("no other is asked then; start tokd there (`{}`), if that is where it was", start(socket));
    Finding::error(what, why).class(Class::Unreachable).fix(format!("tok git setup {}", target.server))
}

/// The command that starts the daemon that listens there.
pub(super) fn start(socket: &Path) -> &'static str {
    if socket.starts_with("/run") { "sudo systemctl start tokd" } else { "tokd dev" }
}

fn unplaced(what: &str, target: &Target) -> Finding {
    let finding = Finding::error(what, "git's helper answers nothing then, and no login takes the token's place");
    finding.class(Class::NotLoggedIn).fix(format!("export TOK_SERVER={}", target.server))
}

fn nobody(target: &Target, log_in: String) -> Finding {
    let what = format!("nobody is logged in at {}", target.server);
    let finding = Finding::error(what, "there is nobody to answer git").class(Class::NotLoggedIn);
    finding.fix(log_in)
}

fn no_login(settings: &Settings, target: &Target, absence: &Absence, log_in: String) -> Finding {
    let (what, hint) = absence.explain(&target.server);
    let why = "tok answers with no other login than the one that was named";
    let finding = Finding::error(what, format!("{why}; {hint}")).class(Class::NotLoggedIn);
    match absence {
        Absence::OtherUser { .. } | Absence::OtherUserOfProfile { .. } => match remotes::without_user(settings, target)
        {
            Some(command) => finding.class(Class::Setup).fix(command),
            None => finding.fix(format!("tok doctor {}", target.plain())),
        },
        _ => finding.fix(log_in),
    }
}

/// The user that git's configuration names, where the URL names none, is not logged in.
fn other_user(entry: &Entry, target: &Target, absence: &Absence) -> Option<Finding> {
    let what = why::configured_user(entry, target, absence)?;
    let why =
        "git names that user with every question, and tok answers with no other login than the one that was named";
    Some(Finding::error(what, why).fix(entry.unset(Some(&exactly(&entry.value)))))
}

fn ambiguous(logins: &[Login]) -> Finding {
    let several: Vec<_> = logins.iter().collect();
    let (what, hint) = Choice::ambiguous(&several);
    let fix = logins.first().map(|login| format!("{} --default", login.login_command())).unwrap_or_default();
    Finding::error(what, format!("tok does not guess on whose behalf git acts; {hint}")).fix(fix)
}
