//! Passwords of users: whose they are, who may change them, and what is kept of them.

use tok_tests::environment::Environment;
use tok_tests::http::{FORM, Request, form_of};
use tok_tests::pages::{Visitor, form};

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

/// The session of a login on a machine.
fn login(environment: &Environment, user: &str, password: &str) -> String {
    let fields = [("grant_type", "password"), ("username", user), ("password", password), ("machine", "laptop")];
    let granted = environment.send(&Request::post("/oauth2/token", FORM, form_of(fields)));
    assert_eq!(granted.status, 200, "{}", granted.text());
    let session = granted.json()["access_token"].as_str().unwrap().to_owned();
    environment.canaries().register_shown(session.as_bytes());
    session
}

fn works(environment: &Environment, session: &str) -> bool {
    let status = environment.send(&Request::get("/v1/whoami").bearer(session)).status;
    assert!(matches!(status, 200 | 401 | 403), "{status}");
    status == 200
}

/// Whether what this browser was given still opens the page on which devices are let in.
fn may_approve(browser: &mut Visitor<'_>) -> bool {
    let reply = browser.send(Request::get("/device"));
    assert!(
        reply.status == 200 || reply.header("location").is_some_and(|to| to.starts_with("/login")),
        "{}",
        reply.text()
    );
    reply.status == 200
}

#[test]
fn what_browsers_were_given_ends_with_the_password_and_logins_of_machines_go_on() {
    let environment = people();
    let set = |input: &str| environment.tok(&["user", "passwd", "ann"]).input(format!("{input}\n")).ok();
    set(FIRST);
    let laptop = login(&environment, "ann", FIRST);
    let ends: [(&str, &dyn Fn()); 3] = [
        ("a password that a manager sets", &|| drop(set(FIRST))),
        ("a password that is taken away", &|| {
            environment.tok(&["user", "passwd", "ann", "--remove", "--force"]).ok();
            set(FIRST);
        }),
        ("a user who was disabled for a while", &|| {
            environment.tok(&["user", "disable", "ann"]).ok();
            environment.tok(&["user", "enable", "ann"]).ok();
        }),
    ];
    for (what, end) in ends {
        let (mut one, mut another) = (Visitor::new(&environment), Visitor::new(&environment));
        one.sign_in("ann", FIRST);
        another.sign_in("ann", FIRST);
        let begun = super::console::begin(&environment, "stolen");
        let path = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
        let consent = form(&one.open(&path), "/device");
        end();
        // Nor with a page that was open already.
        let sent = one.submit(&consent, &[("decision", "approve")]);
        assert!(!sent.text().contains("Approved"), "{what}: {}", sent.text());
        assert_eq!(super::console::poll(&environment, &begun).json()["error"], "authorization_pending", "{what}");
        assert!(!may_approve(&mut one) && !may_approve(&mut another), "{what}");
        assert!(!works(&environment, &one.cookies["tok"]), "{what}");
        assert!(works(&environment, &laptop), "{what}");
    }
    // Each is in the list, with when and why.
    let listed = environment
        .tok(&["token", "list", "--user", "ann", "--kind", "session", "--state", "revoked", "--output", "json"]);
    let listed = listed.ok().json();
    let why: Vec<_> =
        listed["tokens"].as_array().unwrap().iter().map(|token| token["revoke_reason"].as_str().unwrap()).collect();
    for reason in ["a new password was set", "the password was taken away", "the user was disabled"] {
        assert_eq!(why.iter().filter(|said| **said == reason).count(), 2, "{why:?}");
    }
    assert_eq!(environment.count("SELECT count(*) FROM audit WHERE action = 'token.revoke'"), 6);
}

#[test]
fn who_changes_their_own_password_stays_and_can_log_out_everywhere_else() {
    let environment = people();
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    let (laptop, desk) = (login(&environment, "ann", FIRST), login(&environment, "ann", FIRST));
    let (mut own, mut other) = (Visitor::new(&environment), Visitor::new(&environment));
    own.sign_in("ann", FIRST);
    other.sign_in("ann", FIRST);
    let change = |session: &str, current: &str, password: &str, everywhere: bool| {
        let body = serde_json::json!({"current": current, "password": password, "end_sessions": everywhere});
        let reply = environment.send(&Request::json("PUT", "/v1/users/ann/password", &body).bearer(session));
        assert_eq!((reply.status, &reply.json()["user"]["name"]), (200, &"ann".into()), "{}", reply.text());
        let reply = reply.json();
        (reply["sessions_ended"].as_u64().unwrap(), reply["sessions_left"].as_u64().unwrap())
    };
    assert_eq!(change(&own.cookies["tok"].clone(), FIRST, SECOND, false), (1, 2));
    assert!(may_approve(&mut own) && !may_approve(&mut other));
    assert!(works(&environment, &laptop) && works(&environment, &desk));
    // By the CLI, which says what goes on, and how it is ended.
    let passwd = |arguments: &[&str], current: &str, new: &str| {
        let call = environment.tok(&["user", "passwd"]).arguments(arguments.iter().map(|word| (*word).to_owned()));
        call.variable("TOK_TOKEN", laptop.clone()).input(format!("{current}\n{new}\n")).ok().text().to_owned()
    };
    let said = passwd(&[], SECOND, FIRST);
    for words in ["Ended: 1 session", "go on: 1 session", "tok token revoke --user ann --kind session"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!may_approve(&mut own) && works(&environment, &desk));
    let said = passwd(&["--end-sessions"], FIRST, SECOND);
    assert!(said.contains("Ended: 1 session") && !said.contains("go on"), "{said}");
    assert!(works(&environment, &laptop) && !works(&environment, &desk));
    assert_eq!(change(&laptop, SECOND, FIRST, true), (0, 0));
    let revoke = environment.tok(&["token", "revoke", "--user", "ann", "--kind", "session", "--force"]);
    revoke.variable("TOK_TOKEN", laptop.clone()).ok();
    assert!(!works(&environment, &laptop));
}

#[test]
fn what_a_machine_was_given_lets_no_device_in() {
    let environment = people();
    environment.tok(&["user", "passwd", "ann"]).input(format!("{FIRST}\n")).ok();
    let mut found = Visitor::new(&environment);
    found.cookies.insert("tok".to_owned(), login(&environment, "ann", FIRST));
    assert!(!may_approve(&mut found), "it was lying about on a disk");
    // A browser's session that was ended and brought back within the minutes of the undo is no browser's after a new password.
    let mut browser = Visitor::new(&environment);
    browser.sign_in("ann", FIRST);
    let listed =
        environment.tok(&["token", "list", "--kind", "session", "--output", "json"]).acting_as("ann").ok().json();
    let id = listed["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"].as_str().unwrap().starts_with("browser "));
    let id = id.unwrap()["id"].as_str().unwrap().to_owned();
    environment.tok(&["token", "revoke", &id, "--force"]).acting_as("ann").ok();
    environment.tok(&["user", "passwd", "ann"]).input(format!("{SECOND}\n")).ok();
    environment.tok(&["token", "restore", &id]).acting_as("ann").ok();
    assert!(!may_approve(&mut browser));
}
