//! `tok doctor` finds what keeps git and tok apart, and the command that it names mends it.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tok_tests::call::Finished;
use tok_tests::clock::WrongClock;
use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;
use tok_tests::suspend::Stopped;
use tok_tests::tls::Authority;
use tok_tests::wait;

pub(crate) fn environment() -> Environment {
    let environment = Environment::tls();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "maintainer"), ("bob", "reader")]);
    environment.pushed("alice", "acme/app");
    environment
}

/// A laptop on which all is well, with a clone of acme/app.
pub(crate) fn healthy(environment: &Environment) -> Laptop<'_> {
    let laptop = environment.laptop("laptop");
    laptop.logged_in("alice");
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    laptop.git(&["clone", "--quiet", &environment.repository("acme/app"), "app"]).ok();
    laptop
}

pub(crate) fn doctor(laptop: &Laptop<'_>) -> Finished {
    laptop.tok(&["doctor", "--json"]).directory(laptop.work().join("app")).run()
}

/// The findings that count.
pub(crate) fn findings(finished: &Finished) -> Vec<Value> {
    let report = finished.json();
    let checks = report["checks"].as_array().unwrap();
    let all = checks.iter().flat_map(|check| {
        let name = check["name"].clone();
        check["findings"].as_array().unwrap().iter().cloned().map(move |mut finding| {
            finding["check"] = name.clone();
            finding
        })
    });
    all.filter(|finding| finding["severity"] != "note").collect()
}

#[track_caller]
pub(crate) fn well(laptop: &Laptop<'_>) {
    let finished = doctor(laptop);
    assert!(finished.code == Some(0) && findings(&finished).is_empty(), "{}", finished.describe());
}

#[test]
fn an_agent_that_cannot_be_started_is_no_nothing_to_mend() {
    let environment = environment();
    let laptop = healthy(&environment);
    laptop.tok(&["agent", "stop"]).ok();
    well(&laptop);
    let file = laptop.configuration().join("tok/config.toml");
    laptop.write(&file, "[agent]\nremember = \"disk\"\n");
    let said = doctor(&laptop).expect_code(1);
    let finding = findings(&said).into_iter().find(|finding| finding["check"] == "agent").unwrap();
    let what = finding["what"].as_str().unwrap();
    assert!(what.contains("cannot be started") && what.contains("remember"), "{finding}");
    assert!(finding["fix"].as_str().unwrap().contains("config.toml"), "{finding}");
    let app = environment.repository("acme/app");
    laptop.tok(&["git", "why", &app]).fails(3).says(&["the agent cannot be started", "remember"]);
    laptop.write(&file, "[agent]\nremember = \"memory\"\n");
    well(&laptop);
    let said = laptop.tok(&["doctor"]).variable("TOK_AGENT_IDLE", "soon").fails(1);
    assert!(said.text().contains("the agent cannot be started"), "{}", said.describe());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a certificate is good or not at the time at which it is looked at")]
fn a_certificate_that_is_no_good_or_soon_over_is_told_apart() {
    let environment = environment();
    let laptop = healthy(&environment);
    well(&laptop);
    let names = ["localhost", "127.0.0.1"];
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let stranger = Authority::new(&environment.path("stranger"));
    let between = |from, until| environment.authority().issue_between(&names, from, until);
    // The server takes whatever it is given: what is wrong is seen from outside.
    let found = |what: &str| {
        kill(Pid::from_raw(environment.pid()), Signal::SIGHUP).unwrap();
        wait::until(what, || {
            let said = doctor(&laptop);
            let found = findings(&said).into_iter().find(|finding| finding["check"] == "server")?;
            found["what"].as_str().unwrap().contains(what).then_some((said.code, found))
        })
    };
    between(now - 30 * day, now + 5 * day - Duration::from_secs(3600));
    let (code, soon) = found("certificate ends in 4 days");
    assert_eq!((code, &soon["severity"]), (Some(1), &"warning".into()), "{soon}");
    for (spoil, what, why) in [
        (&(|| between(now - 30 * day, now - day)) as &dyn Fn(), "has expired", "is this machine's clock right"),
        (&|| between(now + day, now + 30 * day), "not valid yet", "is this machine's clock right"),
        (&|| environment.authority().issue(&["git.example.com"]), "for another name than 127.0.0.1", "use the name"),
        (
            &|| {
                stranger.issue(&names);
                fs::copy(stranger.certificate(), environment.authority().certificate()).unwrap();
                fs::copy(stranger.key(), environment.authority().key()).unwrap();
            },
            "signed by nobody that this machine trusts",
            "SSL_CERT_FILE",
        ),
    ] {
        spoil();
        let (code, finding) = found(what);
        assert_eq!((code, &finding["severity"], &finding["class"]), (Some(6), &"error".into(), &"unreachable".into()));
        assert!(finding["why"].as_str().unwrap().contains(why), "{finding}");
        assert!(finding["fix"].as_str().unwrap().starts_with("openssl s_client -connect 127.0.0.1:"), "{finding}");
    }
    environment.authority().issue(&names);
    kill(Pid::from_raw(environment.pid()), Signal::SIGHUP).unwrap();
    wait::until_true("all is well again", || doctor(&laptop).code == Some(0));
}

#[test]
fn clocks_that_are_apart_are_told_apart() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let clock = WrongClock::start(&environment);
    let password = laptop.password_of("alice");
    laptop.logged_in_at(&clock.url(), "alice", &password);
    laptop.tok(&["git", "setup", &clock.url()]).ok();
    let doctor = || laptop.tok(&["doctor", "--json"]).run();
    assert_eq!(doctor().code, Some(0), "{}", doctor().describe());
    for (ahead, severity, words) in [
        (45, "warning", "behind the server's"),
        (-45, "warning", "ahead of the server's"),
        (90, "error", "behind the server's"),
        (-3600, "error", "ahead of the server's"),
    ] {
        clock.set_ahead(ahead);
        let said = doctor().expect_code(1);
        let found = findings(&said);
        let [finding] = found.as_slice() else { panic!("one finding: {}", said.describe()) };
        assert_eq!((&finding["check"], &finding["severity"]), (&"clock".into(), &severity.into()), "{finding}");
        assert!(finding["what"].as_str().unwrap().contains(words), "{finding}");
        assert_eq!(finding["fix"], "sudo timedatectl set-ntp true");
    }
    clock.set_ahead(0);
    assert_eq!(doctor().code, Some(0));
}

#[test]
fn the_class_of_what_is_wrong_is_the_exit_code() {
    let environment = environment();
    let stranger = environment.laptop("stranger");
    let said = stranger.tok(&["doctor"]).fails(3);
    assert!(said.text().contains("tok login"), "{}", said.describe());
    stranger.tok(&["git", "setup", &environment.url()]).ok();
    let said = stranger.tok(&["doctor", &environment.url()]).fails(3);
    assert!(said.text().contains(&format!("mend: tok login {}", environment.url())), "{}", said.describe());
    stranger.tok(&["doctor", "origin"]).fails(2).says(&["remote"]);

    let laptop = healthy(&environment);
    well(&laptop);
    // TLS, the name, and the connection are told apart.
    let untrusted = laptop.tok(&["doctor"]).variable("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt").fails(6);
    assert!(untrusted.text().contains("signed by nobody"), "{}", untrusted.describe());
    let nowhere = laptop.tok(&["doctor", "https://nobody.invalid"]).fails(6);
    assert!(nowhere.text().contains("cannot be looked up"), "{}", nowhere.describe());

    let session = laptop.logged_in("alice");
    environment.tok(&["token", "revoke", "--force", &session]).ok();
    let ended = doctor(&laptop).expect_code(3);
    let finding = &findings(&ended)[0];
    assert_eq!(finding["fix"], format!("tok login {}", environment.url()), "{}", ended.describe());
    laptop.logged_in("alice");
    well(&laptop);

    environment.stop();
    let away = doctor(&laptop).expect_code(6);
    let finding = findings(&away).into_iter().find(|finding| finding["class"] == "unreachable").unwrap();
    assert!(finding["what"].as_str().unwrap().contains("no connection to port"), "{}", away.describe());
}

#[test]
fn a_server_that_hangs_is_told_in_a_few_seconds() {
    let environment = Environment::dev();
    environment.users(&["alice"]);
    let laptop = environment.laptop("laptop");
    laptop.logged_in("alice");
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    laptop.tok(&["doctor", &environment.url()]).ok();
    // The system takes connections for it all the while.
    let stopped = Stopped::new(environment.pid());
    let begin = Instant::now();
    let doctor = laptop.tok(&["doctor", &environment.url()]).fails(6);
    assert!(begin.elapsed() < Duration::from_secs(14), "{:?}", begin.elapsed());
    drop(stopped);
    assert!(doctor.text().contains("takes the connection and says nothing"), "{}", doctor.describe());
}

#[test]
fn a_socket_that_is_gone_is_named_with_what_starts_its_daemon() {
    let environment = Environment::tls();
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    let key = format!("credential.{url}.helper");
    laptop.tok(&["git", "setup", &url]).ok();
    laptop.git(&["config", "--global", "--replace-all", &key, "tok --socket /nonexistent/s"]).ok();
    let doctor = laptop.tok(&["doctor", &url]).fails(6);
    for words in
        ["nobody answers at /nonexistent/s", "which git is set up to ask", &format!("mend: tok git setup {url}")]
    {
        assert!(doctor.text().contains(words), "{}", doctor.describe());
    }
    assert!(!doctor.text().contains("ok       session"), "{}", doctor.describe());
    laptop.git(&["config", "--global", "--replace-all", &key, "tok"]).ok();
    let doctor = laptop.tok(&["doctor", &url]).variable("TOK_SOCKET", "/nonexistent/s").fails(6);
    assert!(doctor.text().contains("mend: tokd dev"), "{}", doctor.describe());
    assert!(!doctor.text().contains("ok       session"), "{}", doctor.describe());
    assert_eq!(doctor.text().matches("/nonexistent/s").count(), 1, "it is said once: {}", doctor.describe());
}

#[test]
fn a_login_that_is_missing_is_named_with_the_profile_that_git_names() {
    let environment = Environment::tls();
    environment.users(&["alice"]);
    let laptop = environment.laptop("laptop");
    let (url, password) = (environment.url(), laptop.password_of("alice"));
    laptop.tok(&["git", "setup", &url, "--profile", "two"]).ok();
    let log_in = format!("tok login {url} --profile two");
    let mended_by_it = || {
        let doctor = laptop.tok(&["doctor", &url]).fails(3);
        assert!(doctor.text().contains(&format!("mend: {log_in}\n")), "{}", doctor.describe());
    };
    mended_by_it();
    let challenged = crate::agent::challenged(&environment, "acme/app", "read");
    let helper = laptop.helper().arguments(["--profile", "two", "get"]).input(challenged + "\n").ok();
    helper.says(&[&format!("`{log_in}`")]);
    // One without the profile does not do.
    laptop.logged_in("alice");
    mended_by_it();
    let login = laptop.tok(&["login", &url, "--profile", "two", "--user", "alice", "--password-stdin"]);
    login.input(format!("{password}\n")).ok();
    laptop.tok(&["doctor", &url]).ok();
}
