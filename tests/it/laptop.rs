//! Logging in from elsewhere: what is kept and where, which login is meant, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tok_tests::call::Running;
use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;
use tok_tests::pages::{Visitor, form};
use tok_tests::wait;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn environment() -> Environment {
    let environment = Environment::tls();
    environment.users(&["alice", "bob"]).workspace("acme", &[("alice", "maintainer"), ("bob", "reader")]);
    environment
}

#[test]
fn a_password_begins_a_session_that_is_kept_for_its_user_alone_and_logout_ends_it() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    laptop.tok(&["whoami", "--server", &url]).fails(3).says(&[&format!("tok login {url}")]);
    laptop.tok(&["logout"]).fails(3).says(&["nobody is logged in", "tok login"]);
    let password = "correct horse battery staple and more";
    environment.tok(&["user", "passwd", "alice"]).input(format!("{password}\n")).ok();
    environment.canaries().register("alice's password", password);
    let login = laptop.tok(&["login", &url, "--user", "alice", "--password-stdin"]);
    laptop.tok(&["login", &url, "--user", "alice"]).fails(2).says(&["--password-stdin"]);
    login.clone().input("wrong\n").fails(3).says(&["wrong", "password"]);
    assert!(!laptop.logins().exists(), "nothing is kept of a login that failed");
    let said = login.input(format!("{password}\n")).ok();
    assert!(said.text().contains("Logged in as alice at https://"), "{}", said.describe());
    said.says(&[&format!("tok git setup {url}")]);
    assert_eq!((mode(&laptop.logins()), mode(laptop.logins().parent().unwrap())), (0o600, 0o700));

    // Every command goes there now, and the session is a token like others.
    let who = laptop.tok(&["whoami", "--output", "json"]).ok().json();
    assert_eq!((&who["user"], &who["token"]["kind"]), (&json!("alice"), &json!("session")));
    let status = laptop.tok(&["status", "--output", "json"]).ok().json();
    let seen = &status["logins"][0];
    assert_eq!(
        (&seen["server"], &seen["user"], &seen["state"], &seen["storage"], &seen["used"]),
        (&json!(url), &json!("alice"), &json!("active"), &json!("file"), &json!(true)),
        "{status}"
    );
    let session = seen["session"].as_str().unwrap().to_owned();
    let listed = laptop.tok(&["token", "list", "--kind", "session", "--output", "json"]).ok().json();
    assert_eq!(listed["tokens"][0]["id"], session.as_str());

    let out = laptop.tok(&["logout", "--output", "json"]).ok().json();
    assert_eq!((&out["logged_out"][0]["revoked"], &out["logged_out"][0]["session"]), (&json!(true), &json!(session)));
    assert_eq!(environment.tok(&["token", "show", &session, "--output", "json"]).ok().json()["state"], "revoked");
    assert!(!fs::read_to_string(laptop.logins()).unwrap().contains("tokses_"));
    laptop.tok(&["whoami"]).fails(6);
}

#[test]
fn logging_in_again_replaces_and_revokes_and_a_session_that_ended_says_what_to_do() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let first = laptop.logged_in("alice");
    let second = laptop.logged_in("alice");
    assert_ne!(first, second);
    let state = |id: &str| {
        let shown = environment.tok(&["token", "show", id, "--output", "json"]).ok().json();
        shown["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((state(&first), state(&second)), ("revoked".to_owned(), "active".to_owned()));
    environment.tok(&["token", "revoke", "--force", &second]).ok();
    laptop.tok(&["whoami"]).fails(3).says(&[
        "alice",
        "has ended or was revoked",
        &format!("tok login {}", environment.url()),
    ]);
    let status = laptop.tok(&["status", "--output", "json"]).fails(3).json();
    assert_eq!((&status["logins"][0]["state"], &status["logins"][0]["reachable"]), (&json!("ended"), &json!(true)));
    // To end what has ended is no failure.
    laptop.tok(&["logout"]).ok();
}

#[test]
fn several_users_and_servers_live_side_by_side() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    laptop.logged_in("alice");
    laptop.logged_in("bob");
    let refused = laptop.tok(&["whoami"]).fails(5);
    refused.says(&["alice at https://", "bob at https://", "--profile", "--default"]);
    // Of which nothing is wrong with either.
    let status = laptop.tok(&["status", "--output", "json"]).ok();
    assert_eq!(status.json()["logins"].as_array().unwrap().len(), 2);
    status.says(&["several logins", "--profile"]);
    laptop.tok(&["logout"]).fails(5).says(&["--all", "alice", "bob"]);
    let url = environment.url();
    // There is one server, whoever is logged in there.
    let again = laptop.password_of("alice");
    laptop.tok(&["login", "--user", "alice", "--password-stdin"]).input(format!("{again}\n")).ok();
    let token = environment.token("alice", &["--scopes", "user:read"]);
    let with = |words: &[&str]| laptop.tok(words).input(format!("{token}\n"));
    let said = with(&["login", &url, "--with-token", "--profile", "narrow", "--path", "acme", "--output", "json"]).ok();
    assert_eq!(
        (&said.json()["login"]["profile"], &said.json()["login"]["paths"]),
        (&json!("narrow"), &json!(["acme"])),
        "{}",
        said.describe()
    );
    let who = laptop.tok(&["whoami", "--profile", "narrow", "--output", "json"]).ok().json();
    assert_eq!((&who["user"], &who["token"]["kind"]), (&json!("alice"), &json!("personal")));
    laptop.tok(&["whoami", "--profile", "nobody"]).fails(3).says(&["nobody", "tok status"]);
    // A token that was brought along is not ended by logging out.
    let out = laptop.tok(&["logout", "--profile", "narrow", "--output", "json"]).ok();
    assert_eq!(out.json()["logged_out"][0]["revoked"], false);
    out.says(&["goes on working"]);
    laptop.tok(&["whoami"]).variable("TOK_TOKEN", &token).variable("TOK_SERVER", &url).ok();
    let ended = laptop.tok(&["whoami"]).variable("TOK_TOKEN", format!("{token}\n")).variable("TOK_SERVER", &url);
    ended.fails(2).says(&["TOK_TOKEN has a character that no token has", "without a line end"]);
    with(&["login", &url, "--with-token"]).input("tokpat_nonsense\n").fails(3);
    laptop.tok(&["logout", "--all"]).ok();
    assert_eq!(laptop.tok(&["logout"]).fails(3).complaint().matches("nobody is logged in").count(), 1);
}

#[test]
fn a_server_that_is_away_keeps_nobody_logged_in_here() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let session = laptop.logged_in("alice");
    environment.stop();
    let status = laptop.tok(&["status", "--output", "json"]).fails(6);
    assert_eq!(status.json()["logins"][0]["state"], "unreachable");
    let out = laptop.tok(&["logout", "--output", "json"]).ok();
    assert_eq!(out.json()["logged_out"][0]["revoked"], false);
    out.says(&["forgotten here", "not ended on the server", &format!("tok token revoke {session}")]);
    assert!(!fs::read_to_string(laptop.logins()).unwrap().contains("tokses_"));
}

#[test]
fn a_file_of_logins_that_others_can_read_is_not_used() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    laptop.logged_in("alice");
    fs::set_permissions(laptop.logins(), fs::Permissions::from_mode(0o644)).unwrap();
    for words in [&["whoami"][..], &["status"], &["logout"], &["login", &environment.url()]] {
        laptop.tok(words).fails(1).says(&["0644", "chmod 600", "logins.toml"]);
    }
    // What names its daemon and its token needs no login.
    let token = environment.token("alice", &["--scopes", "user:read"]);
    laptop.tok(&["whoami"]).variable("TOK_TOKEN", token).variable("TOK_SERVER", environment.url()).ok();
    laptop.tok(&["login", "http://git.example.com"]).fails(2).says(&["in the clear", "https"]);
}

#[test]
fn a_keyring_keeps_the_session_where_there_is_one_and_a_file_where_there_is_none() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    let password = laptop.password_of("alice");
    let script = format!(
        "tok login {url} --user alice --password-stdin --output json || exit $?\n\
         cp \"$XDG_CONFIG_HOME/tok/logins.toml\" \"$HOME/seen.toml\"\n\
         tok whoami --output json >&2 && tok logout >&2\n"
    );
    let Some(desktop) = laptop.desktop(&script) else { return };
    let said = desktop.input(format!("{password}\n")).ok();
    assert_eq!(said.json()["login"]["storage"], "keyring", "{}", said.describe());
    said.says(&["\"user\": \"alice\""]);
    let kept = fs::read_to_string(laptop.home().join("seen.toml")).unwrap();
    assert!(kept.contains("storage = \"keyring\"") && !kept.contains("secret"), "{kept}");
    assert_eq!(
        environment.count(
            "SELECT count(*) AS count FROM tokens WHERE kind = 'session' AND revoked_at IS NULL AND local_uid IS NULL"
        ),
        0
    );

    // Without a desktop there is a file, and a word about it; whoever insists is refused before anything begins.
    let login = |words: &[&str]| {
        let call = laptop.tok(&["login", &url, "--user", "alice", "--password-stdin"]).arguments(words.iter().copied());
        call.without("TOK_STORAGE").input(format!("{password}\n"))
    };
    login(&["--storage", "keyring"]).fails(1).says(&["no keyring", "--storage file"]);
    let said = login(&[]).ok();
    said.says(&["logins.toml", "no keyring"]);
    assert!(fs::read_to_string(laptop.logins()).unwrap().contains("storage = \"file\""));
}

#[test]
fn the_first_hour_of_a_laptop_needs_no_prompt_and_leaves_no_token_on_its_disk() {
    let environment = environment();
    environment.pushed("alice", "acme/app");
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    let password = laptop.password_of("alice");
    let login = laptop.tok(&["login", &url, "--user", "alice", "--password-stdin", "--setup-git", "--output", "json"]);
    assert_eq!(login.input(format!("{password}\n")).ok().json()["git_setup"], true);
    laptop.git(&["clone", "--quiet", &environment.repository("acme/app"), "app"]).ok();
    let app = laptop.work().join("app");
    laptop.git(&["commit", "--quiet", "--allow-empty", "-m", "from afar"]).directory(&app).ok();
    laptop.git(&["push", "--quiet"]).directory(&app).ok();
    laptop.tok(&["logout"]).ok();
    let refused = laptop.git(&["push", "--quiet", "origin", "HEAD:refs/heads/late"]).directory(&app).run();
    assert_ne!(refused.code, Some(0), "what the agent kept has ended with the session\n{}", refused.describe());
}

/// A login that waits for somebody to confirm it, and the address with its code.
pub(crate) fn begun(laptop: &Laptop<'_>, url: &str, more: &str) -> (Running, String) {
    let said = laptop.home().join("said");
    // What an earlier one said is no answer.
    let _ = fs::remove_file(&said);
    let script = format!("exec tok login {url} --no-browser --output json {more} 2>{}", said.display());
    let running = laptop.call("sh").arguments(["-c", &script]).start();
    let address = wait::until("the address is shown", || {
        let text = fs::read_to_string(&said).unwrap_or_default();
        let line =
            text.lines().find_map(|line| line.split_once("already in it: ").map(|(_, address)| address.to_owned()));
        line.filter(|_| text.contains("Waiting"))
    });
    (running, address)
}

/// What a person does in a browser: opens the address, logs in, and decides.
pub(crate) fn decide(environment: &Environment, address: &str, user: &str, password: &str, decision: &str) {
    let mut person = Visitor::new(environment);
    let (_, page) = address.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap();
    let page = person.open(&format!("/{page}"));
    let page = person.follow(&form(&page, "/login"), &[("user", user), ("password", password)]);
    let done = person.submit(&form(&page, "/device"), &[("decision", decision)]);
    assert_eq!(done.status, 200, "{}", done.text());
}

#[test]
fn a_code_that_somebody_confirms_in_a_browser_begins_a_session() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.url();
    let password = laptop.password_of("alice");
    let (running, address) = begun(&laptop, &url, "");
    decide(&environment, &address, "alice", &password, "approve");
    let said = running.wait().expect_code(0).json();
    assert_eq!((&said["login"]["user"], &said["login"]["storage"]), (&json!("alice"), &json!("file")), "{said}");
    let who = laptop.tok(&["whoami", "--output", "json"]).ok().json();
    assert_eq!((&who["user"], &who["token"]["id"]), (&json!("alice"), &said["login"]["session"]));

    // Who says no is heard, and what was there before stays.
    let (running, address) = begun(&laptop, &url, "");
    decide(&environment, &address, "alice", &password, "deny");
    running.wait().expect_code(4);
    let told = fs::read_to_string(laptop.home().join("said")).unwrap();
    assert!(told.contains("access_denied") && told.contains("nothing was changed"), "{told}");
    laptop.tok(&["whoami"]).ok();

    // Whoever stops waiting leaves nothing behind.
    let before = fs::read_to_string(laptop.logins()).unwrap();
    let (running, _) = begun(&laptop, &url, "");
    kill(Pid::from_raw(running.pid()), Signal::SIGINT).unwrap();
    assert_eq!(running.wait().code, None, "it ends as Ctrl-C ends programs");
    assert!(fs::read_to_string(laptop.logins()).unwrap() == before);
}
