//! People come and go; what they leave behind is nobody's by accident.

use tok_tests::environment::Environment;

use crate::authority::acme;

#[test]
fn the_only_manager_stays() {
    let environment = acme();
    let me = environment.tok(&["whoami", "--output", "json"]).ok().json()["user"].as_str().unwrap().to_owned();
    for verb in ["disable", "delete"] {
        let mut words = vec!["user", verb, &me];
        if verb == "delete" {
            words.insert(2, "--force");
        }
        environment.tok(&words).fails(1).says(&["is the only manager", "--manager"]);
    }
    environment.tok(&["user", "create", "maggie", "--manager"]).ok();
    environment.tok(&["user", "disable", &me]).ok();
}

#[test]
fn an_empty_workspace_goes_with_its_owner_and_a_full_one_stays_until_it_is_emptied() {
    let environment = Environment::dev();
    environment.users(&["ann", "bob"]);
    environment.tok(&["user", "delete", "--force", "ann"]).ok();
    environment.users(&["ann"]);

    environment.pushed("bob", "bob/app");
    let left = environment.tok(&["user", "delete", "--force", "bob"]).ok();
    assert!(left.text().contains("The workspace bob stays, with what is in it"), "{}", left.describe());
    environment.tok(&["user", "create", "bob"]).fails(1).says(&["a workspace bob exists", "tok workspace delete bob"]);
    environment.tok(&["workspace", "delete", "--force", "bob"]).fails(1).says(&["still has repositories in it: 1"]);
    std::fs::remove_dir_all(environment.on_server("bob/app")).unwrap();
    environment.tok(&["workspace", "delete", "--force", "bob"]).ok();
    environment.users(&["bob"]);
}

#[test]
fn adding_a_member_without_a_role_demotes_nobody() {
    let environment = Environment::dev();
    environment.users(&["ann"]).workspace("team", &[("ann", "writer")]);
    let role = || {
        let members = environment.tok(&["workspace", "member", "list", "team", "--output", "json"]).ok().json();
        let members = members["members"].as_array().unwrap().clone();
        members.into_iter().find(|member| member["user"] == "ann").unwrap()["role"].as_str().unwrap().to_owned()
    };
    environment.tok(&["workspace", "member", "add", "team", "ann"]).ok();
    assert_eq!(role(), "writer");
    environment.tok(&["workspace", "member", "add", "team", "ann", "--role", "reader"]).ok();
    assert_eq!(role(), "reader");
}

#[test]
fn a_removed_maintainer_keeps_no_way_in_through_a_token_of_the_workspace() {
    let environment = Environment::dev();
    environment.users(&["ann"]).workspace("team", &[("ann", "maintainer")]);
    let create = ["token", "create", "ci", "--kind", "workspace", "--workspace", "team", "--permission", "write"];
    let token = environment.tok(&create).acting_as("ann").shows_secret().ok().line().to_owned();
    let check = || environment.tok(&["token", "check", "--output", "json"]).input(token.clone()).run().json();
    assert_eq!(check()["usable"], true);
    // Even while it lives, it admits nobody.
    environment.tok(&["workspace", "member", "add", "team", "ann"]).variable("TOK_TOKEN", &token).fails(4);

    environment.tok(&["user", "disable", "ann"]).ok();
    assert_eq!(check()["usable"], false);
    environment.tok(&["user", "enable", "ann"]).ok();
    assert_eq!(check()["usable"], true);
    environment.tok(&["workspace", "member", "remove", "team", "ann"]).ok();
    assert_eq!(check()["usable"], false);
    let shown = environment.tok(&["token", "show", &token[..11], "--output", "json"]).ok().json();
    assert!(shown.to_string().contains("no maintainer of team any more"), "{shown}");
}

#[test]
fn a_dry_run_says_how_many_tokens_the_deletion_ends() {
    let environment = Environment::dev();
    environment.users(&["ann", "eve"]).workspace("team", &[("ann", "maintainer")]);
    let makes = |user: &str, arguments: &[&str]| {
        environment
            .tok(&["token", "create", "t"])
            .arguments(arguments.iter().copied())
            .acting_as(user)
            .shows_secret()
            .ok();
    };
    makes("ann", &["--kind", "workspace", "--workspace", "team", "--permission", "write"]);
    makes("ann", &["--kind", "repo", "--repo", "team/app", "--permission", "read"]);
    makes("eve", &[]);
    makes("eve", &["--kind", "workspace", "--workspace", "eve", "--permission", "read"]);
    let hers = environment.token("ann", &[]);
    let live = || environment.count("SELECT count(*) FROM tokens WHERE revoked_at IS NULL");
    let before = (live(), environment.count("SELECT count(*) FROM audit WHERE action LIKE '%.delete'"));
    for (noun, name, count) in [("user", "ann", 3), ("workspace", "team", 2), ("user", "eve", 2)] {
        let trial = environment.tok(&[noun, "delete", name, "--dry-run", "--output", "json"]).ok().json();
        assert_eq!((&trial["tokens_revoked"], &trial["deleted"]), (&count.into(), &false.into()), "{trial}");
        let told = environment.tok(&[noun, "delete", name, "--dry-run"]).ok();
        assert!(
            told.text().contains(&format!("Would delete {noun} {name} and revoke {count} live tokens")),
            "{}",
            told.text()
        );
        if name == "ann" {
            continue;
        }
        let done = environment.tok(&[noun, "delete", name, "--force", "--output", "json"]).ok().json();
        assert_eq!(done["tokens_revoked"], trial["tokens_revoked"], "{done}");
    }
    // What was only tried left nothing behind.
    assert_eq!(live(), before.0 - 4);
    // The user's own workspace went with eve.
    assert_eq!(environment.count("SELECT count(*) FROM audit WHERE action LIKE '%.delete'"), before.1 + 3);
    environment.tok(&["whoami"]).variable("TOK_TOKEN", &hers).ok();
}
