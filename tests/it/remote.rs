//! The remote address with TLS: certificates that change, clients that must not be fooled, and git.

use std::fs;
use std::io::{Read as _, Write as _};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::binaries;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::normalise::invented_token;
use tok_tests::tls::{Authority, Connection};
use tok_tests::wait;

/// `tok` as it is on another machine: no socket, only this server.
fn elsewhere(environment: &Environment, token: &str, words: &[&str]) -> Call {
    let call = environment.tok(words).without("TOK_SOCKET").variable("TOK_SERVER", environment.url());
    if token.is_empty() { call } else { call.variable("TOK_TOKEN", token) }
}

#[test]
fn git_clones_and_pushes_over_https_without_a_prompt() {
    let environment = Environment::tls();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "writer"), ("bob", "reader")]);
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "second", "second\n");
    environment.git(&work, &["push", "--quiet"]).acting_as("alice").ok();
    let copy = environment.work("copy");
    let url = environment.repository("acme/app");
    assert!(url.starts_with("https://"), "{url}");
    environment
        .git(&environment.path("work"), &["clone", "--quiet", &url, copy.to_str().unwrap()])
        .acting_as("bob")
        .ok();
    assert_eq!(environment.revision(&copy, "HEAD"), environment.revision(&work, "HEAD"));
    environment.commit(&copy, "third", "third\n");
    environment.git(&copy, &["push", "--quiet"]).acting_as("bob").fails().says(&["acme"]);
    // What does not trust the authority sends nothing.
    let stranger = environment.git(&copy, &["fetch"]).setting("http.sslCAInfo", "/etc/hostname").acting_as("bob");
    assert!(!stranger.fails().complaint().is_empty());
    // The whole address is one: health and verdicts are behind the same certificate.
    assert_eq!(environment.send(&Request::get("/readyz")).status, 200);
    let token = environment.token("alice", &["--scopes", "repo:write"]);
    let judged = Request::get("/authz/git")
        .header("X-Original-URI", "/acme/app.git/git-receive-pack")
        .header("X-Original-Method", "POST")
        .bearer(&token);
    assert_eq!(environment.send(&judged).status, 204);
}

#[test]
fn plain_http_where_tls_is_spoken_is_told_the_address() {
    let environment = Environment::tls();
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    let plain = url.replace("https://", "http://").replace("127.0.0.1", "localhost");
    let secure = plain.replace("http://", "https://");
    for words in [&["--server", &plain, "whoami"][..], &["login", &plain]] {
        laptop.tok(words).fails(6).says(&["speaks TLS", &secure]);
    }
    laptop.git(&["init", "--quiet"]).ok();
    let remote = plain.replace("http://", "http://alice:sekrit@") + "/acme/app.git";
    laptop.git(&["remote", "add", "origin", &remote]).ok();
    for words in [&["doctor"][..], &["doctor", "origin"]] {
        let doctor = laptop.tok(words).run();
        let mends: Vec<_> = doctor.text().lines().filter(|line| line.contains("mend:")).collect();
        let right = format!("git remote set-url origin {secure}/acme/app.git");
        assert!(mends.iter().any(|line| line.contains(&right)), "{}", doctor.describe());
        assert!(mends.iter().all(|line| !line.contains("http://")), "{}", doctor.describe());
    }
}

#[test]
fn a_new_certificate_is_taken_without_losing_a_connection() {
    let environment = Environment::tls();
    let authority = environment.authority();
    let open = || Connection::open(environment.address(), &authority.trust());
    let shown = || open().unwrap().shown();
    let mut old = open().unwrap();
    let first = old.shown();

    // At once when asked.
    authority.issue(&["localhost", "127.0.0.1"]);
    hang_up(&environment);
    wait::until_true("SIGHUP takes the new certificate", || shown() != first);
    let second = shown();

    // By itself when the files change.
    authority.issue(&["localhost", "127.0.0.1"]);
    wait::until_true("the change of the files is noticed", || shown() != second);
    let third = shown();

    // A pair that does not fit changes nothing, and is complained about.
    fs::write(authority.key(), "-----BEGIN PRIVATE KEY-----\nhalf of").unwrap();
    hang_up(&environment);
    wait::until_true("the bad key is named in the log", || {
        environment.log().lines().any(|line| line.contains("stays as it was") && line.contains("server.tls.key"))
    });
    assert_eq!(shown(), third);

    // The connection of the beginning is still there.
    old.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(old.shown(), first);
}

fn hang_up(environment: &Environment) {
    kill(Pid::from_raw(environment.pid()), Signal::SIGHUP).unwrap();
}

#[test]
fn a_hangup_without_tls_ends_nothing() {
    let environment = Environment::dev();
    hang_up(&environment);
    wait::until_true("it says what SIGHUP is for", || environment.log().contains("SIGHUP"));
    environment.tok(&["whoami"]).ok();
}

#[test]
fn the_cli_refuses_a_server_that_it_cannot_trust_and_says_why() {
    let environment = Environment::tls();
    let token = environment.token("root", &["--scopes", "all"]);
    elsewhere(&environment, &token, &["whoami"]).ok();
    // Signed by somebody else than those who are trusted.
    let other = Authority::new(&environment.path("other"));
    let refused = elsewhere(&environment, &token, &["whoami"]).variable("SSL_CERT_FILE", other.trust()).fails(6);
    refused.says(&[&environment.url(), "signed by nobody", "SSL_CERT_FILE"]);
    let refused = elsewhere(&environment, &token, &["whoami"]).variable("SSL_CERT_FILE", "/nonexistent.pem").fails(6);
    refused.says(&["/nonexistent.pem", "SSL_CERT_FILE"]);
    // Of another name.
    environment.authority().issue(&["git.example.com"]);
    hang_up(&environment);
    wait::until_true("the certificate names somebody else", || {
        elsewhere(&environment, &token, &["whoami"]).run().code == Some(6)
    });
    elsewhere(&environment, &token, &["whoami"]).fails(6).says(&["127.0.0.1", "another name"]);
}

#[test]
fn who_is_asked_and_as_whom_is_plain() {
    let environment = Environment::tls();
    let token = environment.token("root", &["--scopes", "all"]);
    let url = environment.url();
    // Without a token a server knows nobody; what needs no name is answered.
    elsewhere(&environment, "", &["whoami"]).fails(3).says(&["TOK_TOKEN", &url]);
    elsewhere(&environment, "", &["user", "list"]).fails(3).says(&["TOK_TOKEN"]);
    elsewhere(&environment, "", &["token", "scopes"]).ok();
    elsewhere(&environment, &invented_token(), &["whoami"]).fails(3);
    // Nobody there, and nothing that may be spoken to.
    let tok = |words: &[&str]| environment.tok(words).variable("TOK_TOKEN", token.clone());
    tok(&["--server", "https://127.0.0.1:1", "whoami"]).fails(6).says(&["https://127.0.0.1:1", "refused"]);
    tok(&["--server", "https://name.invalid", "whoami"]).fails(6).says(&["name.invalid"]);
    tok(&["--server", "http://git.example.com", "whoami"]).fails(2).says(&["in the clear", "https"]);
    tok(&["--server", "git.example.com", "whoami"]).fails(2).says(&["https://git.example.com"]);
    // Plain HTTP where TLS is spoken is no silent hang.
    tok(&["--server", &url.replace("https", "http"), "whoami"]).fails(6);
    // A flag wins over a variable, whichever it is; of two variables the server's; two flags are one too many.
    let address = |call: Call| call.arguments(["status", "--output", "json"]).ok().json()["client"]["address"].clone();
    let socket = environment.socket();
    let socket = socket.to_str().unwrap();
    assert_eq!(address(tok(&[])), socket);
    assert_eq!(address(tok(&["--server", &url])), url.as_str());
    assert_eq!(address(tok(&[]).variable("TOK_SERVER", &url)), url.as_str());
    assert_eq!(address(tok(&["--socket", socket]).variable("TOK_SERVER", &url)), socket);
    assert_eq!(address(tok(&[]).variable("TOK_SERVER", "")), socket);
    tok(&["--server", &url, "--socket", socket, "whoami"]).fails(2).says(&["--server", "--socket"]);
    // What is to be typed next has the server in it, if it was typed.
    tok(&["--server", &url, "audit", "--limit", "1"]).ok().says(&[&format!("tok --server {url} audit")]);
}

#[test]
fn plain_http_is_for_this_machine_only() {
    let environment = Environment::new();
    let recipe = environment.serve_recipe("").variable("TOKD_SERVER_LISTEN", "0.0.0.0:0");
    let Err(refused) = recipe.start() else { panic!("it listens everywhere in the clear") };
    refused.because(&["server.listen", "server.tls"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a certificate is good or not at the time at which it is looked at")]
fn check_config_looks_at_the_certificate_and_its_key() {
    let environment = Environment::new();
    let authority = Authority::new(&environment.path("tls"));
    authority.issue(&["localhost"]);
    let path = environment.path("tokd.toml");
    fs::write(&path, format!("[server]\nlisten = \"0.0.0.0:443\"\n{}", authority.section())).unwrap();
    let check = || environment.call(binaries::path("tokd")).arguments(["check-config", "--config"]).argument(&path);
    check().ok();
    let good = fs::read(authority.key()).unwrap();
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(authority.key(), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    check().fails(2).says(&["server.tls.key", "chmod"]);
    mode(0o600);
    let certificate = fs::read(authority.certificate()).unwrap();
    authority.issue(&["localhost"]);
    fs::write(authority.key(), &good).unwrap();
    check().fails(2).says(&["server.tls.key", "not the key"]);
    fs::write(authority.certificate(), &certificate).unwrap();
    check().ok();
    fs::remove_file(authority.certificate()).unwrap();
    check().fails(2).says(&["server.tls.certificate", "cert.pem"]);

    // What belongs together may still be what clients refuse.
    let day = std::time::Duration::from_hours(24);
    let now = std::time::SystemTime::now();
    authority.issue_between(&["localhost"], now - 2 * day, now - day);
    check().fails(2).says(&["server.tls.certificate", "expired at"]);
    authority.issue_between(&["localhost"], now + day, now + 2 * day);
    check().fails(2).says(&["server.tls.certificate", "is not valid before"]);
    authority.issue(&["localhost"]);
    let public = "public_url = \"https://git.example.com\"";
    let text = format!("[server]\nlisten = \"0.0.0.0:443\"\n{public}\n{}", authority.section());
    fs::write(&path, text).unwrap();
    check().ok().says(&["warning", "does not name git.example.com"]);
    authority.issue(&["localhost", "git.example.com"]);
    assert!(!check().ok().describe().contains("warning"));
}

#[test]
fn the_log_says_what_clients_will_refuse_of_the_certificate() {
    let environment = Environment::tls();
    let said = || environment.log().lines().filter(|line| line.contains("does not name git.example.com")).count();
    assert!(!environment.log().contains("WARN"), "{}", environment.log());
    environment.stop();
    let section = environment.authority().section();
    let elsewhere = format!("[server]\npublic_url = \"https://git.example.com\"\n{section}");
    environment.start_with(&environment.serve_recipe(&elsewhere));
    assert_eq!(said(), 1, "{}", environment.log());
    assert!(environment.log().contains("WARN"));
    // A new one is looked at in the same way.
    environment.authority().issue(&["localhost", "127.0.0.1"]);
    kill(Pid::from_raw(environment.pid()), Signal::SIGHUP).unwrap();
    wait::until_true("the log says it of the new one", || said() == 2);
}
