//! Tokens with chosen secrets: a name and a secret that somebody knows by heart.

use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::authority::{READ, WRITE, acme};

const SECRET: &str = "violet-tractor-97-moon";

pub(crate) fn chosen(environment: &Environment, user: &str, name: &str, secret: &str, arguments: &[&str]) {
    environment.canaries().register("a chosen secret", secret);
    let create =
        environment.tok(&["token", "create", name, "--secret-stdin", "--quiet"]).arguments(arguments.iter().copied());
    create.acting_as(user).input(format!("{secret}\n")).ok();
}

#[test]
fn a_chosen_secret_is_judged_alike_wherever_it_is_presented() {
    let environment = acme();
    chosen(&environment, "will", "deploy", SECRET, &["--scopes", "repo:read"]);
    let verdict = |name: &str, secret: &str, service: &str| {
        environment.send(&Request::refs("acme/app", service).basic(name, secret)).status
    };
    assert_eq!(verdict("deploy", SECRET, READ), 200);
    assert_eq!(verdict("Deploy", SECRET, READ), 200, "names that differ in case alone are the same");
    assert_eq!(verdict("deploy", SECRET, WRITE), 403);
    for (name, secret) in [("deploy", "violet-tractor-97-moom"), ("will", SECRET), ("", SECRET), ("deploy", "x")] {
        assert_eq!(verdict(name, secret, READ), 401, "{name}:{secret}");
    }
    // Alone it is nothing: neither as Bearer nor as a user name.
    assert_eq!(environment.send(&Request::refs("acme/app", READ).bearer(SECRET)).status, 401);
    assert_eq!(environment.send(&Request::refs("acme/app", READ).bearer(&format!("deploy:{SECRET}"))).status, 401);
    assert_eq!(environment.send(&Request::refs("acme/app", READ).basic(SECRET, "")).status, 401);
    assert_eq!(environment.send(&Request::refs("acme/app", READ).basic(SECRET, "x-oauth-basic")).status, 401);

    let asked = Request::get("/authz/git").header("X-Original-URI", "/acme/app.git/info/refs?service=git-upload-pack");
    let said = environment.send(&asked.header("X-Original-Method", "GET").basic("deploy", SECRET));
    assert_eq!(
        (said.status, said.header("remote-user"), said.header("x-tok-scopes")),
        (204, Some("will"), Some("repo:read"))
    );

    let exempt = environment.canaries().exempt().to_owned();
    environment
        .git(&environment.work(""), &["ls-remote", &environment.repository("acme/app")])
        .with_password(&environment.url(), "deploy", SECRET, &exempt)
        .ok();
    let pair = format!("deploy:{SECRET}");
    let whoami = environment.tok(&["whoami", "--output", "json"]).variable("TOK_TOKEN", pair.clone()).ok().json();
    assert_eq!((whoami["user"].as_str(), whoami["token"]["name"].as_str()), (Some("will"), Some("deploy")));
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(pair).ok().json();
    assert_eq!(
        (
            checked["usable"].as_bool(),
            checked["token"]["secret_form"].as_str(),
            checked["token"]["token_prefix"].as_str()
        ),
        (Some(true), Some("chosen"), Some("deploy:"))
    );
    // What is kept is a slow hash and nothing else.
    let kept = environment.rows("SELECT digest, secret_hash FROM tokens WHERE name = 'deploy'");
    assert!(kept[0]["digest"].is_null());
    assert!(kept[0]["secret_hash"].as_str().unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept:?}");
}

#[test]
fn it_ends_at_once_and_its_name_is_free_again() {
    let environment = acme();
    chosen(&environment, "will", "deploy", SECRET, &[]);
    let verdict = |secret: &str| environment.send(&Request::refs("acme/app", READ).basic("deploy", secret)).status;
    assert_eq!(verdict(SECRET), 200);
    environment.tok(&["user", "disable", "will"]).ok();
    assert_eq!(verdict(SECRET), 401);
    environment.tok(&["user", "enable", "will"]).ok();
    assert_eq!(verdict(SECRET), 200);
    // Two of a name cannot be told apart, whoever they are of.
    let other = "another-tractor-98-sun";
    environment.canaries().register("a chosen secret", other);
    let again =
        || environment.tok(&["token", "create", "DEPLOY", "--secret-stdin", "--quiet"]).acting_as("mona").input(other);
    // Whose it is, is not said, and nothing is promised of a list that may not show it.
    let taken = again().run();
    taken.says(&["has that name", "choose another name, or, if that one is yours, revoke it"]);
    assert!(!taken.complaint().contains("shows") && !taken.complaint().contains("will"), "{}", taken.describe());
    environment.tok(&["token", "revoke", "deploy", "--force"]).acting_as("will").ok();
    assert_eq!(verdict(SECRET), 401);
    // As long as it can come back, nobody else gets its name.
    again().run().says(&["15 minutes"]);
    environment.execute("UPDATE tokens SET revoked_at = revoked_at - interval '16 minutes' WHERE name = 'deploy'");
    again().ok();
    assert_eq!((verdict(SECRET), verdict(other)), (401, 200));
}

#[test]
fn what_can_be_guessed_or_cannot_be_presented_is_refused_and_not_repeated() {
    let environment = acme();
    for (name, secret, says) in [
        ("deploy", "passwordpassword", &["can be guessed", "four or more random words"][..]),
        ("deploy", "Zq8#fT2!vLp", &["too short", "12 characters"]),
        ("deploy", "deploy-deploy-will", &["can be guessed"]),
        ("deploy", "tokpat_violet-tractor-97-moon", &["would be taken for one"]),
        ("a:b", SECRET, &["no colon", "name:secret"]),
        (" deploy", SECRET, &["no space at its ends"]),
    ] {
        let run = environment.tok(&["token", "create", name, "--secret-stdin"]).acting_as("will").input(secret).run();
        run.says(says);
        assert!(!run.complaint().contains(secret), "{}", run.describe());
    }
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE secret_hash IS NOT NULL"), 0);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'personal'"), 0);
}

#[test]
fn it_is_rotated_under_its_name_and_the_old_one_raises_the_alarm() {
    let environment = acme();
    let next = "amber-lighthouse-41-fog";
    environment.canaries().register("a chosen secret", next);
    chosen(&environment, "will", "deploy", SECRET, &[]);
    let verdict = |secret: &str| environment.send(&Request::refs("acme/app", READ).basic("deploy", secret)).status;
    assert_eq!(verdict(SECRET), 200);
    let rotate = |arguments: &[&str]| {
        environment
            .tok(&["token", "rotate", "deploy", "--quiet"])
            .arguments(arguments.iter().copied())
            .acting_as("will")
    };
    rotate(&[]).run().says(&["its successor needs one that is chosen"]);
    rotate(&["--secret-stdin", "--grace", "1h"]).input(next).ok();
    // Both work until the new one is used; then the old one is given up, and to present it ends both.
    assert_eq!((verdict(SECRET), verdict(next)), (200, 200));
    assert_eq!(verdict(SECRET), 401);
    assert_eq!(verdict(next), 401);
}

#[test]
fn who_gives_git_too_few_uses_is_told_so() {
    let environment = acme();
    let make = |arguments: &[&str]| environment.tok(&["token", "create", "brief"]).arguments(arguments.iter().copied());
    let warning = "one clone or push of git takes two or three";
    make(&["--max-uses", "1"]).acting_as("will").ok().says(&["may make 1 request", warning, "--max-uses 3"]);
    for enough in [&["--max-uses", "3"][..], &["--max-uses", "1", "--scopes", "user:read"], &[]] {
        assert!(!make(enough).acting_as("will").ok().complaint().contains(warning), "{enough:?}");
    }
}

#[test]
fn its_name_is_no_other_users_and_is_held_while_it_can_come_back() {
    let environment = acme();
    environment.tok(&["user", "create", "boss", "--manager"]).ok();
    let make = |user: &str, name: &str| {
        let call = environment.tok(&["token", "create", name, "--secret-stdin"]).acting_as(user);
        call.input("violet-tractor-97-moon\n").shows_secret()
    };
    // Presented as `rita:secret`, it would pass for rita's password wherever one is asked for.
    make("will", "rita").fails(1).says(&["another user's login name"]);
    make("will", "RITA").fails(1).says(&["another user's login name"]);
    make("will", "will").ok();
    make("will", "deploy").ok();
    environment.tok(&["token", "rename", "deploy", "rita"]).acting_as("will").fails(1).says(&["another user's"]);
    // Its name is what it is presented with.
    let renamed = environment.tok(&["token", "rename", "deploy", "release"]).acting_as("will").ok();
    renamed.says(&["given as Basic with the user name release from now on, no more with deploy"]);
    assert!(renamed.text().contains("release:"), "{}", renamed.describe());
    let list = environment.tok(&["token", "list"]).acting_as("will").ok();
    assert!(list.text().contains("release:") && !list.text().contains("deploy"), "{}", list.describe());
    environment.tok(&["token", "modify", "release", "--name", "deploy"]).acting_as("will").ok().says(&["no more with"]);
    // Nor is it a user's who comes later.
    let user = |name: &str| environment.tok(&["user", "create", name]);
    user("deploy").fails(1).says(&["a token with a chosen secret has that name", "tok token list --all-users"]);
    user("DEPLOY").fails(1).says(&["a token with a chosen secret has that name"]);
    // As long as its end can be undone, nobody else gets its name; its owner may.
    environment.tok(&["token", "revoke", "deploy", "--force"]).acting_as("will").ok();
    make("mona", "Deploy").fails(1).says(&["15 minutes"]);
    user("deploy").fails(1).says(&["15 minutes"]);
    environment.tok(&["token", "restore", "deploy"]).acting_as("will").ok();
    environment.tok(&["token", "revoke", "deploy", "--force"]).acting_as("will").ok();
    environment.execute("UPDATE tokens SET revoked_at = now() - interval '16 minutes' WHERE name = 'deploy'");
    make("mona", "deploy").ok();
    environment.execute("UPDATE tokens SET expires_at = now() WHERE name = 'deploy' AND revoked_at IS NULL");
    user("deploy").ok();
    make("mona", "deploy").fails(1).says(&["another user's login name"]);
}

#[test]
fn of_a_user_and_a_token_that_want_one_name_at_once_one_gets_it() {
    let environment = acme();
    for round in 0..6 {
        let name = format!("both{round}");
        let token = environment.tok(&["token", "create", &name, "--secret-stdin"]).acting_as("will");
        let token = token.input("violet-tractor-97-moon\n").shows_secret().start();
        let user = environment.tok(&["user", "create", &name]).start();
        let done = [token.wait().code, user.wait().code];
        assert!(matches!(done, [Some(0), Some(1)] | [Some(1), Some(0)]), "{done:?}");
    }
}
