//! Passwords of users: whose they are, who may change them, and what is kept of them.

use tok_tests::environment::Environment;
use tok_tests::http::Request;

const FIRST: &str = "violet-tractor-97-moon";
const SECOND: &str = "amber-lighthouse-41-fog";

fn people() -> Environment {
    let environment = Environment::dev();
    environment.users(&["ann", "bob"]);
    for secret in [FIRST, SECOND] {
        environment.canaries().register("a password", secret);
    }
    environment
}

fn has_password(environment: &Environment, user: &str) -> bool {
    environment.tok(&["user", "show", user, "--output", "json"]).ok().json()["user"]["has_password"].as_bool().unwrap()
}

#[test]
fn ones_own_takes_the_one_until_now_and_a_manager_needs_none() {
    let environment = people();
    let own = |input: &str| environment.tok(&["user", "passwd"]).acting_as("ann").input(input.to_owned());
    assert!(!has_password(&environment, "ann"));
    own(&format!("{FIRST}\n")).ok();
    assert!(has_password(&environment, "ann"));
    own(&format!("{SECOND}\n")).run().says(&["your password until now is needed"]);
    own(&format!("{SECOND}\n{SECOND}\n")).run().says(&["not your password until now"]);
    own(&format!("{FIRST}\n{SECOND}\n")).ok();
    own(&format!("{FIRST}\n{FIRST}\n")).run().says(&["not your password until now"]);
    // Somebody else's is a manager's to set.
    environment.tok(&["user", "passwd", "ann"]).acting_as("bob").input(format!("{FIRST}\n")).fails(4);
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    own(&format!("{FIRST}\n{SECOND}\n")).ok();
    environment.tok(&["user", "passwd", "ann", "--remove", "--force"]).ok();
    assert!(!has_password(&environment, "ann"));
    environment.tok(&["user", "passwd", "nobody-here"]).input(format!("{FIRST}\n")).fails(5);

    let trail = environment.rows(
        "SELECT actor_name, subject_name, detail FROM audit WHERE action = 'user.password' AND outcome = 'done' ORDER BY at, id",
    );
    let told: Vec<_> = trail.iter().map(|row| row["detail"].as_str().unwrap()).collect();
    assert_eq!(told, ["set", "set", "set", "set", "taken away"]);
    assert!(trail.iter().all(|row| row["subject_name"] == "ann"), "{trail:?}");
}

#[test]
fn a_password_is_strong_and_kept_as_a_slow_hash() {
    let environment = people();
    for (password, says) in
        [("ann-ann-ann-1", "can be guessed"), ("short-one", "too short"), ("passwordpassword", "can be guessed")]
    {
        environment
            .tok(&["user", "passwd", "ann"])
            .input(format!("{password}\n"))
            .run()
            .says(&["this password is not taken", says]);
    }
    assert!(!has_password(&environment, "ann"));
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    let kept = environment.rows("SELECT password_hash FROM users WHERE name = 'ann'");
    assert!(kept[0]["password_hash"].as_str().unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept:?}");
}

#[test]
fn a_token_cannot_make_up_a_first_password() {
    let environment = people();
    let token = environment.token("ann", &["--scopes", "all"]);
    let with = |input: String| environment.tok(&["user", "passwd"]).variable("TOK_TOKEN", token.clone()).input(input);
    with(format!("{FIRST}\n")).fails(4).says(&["a personal token never may do that", "log in"]);
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    // With the one until now it is its owner's will.
    with(format!("{FIRST}\n{SECOND}\n")).ok();
    let narrow = environment.token("ann", &["--scopes", "user:read"]);
    let narrow =
        environment.tok(&["user", "passwd"]).variable("TOK_TOKEN", narrow).input(format!("{SECOND}\n{FIRST}\n"));
    narrow.fails(4).says(&["user:write"]);
}

#[test]
fn the_password_until_now_is_not_found_by_trying() {
    let environment = people();
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    let token = environment.token("ann", &["--scopes", "all"]);
    super::console::limited(&environment);
    let change = |current: &str| {
        let body = serde_json::json!({"current": current, "password": SECOND});
        let request = Request::json("PUT", "/v1/users/ann/password", &body).bearer(&token);
        environment.send(&request)
    };
    let stopped = (0..50).map(|_| change("amber-lighthouse-41-fig")).find(|reply| reply.status != 403);
    let stopped = stopped.unwrap();
    assert!(stopped.status == 429 && stopped.header("retry-after").is_some(), "{}", stopped.text());
    assert_eq!(change(FIRST).status, 429, "the right one is not looked at either");
}

#[test]
fn a_password_kept_under_a_weaker_hash_is_hashed_anew_when_it_is_next_right() {
    let environment = people();
    // The first password under bcrypt of the lowest cost.
    let weak = "$2b$04$abcdefghijklmnopqrstuu/KZSRGTWeg5uUs0fk6Vb2miEJrl2cza";
    environment.execute(&format!("UPDATE users SET password_hash = '{weak}' WHERE name = 'ann'"));
    let kept = || {
        let rows = environment.rows("SELECT password_hash FROM users WHERE name = 'ann'");
        rows[0]["password_hash"].as_str().unwrap().to_owned()
    };
    let own = |input: &str| environment.tok(&["user", "passwd"]).acting_as("ann").input(input.to_owned());
    own(&format!("{SECOND}\n{SECOND}\n")).run().says(&["not your password until now"]);
    assert_eq!(kept(), weak);
    // The one until now is right, and kept better from then on.
    own(&format!("{FIRST}\n{SECOND}\n")).ok();
    own(&format!("{SECOND}\n{FIRST}\n")).ok();
    let renewed =
        "SELECT count(*) AS count FROM audit WHERE action = 'user.password' AND detail LIKE 'kept under a stronger%'";
    assert_eq!(environment.count(renewed), 1);
    assert!(kept().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept());
}
