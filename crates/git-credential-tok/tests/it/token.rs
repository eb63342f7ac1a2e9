//! `TOK_TOKEN` with `TOK_SERVER`: the token of a CI job, for its own server only.

use std::process::Command;

use crate::kit::{Daemon, REQUEST, Silent, helper, run};

const TOKEN: &str = "tokpat_0123456789";

fn job(server: &str) -> Command {
    let mut command = helper();
    command.env("TOK_TOKEN", TOKEN).env("TOK_SERVER", server).env("TOK_SOCKET", "/nonexistent/s");
    command
}

fn request(protocol: &str, host: &str, more: &str) -> String {
    format!("{more}protocol={protocol}\nhost={host}\npath=acme/app.git\n")
}

#[test]
fn a_new_git_gets_it_as_bearer_and_ephemeral() {
    let input = request("https", "git.example.com", "capability[]=authtype\ncapability[]=state\n");
    let outcome = run(job("https://git.example.com").arg("get"), input);
    assert_eq!(
        outcome.stdout,
        format!("capability[]=authtype\nusername=tok\nauthtype=Bearer\ncredential={TOKEN}\nephemeral=1\n")
    );
    assert_eq!(outcome.stderr, "");
}

#[test]
fn an_old_git_gets_it_as_password_and_keeps_its_user_name() {
    let outcome = run(job("https://git.example.com/").arg("get"), request("https", "git.example.com:443", ""));
    assert_eq!(outcome.stdout, format!("username=tok\npassword={TOKEN}\n"));
    let outcome = run(job("http://127.0.0.1:7650").arg("get"), request("http", "127.0.0.1:7650", "username=ann\n"));
    assert_eq!(outcome.stdout, format!("username=ann\npassword={TOKEN}\n"));
}

#[test]
fn a_chosen_secret_is_a_name_and_a_password() {
    let mut command = job("https://git.example.com");
    let input = request("https", "git.example.com", "capability[]=authtype\n");
    let outcome = run(command.env("TOK_TOKEN", "root:root-secret").arg("get"), input);
    assert_eq!(outcome.stdout, "username=root\npassword=root-secret\n");
}

#[test]
fn no_other_server_gets_it() {
    // S7, S8, S9, S13: whoever looks like the server is not the server; the question goes on to the socket.
    for (protocol, host) in [
        ("https", "xgit.example.com"),
        ("https", "git.example.com.attacker.example"),
        ("https", "git.example.com."),
        ("https", "git.example.com:444"),
        ("https", "git.example.com@evil.example"),
        ("https", "user@git.example.com"),
        ("https", "example.com"),
        ("http", "git.example.com"),
        ("http", "git.example.com:443"),
        ("ssh", "git.example.com"),
        ("cert", "git.example.com"),
    ] {
        let daemon = Daemon::answering("");
        let mut command = job("https://git.example.com");
        let outcome =
            run(command.env("TOK_SOCKET", daemon.path()).arg("get"), request(protocol, host, "wwwauth[]=Basic\n"));
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{protocol}://{host}");
        assert!(daemon.request().contains(&format!("\nhost={host}\n")));
    }
}

#[test]
fn it_never_leaves_in_the_clear() {
    let outcome = run(job("http://git.example.com").arg("get"), request("http", "git.example.com", ""));
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("not sent in the clear"), "{outcome:?}");
}

#[test]
fn storing_or_erasing_it_asks_nobody() {
    let silent = Silent::bind();
    for operation in ["store", "erase"] {
        let mut command = job("https://git.example.com");
        let input = format!("{}username=tok\npassword={TOKEN}\n", request("https", "git.example.com", ""));
        let outcome = run(command.env("TOK_SOCKET", silent.path()).arg(operation), input);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }
    assert!(!silent.was_reached());
}

#[test]
fn a_token_for_no_server_is_replaced_by_nobody_else() {
    // The token may be a narrow one: a login or the socket in its place would do what it must not.
    let silent = Silent::bind();
    for server in [None, Some(""), Some("git.example.com")] {
        let mut command = helper();
        command.env("TOK_TOKEN", TOKEN).env("TOK_SOCKET", silent.path()).arg("get");
        if let Some(server) = server {
            command.env("TOK_SERVER", server);
        }
        let outcome = run(&mut command, REQUEST);
        // No quit: git goes on to its next helper.
        assert_eq!(outcome.stdout, "", "{server:?}");
        assert!(outcome.stderr.contains("nothing in its place"), "{outcome:?}");
    }
    assert!(!silent.was_reached());
}

#[test]
fn what_is_set_wrongly_is_said_once_and_never_printed() {
    let input = request("https", "git.example.com", "");
    for (token, server, words) in [
        (TOKEN, None, "without TOK_SERVER"),
        (TOKEN, Some(""), "without TOK_SERVER"),
        (TOKEN, Some("git.example.com"), "TOK_SERVER is not https"),
        (TOKEN, Some("https://user:sekrit@git.example.com"), "TOK_SERVER is not https"),
        ("tokpat_1\n", Some("https://git.example.com"), "TOK_TOKEN has a character"),
        ("tokpat_1\rquit=1", Some("https://git.example.com"), "TOK_TOKEN has a character"),
    ] {
        let mut command = helper();
        command.env("TOK_TOKEN", token).env("TOK_SOCKET", "/nonexistent/s").arg("get");
        if let Some(server) = server {
            command.env("TOK_SERVER", server);
        }
        let outcome = run(&mut command, &input);
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.contains(words) && outcome.stderr.lines().count() == 1, "{outcome:?}");
        assert!(!outcome.stderr.contains("tokpat_1") && !outcome.stderr.contains("sekrit"), "{outcome:?}");
    }
    let outcome = run(job("https://git.example.com").env("TOK_TOKEN", "").arg("get"), &input);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}
