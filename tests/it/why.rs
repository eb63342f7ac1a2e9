//! `tok git why`: who would answer git, by which rule, with what.

use serde_json::json;

use crate::doctor::{environment, healthy};

const MINTED: &str = "SELECT count(*) AS count FROM tokens WHERE kind = 'git'";

#[test]
fn a_login_answers_and_nothing_is_minted_to_say_so() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.repository("acme/app");
    let setup = format!("tok git setup {}", environment.url());
    laptop.tok(&["git", "why", &url]).fails(3).says(&["git does not ask tok", "nobody", &setup]);
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    laptop.tok(&["git", "why", &url]).fails(3).says(&["nobody answers", "tok login"]);
    laptop.logged_in("bob");
    let before = environment.count(MINTED);
    let why = |words: &[&str]| laptop.tok(&["git", "why", &url, "--output", "json"]).arguments(words.iter().copied());
    let said = why(&[]).ok().json();
    assert_eq!(
        (&said["answered_by"], &said["login"]["user"], &said["right"], &said["allowed"], &said["minted"]),
        (&json!("agent"), &json!("bob"), &json!("read"), &json!(true), &json!(false)),
        "{said}"
    );
    assert_eq!((&said["helpers"], &said["login_rule"]), (&json!(["tok"]), &json!("it is the only one")));
    assert_eq!(
        (&said["answer"][0], &said["answer"][1], &said["answer"][2]),
        (&json!("username=bob"), &json!("authtype=Bearer"), &json!("credential=tokgit_…"))
    );
    let denied = why(&["--push"]).fails(4).json();
    assert_eq!((&denied["allowed"], &denied["answer"]), (&json!(false), &json!([])), "{denied}");
    assert!(denied["reason"].as_str().unwrap().contains("reader"), "{denied}");
    assert_eq!(environment.count(MINTED), before, "asking mints nothing");

    // What git really gets, without the secret of it.
    let minted = why(&["--mint"]).ok();
    let lines: Vec<String> =
        minted.json()["answer"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
    let shown =
        lines.iter().find_map(|line| line.strip_prefix("credential=")).unwrap().trim_end_matches('…').to_owned();
    assert!(lines.contains(&"authtype=Bearer".to_owned()) && shown.len() == "tokgit_a1b2".len(), "{lines:?}");
    assert_eq!(environment.count(&format!("SELECT count(*) AS count FROM tokens WHERE shown_prefix = '{shown}'")), 1);
    laptop.tok(&["git", "why", &environment.repository("elsewhere/none")]).fails(4);
    laptop.tok(&["git", "why", &environment.url()]).fails(2).says(&["names no repository"]);
    let other = url.replace("https://", "https://alice@");
    laptop.tok(&["git", "why", &other]).fails(3).says(&["another user", "bob"]);
}

#[test]
fn a_token_of_a_job_and_the_daemon_of_a_server_answer_before_logins() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let url = environment.repository("acme/app");
    laptop.tok(&["git", "setup", &environment.url()]).ok();
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    let job = |words: &[&str]| {
        let call = laptop.tok(&["git", "why", &url]).arguments(words.iter().copied());
        call.variable("TOK_TOKEN", &token).variable("TOK_SERVER", environment.url())
    };
    let said = job(&["--output", "json"]).ok().json();
    assert_eq!(
        (&said["answered_by"], &said["answer"][2]),
        (&json!("token"), &json!(format!("credential={}…", &token[..11]))),
        "{said}"
    );
    let denied = job(&["--push"]).fails(4);
    assert!(denied.text().contains("repo:write"), "{}", denied.describe());
    // On the server the socket answers.
    let local = environment.tok(&["git", "why", &url, "--output", "json"]).acting_as("alice").ok().json();
    assert_eq!((&local["answered_by"], &local["allowed"]), (&json!("socket"), &json!(true)), "{local}");
}

#[test]
fn what_git_does_not_get_is_never_called_allowed() {
    let environment = environment();
    let laptop = environment.laptop("laptop");
    let _agent = laptop.agent();
    let (url, server) = (environment.repository("acme/app"), environment.url());
    let why = || laptop.tok(&["git", "why", &url]);
    laptop.tok(&["git", "setup", &server]).ok();
    let session = laptop.logged_in("alice");
    let text = why().ok().text().to_owned();
    assert!(text.contains("Not looked at") && !text.contains("Asked first"), "{text}");

    // A token for no server: neither it nor the login.
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    why().variable("TOK_TOKEN", &token).fails(3).says(&["TOK_TOKEN is set without TOK_SERVER", "answers nothing"]);
    let doctor = laptop.tok(&["doctor"]).variable("TOK_TOKEN", &token).run();
    assert!(doctor.text().contains("answers nothing at all"), "{}", doctor.describe());
    let request = format!("url={url}\nwwwauth[]=Basic realm=\"tok\"\n\n");
    let helper = laptop.helper().variable("TOK_TOKEN", &token).argument("get").input(request).ok();
    assert_eq!(helper.text(), "", "no login takes its place");

    // Others, elsewhere and before.
    laptop.tok(&["git", "why", "https://github.com/acme/app"]).fails(3).says(&["git does not ask tok", "nobody"]);
    environment
        .tok(&["git", "why", "https://github.com/acme/app"])
        .fails(3)
        .says(&["git does not ask tok for https://github.com"]);
    let helper = format!("credential.{server}.helper");
    laptop.git(&["config", "--global", "--unset-all", &helper]).ok();
    laptop.git(&["config", "--global", "--add", &helper, "store"]).ok();
    laptop.git(&["config", "--global", "--add", &helper, "tok"]).ok();
    let text = why().ok().text().to_owned();
    assert!(text.lines().any(|line| line.starts_with("Asked first") && line.contains("store")), "{text}");

    // A locked agent, and a session that is over.
    laptop.tok(&["agent", "start"]).ok();
    laptop.tok(&["agent", "lock"]).ok();
    why().fails(3).says(&["the agent is locked", "tok agent unlock"]);
    laptop.tok(&["agent", "unlock"]).ok();
    environment.tok(&["token", "revoke", "--force", &session]).ok();
    let over = why().run();
    assert_ne!(over.code, Some(0), "{}", over.describe());
    assert!(over.text().contains("Try") && over.text().contains(&format!("tok login {server}")), "{}", over.describe());
}

#[test]
fn a_push_is_about_where_git_pushes_to() {
    let environment = environment();
    let laptop = healthy(&environment);
    let (url, server) = (environment.repository("acme/app"), environment.url());
    let app = laptop.work().join("app");
    let git = |words: &[&str]| laptop.git(words).directory(&app).ok();
    let why = |words: &[&str]| {
        laptop.tok(&["git", "why", "--output", "json"]).arguments(words.iter().copied()).directory(&app)
    };
    git(&["remote", "set-url", "--push", "origin", &environment.repository("bob/secret")]);
    let push = why(&["origin", "--push"]).fails(4).json();
    assert_eq!((&push["repository"], &push["allowed"]), (&json!("bob/secret"), &json!(false)), "{push}");
    assert_eq!(why(&["origin"]).ok().json()["repository"], "acme/app");
    git(&["config", "--add", "remote.origin.pushurl", &url]);
    why(&["origin", "--push"]).fails(4).says(&["git pushes to 2 URLs of origin"]);
    git(&["config", "--unset-all", "remote.origin.pushurl"]);
    assert_eq!(why(&["origin", "--push"]).ok().json()["repository"], "acme/app");
    // What git puts in the place of a URL, to push or always; a URL by itself as the remote that has it.
    git(&["config", &format!("url.{server}/bob/.pushInsteadOf"), &format!("{server}/acme/")]);
    for named in ["origin", &url] {
        assert_eq!(why(&[named, "--push"]).fails(4).json()["repository"], "bob/app");
        assert_eq!(why(&[named]).ok().json()["repository"], "acme/app");
    }
    git(&["config", "--rename-section", &format!("url.{server}/bob/"), "url.https://elsewhere.example/bob/"]);
    why(&["origin", "--push"]).fails(3).says(&["git does not ask tok for https://elsewhere.example"]);
}

#[test]
fn what_git_would_do_instead_is_no_yes() {
    let environment = environment();
    let laptop = healthy(&environment);
    let (url, server) = (environment.repository("acme/app"), environment.url());
    let app = laptop.work().join("app");
    let git = |words: &[&str]| laptop.git(words).directory(&app).ok();
    let why = |url: &str| laptop.tok(&["git", "why", url]).directory(&app);
    why("origin").ok();
    // Each is taken back before the next.
    for (key, value, said) in [
        ("credential.useHttpPath", "false", "useHttpPath is off"),
        ("credential.helper", "", "git does not ask tok"),
        ("credential.username", "joe", "names the user joe"),
    ] {
        git(&["config", key, value]);
        why("origin").fails(3).says(&[said]);
        laptop.git(&["fetch"]).directory(&app).fails(128);
        git(&["config", "--unset-all", key]);
    }
    git(&["config", "credential.username", "alice"]);
    let password = laptop.password_of("bob");
    let login = laptop.tok(&["login", &server, "--profile", "work", "--user", "bob", "--password-stdin"]);
    login.input(format!("{password}\n")).ok();
    laptop
        .tok(&["git", "why", "origin", "--profile", "work"])
        .directory(&app)
        .fails(3)
        .says(&["names the user alice", "the profile work is bob"]);
    laptop.tok(&["logout", &server, "--profile", "work"]).ok();
    why("origin").ok();
    laptop.git(&["fetch"]).directory(&app).ok();
    git(&["config", "--unset-all", "credential.username"]);
    let helper = format!("credential.{server}.helper");
    git(&["config", &helper, ""]);
    git(&["config", "--add", &helper, "/nonexistent/git-credential-tok"]);
    why("origin").fails(3).says(&["git cannot run `/nonexistent/git-credential-tok`"]);
    git(&["config", "--unset-all", &helper]);
    // A token in the place of the user name, and a password, never said again.
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    for secret in [token.clone(), format!("{token}:x-oauth-basic"), format!("alice:{token}")] {
        let url = url.replace("https://", &format!("https://{secret}@"));
        for named in ["origin", &url] {
            git(&["config", "remote.origin.url", &url]);
            let said = why(named).fails(3);
            said.says(&["a password or a token in it"]);
            assert!(!said.complaint().contains(&token), "{}", said.describe());
        }
    }
    git(&["config", "remote.origin.url", &url]);
}
