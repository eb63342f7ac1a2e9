//! What is said to the daemon and what git hears, byte for byte.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::kit::{Daemon, HELPER, REQUEST, Silent, helper, run};

const AGENT: &str = concat!("agent=git-credential-tok/", env!("CARGO_PKG_VERSION"), "\n");
const BEARER: &str = "capability[]=authtype\ncapability[]=state\nusername=ann\nauthtype=Bearer\ncredential=tokgit_x\n\
                      ephemeral=1\npassword_expiry_utc=1800000000\nstate[]=tok:n=1\ncontinue=1\n";

#[test]
fn get_relays_git_and_prints_the_answer() {
    let daemon = Daemon::answering(BEARER);
    let outcome = daemon.ask(&["get"], REQUEST);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (BEARER, ""));
    assert_eq!(daemon.request(), format!("tok/1 get\n{REQUEST}{AGENT}\n"));
}

#[test]
fn the_normal_form_is_relayed_and_unknown_keys_are_not() {
    let daemon = Daemon::answering("");
    let outcome = daemon.ask(
        &["--timeout=900", "erase"],
        "future=1\nas=root\nurl=https://ann@h:8443/acme/app.git\r\npassword=tokgit_x\nstate[]=osx:1\n\nhost=evil\n",
    );
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert_eq!(
        daemon.request(),
        format!(
            "tok/1 erase\nprotocol=https\nhost=h:8443\npath=acme/app.git\nusername=ann\npassword=tokgit_x\n\
             state[]=osx:1\n{AGENT}timeout=900\n\n"
        )
    );
}

#[test]
fn a_final_no_reaches_git_and_its_reason_the_person() {
    let daemon = Daemon::answering("quit=1\nmessage=bob may not push to acme/app; ask a maintainer\n");
    let outcome = daemon.ask(&["get"], REQUEST);
    assert_eq!(outcome.stdout, "quit=1\n");
    assert_eq!(outcome.stderr, "tok: bob may not push to acme/app; ask a maintainer\n");
}

#[test]
fn an_empty_answer_leaves_git_to_its_next_helper() {
    let outcome = Daemon::answering("").ask(&["get"], REQUEST);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

#[test]
fn storing_our_own_answer_asks_nobody() {
    let silent = Silent::bind();
    for own in ["state[]=tok:n=1", "username=ann\npassword=tokgit_x", "authtype=Bearer\ncredential=tokgit_x"] {
        let input = format!("{REQUEST}{own}\n");
        let outcome = run(helper().env("TOK_SOCKET", silent.path()).arg("store"), input);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }
    assert!(!silent.was_reached());
}

#[test]
fn storing_for_another_server_is_relayed_to_the_users_own_socket_and_says_nothing_to_git() {
    let runtime = TempDir::new().unwrap();
    std::fs::create_dir(runtime.path().join("tok")).unwrap();
    let agent = Daemon::at(&runtime.path().join("tok/agent.sock"), "username=x\npassword=y\n");
    let input = "protocol=https\nhost=elsewhere.example\nusername=ann\npassword=hunter2\n";
    let outcome = run(helper().env("XDG_RUNTIME_DIR", runtime.path()).arg("store"), input);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert_eq!(agent.request(), format!("tok/1 store\n{input}{AGENT}\n"));
}

#[test]
fn sockets_are_tried_in_order_and_a_chosen_one_is_the_only_one() {
    let runtime = TempDir::new().unwrap();
    std::fs::create_dir(runtime.path().join("tok")).unwrap();
    let agent = Silent::bind();
    symlink(agent.path(), runtime.path().join("tok/agent.sock")).unwrap();
    let (named, option) = (Daemon::answering("username=named\n"), Daemon::answering("username=option\n"));

    let asked = |socket: &std::path::Path, arguments: &[&str]| {
        run(helper().env("XDG_RUNTIME_DIR", runtime.path()).env("TOK_SOCKET", socket).args(arguments), REQUEST)
    };
    assert_eq!(asked(named.path(), &["get"]).stdout, "username=named\n");
    let option_path = option.path().to_str().unwrap();
    assert_eq!(asked(named.path(), &["--socket", option_path, "get"]).stdout, "username=option\n");

    // Missing, refused by a dead listener, and too long: no answer, and no other socket.
    let dead = TempDir::new().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dead.path().join("s")).unwrap());
    for path in [runtime.path().join("none"), dead.path().join("s")] {
        let outcome = asked(&path, &["get"]);
        assert_eq!(outcome.stdout, "");
        let said = format!("nobody answers at {}, which TOK_SOCKET names", path.display());
        assert!(outcome.stderr.contains(&said), "{outcome:?}");
        // git asks once for each command: what it stores and erases is no question, and others' servers are none of ours.
        assert_eq!(asked(&path, &["store"]).stderr, "");
        let mut foreign = helper();
        foreign.env("XDG_RUNTIME_DIR", runtime.path()).env("TOK_SOCKET", &path).arg("get");
        assert_eq!(run(&mut foreign, "protocol=https\nhost=github.com\n\n").stderr, "");
    }
    let outcome = asked(&runtime.path().join("x".repeat(200)), &["get"]);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("cannot be a socket's path"), "{outcome:?}");
    assert!(!agent.was_reached());
}

#[test]
fn nothing_listens_and_nothing_is_said_unless_asked() {
    let runtime = TempDir::new().unwrap();
    // Any other server is none of our business; one of ours has a way in that its user may not know.
    let quiet = |request: &str| run(helper().env("XDG_RUNTIME_DIR", runtime.path()).arg("get"), request);
    for foreign in [REQUEST.replace("realm=\"tok\"", "realm=\"git\""), REQUEST.replace("https", "http")] {
        let outcome = quiet(&foreign);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{foreign}");
    }
    let outcome = quiet(REQUEST);
    let advice =
        "tok: nobody is logged in at https://git.example.com from here; run `tok login https://git.example.com`\n";
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", advice));
    let outcome = run(helper().env("XDG_RUNTIME_DIR", runtime.path()).env("TOK_LOG", "debug").arg("get"), REQUEST);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("agent.sock"), "{outcome:?}");
    assert!(!outcome.stderr.contains("acme"), "{outcome:?}");
}

#[test]
fn the_user_to_act_as_is_relayed_or_everything_stops() {
    let daemon = Daemon::answering("");
    run(helper().env("TOK_SOCKET", daemon.path()).env("TOK_USER", "ann").arg("get"), REQUEST);
    assert_eq!(daemon.request(), format!("tok/1 get\n{REQUEST}as=ann\n{AGENT}\n"));

    let silent = Silent::bind();
    let outcome = run(helper().env("TOK_SOCKET", silent.path()).env("TOK_USER", "a\nhost=b").arg("get"), REQUEST);
    assert!(outcome.stdout.is_empty() && outcome.stderr.starts_with("tok: TOK_USER is not"), "{outcome:?}");
    assert!(!silent.was_reached());
}

#[test]
fn without_a_challenge_the_command_line_of_git_gives_a_hint() {
    // A shell that is called git and told to push: `git -c CODE push`. The code is what git would run as helper.
    let directory = TempDir::new().unwrap();
    let git = directory.path().join("git");
    symlink("/bin/sh", &git).unwrap();
    let plain = "protocol=https\nhost=git.example.com\npath=acme/app.git\n";
    for (word, hint) in [("push", "operation=push\n"), ("fetch", "operation=fetch\n"), ("commit", "")] {
        let daemon = Daemon::answering("");
        let code = format!("'{HELPER}' get; true");
        let mut command = Command::new(&git);
        run(command.env_clear().env("TOK_SOCKET", daemon.path()).args(["-c", &code, word]), plain);
        // The test itself may run under a real `git push` (a hook), so nothing is sure about the last one but its shape.
        let request = daemon.request();
        let expected = format!("tok/1 get\n{plain}{AGENT}{hint}");
        assert!(request.starts_with(&expected), "{request}");
    }
    // With a challenge nobody looks.
    let daemon = Daemon::answering("");
    let code = format!("'{HELPER}' get; true");
    run(Command::new(&git).env_clear().env("TOK_SOCKET", daemon.path()).args(["-c", &code, "push"]), REQUEST);
    assert_eq!(daemon.request(), format!("tok/1 get\n{REQUEST}{AGENT}\n"));
}

#[test]
fn whoever_says_that_it_pushes_is_believed_where_no_challenge_says_more() {
    let plain = "protocol=https\nhost=git.example.com\npath=acme/app.git\n";
    let asked = |input: &str, arguments: &[&str], variable: &str| {
        let daemon = Daemon::answering("");
        run(helper().env("TOK_SOCKET", daemon.path()).env("TOK_PUSH", variable).args(arguments), input);
        daemon.request()
    };
    for (arguments, variable) in [(&["--push", "get"][..], ""), (&["get"], "1"), (&["get"], "true")] {
        assert_eq!(asked(plain, arguments, variable), format!("tok/1 get\n{plain}{AGENT}operation=push\n\n"));
    }
    assert_eq!(asked(REQUEST, &["--push", "get"], "1"), format!("tok/1 get\n{REQUEST}{AGENT}\n"));
    assert!(!asked(plain, &["--push", "erase"], "1").contains("operation=push"));
}

#[test]
fn capability_version_and_help_go_to_stdout_and_strangers_are_ignored() {
    let said = |arguments: &[&str]| run(helper().args(arguments), "");
    assert_eq!(said(&["capability"]).stdout, "version 0\ncapability authtype\ncapability state\n");
    assert!(said(&["--version"]).stdout.starts_with("git-credential-tok "));
    assert!(said(&["--help"]).stdout.contains("tok git setup"));
    let unknown = said(&["approve"]);
    assert_eq!((unknown.stdout.as_str(), unknown.stderr.as_str()), ("", ""));
    let option = said(&["--verbose", "get"]);
    assert_eq!((option.stdout.as_str(), option.stderr.lines().count()), ("", 1));
}

#[test]
fn closed_streams_are_nobodys_business() {
    let daemon = Daemon::answering(BEARER);
    let mut child = helper()
        .env("TOK_SOCKET", daemon.path())
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), REQUEST.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    daemon.request();

    let script = format!("'{HELPER}' get <&- >&- 2>&-");
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
}

#[test]
fn a_socket_of_gits_configuration_that_is_gone_is_said_in_one_line() {
    let outcome = run(helper().args(["--socket", "/nonexistent/s", "get"]), REQUEST);
    assert_eq!(outcome.stdout, "");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    for words in ["nobody answers at /nonexistent/s", "start tokd", "tok git setup https://git.example.com"] {
        assert!(outcome.stderr.contains(words), "{outcome:?}");
    }
    for operation in ["store", "erase"] {
        let outcome = run(helper().args(["--socket", "/nonexistent/s", operation]), REQUEST);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }
}
