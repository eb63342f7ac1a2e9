//! Who calls the daemon of a test: programs in its surroundings, git, its helper and agent, and HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::Environment;
use crate::binaries;
use crate::call::Call;
use crate::git::Git;
use crate::helper::{self, Answer, Conversation};
use crate::http::{Reply, Request};

impl Environment {
    /// Any program, in this test's surroundings.
    pub fn call(&self, program: impl Into<PathBuf>) -> Call {
        let call =
            Call::new(program, &self.path("work"), &self.home(), &self.canaries).variable("TOK_SOCKET", self.socket());
        match &self.authority {
            Some(authority) => call.variable("SSL_CERT_FILE", authority.trust()),
            None => call,
        }
    }

    /// `tok`. What makes a token may show it; every other output is looked through for secrets.
    pub fn tok(&self, arguments: &[&str]) -> Call {
        let call = self.call(binaries::path("tok")).arguments(arguments.iter().copied());
        if arguments.windows(2).any(|pair| matches!(pair, ["token", "create" | "rotate"])) {
            call.shows_secret()
        } else {
            call
        }
    }

    /// Makes a personal token with `tok` and gives its text.
    #[track_caller]
    pub fn token(&self, user: &str, arguments: &[&str]) -> String {
        let call = self.tok(&["token", "create", "a test's"]).arguments(arguments.iter().copied()).acting_as(user);
        call.ok().line().to_owned()
    }

    /// git, in a directory.
    pub fn git(&self, directory: &Path, arguments: &[&str]) -> Git {
        let traces = self.path(&format!("traces/{}", self.traces.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&traces).expect("the directory is ours");
        let mut git = Git::new(self.call("git").directory(directory), traces);
        if let Some(authority) = &self.authority {
            git = git.setting("http.sslCAInfo", authority.trust().to_string_lossy());
        }
        for argument in arguments {
            git = git.argument(argument);
        }
        git
    }

    /// `git-credential-tok`, without its operation.
    pub fn helper(&self) -> Call {
        let helper = self.call(binaries::path("git-credential-tok"));
        match self.agent.get() {
            Some(socket) => helper.variable("TOK_SOCKET", socket),
            None => helper,
        }
    }

    /// Lets these users log in from here and the helper ask an agent from now on, instead of the daemon.
    pub fn through_agent(&self, users: &[&str]) {
        for user in users {
            self.log_in_at(&self.url(), user);
        }
        self.with_logins(self.tok(&["agent", "start"])).ok();
        // Whoever asks twice has the same agent.
        let _ = self.agent.set(self.home().join("run/tok/agent.sock"));
    }

    /// Logs a user in from here, at this address of the server, with a password that they have from now on.
    pub fn log_in_at(&self, url: &str, user: &str) -> String {
        let password = format!("a long and lucky password of {user}");
        self.tok(&["user", "passwd", user]).input(format!("{password}\n")).ok();
        let login = self.with_logins(self.tok(&["login", url, "--user", user, "--password-stdin"]));
        login.input(format!("{password}\n")).ok();
        password
    }

    /// Starts an agent that knows of no connection and no token, in the place of the one before.
    pub fn another_agent(&self) {
        self.with_logins(self.tok(&["agent", "stop"])).ok();
        self.through_agent(&[]);
    }

    /// In surroundings where logins are kept: where a secret may be.
    pub(super) fn with_logins(&self, call: Call) -> Call {
        let configuration = self.canaries.exempt().join("configuration");
        call.without("TOK_SOCKET").variable("XDG_CONFIG_HOME", configuration).variable("TOK_STORAGE", "file")
    }

    /// A conversation with the helper.
    pub fn conversation(&self) -> Conversation {
        Conversation::new(self.helper())
    }

    /// What the helper answers to these lines, in a conversation of its own.
    #[track_caller]
    pub fn get(&self, lines: &str) -> Answer {
        self.conversation().get(lines)
    }

    /// The lines that a new git sends for a repository after the server's challenge, without the blank line.
    pub fn challenged(&self, repo: &str, right: &str) -> String {
        challenged(&self.host(), repo, right)
    }

    /// The text of a git token of this user for a repository, `read` or `write`, as the helper gets it.
    #[track_caller]
    pub fn git_token(&self, user: &str, repo: &str, right: &str) -> String {
        let call = self.helper().acting_as(user).argument("get").input(self.challenged(repo, right) + "\n");
        let finished = call.shows_secret().ok();
        helper::answer(&finished).token().to_owned()
    }

    /// Sends a request to the daemon.
    pub fn send(&self, request: &Request) -> Reply {
        match &self.authority {
            Some(authority) => request.send_securely(self.address(), &authority.trust()),
            None => request.send(self.address()),
        }
    }
}

/// The lines of a new git for a repository at this `host:port`, without the blank line.
pub fn challenged(host: &str, repo: &str, right: &str) -> String {
    format!(
        "capability[]=authtype\ncapability[]=state\nprotocol=http\nhost={host}\npath={repo}.git\n\
         wwwauth[]=Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"repo:{right}\", resource=\"{repo}\"\n"
    )
}
