//! Which of several logins git is answered with.

use tok_tests::environment::Environment;

use crate::agent::{challenged, laptop, server};

#[test]
fn which_login_is_meant_is_said_in_the_url_and_nobody_is_answered_with_another() {
    let environment = server();
    environment.users(&["bob"]).tok(&["workspace", "member", "add", "acme", "bob"]).ok();
    let laptop = laptop(&environment);
    let _agent = laptop.agent();
    laptop.logged_in("bob");
    let lines = challenged(&environment, "acme/app", "read");
    let of = |user: &str| lines.replace("path=", &format!("username={user}\npath="));
    assert_eq!(laptop.get(&of("bob")).value("username"), Some("bob"));
    assert_eq!(laptop.get(&of("alice")).value("username"), Some("alice"));
    let owners = environment.rows(
        "SELECT u.name FROM tokens t JOIN users u ON u.id = t.user_id JOIN tokens p ON p.id = t.parent_id \
         WHERE t.kind = 'git' AND p.local_uid IS NULL ORDER BY u.name",
    );
    assert_eq!(owners.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["alice", "bob"]);
    for (asked, words) in [(lines.clone(), "several logins fit"), (of("carol"), "names another user")] {
        let said = laptop.ask(&asked);
        assert_eq!(said.text(), "quit=1\n");
        said.says(&["tok: ", words]);
        assert_eq!(said.complaint().lines().count(), 1, "{}", said.describe());
    }
    let unknown = laptop.helper().arguments(["--profile", "work", "get"]).input(lines + "\n").ok();
    assert_eq!(unknown.text(), "quit=1\n");
    unknown.says(&["profile"]);
}

#[test]
fn a_profile_and_a_user_name_that_contradict_each_other_are_both_named() {
    let environment = server();
    environment.users(&["bob", "carol"]);
    let laptop = laptop(&environment);
    let _agent = laptop.agent();
    laptop.logged_in("bob");
    let password = laptop.password_of("carol");
    let login = ["login", &environment.url(), "--user", "carol", "--password-stdin", "--profile", "other"];
    laptop.tok(&login).input(format!("{password}\n")).ok();
    let lines = challenged(&environment, "acme/app", "read").replace("path=", "username=bob\npath=");
    let said = laptop.helper().arguments(["--profile", "other", "get"]).input(lines + "\n").ok();
    assert_eq!(said.text(), "quit=1\n");
    said.says(&["the profile other is carol at ", ", and the URL says bob"]);
}

#[test]
fn each_server_has_its_own_default() {
    let (one, two) = (server(), server());
    two.users(&["carol"]);
    one.users(&["bob"]).tok(&["workspace", "member", "add", "acme", "bob"]).ok();
    let laptop = one.laptop("laptop");
    laptop.trusts(&[&two]);
    let _agent = laptop.agent();
    let log_in = |environment: &Environment, user: &str, more: &[&str]| {
        let token = environment.token(user, &["--scopes", "repo:read,repo:write,user:read"]);
        let call = laptop.tok(&["login", &environment.url(), "--with-token"]).arguments(more.iter().copied());
        call.input(format!("{token}\n")).ok();
    };
    log_in(&one, "alice", &["--default"]);
    log_in(&one, "bob", &[]);
    log_in(&two, "carol", &["--default"]);
    // What git does at one server is not changed by a choice at another.
    assert_eq!(laptop.get(&challenged(&one, "acme/app", "read")).value("username"), Some("alice"));
    let who = || laptop.tok(&["whoami", "--output", "json"]).ok().json()["user"].as_str().unwrap().to_owned();
    assert_eq!(who(), "carol", "who names no server means the last default");
    log_in(&one, "bob", &["--default"]);
    assert_eq!(who(), "bob");
    let chosen = laptop.tok(&["whoami", "--server", &two.url(), "--output", "json"]).ok().json();
    assert_eq!(chosen["user"], "carol");
}
