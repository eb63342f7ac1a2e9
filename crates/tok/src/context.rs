//! What a command works with: the daemon, the output, the time, and a person to ask if there is one.

use std::ffi::OsStr;
use std::io::BufRead as _;
use std::path::Path;
use std::time::SystemTime;

use secrecy::SecretString;
use tok_api::client::{Caller, Client, RemoteOptions};
use tok_api::endpoint::Surroundings;
use tok_model::clock::Timestamp;
use tok_model::name::UserName;
use tok_model::url::Origin;

use crate::arguments::{Globals, Whereabouts};
use crate::exit::Failure;
use crate::logins::{Login, Profile};
use crate::output::{Output, complain, quoted};
use crate::route::{Named, Route};

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) out: Output,
    /// When the command began.
    pub(crate) now: Timestamp,
    /// Where to look for a daemon on this machine.
    pub(crate) surroundings: Surroundings,
    /// What flags and variables say about which daemon is asked, and as whom.
    named: Named,
    act_as: Option<UserName>,
    /// Which daemon is asked, once that was found out.
    route: Option<Route>,
    client: Option<Client>,
    /// The global flags that decide who is asked, and as whom, for a command that goes on where this one ends.
    flags: String,
}

impl Context {
    pub(crate) fn new(globals: &Globals, whereabouts: Whereabouts) -> Result<Self, Failure> {
        let act_as = match globals.act_as.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(name.parse().map_err(|why| Failure::usage(format!("--as: {why}")))?),
            None => None,
        };
        let profile = match globals.profile.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(name.parse().map_err(|why| Failure::usage(format!("--profile: {why}")))?),
            None => None,
        };
        let (server, socket) = match whereabouts {
            Whereabouts::Server(server) => (Some(server), None),
            Whereabouts::Local(socket) => (None, socket),
        };
        // What comes from the environment is still there next time.
        let typed = |flag: &str, value: Option<&OsStr>, variable: &str| match value.and_then(OsStr::to_str) {
            Some(text) if value != std::env::var_os(variable).as_deref() => format!(" --{flag} {}", quoted(text)),
            _ => String::new(),
        };
        let flags = typed("as", globals.act_as.as_deref().map(OsStr::new), "TOK_USER")
            + &typed("server", server.as_ref().and(globals.server.as_deref()).map(OsStr::new), "TOK_SERVER")
            + &typed("socket", socket.as_deref().map(Path::as_os_str), "TOK_SOCKET")
            + &typed("profile", globals.profile.as_deref().map(OsStr::new), "TOK_PROFILE");
        Ok(Self {
            out: Output::new(globals.output, globals.quiet, globals.no_input),
            now: now(),
            surroundings: Surroundings::of_process(socket),
            named: Named { server, token: token()?, profile },
            act_as,
            route: None,
            client: None,
            flags,
        })
    }

    /// A command for people to type next, in the same circumstances as this one.
    pub(crate) fn again(&self, command: &str) -> String {
        format!("tok{} {command}", self.flags)
    }

    /// The daemon; the first call connects.
    pub(crate) async fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(self.client.insert(client))
    }

    /// The same over a new connection, when the old one ended.
    pub(crate) async fn client_again(&mut self) -> Result<&mut Client, Failure> {
        self.client = None;
        self.client().await
    }

    async fn connect(&mut self) -> Result<Client, Failure> {
        if self.route.is_none() {
            self.route = Some(Route::find(&self.named, &self.surroundings).await?);
        }
        let route = self.route.as_ref();
        let caller = Caller { token: route.and_then(|route| route.token.clone()), act_as: self.act_as.clone() };
        match route.and_then(|route| route.server.as_ref()) {
            Some(server) => Ok(Client::remote(server, &caller, &RemoteOptions::default()).await?),
            // An agent speaks for logins, and there is none for this.
            None => {
                let daemons = Surroundings { without_agent: true, ..self.surroundings.clone() };
                Ok(Client::connect(&daemons, &caller).await?)
            }
        }
    }

    /// A server, as whoever has this token, or as nobody.
    pub(crate) async fn server(&self, server: &Origin, token: Option<SecretString>) -> Result<Client, Failure> {
        let caller = Caller { token, act_as: None };
        Ok(Client::remote(server, &caller, &RemoteOptions::default()).await?)
    }

    /// What flags and variables say about which daemon is asked.
    pub(crate) fn named(&self) -> &Named {
        &self.named
    }

    /// The user a manager acts as.
    pub(crate) fn acting_as(&self) -> Option<&UserName> {
        self.act_as.as_ref()
    }

    /// The profile that was named.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.named.profile.as_ref()
    }

    /// The login that this command is made with, once it has asked anything.
    pub(crate) fn login(&self) -> Option<&Login> {
        self.route.as_ref()?.login.as_ref()
    }

    /// Why commands go where they go.
    pub(crate) fn why_there(&self) -> &'static str {
        match &self.route {
            Some(route) => route.why(self.surroundings.explicit.is_some()),
            None => "nowhere yet",
        }
    }

    /// What to do when a server does not know the caller, better than the server can say it.
    pub(crate) fn not_logged_in(&self) -> Option<String> {
        self.route.as_ref()?.not_logged_in()
    }

    /// How this command may get consent to what cannot be undone. Fails at once if there is no way to get it.
    pub(crate) fn consent(&self, force: bool) -> Result<Consent, Failure> {
        if force {
            Ok(Consent::Given)
        } else if self.out.is_json() {
            Err(Failure::usage("with `--output json` nobody is asked").hint("add `--force` if you are sure"))
        } else if self.out.interactive {
            Ok(Consent::Ask)
        } else {
            Err(Failure::usage("there is no terminal to ask on").hint("add `--force` if you are sure"))
        }
    }
}

/// How a command may get consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// `--force`.
    Given,
    /// From the person at the terminal.
    Ask,
}

impl Consent {
    /// Asks, if that is still needed. Anything but yes changes nothing.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self == Self::Given {
            return Ok(());
        }
        complain(&format!("{question} [y/N] "));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (Ok(_), "y" | "yes") => Ok(()),
            _ => Err(Failure::cancelled()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of this program that asks the system for the time")]
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The token of the environment. There is no flag for it: arguments are seen by others.
fn token() -> Result<Option<SecretString>, Failure> {
    match std::env::var("TOK_TOKEN") {
        Ok(token) => Ok(Some(token).filter(|token| !token.is_empty()).map(SecretString::from)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::usage("TOK_TOKEN has bytes in it that no token has").hint("set it again, or unset it"))
        }
    }
}
