//! A session by password, or a token that somebody has already.

use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{OpenedSession, PasswordLogin, TokenRecord};
use tok_model::kind::TokenKind;
use tok_model::name::UserName;
use tok_model::url::Origin;

use crate::context::Context;
use crate::exit::Failure;
use crate::secret;

/// What a login is made of.
pub(super) struct Session {
    pub(super) user: UserName,
    pub(super) token: TokenRecord,
    pub(super) secret: SecretString,
    /// Whether it was made for this login, and is of no use to anybody else.
    pub(super) ours: bool,
}

impl TryFrom<OpenedSession> for Session {
    type Error = Failure;
    fn try_from(opened: OpenedSession) -> Result<Self, Failure> {
        let OpenedSession { secret, token, user } = opened;
        let user =
            user.parse().map_err(|why| Failure::local(format!("the server names a user that cannot be: {why}")))?;
        Ok(Self { user, token, secret, ours: true })
    }
}

/// Opens a session with a password, which is asked for or read from stdin.
pub(super) async fn by_password(
    context: &Context,
    server: &Origin,
    user: &UserName,
    from_stdin: bool,
) -> Result<Session, Failure> {
    let password = if from_stdin {
        secret::from_stdin("the password")?
    } else if context.out.interactive {
        secret::typed(context.out, &format!("Password of {user} at {server}: ")).await?
    } else {
        return Err(Failure::usage("there is no terminal to ask for the password on")
            .hint("give it on stdin with `--password-stdin`, or leave out `--user` to log in with a browser"));
    };
    let login = PasswordLogin { user: user.clone(), password, machine: machine() };
    let opened = context.server(server, None).await?.open_session(login).await;
    opened
        .map_err(|fault| Failure::from(fault).hint_if_not_logged_in("check the user name and the password"))?
        .try_into()
}

/// Takes a token from stdin, and makes sure that it works and acts for a user.
pub(super) async fn of_token(context: &Context, server: &Origin) -> Result<Session, Failure> {
    const HINT: &str = "`tok login SERVER --with-token < file`";
    let text = if context.out.interactive {
        secret::typed(context.out, "Token: ").await?
    } else {
        secret::from_stdin("the token").map_err(|failure| failure.hint(HINT))?
    };
    let secret = match text.expose_secret().trim() {
        "" => return Err(Failure::usage("there is no token on stdin").hint(HINT)),
        text => SecretString::from(text),
    };
    let who = context.server(server, Some(secret.clone())).await?.whoami().await;
    let who = who.map_err(|fault| {
        Failure::from(fault).hint_if_not_logged_in("is it whole, and of this server? `tok token create` makes one")
    })?;
    let unfit = |why: &str| {
        Failure::usage(format!("this token is for no login: {why}"))
            .hint("a session or a personal access token makes one; put any other into TOK_TOKEN, with TOK_SERVER")
    };
    let token = who.token.ok_or_else(|| unfit("it is temporary, or not known by an ID"))?;
    if !matches!(token.kind, TokenKind::Personal | TokenKind::Session) {
        return Err(unfit(&format!("it is of kind {}", token.kind)));
    }
    let user = who.user.ok_or_else(|| unfit("it acts for no user"))?;
    let user = user.parse().map_err(|why| Failure::local(format!("the server names a user that cannot be: {why}")))?;
    Ok(Session { user, token, secret, ours: false })
}

/// What this machine is called, for whoever looks at the list of sessions.
pub(super) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    match name.trim() {
        "" => "an unnamed machine".to_owned(),
        name => name.chars().filter(|c| !c.is_control()).take(64).collect(),
    }
}
