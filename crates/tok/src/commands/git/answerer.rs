//! Who answers git's helper for a URL: the same order that the helper itself goes by.

use std::path::PathBuf;

use secrecy::SecretString;
use tok_api::client::agent::AgentClient;
use tok_api::client::{Caller, Client};
use tok_api::convert::Explanation;
use tok_api::endpoint::Surroundings;
use tok_model::clock::Timestamp;
use tok_model::credential::LEAST_LEFT;
use tok_model::url::Origin;

use super::chain::option;
use super::target::Target;
use crate::agent::latch::Latch;
use crate::agent::place;
use crate::context::Context;
use crate::exit::Failure;
use crate::logins::{Absence, Choice, Login, Logins, Profile, Rule};

/// Who answers.
#[derive(Debug)]
pub(in crate::commands) enum Answerer {
    /// The token in `TOK_TOKEN`, which `TOK_SERVER` says is for this server.
    Token(SecretString),
    /// Nobody: there is a token in `TOK_TOKEN`, and nothing says for which server. With what is wrong.
    Unplaced(&'static str),
    /// The `tok ci exec` that this runs in: what it gives is known when git asks.
    Job,
    /// Whoever listens at a socket that is named, by the helper's own option or by `TOK_SOCKET`.
    Socket(PathBuf),
    /// The agent, with this login.
    Agent(Box<Login>, Rule),
    /// The agent refuses: no login fits.
    NoLogin(Absence),
    /// The agent refuses: several logins fit.
    Ambiguous(Vec<Login>),
    /// The daemon of this machine.
    Daemon(PathBuf),
    /// Nobody.
    Nobody,
}

impl Answerer {
    /// Finds out. `helper` is what git runs, as its configuration says.
    pub(in crate::commands) async fn find(
        context: &Context,
        target: &Target,
        helper: Option<&str>,
    ) -> Result<Self, Failure> {
        let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(what) = unplaced_token() {
            return Ok(Self::Unplaced(what));
        }
        if let (Some(token), Some(server)) = (&context.named().token, &context.named().server)
            && *server == target.server
        {
            return Ok(Self::Token(token.clone()));
        }
        let of_helper = helper.and_then(|helper| option(helper, "--socket")).map(PathBuf::from);
        // The helper looks at the variable, wherever commands go.
        let of_variable = || given("TOK_SOCKET").map(PathBuf::from);
        let socket = of_helper.or_else(|| context.surroundings.explicit.clone()).or_else(of_variable);
        if let Some(socket) = socket {
            let is_jobs = given(crate::commands::ci::SOCKET).is_some_and(|of_job| of_job == socket);
            return Ok(if is_jobs { Self::Job } else { Self::Socket(socket) });
        }
        let profile = helper.and_then(|helper| option(helper, "--profile"));
        let profile = profile.or_else(|| given("TOK_PROFILE").and_then(|name| name.into_string().ok()));
        let profile: Option<Profile> = match profile {
            Some(name) => Some(name.parse().map_err(Failure::usage)?),
            None => context.profile().cloned(),
        };
        let logins = Logins::load()?;
        let username = target.username.as_deref();
        let choice = logins.for_url(&target.server, username, target.repository.as_ref(), profile.as_ref());
        match choice {
            Choice::One(login, rule) => Ok(Self::Agent(Box::new(login.clone()), rule)),
            Choice::Ambiguous(several) => Ok(Self::Ambiguous(several.into_iter().cloned().collect())),
            Choice::None(Absence::NotLoggedIn) => Ok(daemon(&context.surroundings).await),
            Choice::None(absence) => Ok(Self::NoLogin(absence)),
        }
    }

    /// A word for programs.
    pub(in crate::commands) fn word(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Job => "job",
            Self::Socket(_) => "socket",
            Self::Agent(..) | Self::NoLogin(_) | Self::Ambiguous(_) => "agent",
            Self::Daemon(_) => "daemon",
            Self::Unplaced(_) | Self::Nobody => "nobody",
        }
    }

    /// The login that answers, if one does.
    pub(in crate::commands) fn login(&self) -> Option<(&Login, Rule)> {
        match self {
            Self::Agent(login, rule) => Some((login, *rule)),
            _ => None,
        }
    }

    /// Fails if whoever is asked has nothing to say to anybody now.
    pub(in crate::commands) async fn must_answer(&self) -> Result<(), Failure> {
        let (Self::Agent(..), Ok(socket)) = (self, place::socket()) else { return Ok(()) };
        let locked = match AgentClient::connect(&socket).await {
            Ok(mut agent) => agent.status().await.is_ok_and(|status| status.locked),
            // The one that git starts is, too, if it can be started.
            Err(_) => match crate::settings::refuses(&["tok", "agent", "start"]) {
                Some(why) => {
                    let what = format!("the agent cannot be started, and it is what answers git: {why}");
                    return Err(Failure::not_logged_in(what).hint("`tok doctor` names the file to mend"));
                }
                None => Latch::beside(&socket).is_on(),
            },
        };
        if locked {
            return Err(Failure::not_logged_in("the agent is locked, and answers nobody").hint("`tok agent unlock`"));
        }
        Ok(())
    }

    /// What the server says of a token, turned into what git is told: a session may be good, and too short to mint from.
    pub(in crate::commands) fn as_the_helper_says(&self, said: Explanation, now: Timestamp) -> Explanation {
        if matches!(self, Self::Token(_)) {
            return said;
        }
        let again = self.login().map(|(login, _)| login.login_command());
        let end = said.token.as_ref().and_then(|token| token.expires_at);
        if said.allowed && end.is_some_and(|end| end - now < LEAST_LEFT) {
            return Explanation {
                allowed: false,
                rule: "expires_soon".to_owned(),
                reason: "the session ends within a minute, too soon to mint from".to_owned(),
                hint: again.or(said.hint),
                ..said
            };
        }
        match again {
            Some(again) if said.over => Explanation { hint: Some(again), ..said },
            _ => said,
        }
    }

    /// The server, asked by whoever would answer.
    pub(in crate::commands) async fn client(&self, context: &Context, server: &Origin) -> Result<Client, Failure> {
        match self {
            Self::Token(token) => context.server(server, Some(token.clone())).await,
            Self::Agent(login, _) => context.server(&login.server, Some(login.secret().await?)).await,
            Self::Socket(socket) | Self::Daemon(socket) => {
                let surroundings = Surroundings { explicit: Some(socket.clone()), ..Surroundings::default() };
                let caller = Caller { token: None, act_as: context.acting_as().cloned() };
                Ok(Client::connect(&surroundings, &caller).await?)
            }
            Self::Job => Err(Failure::local(
                "git is answered by the `tok ci exec` that this runs in, which exchanges the job's identity when git asks, and knows nothing before",
            )
            .hint("`tok git why <url> --mint` asks it as git does")),
            Self::NoLogin(absence) => {
                let (what, hint) = absence.explain(server);
                Err(Failure::not_logged_in(what).hint(hint))
            }
            Self::Ambiguous(logins) => {
                let several: Vec<_> = logins.iter().collect();
                let (what, hint) = Choice::ambiguous(&several);
                Err(Failure::ambiguous(what, Vec::new()).hint(hint))
            }
            Self::Unplaced(what) => Err(Failure::not_logged_in(format!(
                "{what}, so git's helper answers nothing, with the token or without"
            ))
            .hint(format!("set TOK_SERVER={server} if the token is for it, or unset TOK_TOKEN"))),
            Self::Nobody => Err(Failure::not_logged_in(format!("nobody answers git for {server}"))
                .hint(format!("`tok login {server}`, or in a CI job TOK_TOKEN with TOK_SERVER={server}"))),
        }
    }
}

/// What is wrong, if there is a token in `TOK_TOKEN` and the variables do not say for which server: the helper, which knows
/// nothing else, then answers nothing.
pub(in crate::commands) fn unplaced_token() -> Option<&'static str> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    given("TOK_TOKEN")?;
    match given("TOK_SERVER").map(|server| server.to_str().and_then(|url| Origin::parse(url).ok())) {
        None => Some("TOK_TOKEN is set without TOK_SERVER"),
        Some(None) => Some("TOK_TOKEN is set, and TOK_SERVER is not https://host[:port]"),
        Some(Some(_)) => None,
    }
}

/// The first socket that the helper finds, besides the agent's: without a login it has nothing to say.
async fn daemon(surroundings: &Surroundings) -> Answerer {
    let agent = surroundings.agent_socket();
    for socket in surroundings.known_to_helper() {
        let there = Surroundings { explicit: Some(socket.clone()), ..Surroundings::default() };
        if Some(&socket) != agent.as_ref() && Client::connect(&there, &Caller::default()).await.is_ok() {
            return Answerer::Daemon(socket);
        }
    }
    Answerer::Nobody
}
