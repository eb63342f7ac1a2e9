//! Tokens end by name, by value, by what they have in common and by a moment; and come back for a quarter of an hour.

use std::time::{Duration, Instant};

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::{FORM, Request};
use tok_tests::normalise::invented_token;

use crate::authority::{READ, acme, asked};
use crate::cli::json;

fn status(environment: &Environment, token: &str) -> u16 {
    asked(environment, "acme/app", READ, token).status
}

/// A personal token with a name of its own.
fn named(environment: &Environment, user: &str, name: &str, arguments: &[&str]) -> String {
    let call = environment.tok(&["token", "create", name]).arguments(arguments.iter().copied()).acting_as(user);
    call.ok().line().to_owned()
}

fn record(environment: &Environment, text: &str) -> Value {
    let shown = json(environment.tok(&["token", "show", &text[..11]]));
    shown.get("token").unwrap_or(&shown).clone()
}

#[test]
fn a_name_means_the_one_live_token_of_that_name() {
    let environment = acme();
    let revoke = |reference: &str| {
        environment.tok(&["token", "revoke", "--force", "--output", "json", reference]).acting_as("will").run()
    };
    let first = named(&environment, "will", "laptop", &[]);
    revoke("laptop").expect_code(0);
    assert_eq!(status(&environment, &first), 401);
    // Again is no error, by its name as by its ID.
    assert_eq!(revoke("laptop").expect_code(0).json()["revoked"][0]["already_revoked"], true);
    // The name is used again, and the one that ended is not meant.
    let (second, third) = (named(&environment, "will", "laptop", &[]), named(&environment, "will", "laptop", &[]));
    let of_another = named(&environment, "mona", "desk", &[]);
    revoke("laptop").expect_code(5).says(&["more than one", &second[..11], &third[..11]]);
    revoke("desk").expect_code(5);
    assert_eq!([&second, &third, &of_another].map(|text| status(&environment, text)), [200, 200, 200]);

    // A name of hexadecimal digits that no ID begins with is a name; an ID comes first, and that is said.
    let id = record(&environment, &second)["id"].as_str().unwrap().to_owned();
    let free = ["abcd", "dcba", "fade", "cafe"].into_iter().find(|name| !id.starts_with(name)).unwrap();
    let plain = named(&environment, "will", free, &[]);
    revoke(free).expect_code(0);
    assert_eq!(status(&environment, &plain), 401);
    let shadowed = named(&environment, "will", &id[..6], &[]);
    let note = revoke(&id[..6]).expect_code(0).json()["revoked"][0]["note"].to_string();
    assert!(note.contains("beginning of an ID"), "{note}");
    assert_eq!([&second, &shadowed].map(|text| status(&environment, text)), [401, 200]);
}

#[test]
fn whoever_holds_a_token_can_end_it() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read", "--allow-cidr", "192.0.2.0/24"]);
    let end = |text: &str| {
        environment
            .tok(&["token", "revoke", "--stdin", "--force", "--output", "json"])
            .acting_as("sten")
            .input(text.to_owned())
            .run()
    };
    end(&token).expect_code(0);
    let ended = record(&environment, &token);
    assert_eq!((&ended["state"], &ended["revoked_by"]), (&"revoked".into(), &"sten".into()), "{ended}");
    // Again is answered calmly, and what is no token changes nothing.
    end(&token).expect_code(0);
    end(&invented_token()).expect_code(5);
    end("").expect_code(2);
    assert_eq!(record(&environment, &token)["revoked_at"], ended["revoked_at"]);
    // The trail says through which token it was done, and never the text.
    let trail = environment.rows(
        "SELECT actor_name, actor_token_id, detail FROM audit WHERE action = 'token.revoke' AND outcome = 'done'",
    );
    assert_eq!(trail.len(), 1);
    assert_eq!((&trail[0]["actor_name"], &trail[0]["actor_token_id"]), (&"sten".into(), &ended["id"]));
}

#[test]
fn a_selection_ends_as_one_act_and_comes_back_as_one() {
    let environment = acme();
    let labelled = ["1", "2", "3"].map(|name| named(&environment, "will", name, &["--label", "ci"]));
    let other = environment.token("will", &[]);
    let of_mona = named(&environment, "mona", "m", &["--label", "ci"]);
    let many = |user: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "revoke", "--force", "--output", "json"]);
        call.arguments(arguments.iter().copied()).acting_as(user).run()
    };
    let planned = many("will", &["--label", "ci", "--dry-run"]).expect_code(0).json();
    assert_eq!((&planned["revoked"], planned["sample"].as_array().unwrap().len()), (&3.into(), 3), "{planned}");
    assert_eq!(status(&environment, &labelled[0]), 200, "nothing was changed");
    let done = many("will", &["--label", "ci", "--reason", "rotation day"]).expect_code(0).json();
    assert_eq!(done["revoked"], 3);
    assert!(done["restorable_until"].is_string(), "{done}");
    assert!(labelled.iter().all(|text| status(&environment, text) == 401));
    assert_eq!([&other, &of_mona].map(|text| status(&environment, text)), [200, 200]);
    assert_eq!(record(&environment, &labelled[1])["revoke_reason"], "rotation day");
    let trail = environment.rows("SELECT detail FROM audit WHERE action = 'token.revoke'");
    assert_eq!(trail.len(), 1, "one act is one line: {trail:?}");
    let words = trail[0]["detail"].as_str().unwrap();
    assert!(words.contains("3 tokens with the label ci") && words.contains("rotation day"), "{words}");

    let restored = environment.tok(&["token", "restore", "--output", "json", "2"]).acting_as("will").ok().json();
    assert_eq!(restored["restored"], 3, "{restored}");
    assert!(labelled.iter().all(|text| status(&environment, text) == 200));
    assert_eq!(environment.count("SELECT count(*) FROM audit WHERE action = 'token.restore'"), 1);
    environment.tok(&["token", "restore", "2"]).acting_as("will").fails(1).says(&["not revoked"]);
    environment.tok(&["token", "restore", &other[..11]]).acting_as("will").fails(1).says(&["not revoked"]);

    // Whose: one's own, those of a workspace that one maintains, anybody's for managers.
    many("will", &["--user", "mona", "--label", "ci"]).expect_code(4);
    many("sten", &["--workspace", "acme"]).expect_code(5);
    let robot = environment.token("mona", &["--kind", "workspace", "--workspace", "acme", "--permission", "read"]);
    many("will", &["--workspace", "acme"]).expect_code(4);
    assert_eq!(many("mona", &["--workspace", "acme"]).expect_code(0).json()["revoked"], 1);
    assert_eq!(status(&environment, &robot), 401);
    let everybodys = environment
        .tok(&["token", "revoke", "--force", "--output", "json", "--label", "ci", "--all-users"])
        .ok()
        .json();
    assert_eq!(everybodys["revoked"], 4, "everybody's");
    // After the time to think it over nothing comes back.
    environment
        .execute("UPDATE tokens SET revoked_at = revoked_at - interval '16 minutes' WHERE revoked_at IS NOT NULL");
    environment.tok(&["token", "restore", &labelled[0][..11]]).fails(1).says(&["15 minutes"]);
}

#[test]
fn everything_from_before_a_moment_ends_at_once_by_one_row() {
    let environment = acme();
    let before = ["a", "b"].map(|name| named(&environment, "will", name, &[]));
    let minted = environment.git_token("will", "acme/app", "write");
    let of_mona = environment.token("mona", &[]);
    let moment = environment
        .rows("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS now");
    let moment = moment[0]["now"].as_str().unwrap().to_owned();
    let after = environment.token("will", &[]);
    assert_eq!([&before[0], &before[1], &minted, &after].map(|text| status(&environment, text)), [200; 4]);
    let cut = |arguments: &[&str]| {
        let call = environment.tok(&["token", "revoke", "--force", "--output", "json"]);
        call.arguments(arguments.iter().copied()).run()
    };
    cut(&["--user", "will", "--minted-before", "2100-01-01T00:00:00Z"]).expect_code(2);
    let done = cut(&["--user", "will", "--minted-before", &moment, "--reason", "left the company"]);
    let done = done.expect_code(0).json();
    // Two tokens, the local login, and the git tokens of the push and of above that were made through it.
    assert!(done["revoked"].as_u64().unwrap() >= 4, "{done}");
    assert_eq!([&before[0], &before[1], &minted].map(|text| status(&environment, text)), [401; 3]);
    assert_eq!([&after, &of_mona].map(|text| status(&environment, text)), [200; 2]);
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'personal' AND revoked_at IS NOT NULL"), 0);
    let seen = record(&environment, &before[0]);
    assert_eq!(
        (&seen["state"], &seen["revoke_reason"], seen["revoked_at"].is_string(), seen["revoked_by"].is_string()),
        (&"revoked".into(), &"left the company".into(), true, true)
    );
    let listed = json(environment.tok(&["token", "list", "--state", "revoked"]).acting_as("will"));
    assert_eq!(listed["tokens"].as_array().unwrap().iter().filter(|token| token["kind"] == "personal").count(), 2);
    // The helper opens a new login, and its tokens work.
    assert_eq!(status(&environment, &environment.git_token("will", "acme/app", "write")), 200);
    let trail = environment.rows("SELECT subject_name, detail FROM audit WHERE action = 'token.cutoff'");
    assert_eq!((trail.len(), &trail[0]["subject_name"]), (1, &"will".into()));
    assert_eq!(cut(&["--user", "will", "--minted-before", &moment]).expect_code(0).json()["revoked"], 0);

    environment.tok(&["token", "restore", &before[0][..11]]).ok();
    assert_eq!([&before[0], &before[1], &after].map(|text| status(&environment, text)), [200; 3]);
}

#[test]
fn a_hundred_thousand_tokens_end_by_one_command() {
    let environment = acme();
    let text = named(&environment, "will", "one of many", &["--label", "many"]);
    environment.execute(
        "INSERT INTO tokens (id, digest, pepper_id, kind, name, description, shown_prefix, user_id, scopes, family_id, \
             allow_from, created_at, created_by_name, created_from, labels) \
         SELECT id, decode(md5(id::text) || md5(id::text || 'x'), 'hex'), 1, 'personal', 'many', '', 'tokpat_0000', \
             (SELECT id FROM users WHERE name = 'will'), '{repo:read}', id, '{}', now() - n * interval '1 second', 'will', \
             'unknown', '{many}' \
         FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, 99999) n) made",
    );
    let begin = Instant::now();
    let done =
        environment.tok(&["token", "revoke", "--force", "--output", "json", "--label", "many", "--user", "will"]);
    assert_eq!(done.ok().json()["revoked"], 100_000);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(status(&environment, &text), 401);
    assert_eq!(environment.count("SELECT count(*) FROM audit WHERE action = 'token.revoke'"), 1);
    assert_eq!(environment.count("SELECT count(DISTINCT revoke_act) FROM tokens WHERE revoked_at IS NOT NULL"), 1);
    let begin = Instant::now();
    assert_eq!(
        environment.tok(&["token", "restore", "--output", "json", &text[..11]]).ok().json()["restored"],
        100_000
    );
    println_took("restored", begin.elapsed());
    println_took("revoked", took);
    assert_eq!(status(&environment, &text), 200);
}

#[expect(clippy::print_stderr, reason = "shown with --nocapture, for whoever wants the figure")]
fn println_took(what: &str, took: Duration) {
    eprintln!("100,000 tokens {what} in {took:?}");
}

#[test]
fn deletion_says_why_and_cannot_be_undone() {
    let environment = acme();
    environment.tok(&["workspace", "create", "team"]).ok();
    environment.tok(&["workspace", "member", "add", "team", "will", "--role", "maintainer"]).ok();
    let own = environment.token("will", &[]);
    let made = environment.token("will", &["--kind", "workspace", "--workspace", "team", "--permission", "read"]);
    let other = environment.token("mona", &[]);
    environment.tok(&["user", "delete", "--force", "will"]).ok();
    for text in [&own, &made] {
        let ended = record(&environment, text);
        assert_eq!(
            (&ended["state"], &ended["revoke_reason"]),
            (&"revoked".into(), &"the user will was deleted".into())
        );
        environment.tok(&["token", "restore", &text[..11]]).fails(1).says(&["the user will was deleted"]);
    }
    assert_eq!(status(&environment, &other), 200);
}

#[test]
fn a_token_brings_nothing_back_that_it_could_not_make() {
    let environment = acme();
    let narrow = environment.token("will", &["--scopes", "token:write,token:read", "--expires", "30d"]);
    let wide = environment.token("will", &["--scopes", "all", "--expires", "20d"]);
    let labelled = |name: &str, scopes: &str| {
        named(&environment, "will", name, &["--scopes", scopes, "--expires", "20d", "--label", "ci"])
    };
    let (small, large) = (labelled("small", "token:read"), labelled("large", "repo:read"));
    let restore = |with: &str, text: &str| {
        environment.tok(&["token", "restore", "--output", "json", &text[..11]]).variable("TOK_TOKEN", with).run()
    };
    let revoke = |arguments: &[&str]| {
        let call = environment.tok(&["token", "revoke", "--force", "--output", "json"]);
        call.arguments(arguments.iter().copied()).acting_as("will").run().expect_code(0);
    };
    revoke(&[&wide[..11]]);
    restore(&narrow, &wide).expect_code(4);
    assert_eq!(status(&environment, &wide), 401, "nothing came back");
    // That it was refused is written down a moment later.
    let restored = "SELECT count(*) FROM audit WHERE action = 'token.restore' AND outcome = 'done'";
    assert_eq!(environment.count(restored), 0);
    // Whoever is there in person may.
    environment.tok(&["token", "restore", &wide[..11]]).acting_as("will").ok();
    assert_eq!(status(&environment, &wide), 200);

    // All that comes back with it is asked about, also when the one that was named is small enough.
    revoke(&["--label", "ci"]);
    restore(&narrow, &small).expect_code(4);
    assert_eq!(record(&environment, &small)["state"], "revoked");
    assert_eq!(status(&environment, &large), 401);
    environment.tok(&["token", "restore", &small[..11]]).acting_as("will").ok();
    revoke(&[&small[..11]]);
    assert_eq!(restore(&narrow, &small).expect_code(0).json()["restored"], 1);
    // A cut-off as well: what it ended has nothing of it in its row.
    let moment = environment
        .rows("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS now");
    let moment = moment[0]["now"].as_str().unwrap().to_owned();
    let narrow = environment.token("will", &["--scopes", "token:write,token:read", "--expires", "30d"]);
    revoke(&["--user", "will", "--minted-before", &moment]);
    restore(&narrow, &small).expect_code(4);
    assert_eq!([&wide, &large].map(|text| status(&environment, text)), [401; 2]);
    environment.tok(&["token", "restore", &small[..11]]).acting_as("will").ok();
    assert_eq!([&wide, &large].map(|text| status(&environment, text)), [200; 2]);
}

#[test]
fn what_somebody_unknown_ended_its_owner_brings_back_and_nobody_by_chance() {
    let environment = acme();
    let token = environment.token("will", &[]);
    let body = format!("token={token}");
    let request = Request::post("/oauth2/revoke", FORM, body);
    assert_eq!(environment.send(&request).status, 200);
    assert_eq!(status(&environment, &token), 401);
    // From there or called so: it is nobody's.
    environment.tok(&["user", "create", "127.0.0.1"]).fails(2).says(&["IP address"]);
    environment.tok(&["token", "restore", &token[..11]]).acting_as("mona").fails(5);
    environment.tok(&["token", "restore", &token[..11]]).acting_as("will").ok();
    assert_eq!(status(&environment, &token), 200);

    // What a manager ended is not the owner's to undo, whatever it says of who it was.
    environment.tok(&["token", "revoke", "--force", &token[..11]]).ok();
    environment.execute("UPDATE tokens SET revoked_by = 'will' WHERE revoked_at IS NOT NULL");
    environment.tok(&["token", "restore", &token[..11]]).acting_as("will").fails(1).says(&["a manager can undo it"]);
    environment.tok(&["token", "restore", &token[..11]]).ok();
}

#[test]
fn what_a_manager_makes_as_somebody_else_does_not_end_with_the_manager() {
    let environment = acme();
    environment.tok(&["user", "create", "boss", "--manager"]).ok();
    let of_boss = environment.token("boss", &["--scopes", "all", "--expires", "10d"]);
    let create = |arguments: &[&str]| {
        let call = environment.tok(&["token", "create", "for will", "--as", "will", "--output", "json"]);
        call.arguments(arguments.iter().copied()).variable("TOK_TOKEN", &of_boss).shows_secret().run()
    };
    // Within what the manager's own has.
    create(&["--expires", "20d"]).expect_code(4);
    let made = create(&["--expires", "5d"]).expect_code(0).json();
    let text = made["secret"].as_str().unwrap().to_owned();
    let seen = environment.tok(&["token", "show", "--output", "json", &text[..11]]).acting_as("will").ok();
    assert!(!seen.text().contains(&of_boss[..11]), "{}", seen.text());
    let row = &environment.rows("SELECT parent_id, created_by_token_prefix FROM tokens WHERE name = 'for will'")[0];
    assert_eq!((&row["parent_id"], &row["created_by_token_prefix"]), (&Value::Null, &Value::Null));
    let trail =
        environment.rows("SELECT acted_by FROM audit WHERE action = 'token.create' AND detail LIKE '%for will%'");
    assert_eq!(trail[0]["acted_by"], "boss");
    environment.tok(&["user", "delete", "--force", "boss"]).ok();
    assert_eq!([&text, &of_boss].map(|text| status(&environment, text)), [200, 401]);
}

#[test]
fn whoever_asks_what_became_of_a_token_may_call_it_by_its_name() {
    let environment = acme();
    let first = named(&environment, "will", "laptop", &[]);
    environment.tok(&["token", "revoke", "--force", "--reason", "left on a bus", "laptop"]).acting_as("will").ok();
    let show = || environment.tok(&["token", "show", "laptop"]).acting_as("will").run();
    let shown = show().expect_code(0);
    assert!(shown.text().contains(&first[..11]) && shown.text().contains("left on a bus"), "{}", shown.describe());
    let trail = environment.tok(&["audit", "--token", "laptop", "--output", "json"]).acting_as("will").ok().json();
    let acts: Vec<&str> =
        trail["events"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(acts, ["token.revoke", "token.create"]);
    let explain = environment.tok(&["token", "explain", "laptop", "--repo", "acme/app"]).acting_as("will").run();
    assert!(explain.describe().contains("revoked"), "{}", explain.describe());
    // The one that works comes first; and of several that do not, each is named.
    let second = named(&environment, "will", "laptop", &[]);
    assert!(show().expect_code(0).text().contains(&second[..11]));
    environment.tok(&["token", "revoke", "--force", "laptop"]).acting_as("will").ok();
    show().expect_code(5).says(&["more than one", &first[..11], &second[..11]]);
    // Whoever changes something means one that works.
    for arguments in [&["revoke", "--force", "laptop"][..], &["rename", "laptop", "desk"], &["rotate", "laptop"]] {
        environment.tok(&[&["token"], arguments].concat()).acting_as("will").fails(5);
    }
}
