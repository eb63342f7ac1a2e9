//! Which daemon a command goes to, and as whom.
//!
//! A daemon that is named is asked and no other. Without one, and without a token in `TOK_TOKEN`, the stored logins decide
//! before a daemon of this machine does: whoever logged in somewhere means that server.

use secrecy::{ExposeSecret as _, SecretString};
use tok_api::endpoint::Surroundings;
use tok_model::secret::{Plaintext, TokenTextError};
use tok_model::url::Origin;

use crate::exit::Failure;
use crate::logins::{Choice, Login, Logins, Profile, Rule, TroubleKind};

/// What flags, variables and the configuration file say.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// `--server`, `TOK_SERVER`
    pub(crate) server: Option<Origin>,
    /// `TOK_TOKEN`
    pub(crate) token: Option<SecretString>,
    /// `--profile`, `TOK_PROFILE`
    pub(crate) profile: Option<Profile>,
}

/// Where a command goes.
#[derive(Debug)]
pub(crate) struct Route {
    /// A server elsewhere; None is this machine's daemon.
    pub(crate) server: Option<Origin>,
    /// What the caller is known by, beside the socket.
    pub(crate) token: Option<SecretString>,
    /// The login that the token is of, and why it is this one.
    pub(crate) login: Option<Login>,
    pub(crate) rule: Option<Rule>,
}

impl Route {
    /// Finds out, asking the keyring if the login's session is there.
    pub(crate) async fn find(named: &Named, surroundings: &Surroundings) -> Result<Self, Failure> {
        let Named { server, token, profile } = named;
        let plain = |token: &Option<SecretString>| Self {
            server: server.clone(),
            token: token.clone(),
            login: None,
            rule: None,
        };
        if token.as_ref().is_some_and(|token| token.expose_secret().contains(|c: char| c.is_control() || !c.is_ascii()))
        {
            return Err(Failure::usage("TOK_TOKEN has a character that no token has")
                .hint("set it without a line end: TOK_TOKEN=\"$(cat FILE)\" leaves it out"));
        }
        if token.is_some() || (server.is_none() && surroundings.explicit.is_some()) {
            return Ok(plain(token));
        }
        let logins = match Logins::load() {
            // Root with a user's HOME has no logins, and needs none for the daemon of this machine.
            Err(trouble) if trouble.kind == TroubleKind::SomebodyElses && server.is_none() => Logins::default(),
            other => other?,
        };
        let choice = match server {
            Some(server) => logins.for_url(server, None, None, profile.as_ref()),
            None => logins.for_commands(profile.as_ref()),
        };
        match (choice, profile) {
            (Choice::One(login, rule), _) => {
                let token = Some(login.secret().await?);
                Ok(Self { server: Some(login.server.clone()), token, login: Some(login.clone()), rule: Some(rule) })
            }
            (Choice::None(_), None) => Ok(plain(&None)),
            (Choice::None(_), Some(profile)) => Err(Failure::not_logged_in(match server {
                Some(server) => format!("no login at {server} has the profile {profile}"),
                None => format!("no login has the profile {profile}"),
            })
            .hint("`tok status` lists the logins; `tok login <server> --profile NAME` makes one")),
            (Choice::Ambiguous(logins), _) => Err(which(&logins, server.is_some())),
        }
    }

    /// Why it is this one, in words.
    pub(crate) fn why(&self, socket_named: bool) -> &'static str {
        match (&self.server, self.rule) {
            (Some(_), Some(Rule::Profile)) => "by the login whose profile was named",
            (Some(_), Some(Rule::Default)) => "by the login that is the default",
            (Some(_), Some(Rule::NoProfile)) => "by the login without a profile",
            (Some(_), Some(_)) => "by the only login",
            (Some(_), None) => "to the server that is named",
            (None, _) if socket_named => "over the socket that is named",
            (None, _) if self.token.is_some() => "to the daemon of this machine, with TOK_TOKEN",
            (None, _) => "to the daemon of this machine",
        }
    }

    /// What to do when the server does not know the caller.
    pub(crate) fn not_logged_in(&self) -> Option<String> {
        if let (None, Some(token)) = (&self.login, &self.token)
            && let Some(advice) = not_whole(token.expose_secret())
        {
            return Some(advice);
        }
        match (&self.login, &self.server, &self.token) {
            (Some(login), _, _) => Some(format!(
                "the session of {login} has ended or was revoked: `{}` begins another",
                login.login_command()
            )),
            (None, Some(server), None) => Some(format!(
                "`tok login {server}`, or set TOK_TOKEN to a token of yours for {server}; on the server, `tok token create <name>` makes one"
            )),
            _ => None,
        }
    }
}

/// What to do if a token has a prefix of ours and is none: no server is needed to see that.
fn not_whole(token: &str) -> Option<String> {
    match Plaintext::parse(token) {
        Err(TokenTextError::Shape | TokenTextError::Checksum) => {
            Some("the token in TOK_TOKEN is cut off or mistyped: copy the whole of it again".to_owned())
        }
        Ok(_) | Err(TokenTextError::Prefix) => None,
    }
}

/// Nobody guesses on whose behalf something is done.
fn which(logins: &[&Login], server_named: bool) -> Failure {
    let hint = way_to_tell(logins, server_named);
    let matches = logins.iter().map(ToString::to_string).collect();
    Failure::ambiguous("there are several logins, and nothing says which is meant", matches).hint(hint)
}

/// What tells several logins apart, as far as these can be.
fn way_to_tell(logins: &[&Login], server_named: bool) -> String {
    let Some(first) = logins.first() else { return String::new() };
    let server = &first.server;
    let default = format!("make one of them the default: `tok login {server} --default`");
    let elsewhere = !server_named && logins.iter().any(|login| login.server != *server);
    match (elsewhere, logins.iter().any(|login| login.profile.is_some())) {
        (true, true) => format!("name one with `--server` or `--profile`, or {default}"),
        (true, false) => format!("name one with `--server`, or {default}"),
        (false, true) => format!("name a profile with `--profile`, or {default}"),
        // Nothing that could be said names one of these: they differ by their users alone.
        (false, false) => format!(
            "{default}; or give one a name, `tok login {server} --profile NAME`, and say `--profile NAME`; or end one: `tok logout {server} --user {}`",
            first.user
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::fixture::login;

    #[test]
    fn a_token_that_was_cut_off_is_told_from_one_that_is_unknown() {
        for cut in ["tokpat_abc", "tokpat_0123456789"] {
            assert!(not_whole(cut).unwrap().contains("cut off or mistyped"));
        }
        assert_eq!((not_whole("name:secret"), not_whole("wit_0123")), (None, None));
    }

    #[test]
    fn the_hint_names_what_tells_the_logins_apart() {
        let (a, b) = ("https://a.example", "https://b.example");
        let hint = |logins: &[Login], named| way_to_tell(&logins.iter().collect::<Vec<_>>(), named);
        let users = hint(&[login(a, "alice"), login(a, "bob")], false);
        assert!(!users.contains("--server"), "{users}");
        for command in [
            "`tok login https://a.example --default`",
            "`tok login https://a.example --profile NAME`",
            "`tok logout https://a.example --user alice`",
        ] {
            assert!(users.contains(command), "{users}");
        }
        assert!(hint(&[login(a, "alice"), login(b, "bob")], false).starts_with("name one with `--server`, or"));
        let profiles = hint(&[login(a, "alice").under("x"), login(a, "bob").under("y")], true);
        assert!(profiles.starts_with("name a profile"), "{profiles}");
    }
}
