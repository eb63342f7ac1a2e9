//! `tok git why`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::Args;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use tok_api::convert::{ExplainAsk, ExplainStep, Explanation};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;

use super::answerer::Answerer;
use super::chain::{Chain, exactly, without_path};
use super::helper::{is_ours, version};
use super::process::Git;
use super::settings::{Entry, Settings};
use super::target::Target;
use crate::commands::login::LoginRecord;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::logins::Absence;
use crate::output::{facts, quoted, safe};

/// So much of a token is shown in lists, behind its prefix.
const SHOWN: usize = 4;

/// Say who would answer git for a URL, which rule decides, and what git would get
///
/// Nothing is minted and nothing is changed; the secret in the answer is masked. With `--mint` the helper is asked as git
/// asks it, so that what is shown, still masked, is what git gets. Exit code 0 means allowed, 3 that git gets no answer of
/// tok's, as when it does not ask tok or the agent is locked, 4 denied, 5 that several logins fit and tok does not guess,
/// 6 that the server does not answer. Whether the repository exists is not looked at.
///
/// With the name of a remote it is about the URL that git goes to: with `--push` the one to push to.
///
/// Inside `tok ci exec` only `--mint` says something: what a job gets is known when its identity is exchanged.
///
/// Examples:
///
///     $ tok git why https://git.example.com/acme/app.git
///     $ tok git why origin --push
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WhyArgs {
    /// The URL of a repository, or the name of a remote
    #[arg(value_name = "URL")]
    url: String,
    /// To push; without it to clone and fetch
    #[arg(long)]
    push: bool,
    /// Ask the helper as git does: a token is minted, or the one minted before is given
    #[arg(long)]
    mint: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    url: String,
    repository: String,
    /// `read` or `write`.
    right: &'static str,
    /// The helpers that git asks, in order.
    helpers: Vec<String>,
    /// Those that are asked before tok's; what one of them has is used, and tok is not asked.
    asked_first: Vec<String>,
    /// `token`, `job`, `socket`, `agent` or `daemon`.
    answered_by: &'static str,
    login: Option<LoginRecord>,
    /// Why it is this login.
    login_rule: Option<&'static str>,
    allowed: bool,
    /// The rule that decides.
    rule: String,
    reason: String,
    hint: Option<String>,
    steps: Vec<ExplainStep>,
    /// The lines that git gets, secrets masked; none if it is refused.
    answer: Vec<String>,
    /// Whether the helper was asked.
    minted: bool,
}

impl WhyArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let git = Git::default();
        let settings = Settings::read(&git)?;
        let (target, several) = Target::of_command(&settings, &self.url, self.push)?;
        if several > 1 {
            let name = safe(&self.url);
            context.out.note(&format!("note: git pushes to {several} URLs of {name}; this is about the first\n"));
        }
        let Some(repository) = target.repository.clone() else {
            return Err(
                Failure::usage("that URL names no repository").hint(format!("as in {}/acme/app.git", target.server))
            );
        };
        if target.password {
            return Err(secret_in_url(&target, self.push));
        }
        let (target, said_by) = target.with_configured_user(&settings)?;
        let chain = Chain::of(&settings, &target.url())?;
        let helper = runnable(&git, &chain, &target)?;
        let answerer = Answerer::find(context, &target, Some(&helper)).await?;
        answerer.must_answer().await?;
        if let (Answerer::NoLogin(absence), Some(entry)) = (&answerer, &said_by)
            && let Some(what) = configured_user(entry, &target, absence)
        {
            return Err(Failure::not_logged_in(what).hint(format!("`{}`", entry.unset(Some(&exactly(&entry.value))))));
        }
        if let (Answerer::Job, Some(server)) = (&answerer, &context.named().server)
            && *server != target.server
        {
            let what = format!("the `tok ci exec` that this runs in answers for {server} alone");
            return Err(
                Failure::not_logged_in(what).hint("put what needs another server behind a `tok ci exec` of its own")
            );
        }
        // A token of a job's own is answered with whatever git asks for.
        if !matches!(answerer, Answerer::Token(_) | Answerer::Unplaced(_))
            && let Some((what, mend)) = without_path(&settings, &target)?
        {
            let what = format!("{what}: git does not say which repository it means, so tok gives it nothing");
            return Err(Failure::not_logged_in(what).hint(format!("`{mend}`")));
        }
        let (said, answer) = if matches!(answerer, Answerer::Job) && self.mint {
            let answer = ask_helper(&target, &helper, self.push)?;
            (of_job(&answer), answer)
        } else {
            let said = self.explained(context, &answerer, &target, &repository).await?;
            let answer = match (said.allowed, self.mint) {
                (false, _) => Vec::new(),
                (true, true) => ask_helper(&target, &helper, self.push)?,
                (true, false) => expected(&answerer, &target, &said, knows_bearer(&git)?),
            };
            (said, answer)
        };
        let report = Report {
            url: target.url(),
            repository: repository.to_string(),
            right: if self.push { "write" } else { "read" },
            asked_first: chain.before_ours().map(|entry| entry.value.clone()).collect(),
            helpers: chain.helpers().iter().map(|entry| entry.value.clone()).collect(),
            answered_by: answerer.word(),
            login: answerer.login().map(|(login, _)| LoginRecord::new(login, context.now)),
            login_rule: answerer.login().map(|(_, rule)| rule.as_str()),
            allowed: said.allowed,
            rule: said.rule,
            reason: said.reason,
            hint: said.hint,
            steps: said.steps,
            answer,
            minted: self.mint && said.allowed,
        };
        context.out.show(&report, || text(&report, &answerer))?;
        if report.allowed { Ok(()) } else { Err(Failure::Silent(Exit::NotAllowed)) }
    }

    /// What the server says to whoever would answer.
    async fn explained(
        &self,
        context: &Context,
        answerer: &Answerer,
        target: &Target,
        repository: &RepoPath,
    ) -> Result<Explanation, Failure> {
        let right = if self.push { RepoRight::Write } else { RepoRight::Read };
        let ask = ExplainAsk { repository: Some((repository.clone(), right)), ..ExplainAsk::default() };
        let said = answerer.client(context, &target.server).await?.explain(ask).await;
        let said = said.map_err(|fault| {
            let again = answerer.login().map(|(login, _)| format!("`{}`", login.login_command())).unwrap_or_default();
            Failure::from(fault).hint_if_not_logged_in(&again)
        })?;
        Ok(answerer.as_the_helper_says(said, context.now))
    }
}

/// The helper of ours that answers git: the first that git can run.
fn runnable(git: &Git, chain: &Chain, target: &Target) -> Result<String, Failure> {
    let server = &target.server;
    // Git goes to others, or to nobody, whoever is known here.
    if let Some((_, mend)) = chain.without_ours(server) {
        let others = chain.order();
        return Err(Failure::not_logged_in(format!(
            "git does not ask tok for {server}, so nothing of tok's is answered; it asks {others}"
        ))
        .hint(format!("if it is a server of tok's: {mend}")));
    }
    let ours: Vec<_> = chain.helpers().iter().map(|entry| &entry.value).filter(|value| is_ours(value)).collect();
    match ours.iter().find(|value| version(git, value).is_some()) {
        Some(value) => Ok((*value).clone()),
        None => Err(Failure::not_logged_in(format!(
            "git cannot run `{}`, so it gets no answer of tok's",
            ours.first().map_or("", |value| value.as_str())
        ))
        .hint(format!("`tok git setup {server}`"))),
    }
}

/// What stands in the URL goes before every helper, or is asked for as if it were a user.
fn secret_in_url(target: &Target, push: bool) -> Failure {
    let what = "the URL has a password or a token in it, so git gets nothing of tok's";
    let plain = target.plain();
    Failure::not_logged_in(what).hint(match &target.remote {
        Some(remote) => {
            let push = if push { "--push " } else { "" };
            format!("`git remote set-url {push}{} {}`, and revoke it", quoted(remote), quoted(&plain))
        }
        None => format!("leave it out, as in {plain}, and revoke it"),
    })
}

/// What is wrong, if git's configuration names a user where the URL names none, and no login that may answer is theirs.
pub(in crate::commands) fn configured_user(entry: &Entry, target: &Target, absence: &Absence) -> Option<String> {
    let instead = match absence {
        Absence::OtherUser { users } => format!("logged in there: {}", users.join(", ")),
        Absence::OtherUserOfProfile { profile, users, .. } => format!("the profile {profile} is {}", users.join(", ")),
        _ => return None,
    };
    Some(format!(
        "git's configuration names the user {} for {} ({}: {}); {instead}",
        entry.value,
        target.server,
        entry.place(),
        entry.key
    ))
}

/// What the `tok ci exec` around this has said.
fn of_job(answer: &[String]) -> Explanation {
    let allowed = answer.iter().any(|line| line.starts_with("credential=") || line.starts_with("password="));
    let reason = if allowed { "`tok ci exec` gave it" } else { "`tok ci exec` gave nothing, and has said why" };
    let (rule, reason) = ("job".to_owned(), reason.to_owned());
    Explanation { allowed, rule, reason, over: false, hint: None, steps: Vec::new(), token: None }
}

/// Whether git takes a token as it is (2.46), or as a password only.
fn knows_bearer(git: &Git) -> Result<bool, Failure> {
    let version = git.says(&["version"])?.as_deref().and_then(crate::commands::doctor::version_of);
    Ok(version.is_some_and(|version| version >= (2, 46)))
}

/// The answer as it will be, as far as that is known before a token is minted.
fn expected(answerer: &Answerer, target: &Target, said: &Explanation, bearer: bool) -> Vec<String> {
    let (secret, user) = match answerer {
        Answerer::Token(token) => (masked(token.expose_secret()), "tok".to_owned()),
        Answerer::Agent(login, _) => ("tokgit_…".to_owned(), login.user.to_string()),
        _ => (
            "tokgit_…".to_owned(),
            said.token.as_ref().and_then(|token| token.created_by_name.clone()).unwrap_or_else(|| "…".to_owned()),
        ),
    };
    let user = target.username.clone().unwrap_or(user);
    let end = match answerer {
        Answerer::Token(_) => None,
        _ => Some("password_expiry_utc=… (when git asks, at least a minute ahead)".to_owned()),
    };
    let secret = if bearer {
        vec!["authtype=Bearer".to_owned(), format!("credential={secret}"), "ephemeral=1".to_owned()]
    } else {
        vec![format!("password={secret}")]
    };
    [format!("username={user}")].into_iter().chain(secret).chain(end).collect()
}

/// What the helper answers to what git would ask.
fn ask_helper(target: &Target, helper: &str, push: bool) -> Result<Vec<String>, Failure> {
    let origin = target.server.to_string();
    let (scheme, host) = origin.split_once("://").unwrap_or(("https", &origin));
    let repository = target.repository.as_ref().map(ToString::to_string).unwrap_or_default();
    let right = if push { "write" } else { "read" };
    let user = target.username.as_ref().map(|user| format!("username={user}\n")).unwrap_or_default();
    let request = format!(
        "capability[]=authtype\ncapability[]=state\nprotocol={scheme}\nhost={host}\npath={repository}.git\n{user}\
         wwwauth[]=Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"repo:{right}\", resource=\"{repository}\"\n\n"
    );
    let failed = |why: &dyn std::fmt::Display| Failure::local(format!("the helper cannot be asked: {why}"));
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {} get", command(helper))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| failed(&why))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(request.as_bytes()).map_err(|why| failed(&why))?;
    }
    let output = child.wait_with_output().map_err(|why| failed(&why))?;
    let answer = Zeroizing::new(output.stdout);
    let lines = String::from_utf8_lossy(&answer);
    Ok(lines.lines().map(masked_line).collect())
}

/// What git passes to a shell for a helper of this value.
pub(in crate::commands) fn command(helper: &str) -> String {
    match helper.strip_prefix('!') {
        Some(command) => command.to_owned(),
        None if helper.starts_with('/') => helper.to_owned(),
        None => format!("git-credential-{helper}"),
    }
}

fn masked_line(line: &str) -> String {
    match line.split_once('=') {
        Some((key @ ("password" | "credential" | "oauth_refresh_token"), secret)) => {
            format!("{key}={}", masked(secret))
        }
        // It stands for the token that it was given with.
        Some((key @ "state[]", _)) => format!("{key}=tok:…"),
        _ => line.to_owned(),
    }
}

/// As much of a token as lists show; nothing of what is no token of ours.
fn masked(secret: &str) -> String {
    let begin = secret.find('_').filter(|_| secret.starts_with("tok")).map(|end| end + 1 + SHOWN);
    match begin.and_then(|end| secret.get(..end)) {
        Some(shown) if secret.len() > 2 * shown.len() => format!("{shown}…"),
        _ => "…".to_owned(),
    }
}

fn text(report: &Report, answerer: &Answerer) -> String {
    let by = match answerer {
        Answerer::Token(_) => "the token in TOK_TOKEN".to_owned(),
        Answerer::Agent(login, rule) => format!("the agent, with the login of {login}: {}", rule.as_str()),
        Answerer::Job => "the `tok ci exec` that this runs in".to_owned(),
        Answerer::Socket(socket) => format!("whoever listens at {}", socket.display()),
        Answerer::Daemon(socket) => format!("the daemon of this machine, at {}", socket.display()),
        Answerer::Unplaced(_) | Answerer::NoLogin(_) | Answerer::Ambiguous(_) | Answerer::Nobody => "nobody".to_owned(),
    };
    let helpers = if report.helpers.is_empty() { "nobody".to_owned() } else { report.helpers.join(", ") };
    let first = match report.asked_first.as_slice() {
        [] => String::new(),
        first => format!("{}; what it has is used, and tok is not asked then", safe(&first.join(", "))),
    };
    let unseen = if report.allowed { "whether there is such a repository" } else { "" };
    let mut text = facts(&[
        ("URL", safe(&report.url)),
        ("Git asks", safe(&helpers)),
        ("Asked first", first),
        ("Answered by", safe(&by)),
        ("Wanted", format!("{} {}", report.right, safe(&report.repository))),
        ("Verdict", format!("{}: {}", if report.allowed { "allowed" } else { "denied" }, safe(&report.reason))),
        ("Rule", safe(&report.rule)),
        ("Not looked at", unseen.to_owned()),
        ("Try", report.hint.as_deref().map(safe).unwrap_or_default()),
    ]);
    if !report.answer.is_empty() {
        text.push_str(if report.minted { "Git gets:\n" } else { "Git would get:\n" });
        text.extend(report.answer.iter().map(|line| format!("  {}\n", safe(line))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_whatever_they_are() {
        let token = format!("tokgit_a1b2{}", "x".repeat(36));
        assert_eq!(masked_line(&format!("credential={token}")), "credential=tokgit_a1b2…");
        assert_eq!(masked_line(&format!("password={token}")), "password=tokgit_a1b2…");
        for odd in ["hunter2", "tokgit_a1b2", "tok_", "name:secret_of_mine"] {
            assert_eq!(masked_line(&format!("password={odd}")), "password=…", "{odd}");
        }
        assert_eq!(masked_line("state[]=tok:n=1"), "state[]=tok:…");
        assert_eq!(masked_line("username=alice"), "username=alice");
    }

    #[test]
    fn a_helper_is_run_as_git_runs_it() {
        assert_eq!(command("tok --profile work"), "git-credential-tok --profile work");
        assert_eq!(command("/opt/git-credential-tok"), "/opt/git-credential-tok");
        assert_eq!(command("!'/a b/git-credential-tok'"), "'/a b/git-credential-tok'");
    }
}
