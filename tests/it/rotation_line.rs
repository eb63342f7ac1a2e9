//! What is known of the line that a token was rotated in: what of it still works, for whoever ends one of them.

use serde_json::Value;
use tok_tests::http::Request;

use crate::authority::acme;
use crate::rotation::{alarms, rotate, secret, show, status};

/// What the answer to a revocation says of the line: who still works, and whether it came after.
fn still_works(answer: &Value) -> Vec<(&str, bool)> {
    let each = answer["live_family"].as_array().unwrap().iter();
    each.map(|one| (one["token_prefix"].as_str().unwrap(), one["successor"].as_bool().unwrap())).collect()
}

#[test]
fn whoever_ends_a_token_of_a_line_is_told_what_of_it_still_works() {
    let environment = acme();
    let manager = {
        environment.tok(&["user", "create", "boss", "--manager"]).ok();
        environment.token("boss", &["--scopes", "manager"])
    };
    let lone = environment.token("will", &[]);
    let old = environment.token("will", &[]);
    let new = secret(&rotate(&environment, "will", &old, &["--grace", "1d"]));
    let id = show(&environment, &new)["id"].as_str().unwrap().to_owned();

    // Before anything is done, in its grace: for people and for programs, and nothing where there is nothing.
    let planned = environment.tok(&["token", "revoke", "--dry-run", &old[..11]]).acting_as("will").ok();
    planned.says(&["STILL WORKS: ", &new[..11], "took the place of", &format!("tok token revoke {id}")]);
    let planned = environment.tok(&["token", "revoke", "--dry-run", "--output", "json", &old[..11], &lone[..11]]);
    let planned = planned.acting_as("will").ok().json();
    assert_eq!(still_works(&planned["revoked"][0]), [(&new[..11], true)]);
    assert_eq!(still_works(&planned["revoked"][1]), []);
    // The other way: the successor leaked, and the old one has its grace.
    let path = format!("/v1/tokens/{id}?dry_run=true");
    let over_http = environment.send(&Request::get(&path).method("DELETE").bearer(&manager)).json();
    assert_eq!(still_works(&over_http), [(&old[..11], false)]);
    assert!(over_http["live_family"][0]["ends_at"].is_string(), "the end of its grace: {over_http}");

    // What leaked, ended by its text and again: it is said each time, for the leak is not over.
    let by_text = || environment.tok(&["token", "revoke", "--stdin", "--force"]).input(old.clone()).ok();
    let done = by_text();
    done.says(&["STILL WORKS: ", &format!("tok token revoke {id}")]);
    assert_eq!((status(&environment, &old), status(&environment, &new)), (401, 200));
    assert!(by_text().says(&["STILL WORKS: "]).text().contains("Was revoked before"));
    // With the one that is named everything ends, and nothing is left to say.
    let both = environment.tok(&["token", "revoke", "--force", &old[..11], &id]).acting_as("will").ok();
    assert!(!both.complaint().contains("STILL WORKS"), "{}", both.describe());
    let again = environment.tok(&["token", "revoke", "--force", &old[..11]]).acting_as("will").ok();
    assert!(!again.complaint().contains("STILL WORKS"), "{}", again.describe());
    assert_eq!(status(&environment, &new), 401);
}

#[test]
fn what_a_thief_rotated_is_named_where_everything_from_before_ends() {
    let environment = acme();
    let old = environment.token("will", &["--scopes", "token:write,repo:read"]);
    let manager = environment.token("root", &["--scopes", "manager"]);
    let stolen_at =
        environment.rows("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS now");
    let stolen_at = stolen_at[0]["now"].as_str().unwrap().to_owned();
    // Whoever has it gives it a successor, by it and not by its owner, and another one after that.
    let rotate = |text: &str| {
        let reply =
            environment.send(&Request::get(format!("/v1/tokens/{}/rotate", &text[..11])).method("POST").bearer(text));
        assert_eq!(reply.status, 201, "{}", reply.text());
        let new = reply.json()["secret"].as_str().unwrap().to_owned();
        environment.canaries().register("a token", &new);
        new
    };
    let new = rotate(&rotate(&old));
    let id = show(&environment, &new)["id"].as_str().unwrap().to_owned();
    let named = format!("tok token revoke {id}");
    for arguments in [
        &["--user", "will", "--minted-before", &stolen_at][..],
        &["--user", "will", "--minted-before", &stolen_at, "--kind", "personal"],
        &["--parent", &old[..11]],
    ] {
        let planned = environment.tok(&["token", "revoke", "--dry-run"]).arguments(arguments.iter().copied()).ok();
        planned.says(&["STILL WORKS: ", &new[..11], "took the place of one of these", &named]);
        assert_eq!(planned.complaint().matches("STILL WORKS").count(), 1, "{}", planned.describe());
    }
    let body = serde_json::json!({"user": "will", "minted_before": stolen_at});
    let done = environment.send(&Request::json("POST", "/v1/tokens/revoke", &body).bearer(&manager));
    assert_eq!(still_works(&done.json()), [(&new[..11], true)], "{}", done.text());
    let now = environment.tok(&["token", "revoke", "--user", "will", "--minted-before", "now", "--force"]).ok();
    assert!(!now.complaint().contains("STILL WORKS"), "{}", now.describe());
    assert_eq!(status(&environment, &new), 401);
}

#[test]
fn a_token_that_was_given_up_for_good_names_its_successor_when_it_is_ended_again() {
    let environment = acme();
    let old = environment.token("will", &[]);
    let middle = secret(&rotate(&environment, "will", &old, &[]));
    let new = secret(&rotate(&environment, "will", &middle, &[]));
    let ended = environment.tok(&["token", "revoke", "--force", "--output", "json", &old[..11]]).acting_as("will");
    let ended = ended.ok().json();
    assert_eq!(ended["revoked"][0]["already_revoked"], true);
    assert_eq!(still_works(&ended["revoked"][0]), [(&new[..11], true)], "the one in between does not work");
    assert_eq!(alarms(&environment), 0);
    // The alarm stays set: whoever presents what was given up ends the line.
    assert_eq!((status(&environment, &old), alarms(&environment), status(&environment, &new)), (401, 1, 401));
}
