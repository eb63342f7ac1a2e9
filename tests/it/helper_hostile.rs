//! The helper among strangers: hostile URLs and lines, other servers, other helpers, a daemon that does not answer.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use tok_tests::environment::Environment;

use crate::helper_protocol::{acme, old, said};

/// The same, asked through alice's agent.
fn with_agent() -> Environment {
    let environment = acme();
    environment.through_agent(&["alice"]);
    environment
}

#[test]
fn a_path_that_is_missing_or_ambiguous_gets_nothing() {
    paths(&acme());
}

#[test]
fn a_path_that_is_missing_or_ambiguous_gets_nothing_of_the_agent() {
    paths(&with_agent());
}

fn paths(environment: &Environment) {
    let nothing = |lines: &str| {
        let asked = environment.helper().acting_as("alice").argument("get").input(lines.to_owned() + "\n").ok();
        assert_eq!(asked.text(), "", "{lines:?}");
        asked.complaint()
    };
    let hint = nothing(&format!("protocol=http\nhost={}\n", environment.host()));
    assert!(hint.starts_with("tok: ") && hint.contains("tok git setup"), "{hint}");
    for path in
        ["", "acme", "acme/", "acme/../app", "acme//app", "acme/app\\x", "acme/.git", "acme/app.git/info/refs?x=1#f"]
    {
        nothing(&old(environment, path));
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), 0);
}

#[test]
fn incident_32_only_this_very_server_is_answered() {
    hosts(&acme());
}

#[test]
fn incident_32_only_this_very_server_is_answered_of_the_agent() {
    hosts(&with_agent());
}

fn hosts(environment: &Environment) {
    let port = environment.address().port();
    let mut hosts: Vec<(String, String)> = Vec::new();
    for host in [
        format!("127.0.0.1:{}", port.wrapping_add(1)),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}0"),
        format!("127.0.0.1.:{port}"),
        format!("127.0.0.1.example.com:{port}"),
        format!("x127.0.0.1:{port}"),
        format!("127.0.0.10:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("127.0.0.2:{port}"),
        format!("0.0.0.0:{port}"),
        format!("evil@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("127.0.0.1:{port}/acme"),
        format!("127.0.0.1:{port}#"),
        format!("127.0.0.1:{port}?"),
        format!("127.0.0.1%00:{port}"),
        format!("１２７.0.0.1:{port}"),
        format!("git.example.com:{port}"),
        "github.com".to_owned(),
        "github.com.attacker.example".to_owned(),
    ] {
        hosts.push(("http".to_owned(), host));
    }
    for protocol in ["https", "ftp", "cert", "smtp", "ssh", "HTTPS", "file"] {
        hosts.push((protocol.to_owned(), environment.host()));
    }
    for (protocol, host) in hosts {
        let lines = environment.challenged("acme/app", "read").replace(
            &format!("protocol=http\nhost={}\n", environment.host()),
            &format!("protocol={protocol}\nhost={host}\n"),
        );
        assert!(lines.contains(&host));
        assert_eq!(said(environment, "alice", &lines), "", "{protocol} {host}");
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), 0);
}

#[test]
fn incident_04_and_33_hostile_lines_get_no_answer_and_are_not_repeated() {
    lines(&acme());
}

#[test]
fn incident_04_and_33_hostile_lines_get_no_answer_and_are_not_repeated_of_the_agent() {
    lines(&with_agent());
}

fn lines(environment: &Environment) {
    let host = environment.host();
    let good = format!("protocol=http\nhost={host}\npath=acme/app.git\nusername=alice\n");
    assert!(!environment.get(&good).is_silent());
    let canary = "hostile-value-canary";
    environment.canaries().register("a hostile value", canary);
    let long = "x".repeat(70_000);
    for lines in [
        format!("{good}host={host}\n"),
        format!("{good}protocol=http\n"),
        format!("{good}path={canary}\n"),
        format!("{good}username={canary}\n"),
        format!("protocol=http\nhost=evil.example\rhost={host}\npath=acme/app.git\n"),
        format!("protocol=http\nhost={host}\rhost=evil.example\npath={canary}\n"),
        format!("protocol=http\nhost={host}\0{canary}\npath=acme/app.git\n"),
        format!("protocol=http\nhost={host}\npath=acme/app.git\n{canary}\n"),
        format!("protocol=http\nhost={host}\npath=acme/\x1b[2J{canary}\n"),
        format!("protocol=http\nhost=\npath=acme/{canary}\n"),
        format!("host={host}\npath=acme/{canary}\n"),
        format!("protocol=http\npath=acme/{canary}\n"),
        format!("{good}wwwauth[]={long}\n"),
        format!("{good}{}", "wwwauth[]=Basic\n".repeat(60_000)),
        String::new(),
    ] {
        for operation in ["get", "store", "erase"] {
            let call = environment.helper().argument(operation).input(lines.clone() + "\n").ok();
            assert_eq!(
                (call.text(), call.complaint().as_str()),
                ("", ""),
                "{operation} {:?}",
                &lines[..lines.len().min(200)]
            );
        }
        let loud = environment.helper().variable("TOK_LOG", "debug").argument("get").input(lines + "\n").ok();
        assert!(!loud.complaint().contains(canary), "{}", loud.describe());
    }
    let bytes = [good.as_bytes(), b"path2=\xff\xfe\n\n"].concat();
    assert_eq!(environment.helper().argument("get").input(bytes).ok().text(), "");
}

#[test]
fn a_state_of_somebody_else_or_made_up_changes_nothing() {
    states(&acme());
}

#[test]
fn a_state_of_somebody_else_or_made_up_changes_nothing_of_the_agent() {
    states(&with_agent());
}

fn states(environment: &Environment) {
    let lines = environment.challenged("acme/app", "read").replace("path=", "username=alice\npath=");
    let expected = environment.get(&lines).token().to_owned();
    for state in [
        "other:1",
        "tok:",
        "tok:x",
        "tok:-1",
        "tok:0.0",
        "tok:1.1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
        "tok:99999999999999999999",
    ] {
        let answer = environment.get(&format!("{lines}state[]={state}\n"));
        assert_eq!(answer.token(), expected, "{state}");
    }
    let huge = environment.get(&format!("{lines}state[]=tok:{}\n", "9".repeat(5_000)));
    assert!(huge.token() == expected);
}

#[test]
fn a_daemon_that_does_not_answer_costs_two_seconds_at_most() {
    let environment = acme();
    let path = environment.path("dead.sock");
    // Somebody listens, accepts in the kernel, and never says a word.
    let _listener = UnixListener::bind(&path).unwrap();
    let ask = |milliseconds: Option<&str>| {
        let mut call = environment
            .helper()
            .variable("TOK_SOCKET", &path)
            .argument("get")
            .input(old(&environment, "acme/app.git") + "\n");
        if let Some(milliseconds) = milliseconds {
            call = call.variable("TOK_TIMEOUT_MS", milliseconds);
        }
        let begin = Instant::now();
        let finished = call.ok();
        (finished, begin.elapsed())
    };
    let (finished, took) = ask(None);
    assert_eq!(finished.text(), "");
    finished.says(&["tok: ", "2000 ms", "TOK_TIMEOUT_MS"]);
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(10), "{took:?}");
    let (_, took) = ask(Some("100"));
    assert!(took < Duration::from_millis(1900), "{took:?}");
    // Nobody there at all is not worth a word: git goes on to its next helper.
    let gone = environment
        .helper()
        .variable("TOK_SOCKET", "/nonexistent")
        .argument("get")
        .input(old(&environment, "acme/app.git") + "\n")
        .ok();
    assert_eq!((gone.text(), gone.complaint().as_str()), ("", ""));
}

#[test]
fn a_helper_without_input_or_without_a_reader_ends_quietly() {
    let environment = acme();
    assert_eq!(environment.helper().argument("get").input("").ok().text(), "");
    let script = "exec >&-; exec \"$0\" get";
    let input = environment.challenged("acme/app", "read") + "\n";
    let helper = tok_tests::binaries::path("git-credential-tok");
    let closed = environment.call("sh").arguments(["-c", script]).argument(helper).acting_as("alice").input(input).ok();
    assert_eq!(closed.complaint(), "");
}

#[test]
fn a_neighbouring_store_keeps_nothing_of_ours() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let file = environment.path("kept");
    let url = environment.url();
    let git = environment
        .git(&work, &["ls-remote", "origin"])
        .setting(&format!("credential.{url}.helper"), format!("store --file {}", file.display()));
    let run = git.acting_as("alice").ok();
    assert!(run.helper_calls().len() >= 3, "both helpers were there: {:?}", run.helper_calls());
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default().is_empty(),
        "git-credential-store wrote our token to its file"
    );
}
