//! A token that died costs one more request, never a failed command.

use std::path::Path;
use std::{fs, thread};

use tok_tests::environment::Environment;
use tok_tests::git::make_executable;
use tok_tests::proxy::Proxy;

fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment
}

/// Revokes alice's git tokens behind this daemon's back, as another daemon on the same database would.
///
/// The daemon still hands out what it keeps. It may serve what it read of a token for a few seconds, so only tokens that
/// were never presented are sure to be refused.
fn revoke_elsewhere(environment: &Environment) {
    environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'git'");
}

#[test]
fn a_dead_token_costs_one_more_request_and_is_not_erased() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let usual = environment.git(&work, &["fetch"]).acting_as("alice").ok().requests().len();
    environment.users(&["bob"]).tok(&["workspace", "member", "add", "acme", "bob"]).ok();
    let dead = environment.git_token("bob", "acme/app", "read");
    revoke_elsewhere(&environment);
    let fetch = environment.git(&work, &["fetch"]).acting_as("bob").ok();
    assert_eq!(fetch.requests().len(), usual + 1, "{:?}", fetch.requests());
    assert_eq!(fetch.statuses()[..3], [401, 401, 200]);
    assert_eq!(fetch.helper_calls(), ["get", "get", "store"]);
    assert_ne!(environment.git_token("bob", "acme/app", "read"), dead);
}

#[test]
fn a_token_revoked_here_is_not_handed_out_again() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
    let listed =
        environment.tok(&["token", "list", "--kind", "git", "--output", "json"]).acting_as("alice").ok().json();
    let ids: Vec<&str> =
        listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    environment.tok(&["token", "revoke", "--force"]).arguments(ids).acting_as("alice").ok();
    let fetch = environment.git(&work, &["fetch"]).acting_as("alice").ok();
    assert_eq!(fetch.statuses()[..2], [401, 200], "{:?}", fetch.requests());
    assert_eq!(fetch.helper_calls(), ["get", "store"]);
}

#[test]
fn a_push_whose_token_dies_between_the_question_and_the_push_succeeds() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "second", "content");
    // git asks the server, runs this hook, and then pushes.
    let listed =
        environment.tok(&["token", "list", "--kind", "git", "--output", "json"]).acting_as("alice").ok().json();
    let ids: Vec<&str> =
        listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap()).collect();
    hook(&work, "pre-push", &format!("tok token revoke --force {}", ids.join(" ")));
    let push = environment.git(&work, &["push"]).acting_as("alice").ok();
    let requests = push.requests();
    let posts: Vec<Option<u16>> =
        requests.iter().filter(|request| request.method == "POST").map(|request| request.status).collect();
    assert_eq!(posts.first(), Some(&Some(401)), "{requests:?}");
    assert_eq!(posts.last(), Some(&Some(200)), "{requests:?}");
    let listed = environment.git(&work, &["ls-remote", "origin", "main"]).acting_as("alice").ok();
    assert!(listed.text().starts_with(&environment.revision(&work, "HEAD")));
}

#[test]
fn a_token_that_is_too_narrow_is_stepped_up() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "second", "content");
    // git presents a credential before it was asked for one, so nobody knew that this is a push.
    let push = environment.git(&work, &["push"]).setting("http.proactiveAuth", "auto").acting_as("alice").ok();
    let requests = push.requests();
    assert!(requests[0].scheme.is_some(), "{requests:?}");
    assert_eq!(push.helper_calls().iter().filter(|call| *call == "erase").count(), 0, "{:?}", push.helper_calls());
    let fetch = environment.git(&work, &["fetch"]).setting("http.proactiveAuth", "auto").acting_as("alice").ok();
    assert!(fetch.statuses().iter().all(|status| *status == 200), "{:?}", fetch.requests());
}

#[test]
fn a_hundred_helpers_at_once_mint_once() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let expected = environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'") + 1;
    let input = environment.challenged("acme/app", "read") + "\n";
    let running: Vec<_> = (0..100)
        .map(|_| {
            environment
                .helper()
                .acting_as("alice")
                .argument("get")
                .input(input.clone())
                .variable("TOK_TIMEOUT_MS", "60000")
                .shows_secret()
                .start()
        })
        .collect();
    let mut answers: Vec<String> =
        running.into_iter().map(|running| running.wait().expect_code(0).text().to_owned()).collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 1, "all got the same answer, and none got nothing");
    assert!(answers[0].contains("credential="));
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), expected);
    assert_eq!(
        environment.count("SELECT count(*) FROM audit WHERE action = 'token.mint' AND detail LIKE 'git read%'"),
        1
    );
}

#[test]
fn many_fetches_at_once_mint_once_and_all_succeed() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let expected = environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'") + 1;
    // 100 for the full measure.
    let number = std::env::var("TOK_TEST_FETCHES").map_or(24, |text| text.parse().unwrap());
    thread::scope(|scope| {
        for _ in 0..number {
            scope.spawn(|| {
                let fetch = environment
                    .git(&work, &["ls-remote", "origin"])
                    .variable("TOK_TIMEOUT_MS", "60000")
                    .acting_as("alice")
                    .ok();
                assert_eq!(fetch.statuses()[..2], [401, 200], "{:?}", fetch.requests());
            });
        }
    });
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git'"), expected);
}

#[test]
fn the_old_way_works_for_push_and_clone() {
    let environment = acme();
    let old = environment.path("git-credential-old");
    let script = format!(
        "#!/bin/sh\nsed -e '/^capability\\[\\]=/d' -e '/^wwwauth\\[\\]=/d' -e '/^state\\[\\]=/d' | exec '{}' \"$@\"\n",
        tok_tests::binaries::path("git-credential-tok").display()
    );
    fs::write(&old, script).unwrap();
    make_executable(&old);
    let url = environment.url();
    let git = |directory: &Path, arguments: &[&str]| {
        let git = environment.git(directory, arguments).setting(&format!("credential.{url}.helper"), "");
        git.setting(&format!("credential.{url}.helper"), old.display().to_string()).acting_as("alice")
    };
    let work = environment.work_tree("old");
    let repository = environment.repository("acme/app");
    let push = git(&work, &["push", &repository, "main"]).ok();
    assert!(push.requests().iter().all(|request| request.scheme.as_deref() != Some("Bearer")), "{:?}", push.requests());
    assert!(push.requests().iter().any(|request| request.scheme.as_deref() == Some("Basic")));
    let clone = git(&environment.work(""), &["clone", &repository, "copy"]).ok();
    assert_eq!(clone.requests().last().unwrap().scheme.as_deref(), Some("Basic"));
    // Nobody said what for, so what the helper saw git doing decided.
    let rights = environment.rows("SELECT permission FROM tokens WHERE kind = 'git' ORDER BY created_at");
    let rights: Vec<&str> = rights.iter().map(|row| row["permission"].as_str().unwrap()).collect();
    assert_eq!(rights, ["write", "read"]);
}

#[test]
fn a_final_no_asks_nobody_and_no_other_helper() {
    let environment = acme();
    environment.users(&["bob"]).tok(&["workspace", "member", "add", "acme", "bob"]).ok();
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "second", "content");
    let asked = environment.path("asked");
    let other = format!("!f() {{ echo \"$1\" >>'{}'; }}; f", asked.display());
    let push = environment.git(&work, &["push"]).setting(&format!("credential.{}.helper", environment.url()), other);
    let push = push.acting_as("bob").fails();
    push.says(&["told us to quit", "bob has the role reader"]);
    assert!(!asked.exists(), "git went on to its next helper");
}

#[test]
fn nothing_secret_is_in_any_process_while_a_clone_is_under_way() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "large", tok_tests::git::noise(4 << 20, 7));
    let proxy = Proxy::start(environment.address());
    // The push is held in its middle: git, its helper's parents, tokd and its git are all there to be looked at.
    proxy.hold_after(1 << 20);
    let push = environment.git(&work, &["-c", "core.compression=0", "push"]).through(&proxy).acting_as("alice").start();
    proxy.wait_until_held();
    tok_tests::wait::until_true("git runs on the server", || tok_tests::processes::tree(environment.pid()).len() > 8);
    environment.canaries().inspect_processes(push.pid());
    environment.canaries().inspect_processes(environment.pid());
    proxy.pass();
    push.wait().expect_code(0);
}

pub(crate) fn hook(work: &Path, name: &str, script: &str) {
    let directory = work.join(".git/hooks");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\nexec >&2\n{script}\n")).unwrap();
    make_executable(&path);
}
