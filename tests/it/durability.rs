//! Killed or stopped at any moment: nothing is lost, nothing half-made stays, and the next start works.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tok_tests::environment::Environment;
use tok_tests::git::noise;
use tok_tests::proxy::Proxy;
use tok_tests::wait;

pub(crate) fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment
}

#[test]
fn a_daemon_killed_during_a_push_loses_nothing_and_keeps_nothing_half_made() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let before = environment.rows("SELECT * FROM tokens ORDER BY id");
    let head = environment.revision(&work, "HEAD");
    environment.commit(&work, "large", noise(4 << 20, 3));
    let proxy = Proxy::start(environment.address());
    proxy.hold_after(1 << 20);
    let push = environment.git(&work, &["-c", "core.compression=0", "push"]).through(&proxy).acting_as("alice").start();
    proxy.wait_until_held();
    environment.kill();
    proxy.pass();
    assert_ne!(push.wait().code, Some(0), "a push that nobody took cannot have succeeded");

    environment.start();
    let after = environment.rows("SELECT * FROM tokens ORDER BY id");
    let same = |rows: &[serde_json::Value]| {
        rows.iter().map(|row| (row["id"].clone(), row["revoked_at"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(same(&after), same(&before));
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git' AND parent_id IS NULL"), 0);
    let checked = environment.call("git").directory(environment.on_server("acme/app"));
    let checked = checked
        .variable("GIT_CONFIG_COUNT", "1")
        .variable("GIT_CONFIG_KEY_0", "safe.directory")
        .variable("GIT_CONFIG_VALUE_0", "*");
    checked.clone().arguments(["fsck", "--strict", "--no-dangling"]).ok();
    assert_eq!(checked.arguments(["rev-parse", "main"]).ok().line(), head, "the branch did not move");

    environment.git(&work, &["-c", "core.compression=0", "push"]).acting_as("alice").ok();
    environment
        .git(&environment.work(""), &["clone", "--quiet", &environment.repository("acme/app"), "copy"])
        .acting_as("alice")
        .ok();
    assert_eq!(environment.revision(&environment.work("copy"), "HEAD"), environment.revision(&work, "HEAD"));
}

#[test]
fn a_daemon_killed_during_the_first_push_leaves_a_whole_repository_or_none() {
    let environment = acme();
    let work = environment.work_tree("work");
    environment.commit(&work, "large", noise(2 << 20, 4));
    let proxy = Proxy::start(environment.address());
    proxy.hold_after(1 << 20);
    let url = environment.repository("acme/new");
    let push = environment
        .git(&work, &["-c", "core.compression=0", "push", &url, "main"])
        .through(&proxy)
        .acting_as("alice")
        .start();
    proxy.wait_until_held();
    environment.kill();
    proxy.pass();
    push.wait();
    environment.start();
    let entries: Vec<_> =
        fs::read_dir(environment.data().join("git/acme")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(entries.iter().all(|name| name == "new.git"), "{entries:?}");
    environment.git(&work, &["-c", "core.compression=0", "push", &url, "main"]).acting_as("alice").ok();
}

#[test]
fn tokens_made_before_a_kill_work_after_it() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let personal = environment.token("alice", &[]);
    let minted = environment.git_token("alice", "acme/app", "read");
    let gone = environment.token("alice", &[]);
    environment.tok(&["token", "revoke", "--force", &gone[..11]]).acting_as("alice").ok();
    environment.kill();
    environment.start();
    let status = |token: &str| {
        environment.send(&tok_tests::http::Request::refs("acme/app", "git-upload-pack").bearer(token)).status
    };
    assert_eq!([&personal, &minted, &gone].map(|token| status(token)), [200, 200, 401]);
}

#[test]
fn sigterm_lets_a_push_finish_and_ends_with_0() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "large", noise(4 << 20, 5));
    let proxy = Proxy::start(environment.address());
    proxy.hold_after(1 << 20);
    let push = environment.git(&work, &["-c", "core.compression=0", "push"]).through(&proxy).acting_as("alice").start();
    proxy.wait_until_held();
    let daemon = environment.take_daemon();
    daemon.signal(Signal::SIGTERM);
    wait::until_true("new connections are refused", || std::net::TcpStream::connect(environment.address()).is_err());
    proxy.pass();
    push.wait().expect_code(0);
    let status = daemon.wait();
    assert!(status.success(), "{status}: {}", environment.log());
    environment.start();
    let listed = environment.git(&work, &["ls-remote", "origin", "main"]).acting_as("alice").ok();
    assert!(listed.text().starts_with(&environment.revision(&work, "HEAD")));
}

#[test]
fn a_second_daemon_on_the_same_data_refuses_and_the_first_goes_on() {
    let environment = acme();
    let data = environment.data().to_string_lossy().into_owned();
    let mut recipe = environment.recipe();
    recipe.arguments = ["dev", "--data", &data, "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let Err(refused) = recipe.start() else { panic!("two daemons run on one data directory") };
    refused.because(&[&data, "in use", &format!("process {}", environment.pid())]);
    environment.pushed("alice", "acme/app");
    // Nor does it take the socket of another.
    let other = Environment::new();
    let socket = environment.socket().to_string_lossy().into_owned();
    let Err(refused) = other.recipe().arguments(&["--socket", &socket]).start() else { panic!("it took the socket") };
    refused.because(&[&socket, &format!("process {}", environment.pid())]);
    environment.tok(&["status"]).ok();
}

#[test]
fn what_a_killed_daemon_left_is_no_hindrance() {
    let environment = acme();
    let data = environment.data();
    let pid_file = data.join("pg/postmaster.pid");
    let postmaster = fs::read_to_string(&pid_file).unwrap().lines().next().unwrap().parse().unwrap();
    // All at once, as when the machine loses its power.
    let daemon = environment.take_daemon();
    daemon.signal(Signal::SIGSTOP);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(postmaster), Signal::SIGKILL).unwrap();
    daemon.kill();
    assert!(data.join("tokd.sock").exists() && pid_file.exists(), "a killed daemon leaves its files");
    // As after a reboot: the numbers belong to other processes now, one of them of the same user as the cluster.
    let owner = fs::metadata(&pid_file).unwrap().uid();
    let sockets = embedded_socket_directory(&pid_file);
    let mut other = Command::new("cat").uid(owner).stdin(std::process::Stdio::piped()).spawn().unwrap();
    fs::write(data.join("lock"), "1\n").unwrap();
    fs::write(data.join("tokd.sock.lock"), "1\n").unwrap();
    for path in [&pid_file, &sockets.join(".s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(path).unwrap();
        let rest = text.split_once('\n').unwrap().1;
        // Written over, so that it still belongs to the cluster's user.
        fs::write(path, format!("{}\n{rest}", other.id())).unwrap();
    }
    environment.start();
    environment.tok(&["user", "show", "alice"]).ok();
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn an_unclean_first_start_is_made_good_by_the_next() {
    let environment = Environment::new();
    // Killed while it makes its cluster: whenever that is, the next start begins anew.
    let daemon = environment.recipe();
    let mut child = Command::new(tok_tests::binaries::path("tokd"))
        .args(&daemon.arguments)
        .env("HOME", environment.home())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait::until_true("initdb is at work", || environment.data().join("pg.new").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    environment.start();
    assert!(!environment.data().join("pg.new").exists());
    environment.tok(&["status"]).ok();
}

#[test]
fn a_push_whose_body_breaks_off_changes_nothing_and_the_next_works() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let head = environment.revision(&work, "HEAD");
    environment.commit(&work, "large", noise(4 << 20, 6));
    let proxy = Proxy::start(environment.address());
    proxy.cut_after(2 << 20);
    environment.git(&work, &["-c", "core.compression=0", "push"]).through(&proxy).acting_as("alice").fails();
    assert!(proxy.cuts() > 0);
    let listed = environment.git(&work, &["ls-remote", "origin", "main"]).acting_as("alice").ok();
    assert!(listed.text().starts_with(&head));
    wait::until_true("git ended on the server", || {
        !tok_tests::processes::tree(environment.pid())
            .iter()
            .any(|process| process.name().contains("receive-pack") || process.name().contains("(git"))
    });
    let objects = environment.on_server("acme/app").join("objects");
    let quarantine = fs::read_dir(objects)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("tmp_objdir"));
    assert_eq!(quarantine.count(), 0, "git put its quarantine away");
    environment.git(&work, &["-c", "core.compression=0", "push"]).acting_as("alice").ok();
}

#[test]
fn postgres_that_dies_alone_comes_back_and_nothing_is_refused_for_it() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let postmaster: i32 = fs::read_to_string(environment.data().join("pg/postmaster.pid"))
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(postmaster), Signal::SIGKILL).unwrap();
    let token_calls = |arguments: &[&str]| environment.tok(arguments).run();
    wait::until_true("the database answers again", || {
        let answer = token_calls(&["user", "show", "alice"]);
        // Until then it is "cannot know now", never "no".
        assert!(matches!(answer.code, Some(0 | 6)), "{}", answer.describe());
        answer.code == Some(0)
    });
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
}

/// Where a cluster's socket is, as its `postmaster.pid` says.
fn embedded_socket_directory(pid_file: &Path) -> PathBuf {
    PathBuf::from(fs::read_to_string(pid_file).unwrap().lines().nth(4).unwrap())
}
