//! The first hour of somebody who is not on the server: one story over TLS, told in the order in which it happens.
//!
//! Two system users (the one who runs tokd, and the laptop's), two servers with an account on each, a desktop with a
//! keyring, and a network that fails on the way. Whatever happens, nobody is asked for a password, nobody reads an error
//! that is not true, and no token is on any disk or in any process's arguments or variables.

mod thief;
mod weather;
mod work;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tok_tests::agent::Agent;
use tok_tests::call::Finished;
use tok_tests::desktop::Desktop;
use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;
use tok_tests::proxy::Proxy;
use tok_tests::wait;
use tok_tests::witness::Witness;

use crate::agent::challenged;
use crate::laptop::{begun, decide};

/// Who and what is in it.
struct Hour<'a> {
    /// Where alice works, reached by way of `proxy`.
    server: &'a Environment,
    proxy: &'a Proxy,
    /// Where the same person is called al, and git tokens live two minutes.
    other: &'a Environment,
    laptop: &'a Laptop<'a>,
    desktop: &'a Desktop<'a>,
    agent: &'a Agent<'a>,
    witness: &'a Witness,
    /// How many git tokens alice had when somebody began to count.
    before: Cell<i64>,
}

#[test]
fn the_first_hour_of_a_laptop() {
    let server = Environment::tls();
    server.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let other = Environment::tls_with("[tokens]\ngit_lifetime = \"2m\"\n");
    other.users(&["al"]).workspace("club", &[("al", "writer")]);
    for repo in ["acme/app", "acme/library"] {
        server.pushed("alice", repo);
    }
    other.pushed("al", "club/game");
    let proxy = Proxy::start(server.address());
    let laptop = server.laptop("laptop");
    laptop.trusts(&[&other]);
    let desktop = laptop.log_in();
    let witness = laptop.witness();
    let agent = laptop.agent();
    let (server, proxy, other, laptop) = (&server, &proxy, &other, &laptop);
    let hour = Hour {
        server,
        proxy,
        other,
        laptop,
        desktop: &desktop,
        agent: &agent,
        witness: &witness,
        before: Cell::new(0),
    };

    hour.alice_logs_in_by_a_page();
    hour.al_logs_in_elsewhere_by_a_password();
    hour.clones_and_pushes();
    hour.revoked_on_the_server();
    hour.expired();
    hour.the_keyring_is_locked();
    let due = hour.has_a_token_that_will_be_due();
    hour.submodules_have_tokens_of_their_own();
    hour.large_files_are_the_same_repository();
    hour.bare_repositories_and_work_trees();
    hour.an_older_git();
    hour.looked_at_in_the_middle_of_a_push();
    hour.the_server_is_started_again();
    hour.the_network_is_cut_silent_and_back();
    hour.stolen();
    hour.was_renewed_ahead_of_need(&due);
    hour.the_session_ends_on_the_server();
    hour.logged_out();
}

impl Hour<'_> {
    /// The server's address as the laptop knows it.
    fn url(&self) -> String {
        format!("https://{}", self.proxy.address())
    }

    fn repository(&self, repo: &str) -> String {
        format!("{}/{repo}.git", self.url())
    }

    /// What git sends to its helper there.
    fn challenged(&self, repo: &str, right: &str) -> String {
        challenged(self.server, repo, right).replace(&self.server.host(), &self.proxy.address().to_string())
    }

    /// git in a directory of the laptop: it succeeds, and nobody has anything to say about it.
    #[track_caller]
    fn git(&self, directory: &str, arguments: &[&str]) -> Finished {
        let done = self.laptop.newest_git(arguments).directory(self.laptop.work().join(directory)).ok();
        assert_eq!(done.complaint(), "", "{}", done.describe());
        done
    }

    /// A commit, and a push of it.
    #[track_caller]
    fn pushes(&self, directory: &str, message: &str) {
        self.git(directory, &["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(directory, &["push", "--quiet"]);
    }

    /// git fails with one sentence of tok's, and in no other way.
    #[track_caller]
    fn refused(&self, directory: &str, arguments: &[&str], words: &[&str]) {
        let refused = self.laptop.newest_git(arguments).directory(self.laptop.work().join(directory)).fails(128);
        refused.says(words);
        let said = refused.complaint();
        assert_eq!(said.lines().filter(|line| line.starts_with("tok: ")).count(), 1, "{}", refused.describe());
        for wrong in ["could not read", "Authentication failed", "panicked", "askpass", "prompts disabled"] {
            assert!(!said.contains(wrong), "{wrong}\n{}", refused.describe());
        }
    }

    /// Nothing of a token or a password is anywhere: not in the laptop's home, not in its settings, not at the servers.
    #[track_caller]
    fn nothing_is_written_down(&self, when: &str) {
        let canaries = self.server.canaries();
        for path in files(self.laptop.configuration()) {
            canaries.inspect(&path.to_string_lossy(), &fs::read(&path).unwrap());
        }
        canaries.inspect_processes(self.agent.pid());
        for server in [self.server, self.other] {
            server.canaries().inspect_files();
            server.canaries().inspect_processes(server.pid());
            let leaks = server.canaries().take_leaks();
            assert!(leaks.is_empty(), "{when}: {leaks:?}");
        }
        self.witness.nobody_was_asked();
    }

    // ---- logging in ------------------------------------------------------------------------------------------------

    fn alice_logs_in_by_a_page(&self) {
        let password = self.laptop.password_of("alice");
        self.server.canaries().register("alice's password", &password);
        let (running, address) = begun(self.laptop, &self.url(), "--setup-git");
        assert!(address.starts_with(&self.server.url()), "the server knows where its pages are: {address}");
        decide(self.server, &address, "alice", &password, "approve");
        let said = running.wait().expect_code(0).json();
        assert_eq!(
            (&said["login"]["user"], &said["login"]["storage"], &said["git_setup"]),
            (&json!("alice"), &json!("keyring"), &json!(true)),
            "{said}"
        );
        assert_eq!(self.desktop.kept(), 1);
    }

    fn al_logs_in_elsewhere_by_a_password(&self) {
        let password = "another long and lucky password of al";
        for server in [self.server, self.other] {
            server.canaries().register("al's password", password);
        }
        self.other.tok(&["user", "passwd", "al"]).input(format!("{password}\n")).ok();
        let url = self.other.url();
        let login = self.laptop.tok(&["login", &url, "--user", "al", "--password-stdin", "--setup-git"]);
        login.input(format!("{password}\n")).ok();
        assert_eq!(self.desktop.kept(), 2);
        let status = self.laptop.tok(&["status", "--output", "json"]).ok().json();
        let seen: Vec<_> =
            status["logins"].as_array().unwrap().iter().map(|one| (&one["user"], &one["state"])).collect();
        assert_eq!(seen, [(&json!("alice"), &json!("active")), (&json!("al"), &json!("active"))], "{status}");
        for (url, user) in [(self.url(), "alice"), (url, "al")] {
            let who = self.laptop.tok(&["whoami", "--server", &url, "--output", "json"]).ok().json();
            assert_eq!(who["user"], user);
        }
    }

    fn the_session_ends_on_the_server(&self) {
        let sessions = self.laptop.tok(&["token", "list", "--server", &self.url(), "--kind", "session"]);
        let listed = sessions.arguments(["--state", "active", "--output", "json"]).ok().json();
        let session =
            listed["tokens"].as_array().unwrap().iter().find(|one| one["name"].as_str().unwrap().contains("login of"));
        let id = session.unwrap()["id"].as_str().unwrap().to_owned();
        self.server.tok(&["token", "revoke", "--force", &id]).acting_as("alice").ok();
        wait::until_true("the agent hears of it", || self.state_of("alice") == "ended");
        let login = format!("run `tok login {}`", self.url());
        self.refused("app", &["fetch", "--quiet"], &["your login at", "ended", &login]);
        self.refused(
            "app",
            &["push", "--quiet", "origin", "HEAD:refs/heads/late"],
            &["your login at", "ended", &login],
        );
        self.laptop.tok(&["whoami", "--server", &self.url()]).fails(3).says(&["has ended or was revoked", "tok login"]);
        // The other account has nothing to do with it, and a new session is all that it takes.
        self.git("game", &["fetch", "--quiet"]);
        self.laptop.logged_in_at(&self.url(), "alice", "a long and lucky password of alice");
        self.pushes("app", "after another login");
        assert_eq!(self.desktop.kept(), 2, "the new session is where the one before was");
    }

    fn logged_out(&self) {
        self.laptop.tok(&["logout", &self.url()]).ok();
        self.nothing_is_written_down("at the end");
        // Nobody is logged in, so git asks whether there is a password after all; until then nobody had to be asked.
        let refused = self.laptop.newest_git(&["fetch"]).directory(self.laptop.work().join("app")).fails(128);
        refused.says(&[&format!("tok: nobody is logged in at {0} from here; run `tok login {0}`", self.url())]);
        self.git("game", &["fetch", "--quiet"]);
        self.laptop.tok(&["logout", "--all"]).ok();
        assert_eq!(self.desktop.kept(), 0);
        for (server, user) in [(self.server, "alice"), (self.other, "al")] {
            let left = server.count(&format!(
                "SELECT count(*) FROM tokens t JOIN users u ON u.id = t.user_id WHERE u.name = '{user}' AND t.kind = \
                 'session' AND t.local_uid IS NULL AND t.name NOT LIKE 'browser%' AND t.revoked_at IS NULL"
            ));
            assert_eq!(left, 0, "sessions of {user}");
        }
        let seen = self.witness.seen();
        for program in ["git-credential-tok", "git-remote-https", "GIT_ASKPASS"] {
            assert!(tok_tests::secrets::contains(&seen, program.as_bytes()), "nobody saw {program}");
        }
    }

    fn state_of(&self, user: &str) -> String {
        let status = self.agent.status().expect("an agent runs");
        let login = status["logins"].as_array().unwrap().iter().find(|login| login["user"] == user).cloned();
        login.unwrap()["state"].as_str().unwrap().to_owned()
    }
}

/// How long something takes.
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = what();
    (result, begin.elapsed())
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
