//! The agent when the server or the way there is away: what is still good is used, else a word at once.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::environment::Environment;
use tok_tests::proxy::Proxy;
use tok_tests::wait;

use crate::agent::{challenged, laptop, minted, server};

#[test]
fn a_server_that_was_started_again_is_found_again() {
    let environment = server();
    let laptop = laptop(&environment);
    let agent = laptop.agent();
    let url = environment.repository("acme/app");
    laptop.git(&["ls-remote", &url]).ok();
    let pid = agent.pid();
    environment.stop();
    // A token that is kept is answered with, though nobody can be asked; for another there is a word, and no credential.
    let kept = challenged(&environment, "acme/app", "read");
    assert!(!laptop.get(&kept).is_silent());
    let away = laptop.ask(&challenged(&environment, "acme/other", "read"));
    assert_eq!(away.text(), "");
    away.says(&["tok: ", &environment.url()]);
    assert_eq!(away.complaint().lines().count(), 1, "{}", away.describe());
    environment.start();
    wait::until_true("git works again", || laptop.git(&["ls-remote", &url]).run().code == Some(0));
    assert_eq!(agent.pid(), pid);
}

/// A proxy in front of the server under an address that its certificate names, and alice logged in through it.
pub(crate) fn behind_a_proxy(environment: &Environment) -> (Proxy, String) {
    let proxy = Proxy::start(environment.address());
    let ip = proxy.address().ip().to_string();
    environment.authority().issue(&["localhost", "127.0.0.1", &ip]);
    kill(Pid::from_raw(environment.pid()), Signal::SIGHUP).unwrap();
    let url = format!("https://{}", proxy.address());
    (proxy, url)
}

#[test]
fn a_cut_network_is_said_within_a_second_and_a_kept_token_is_still_good() {
    let environment = server();
    let (proxy, url) = behind_a_proxy(&environment);
    let laptop = environment.laptop("laptop");
    let _agent = laptop.agent();
    let password = "a long and lucky password of alice";
    environment.tok(&["user", "passwd", "alice"]).input(format!("{password}\n")).ok();
    wait::until_true("the server shows its new certificate", || {
        let call = laptop.tok(&["login", &url, "--user", "alice", "--password-stdin"]);
        call.input(format!("{password}\n")).run().code == Some(0)
    });
    let lines =
        |repo: &str| challenged(&environment, repo, "read").replace(&environment.host(), &proxy.address().to_string());
    let token = laptop.get(&lines("acme/app")).token().to_owned();
    assert_eq!(minted(&environment), 1);

    // Connections break at their next word, and new ones at once.
    proxy.cut_after(0);
    let mut fastest = Duration::MAX;
    for round in 0..3 {
        let begin = Instant::now();
        let refused = laptop.ask(&lines(&format!("acme/cut{round}")));
        fastest = fastest.min(begin.elapsed());
        assert_eq!(refused.text(), "", "{}", refused.describe());
        refused.says(&["tok: ", &url]);
        assert_eq!(refused.complaint().lines().count(), 1, "{}", refused.describe());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert_eq!(laptop.get(&lines("acme/app")).token(), token, "it is as good as before");
    proxy.pass();
    wait::until_true("the network is back", || !laptop.get(&lines("acme/back")).is_silent());

    // Nothing breaks, and nothing comes: as on a train.
    proxy.hold_after(0);
    let mut fastest = Duration::MAX;
    for round in 0..3 {
        let begin = Instant::now();
        let refused = laptop.ask(&lines(&format!("acme/held{round}")));
        fastest = fastest.min(begin.elapsed());
        assert_eq!(refused.text(), "", "{}", refused.describe());
        refused.says(&["tok: "]);
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    // Later, too, when it is tried again whether the server is there. (One may meet the agent's own try half way.)
    let mut waited = Vec::new();
    wait::until_true("the agent has tried to connect again", || {
        let begin = Instant::now();
        assert_eq!(laptop.ask(&lines("acme/later")).text(), "");
        waited.extend(Some(begin.elapsed()).filter(|waited| *waited > Duration::from_millis(300)));
        waited.len() == 5
    });
    let late = waited.iter().filter(|waited| **waited > Duration::from_millis(1_200)).count();
    assert!(late < 3, "{waited:?}");
    assert_eq!(laptop.get(&lines("acme/app")).token(), token);
    proxy.pass();
    wait::until_true("the network is back", || !laptop.get(&lines("acme/again")).is_silent());
}
