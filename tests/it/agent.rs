//! The agent on a laptop: git works over TLS with a login alone, and nobody else gets anything.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::{fs, thread};

use tok_tests::agent::Agent;
use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;
use tok_tests::wait;

/// A server that speaks TLS, where alice may write and acme/app has a commit.
pub(crate) fn server() -> Environment {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment.pushed("alice", "acme/app");
    environment
}

/// What git sends to its helper for a repository of this server after its challenge.
pub(crate) fn challenged(environment: &Environment, repo: &str, right: &str) -> String {
    environment.challenged(repo, right).replace("protocol=http\n", "protocol=https\n")
}

/// How many git tokens were minted through logins from elsewhere.
pub(crate) fn minted(environment: &Environment) -> i64 {
    environment.count(
        "SELECT count(*) FROM tokens t JOIN tokens p ON p.id = t.parent_id WHERE t.kind = 'git' AND p.local_uid IS NULL",
    )
}

fn state(agent: &Agent<'_>) -> String {
    agent
        .status()
        .map(|status| status["logins"][0]["state"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// alice's laptop, logged in and with git set up.
pub(crate) fn laptop(environment: &Environment) -> Laptop<'_> {
    let laptop = environment.laptop("laptop");
    laptop.logged_in("alice");
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    laptop
}

#[test]
fn a_login_is_all_that_git_needs_and_the_agent_comes_and_goes_by_itself() {
    let environment = server();
    let laptop = laptop(&environment);
    let agent = laptop.agent();
    assert!(agent.status().is_none(), "nobody needed one yet");
    let url = environment.repository("acme/app");
    laptop.git(&["clone", "--quiet", &url, "app"]).ok();
    let work = laptop.work().join("app");
    let git = |arguments: &[&str]| laptop.git(arguments).directory(&work);
    git(&["commit", "--quiet", "--allow-empty", "--message", "from the laptop"]).ok();
    git(&["push", "--quiet"]).ok();
    git(&["fetch", "--quiet"]).ok();
    assert_eq!(minted(&environment), 2, "one to read, one to push");
    let pid = agent.pid();
    let status = agent.status().unwrap();
    assert_eq!(
        (&status["logins"][0]["user"], &status["logins"][0]["tokens"]),
        (&"alice".into(), &2.into()),
        "{status}"
    );
    assert_eq!(laptop.tok(&["agent", "start", "--output", "json"]).ok().json()["pid"], pid);

    // The socket is its user's alone.
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&agent.socket()), mode(agent.socket().parent().unwrap())), (0o600, 0o700));

    // Killed, it is started again by whoever needs it.
    agent.kill();
    git(&["fetch", "--quiet"]).ok();
    assert_ne!(agent.pid(), pid);

    // Locked, it says no, and says so.
    laptop.tok(&["agent", "lock"]).ok();
    git(&["fetch", "--quiet"]).fails(128).says(&["tok: the agent is locked", "tok agent unlock"]);
    laptop.tok(&["whoami"]).variable("TOK_SOCKET", agent.socket()).fails(4).says(&["locked"]);
    assert_eq!(agent.status().unwrap()["logins"][0]["tokens"], 0);
    laptop.tok(&["agent", "unlock"]).ok();
    git(&["fetch", "--quiet"]).ok();

    // The command line, through it: it adds who one is.
    let who = laptop.tok(&["whoami", "--output", "json"]).variable("TOK_SOCKET", agent.socket()).ok().json();
    assert_eq!((&who["user"], &who["token"]["kind"]), (&"alice".into(), &"session".into()));

    laptop.tok(&["agent", "stop"]).ok();
    laptop.tok(&["agent", "stop"]).ok();
    laptop.tok(&["agent", "status"]).fails(6).says(&["no agent answers", "tok agent start"]);
    // Locked is locked, although nobody was there: what git starts by itself would not be.
    laptop.tok(&["agent", "lock"]).ok();
    git(&["fetch", "--quiet"]).fails(128).says(&["tok: the agent is locked", "tok agent unlock"]);
    laptop.tok(&["agent", "unlock"]).ok();
    git(&["fetch", "--quiet"]).ok();
}

#[test]
fn a_lock_outlives_the_agent_until_somebody_unlocks_it() {
    let environment = server();
    let laptop = laptop(&environment);
    let agent = laptop.agent();
    let url = environment.repository("acme/app");
    let list = || laptop.git(&["ls-remote", &url]);
    let refused = || {
        list().fails(128).says(&["tok: the agent is locked", "tok agent unlock"]);
    };
    let mark = agent.socket().with_extension("locked");
    list().ok();
    laptop.tok(&["agent", "lock"]).ok();
    let locked = fs::symlink_metadata(&mark).unwrap();
    assert_eq!((locked.len(), locked.permissions().mode() & 0o777), (0, 0o600), "nothing is in it");
    // Killed, stopped, or started by hand: the next one is locked, whoever starts it.
    let before = minted(&environment);
    let ends: [(&str, &dyn Fn()); 3] = [
        ("killed", &|| agent.kill()),
        ("stopped", &|| drop(laptop.tok(&["agent", "stop"]).ok())),
        ("killed and started", &|| {
            agent.kill();
            laptop.tok(&["agent", "start"]).ok();
        }),
    ];
    for (how, end) in ends {
        let pid = agent.pid();
        end();
        refused();
        assert_ne!(agent.pid(), pid, "{how}");
        assert_eq!(agent.status().unwrap()["locked"], true, "{how}");
        laptop.tok(&["whoami"]).variable("TOK_SOCKET", agent.socket()).fails(4).says(&["locked"]);
    }
    assert_eq!(minted(&environment), before);
    // With none that runs it is told all the same, and ended.
    agent.kill();
    laptop.tok(&["git", "why", &url]).fails(3).says(&["the agent is locked", "tok agent unlock"]);
    assert!(laptop.tok(&["doctor"]).run().text().contains("the agent is locked"));
    laptop.tok(&["agent", "unlock"]).ok();
    list().ok();
    assert!(fs::symlink_metadata(&mark).is_err());
    agent.kill();
    list().ok();
    // A mark that nobody can read is one, and is not opened over.
    agent.kill();
    fs::create_dir(&mark).unwrap();
    refused();
    laptop.tok(&["agent", "unlock"]).fails(4).says(&["stays locked", "agent.locked"]);
    refused();
    fs::remove_dir(&mark).unwrap();
    laptop.tok(&["agent", "unlock"]).ok();
    list().ok();
}

#[test]
fn what_is_revoked_on_the_server_costs_one_more_question_and_a_session_that_ended_says_so() {
    let environment = server();
    let laptop = laptop(&environment);
    let agent = laptop.agent();
    let url = environment.repository("acme/app");
    let list = || laptop.newest_git(&["ls-remote", &url]);
    // Behind the server's back, so that the agent cannot hear of it: git asks twice, and the second answer is good. A token
    // that was presented before may be believed for a few seconds more, so this one was not.
    let dead = laptop.get(&challenged(&environment, "acme/app", "read")).token().to_owned();
    environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'git'");
    list().ok();
    let healed = laptop.get(&challenged(&environment, "acme/app", "read")).token().to_owned();
    assert_ne!(dead, healed);
    assert_eq!(minted(&environment), 2);
    // By the server's own command, which the agent hears of.
    let listed = laptop.tok(&["token", "list", "--kind", "git", "--state", "active", "--output", "json"]).ok().json();
    let ids: Vec<String> =
        listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect();
    environment.tok(&["token", "revoke", "--force"]).arguments(ids).acting_as("alice").ok();
    wait::until_true("the agent hears of it", || {
        laptop.get(&challenged(&environment, "acme/app", "read")).token() != healed
    });
    laptop.git(&["ls-remote", &url]).ok();
    // The session itself.
    let sessions = laptop.tok(&["token", "list", "--kind", "session", "--output", "json"]).ok().json();
    let id = sessions["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"].as_str().unwrap().contains("login"))
        .unwrap();
    environment.tok(&["token", "revoke", "--force", id["id"].as_str().unwrap()]).acting_as("alice").ok();
    wait::until_true("the agent hears of it", || state(&agent) == "ended");
    let refused = list().fails(128);
    refused.says(&["your login at", "ended", &format!("run `tok login {}`", environment.url())]);
    assert_eq!(refused.complaint().lines().filter(|line| line.starts_with("tok: ")).count(), 1);
    // Logged in again, it works again, without any word to the agent.
    laptop.logged_in("alice");
    list().ok();
}

#[test]
fn what_git_was_refused_with_is_not_given_again_though_its_server_believes_in_it() {
    let environment = server();
    let laptop = laptop(&environment);
    let _agent = laptop.agent();
    let lines = challenged(&environment, "acme/app", "read");
    let first = laptop.get(&lines).token().to_owned();
    assert_eq!(laptop.get(&lines).token(), first);
    // Whatever refused it: git says so with `erase`.
    let erase = |token: &str| {
        let refused = lines.replace("path=", &format!("username=alice\npassword={token}\npath="));
        laptop.helper().argument("erase").input(format!("{refused}\n")).ok();
    };
    erase("tokgit_anothers");
    assert_eq!(laptop.get(&lines).token(), first, "another's is no word about this one");
    erase(&first);
    let second = laptop.get(&lines).token().to_owned();
    assert_ne!(first, second);
    assert_eq!(laptop.get(&lines).token(), second, "once");
}

#[test]
fn a_user_who_is_disabled_is_sent_to_a_manager_and_not_to_log_in() {
    let environment = server();
    let laptop = laptop(&environment);
    let agent = laptop.agent();
    let url = environment.repository("acme/app");
    laptop.git(&["ls-remote", &url]).ok();
    environment.tok(&["user", "disable", "alice"]).ok();
    wait::until_true("the agent hears of it", || state(&agent) == "ended");
    let refused = laptop.git(&["ls-remote", &url]).fails(128);
    let who = laptop.tok(&["whoami"]).fails(3);
    for said in [&refused, &who] {
        said.says(&["the user alice is disabled", "a manager can undo it"]);
        assert!(!said.complaint().contains("tok login"), "{}", said.describe());
    }
    let doctor = laptop.tok(&["doctor", &url]).run();
    for said in ["does not take you now: the user alice is disabled", "a manager can undo it"] {
        assert!(doctor.text().contains(said), "{}", doctor.describe());
    }
    assert!(!doctor.text().contains("tok login"), "{}", doctor.describe());
    environment.tok(&["user", "enable", "alice"]).ok();
    laptop.git(&["ls-remote", &url]).ok();
}

#[test]
fn a_hundred_who_ask_at_once_mint_once_for_each_repository() {
    let environment = server();
    let laptop = laptop(&environment);
    let _agent = laptop.agent();
    let ask_all = |repos: Vec<String>| -> Vec<String> {
        thread::scope(|scope| {
            let asking: Vec<_> = repos
                .iter()
                .map(|repo| {
                    let lines = challenged(&environment, repo, "read");
                    let helper = laptop.helper().variable("TOK_TIMEOUT_MS", "60000");
                    scope.spawn(move || helper.argument("get").input(lines + "\n").shows_secret().ok())
                })
                .collect();
            let answers = asking.into_iter().map(|asked| asked.join().unwrap());
            answers.map(|answer| tok_tests::helper::answer(&answer).token().to_owned()).collect()
        })
    };
    let mut one = ask_all(vec!["acme/app".to_owned(); 100]);
    one.dedup();
    assert_eq!((one.len(), minted(&environment)), (1, 1));
    let mut hundred = ask_all((0..100).map(|number| format!("acme/r{number}")).collect());
    hundred.sort();
    hundred.dedup();
    assert_eq!((hundred.len(), minted(&environment)), (100, 101));
    // And git itself, side by side.
    let url = environment.repository("acme/app");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| laptop.git(&["ls-remote", &url]).ok());
        }
    });
    assert_eq!(minted(&environment), 101);
}

#[test]
fn each_repository_has_its_own_token_however_git_comes_to_it() {
    let environment = server();
    let library = environment.pushed("alice", "acme/library");
    let laptop = laptop(&environment);
    let _agent = laptop.agent();
    let git = |arguments: &[&str]| laptop.newest_git(arguments);
    let url = environment.repository("acme/app");
    git(&["clone", "--quiet", &url, "app"]).ok();
    let app = laptop.work().join("app");
    git(&["submodule", "--quiet", "add", &environment.repository("acme/library"), "library"]).directory(&app).ok();
    git(&["commit", "--quiet", "--message", "with a library"]).directory(&app).ok();
    // Without a challenge at first, as long as the server has not refused.
    git(&["-c", "http.proactiveAuth=auto", "push", "--quiet"]).directory(&app).ok();
    git(&["-c", "http.proactiveAuth=basic", "fetch", "--quiet"]).directory(&app).ok();
    git(&["clone", "--quiet", "--recurse-submodules", &url, "again"]).ok();
    assert!(laptop.work().join("again/library/README").is_file() && library.is_dir());
    // A bare repository, a work tree of it, and no repository at all.
    git(&["clone", "--quiet", "--bare", &url, "bare.git"]).ok();
    let bare = laptop.work().join("bare.git");
    git(&["fetch", "--quiet", "origin"]).directory(&bare).ok();
    git(&["worktree", "add", "--quiet", "../tree", "main"]).directory(&bare).ok();
    git(&["push", "--quiet", "origin", "HEAD:refs/heads/other"]).directory(laptop.work().join("tree")).ok();
    git(&["ls-remote", &url]).directory("/").ok();
    let rows = environment.rows(
        "SELECT array_to_string(t.repos, ',') || ' ' || t.permission AS is_for FROM tokens t JOIN tokens p \
         ON p.id = t.parent_id WHERE t.kind = 'git' AND p.local_uid IS NULL ORDER BY 1",
    );
    let minted: Vec<_> = rows.iter().map(|row| row["is_for"].as_str().unwrap()).collect();
    assert_eq!(minted, ["app read", "app write", "library read"]);
    // LFS names the same repository by a longer path.
    let lines = challenged(&environment, "acme/app", "read");
    let plain = laptop.get(&lines).token().to_owned();
    let large = lines.replace("path=acme/app.git\n", "path=acme/app.git/info/lfs\n");
    assert_eq!(laptop.get(&large).token(), plain);
}

#[test]
fn other_users_are_turned_away_even_root() {
    let environment = Environment::new();
    let laptop = environment.laptop("laptop");
    let agent = laptop.agent();
    laptop.tok(&["agent", "start"]).ok();
    let speak = |first: &[u8]| {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        let _ = stream.write_all(first);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    if laptop.is_another_user() {
        // This process is root, and the agent another user's.
        assert_eq!(speak(b"tok/1 get\nprotocol=https\nhost=github.com\n\n"), b"");
        environment.tok(&["agent", "status"]).variable("XDG_RUNTIME_DIR", laptop.home().join("run")).fails(4);
        // Somebody who is neither, let into the directory for once.
        fs::set_permissions(agent.socket(), fs::Permissions::from_mode(0o666)).unwrap();
        for path in [laptop.home(), &laptop.home().join("run"), agent.socket().parent().unwrap()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
        }
        let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; \
                      print $s \"hello\\n\"; $s->flush; local $/; my $said = <$s>; print \"said: $said\\n\";";
        let stranger = Command::new("setpriv")
            .args(["--reuid=1", "--clear-groups", "perl", "-e", script])
            .arg(agent.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&stranger.stdout), "said: \n", "{stranger:?}");
        fs::set_permissions(agent.socket().parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    } else {
        let said = speak(b"hello\n");
        assert!(String::from_utf8_lossy(&said).contains("gRPC and tok/1"));
    }
    assert!(agent.status().is_some(), "it lives on");
}

#[test]
fn it_ends_when_nobody_needs_it_and_its_place_is_its_own() {
    let environment = Environment::new();
    let laptop = environment.laptop("laptop");
    let agent = laptop.agent();
    laptop.tok(&["agent", "start", "--idle", "1s"]).ok();
    wait::until_true("an idle agent ends", || !agent.socket().exists());

    // A directory that others may enter is none.
    let directory = agent.socket().parent().unwrap().to_owned();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    laptop.tok(&["agent", "start"]).fails(1).says(&["can be entered by others", "chmod 700"]);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    // What a killed one left is taken over, and two at once are one.
    laptop.tok(&["agent", "start"]).ok();
    agent.kill();
    assert!(agent.socket().exists());
    let started: Vec<_> = (0..4).map(|_| laptop.tok(&["agent", "start", "--output", "json"]).start()).collect();
    let mut pids: Vec<_> = started.into_iter().map(|one| one.wait().expect_code(0).json()["pid"].clone()).collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    laptop.tok(&["agent", "start", "--foreground"]).fails(1).says(&["is served already"]);
}

#[test]
fn systemd_may_hold_its_socket_for_it() {
    let environment = Environment::new();
    let laptop = environment.laptop("laptop");
    let socket = laptop.home().join("passed.sock");
    let activate = laptop.call("systemd-socket-activate").argument(format!("--listen={}", socket.display()));
    let tok = if laptop.is_another_user() { environment.path("bin/tok") } else { tok_tests::binaries::path("tok") };
    let running = activate.argument(tok).arguments(["agent", "start", "--foreground"]).start();
    wait::until_true("the socket is there", || socket.exists());
    laptop.tok(&["agent", "status"]).ok_at(&laptop, &socket);
    running.kill();
    running.wait();
}

/// Asks the agent at a socket that is not where it usually is.
trait At {
    fn ok_at(self, laptop: &Laptop<'_>, socket: &std::path::Path);
}

impl At for tok_tests::call::Call {
    fn ok_at(self, laptop: &Laptop<'_>, socket: &std::path::Path) {
        let place = laptop.home().join("run/tok");
        fs::create_dir_all(&place).unwrap();
        std::os::unix::fs::symlink(socket, place.join("agent.sock")).unwrap();
        self.ok();
        fs::remove_file(place.join("agent.sock")).unwrap();
    }
}
