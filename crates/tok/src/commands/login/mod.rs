//! `tok login`.

mod browser;
mod device;
mod record;
mod session;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tok_model::name::UserName;
use tok_model::url::Origin;

use self::session::Session;
use crate::commands::git;
use crate::commands::logout::agent_forgets;
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::{Added, Choice, Login, Logins, LoginsFile, NewLogin, PathPrefix, Storage};
use crate::output::{facts, safe, when};

pub(crate) use self::record::LoginRecord;

/// Log in to a server, so that git and `tok` are known there
///
/// Shows an address and a code: open the address in a browser, on this machine or any other, log in there and confirm the
/// code. With `--user` a user name and a password are enough, with `--with-token` a token that you have; neither is ever an
/// argument, which others on this machine can see.
///
/// What is kept is a session, which is a token like others: `tok token list` shows it, `tok logout` or `tok token revoke`
/// ends it. It is in the keyring of your desktop if there is one, else in a file that only you can read. Logging in again
/// replaces and revokes the session before.
///
/// Several logins live side by side: on several servers, and on one server as several users. Which is meant is decided by
/// `--profile`, by the user name in a URL, by `--path`, and by `--default`, in this order.
///
/// Examples:
///
///     $ tok login https://git.example.com
///     $ tok login git.example.com --user alice
///     $ tok login git.example.com --with-token < token.txt
///     $ tok login git.example.com --profile work --path acme
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct LoginArgs {
    /// The server's address; https:// if nothing is said [default: the server you are logged in to]
    #[arg(value_name = "SERVER")]
    url: Option<String>,
    #[command(flatten)]
    how: HowArgs,
    /// Use this login for a workspace or a repository only (repeatable)
    #[arg(long = "path", value_name = "PREFIX")]
    paths: Vec<PathPrefix>,
    /// Use this login where several on its server would do, and its server where none is named
    #[arg(long)]
    default: bool,
    /// Where to keep the session [default: the keyring if there is one, else a file]
    #[arg(long, value_enum, value_name = "WHERE", env = "TOK_STORAGE", hide_env_values = true)]
    storage: Option<Storage>,
    /// Let git get its credentials for the server from tok, too, as `tok git setup` does
    #[arg(long)]
    setup_git: bool,
}

/// How it is shown who one is.
#[derive(Debug, Args)]
struct HowArgs {
    /// Log in with this user's password: asked for on the terminal, or with --password-stdin read from stdin
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Read the password from stdin
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Read a token from stdin and keep that: a session or a personal access token
    #[arg(long, conflicts_with = "user")]
    with_token: bool,
    /// Open no browser
    #[arg(long)]
    no_browser: bool,
}

impl LoginArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let server = self.server(context)?;
        let file = file()?;
        // Better known before somebody confirms a code than after.
        file.ready(self.storage).await?;
        let session = self.session(context, &server).await?;
        let (login, added) = self.keep(context, &file, session, &server).await?;
        if let Some(trouble) = &added.no_keyring {
            context.out.note(&format!(
                "note: the session is kept in {}, which only you can read: {}\n",
                safe(&file.path().display().to_string()),
                safe(&trouble.message)
            ));
        }
        let replaced = end_replaced(context, &login, added.replaced).await;
        warn_of_others(context, &login)?;
        let git = self.set_up_git(context, &login).await?;
        let report = Report { login: LoginRecord::new(&login, context.now), replaced, git_setup: git };
        context.out.show(&report, || text(&login, context))
    }

    /// The server that is meant.
    fn server(&self, context: &Context) -> Result<Origin, Failure> {
        let server = match (&self.url, &context.named().server) {
            (Some(url), None) => address(url)?,
            (Some(url), Some(named)) if address(url)? == *named => named.clone(),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("two servers are named").hint("leave out `--server` and TOK_SERVER"));
            }
            (None, Some(named)) => named.clone(),
            (None, None) => match Logins::load()?.server_for_commands(context.profile()) {
                Ok(server) => server.clone(),
                Err(several) => return Err(which(&several)),
            },
        };
        if server.acceptable() {
            Ok(server)
        } else {
            Err(Failure::usage(format!("a password or a session would travel to {server} in the clear"))
                .hint("use its https:// address; http:// is for servers on this machine"))
        }
    }

    async fn session(&self, context: &Context, server: &Origin) -> Result<Session, Failure> {
        let HowArgs { user, password_stdin, with_token, no_browser } = &self.how;
        match user {
            _ if *with_token => session::of_token(context, server).await,
            Some(user) => session::by_password(context, server, user, *password_stdin).await,
            None => device::approved(context, server, !no_browser).await,
        }
    }

    /// Keeps the session; if that fails nobody has it, and it is ended.
    async fn keep(
        &self,
        context: &Context,
        file: &LoginsFile,
        session: Session,
        server: &Origin,
    ) -> Result<(Login, Added), Failure> {
        let Session { user, token, secret, ours } = session;
        let new = NewLogin {
            server: server.clone(),
            user,
            profile: context.profile().cloned(),
            session: token.id,
            token_prefix: token.token_prefix,
            expires_at: token.expires_at,
            paths: self.paths.clone(),
            default: self.default,
            secret: secret.clone(),
        };
        match file.add(new, self.storage).await {
            Ok(kept) => Ok(kept),
            Err(trouble) => {
                if ours && let Ok(mut client) = context.server(server, None).await {
                    let _ = client.revoke_secret(&secret, Some("it could not be kept".to_owned())).await;
                }
                Err(trouble.into())
            }
        }
    }

    /// Whether git is set up for the server when this is over.
    async fn set_up_git(&self, context: &Context, login: &Login) -> Result<bool, Failure> {
        if git::is_set_up(&login.server)? {
            return Ok(true);
        }
        let question = format!("Let git get its credentials for {} from tok?", login.server);
        let wanted = self.setup_git || (context.out.interactive && !context.out.is_json() && agreed(&question));
        if wanted {
            git::set_up(context, &login.server, login.profile.as_ref()).await?;
        } else {
            context.out.note(&format!("To let git use it: tok git setup {}{}\n", login.server, profile_flag(login)));
        }
        Ok(wanted)
    }
}

/// Which server is meant is not to be guessed.
fn which(servers: &[&Origin]) -> Failure {
    match servers {
        [] => Failure::usage("which server?").hint("`tok login https://git.example.com`"),
        [first, ..] => {
            let all: Vec<_> = servers.iter().map(ToString::to_string).collect();
            Failure::usage(format!("which server? You are logged in at {}", all.join(", ")))
                .hint(format!("`tok login {first}`"))
        }
    }
}

/// A login that is not told apart from another is better mentioned now than when git asks.
fn warn_of_others(context: &Context, login: &Login) -> Result<(), Failure> {
    let logins = Logins::load()?;
    let path = login.paths.first().map(PathPrefix::example);
    if let Choice::Ambiguous(several) = logins.for_url(&login.server, None, path.flatten().as_ref(), None) {
        let (what, hint) = Choice::ambiguous(&several);
        context.out.note(&format!("warning: {what}\n  {hint}\n"));
    }
    Ok(())
}

fn profile_flag(login: &Login) -> String {
    login.profile.as_ref().map(|name| format!(" --profile {name}")).unwrap_or_default()
}

fn agreed(question: &str) -> bool {
    crate::context::Consent::Ask.ask(question).is_ok()
}

/// The file of logins, or why there can be none.
pub(super) fn file() -> Result<LoginsFile, Failure> {
    LoginsFile::usual().ok_or_else(|| {
        Failure::local("there is no place to keep a login: neither HOME nor XDG_CONFIG_HOME is set")
            .hint("set HOME to your home directory")
    })
}

/// A server's address as people type it.
pub(super) fn address(text: &str) -> Result<Origin, Failure> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    Origin::parse(&whole).map_err(|why| {
        Failure::usage(why).hint("give scheme, host and port alone, as in `tok login https://git.example.com`")
    })
}

/// Ends the session that was replaced. Its ID, if it is at an end now.
async fn end_replaced(context: &Context, login: &Login, replaced: Option<Login>) -> Option<String> {
    let old = replaced.filter(|old| old.session != login.session)?;
    if !old.is_session() {
        context.out.note(&format!(
            "note: the token {}… is no longer used here and still works; `tok token revoke {}` ends it\n",
            safe(&old.token_prefix),
            old.session
        ));
        return None;
    }
    let id = old.session.to_string();
    agent_forgets(context, &old).await;
    let ended = async {
        let mut client = context.server(&login.server, Some(login.secret().await?)).await?;
        Ok::<_, Failure>(client.revoke_token(id.clone(), Some("logged in again".to_owned()), false).await?)
    };
    match ended.await {
        Ok(_) => Some(id),
        Err(failure) => {
            let why = safe(&failure.words());
            context.out.note(&format!("warning: the session before, {id}, may still work: {why}\n"));
            None
        }
    }
}

/// What is told to programs.
#[derive(Debug, Serialize)]
struct Report {
    login: LoginRecord,
    /// The session that this one took the place of, and that was revoked.
    replaced: Option<String>,
    /// Whether git asks tok for this server.
    git_setup: bool,
}

fn text(login: &Login, context: &Context) -> String {
    let paths: Vec<_> = login.paths.iter().map(ToString::to_string).collect();
    let shown = facts(&[
        ("Session", format!("{}…  {}", safe(&login.token_prefix), login.session)),
        ("Expires", login.expires_at.map_or_else(|| "never".to_owned(), |end| when(end, context.now))),
        ("Kept in", kept_in(login)),
        ("For", paths.join(", ")),
    ]);
    format!("Logged in as {login}.\n{shown}")
}

fn kept_in(login: &Login) -> String {
    match login.storage() {
        Storage::Keyring => "the keyring".to_owned(),
        Storage::File => {
            LoginsFile::usual().map_or_else(PathBuf::new, |file| file.path().to_owned()).display().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_typed_with_or_without_its_scheme() {
        for (text, expected) in [
            ("git.example.com", "https://git.example.com"),
            ("git.example.com:8443", "https://git.example.com:8443"),
            ("https://Git.Example.com/", "https://git.example.com"),
            ("http://127.0.0.1:7650", "http://127.0.0.1:7650"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for bad in ["", "git.example.com/acme", "ssh://git.example.com", "-x"] {
            assert_eq!(address(bad).unwrap_err().exit(), 2, "{bad}");
        }
        let refusal = format!("{:?}", address("alice:hunter2@git.example.com").unwrap_err());
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}
