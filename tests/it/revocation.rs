//! What is taken away is gone on the next call, at every door.

use crate::authority::{WRITE, acme, asked};

#[test]
fn what_is_taken_away_is_gone_on_the_next_call() {
    let environment = acme();
    let token = environment.token("will", &[]);
    let minted = environment.git_token("will", "acme/app", "write");
    let both = |repo: &str| [&token, &minted].map(|text| asked(&environment, repo, WRITE, text).status);
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["workspace", "member", "add", "acme", "will", "--role", "reader"]).ok();
    assert_eq!(both("acme/app"), [403, 403]);
    environment.tok(&["workspace", "member", "remove", "acme", "will"]).ok();
    assert_eq!(both("acme/app"), [404, 404]);
    environment.tok(&["workspace", "member", "add", "acme", "will", "--role", "writer"]).ok();
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["user", "disable", "will"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
    let helper = environment
        .helper()
        .acting_as("will")
        .argument("get")
        .input(environment.challenged("acme/app", "read") + "\n")
        .ok();
    assert_eq!(helper.text(), "quit=1\n");
    helper.says(&["will is disabled", "tok user enable will"]);
    environment.tok(&["user", "enable", "will"]).ok();
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("will").ok();
    assert_eq!(both("acme/app"), [401, 200]);
    environment.tok(&["user", "delete", "--force", "will"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
    // A new user of the same name is somebody else.
    environment.users(&["will"]).tok(&["workspace", "member", "add", "acme", "will", "--role", "writer"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
}

#[test]
fn revoking_a_token_ends_what_was_minted_through_it() {
    let environment = acme();
    environment.git_token("will", "acme/app", "read");
    let minted = environment.git_token("will", "acme/app", "write");
    let session = environment.rows(
        "SELECT t.id FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.kind = 'session' AND u.name = 'will'",
    );
    let id = session[0]["id"].as_str().unwrap();
    let revoked =
        environment.tok(&["token", "revoke", "--force", "--output", "json", id]).acting_as("will").ok().json();
    assert_eq!(revoked["revoked"][0]["minted_revoked"], 2, "{revoked}");
    assert_eq!(asked(&environment, "acme/app", WRITE, &minted).status, 401);
    // The next command opens a new login by itself.
    assert_ne!(environment.git_token("will", "acme/app", "write"), minted);
}
