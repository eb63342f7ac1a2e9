//! The audit trail from outside: who did what is all in it, nobody changes it unseen, and whoever follows it misses nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;
use tok_tests::binaries;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::postgres::{self, Database};
use tok_tests::wait;

use crate::authority::{READ, WRITE, acme, asked};

/// The events that `tok audit` shows with these arguments.
#[track_caller]
fn events(environment: &Environment, arguments: &[&str]) -> Vec<Value> {
    let words = [&["audit", "--limit", "1000", "--output", "json"], arguments].concat();
    environment.tok(&words).ok().json()["events"].as_array().unwrap().clone()
}

#[track_caller]
fn verified(environment: &Environment) -> Value {
    let report = environment.tok(&["audit", "verify", "--output", "json"]).ok().json();
    assert_eq!(report["intact"], true, "{report:#}");
    report
}

/// What verification says is wrong.
#[track_caller]
fn broken(environment: &Environment) -> String {
    let found = environment.tok(&["audit", "verify", "--output", "json"]).fails(1).json();
    assert_eq!(found["intact"], false);
    let chains = found["chains"].as_array().unwrap().iter().filter_map(|chain| chain["fault"].as_str());
    chains.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_use_of_a_token_says_who_with_what_from_where_and_for_what() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read,token:read,audit:read"]);
    let before = events(&environment, &[]).len();
    let get = Request::refs("acme/app", "git-upload-pack").bearer(&token).header("User-Agent", "git/2.47.3");
    assert_eq!(environment.send(&get).status, 200);
    assert_eq!(asked(&environment, "acme/app", WRITE, &token).status, 403);
    environment.tok(&["token", "list"]).variable("TOK_TOKEN", &token).ok();
    environment.tok(&["token", "create", "more"]).variable("TOK_TOKEN", &token).fails(4);
    assert!(events(&environment, &[]).len() > before);

    let uses = events(&environment, &["--token", &token[..11], "--action", "token.use"]);
    let shown = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let lines: BTreeSet<String> = uses
        .iter()
        .map(|event| {
            let call = if event["operation"].is_null() { "git_command" } else { "operation" };
            format!("{} {} {}", shown(event, call), shown(event, "repository"), shown(event, "outcome"))
        })
        .collect();
    let expected = [
        "TokenService/Create - done",
        "TokenService/List - done",
        "receive-pack --advertise acme/app refused",
        "upload-pack --advertise acme/app done",
    ];
    assert_eq!(lines.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let fetched = uses.iter().find(|event| event["user_agent"] == "git/2.47.3").unwrap();
    assert_eq!(
        [&fetched["actor_user"], &fetched["address"], &fetched["token_prefix"], &fetched["workspace"]],
        ["will", "127.0.0.1", &token[..11], "acme"]
    );
    assert_eq!(fetched["token_id"], fetched["actor_token_id"]);
    // What it was refused is an act that was refused, and names the token.
    let refused = events(&environment, &["--outcome", "refused", "--action", "token.create"]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["actor_token_id"], fetched["token_id"]);
    assert!(refused[0]["detail"].as_str().unwrap().contains("token:write"), "{}", refused[0]);

    let record = environment.tok(&["token", "show", &token[..11], "--output", "json"]).ok().json();
    let record = record.get("token").unwrap_or(&record);
    assert!(record["last_used_at"].is_string(), "{record}");
    let used = &environment.rows("SELECT repo FROM last_uses WHERE agent = 'git/2.47.3'")[0];
    assert_eq!(used["repo"], "acme/app");
}

#[test]
fn a_known_token_that_is_no_good_leaves_a_line_and_an_unknown_one_is_counted() {
    let environment = acme();
    let token = environment.token("will", &[]);
    let other = environment.token("will", &["--allow-cidr", "192.0.2.0/24"]);
    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("will").ok();
    assert_eq!([&token, &other].map(|token| asked(&environment, "acme/app", READ, token).status), [401, 401]);
    environment.tok(&["whoami"]).variable("TOK_TOKEN", &token).fails(3);
    let refused = events(&environment, &["--outcome", "refused", "--action", "token.use"]);
    let details: Vec<&str> = refused.iter().map(|event| event["detail"].as_str().unwrap()).collect();
    assert_eq!(details.iter().filter(|detail| detail.contains("was revoked at")).count(), 2, "{details:?}");
    assert_eq!(details.iter().filter(|detail| detail.contains("from this address")).count(), 1, "{details:?}");

    let lines = || environment.count("SELECT count(*) FROM audit");
    let before = lines();
    let unknown = tok_tests::normalise::invented_token();
    assert_eq!(asked(&environment, "acme/app", READ, &unknown).status, 401);
    wait::until_true("the log counts it", || environment.log().contains("presented: 1"));
    assert_eq!(lines(), before);
}

#[test]
fn a_refused_act_says_who_tried_what_and_why_not() {
    let environment = acme();
    environment.users(&["ann"]);
    environment.tok(&["user", "create", "eve"]).acting_as("ann").fails(4);
    environment.tok(&["workspace", "member", "add", "acme", "ann", "--role", "reader"]).acting_as("ann").fails(5);
    let wish = environment.challenged("acme/app", "write") + "\n";
    environment.helper().acting_as("ann").argument("get").input(wish).run();
    let refused = events(&environment, &["--user", "ann", "--outcome", "refused"]);
    let lines: BTreeSet<String> = refused
        .iter()
        .map(|event| format!("{} {}", event["action"].as_str().unwrap(), event["detail"].as_str().unwrap()))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("member.add "), "{lines:?}");
    assert!(lines[1].starts_with("token.mint ") && lines[1].contains("acme/app"), "{lines:?}");
    assert!(lines[2].starts_with("user.create ") && lines[2].contains("manager"), "{lines:?}");
    // Looking at a list where another way was open is no refused act.
    environment.tok(&["workspace", "list"]).acting_as("ann").ok();
    environment.tok(&["status"]).acting_as("ann").ok();
    environment.tok(&["audit"]).acting_as("ann").ok();
    assert_eq!(events(&environment, &["--user", "ann", "--outcome", "refused"]).len(), 3);
}

#[test]
fn acting_as_somebody_shows_both() {
    let environment = acme();
    let me = environment.tok(&["whoami", "--output", "json"]).ok().json()["user"].as_str().unwrap().to_owned();
    environment.token("will", &[]);
    let made = events(&environment, &["--user", "will", "--action", "token.create"]);
    assert_eq!((made[0]["actor_user"].as_str(), made[0]["acted_by"].as_str()), (Some("will"), Some(me.as_str())));
    assert!(made[0]["actor_uid"].is_number());
    let text = environment.tok(&["audit", "--action", "token.create"]).ok();
    assert!(text.text().contains(&format!("will (by {me})")), "{}", text.text());
    // As oneself there is nobody behind.
    environment.tok(&["user", "create", "zoe"]).ok();
    assert!(events(&environment, &["--action", "user.create"])[0]["acted_by"].is_null());
}

#[test]
fn the_trail_of_a_deleted_user_is_found_by_name() {
    let environment = acme();
    environment.users(&["ann"]);
    environment.token("ann", &[]);
    environment.tok(&["user", "delete", "--force", "ann"]).ok();
    assert!(events(&environment, &["--user", "ann"]).len() >= 2);
    environment.tok(&["audit", "--user", "nobody-ever"]).fails(5).says(&["or ever was"]);
}

#[test]
fn two_who_had_one_name_are_told_apart_by_their_ids() {
    let environment = acme();
    environment.users(&["dave"]);
    environment.token("dave", &["--description", "of the first"]);
    let id =
        |name: &str| environment.tok(&["user", "show", name, "--output", "json"]).ok().json()["user"]["id"].clone();
    let first = id("dave").as_str().unwrap().to_owned();
    environment.tok(&["user", "delete", "--force", "dave"]).ok();
    environment.users(&["dave"]);
    let second = id("dave").as_str().unwrap().to_owned();
    let by_name = environment.tok(&["audit", "--user", "dave", "--output", "json"]).ok().json();
    assert!(by_name["note"].as_str().unwrap().contains(&first), "{by_name}");
    environment.tok(&["audit", "--user", "dave"]).ok().says(&[
        "note: ",
        "others had the name before",
        &first,
        "deleted 20",
    ]);
    let acts = |who: &str| -> BTreeSet<String> {
        events(&environment, &["--user", who])
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(acts(&first).contains("token.create") && acts(&first).contains("user.delete"), "{:?}", acts(&first));
    assert_eq!(acts("dave"), acts(&second));
    assert!(!acts("dave").contains("token.create"));
    let quiet = environment.tok(&["audit", "--user", &first, "--output", "json"]).ok().json();
    assert!(quiet.get("note").is_none(), "{quiet}");
    environment.tok(&["audit", "--user", "00000000-0000-4000-8000-000000000000"]).fails(5).says(&["or ever was"]);
    // Nobody learns from it who was there before.
    let own = environment.tok(&["audit", "--user", "dave", "--output", "json"]).acting_as("dave").ok().json();
    assert!(own.get("note").is_none() || own["note"].is_null(), "{own}");
}

#[test]
fn what_a_workspaces_own_token_does_is_the_workspaces() {
    let environment = acme();
    let create = ["token", "create", "ci", "--kind", "workspace", "--workspace", "acme", "--permission", "write"];
    let token = environment.tok(&create).acting_as("mona").shows_secret().ok().line().to_owned();
    let with = |arguments: &[&str]| environment.tok(arguments).variable("TOK_TOKEN", &token);
    let made = with(&["token", "create", "child", "--kind", "workspace", "--permission", "read", "--output", "json"]);
    let made = made.shows_secret().ok().json()["token"].clone();
    assert_eq!(made["created_by_name"], "workspace:acme");
    let ended = with(&["token", "revoke", "child", "--force", "--output", "json"]).ok().text().to_owned();
    assert!(
        ended.contains(r#""revoked_by":"workspace:acme""#) || ended.contains(r#""revoked_by": "workspace:acme""#),
        "{ended}"
    );
    let acts = events(&environment, &["--token", &token[..11]]);
    let by = |action: &str| {
        let act = acts.iter().find(|event| event["action"] == action && event["actor_token_id"].is_string());
        act.unwrap_or_else(|| panic!("no {action} in {acts:#?}"))["actor_user"].clone()
    };
    for action in ["token.create", "token.revoke", "token.use"] {
        assert_eq!(by(action), "workspace:acme", "{action}");
    }
    // A repo token, too, whose uses are all that it does.
    let create = ["token", "create", "r", "--kind", "repo", "--repo", "acme/app", "--permission", "read"];
    let token = environment.tok(&create).acting_as("mona").shows_secret().ok().line().to_owned();
    assert_eq!(asked(&environment, "acme/app", READ, &token).status, 200);
    let uses = events(&environment, &["--token", &token[..11], "--action", "token.use"]);
    assert_eq!((uses.len(), &uses[0]["actor_user"]), (1, &"workspace:acme".into()));
    let shown = environment.tok(&["audit", "--token", &token[..11], "--action", "token.use"]).ok();
    assert!(shown.text().contains("  workspace:acme  "), "{}", shown.text());
    verified(&environment);
}

#[test]
fn what_was_answered_that_it_is_not_there_is_no_use() {
    let environment = acme();
    let token = environment.token("will", &[]);
    assert_eq!(asked(&environment, "acme/nope", READ, &token).status, 404);
    let uses = events(&environment, &["--token", &token[..11], "--action", "token.use"]);
    assert_eq!((uses.len(), &uses[0]["outcome"]), (1, &"refused".into()), "{uses:?}");
    assert_eq!(uses[0]["detail"], "there is no such repository");
    let record = environment.tok(&["token", "show", &token[..11], "--output", "json"]).ok().json();
    assert!(record["last_used_repo"].is_null() && record["last_used_at"].is_null(), "{record}");
}

#[test]
fn filters_combine_and_bad_ones_are_named() {
    let environment = acme();
    environment.token("will", &[]);
    assert_eq!(events(&environment, &["--action", "token.create", "--outcome", "done"]).len(), 1);
    assert_eq!(events(&environment, &["--action", "token.create", "--until", "2h"]).len(), 0);
    assert_eq!(events(&environment, &["--action", "token.create", "--since", "2h", "--until", "2099-01-01"]).len(), 1);
    environment.tok(&["audit", "--action", "token.eat"]).fails(2).says(&["token.create"]);
    environment.tok(&["audit", "--until", "soon"]).fails(2).says(&["--until"]);
    environment.tok(&["audit", "verify", "--head", "x"]).fails(2).says(&["chain:hash"]);
}

#[test]
fn what_is_changed_in_the_database_is_found() {
    let environment = acme();
    let report = verified(&environment);
    let text = environment.tok(&["audit", "verify"]).ok();
    assert!(text.text().contains("The trail is intact"), "{}", text.text());
    let newest = report["chains"].as_array().unwrap().last().unwrap();
    assert!(newest["lines"].as_u64().unwrap() > 3 && newest["unsealed"] == 0, "{report:#}");
    let head = format!("{}:{}", newest["chain"].as_str().unwrap(), newest["head"].as_str().unwrap());
    environment.tok(&["audit", "verify", "--head", &head]).ok();

    environment
        .execute("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_seals AS SELECT * FROM audit_seals");
    let chain = newest["chain"].as_str().unwrap();
    let line = "(SELECT id FROM audit WHERE action = 'workspace.create' LIMIT 1)";
    for statements in [
        format!("UPDATE audit SET actor_name = 'nobody' WHERE id = {line}"),
        format!("UPDATE audit SET at = at - interval '1 hour' WHERE id = {line}"),
        format!("DELETE FROM audit WHERE id = {line}"),
        format!(
            "INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, mac)
             SELECT at, action, outcome, 'nobody', detail, times, chain, number + 1000, mac FROM audit WHERE id = {line}"
        ),
        "DELETE FROM audit_seals WHERE number = 1".to_owned(),
        // What this very daemon wrote, without a trace: it knows that it did.
        "TRUNCATE audit, audit_seals".to_owned(),
        format!("DELETE FROM audit_seals WHERE chain = '{chain}'; DELETE FROM audit WHERE chain = '{chain}'"),
    ] {
        environment.execute(&statements);
        assert!(!broken(&environment).is_empty(), "{statements}");
        environment.execute(
            "DELETE FROM audit WHERE id IN (SELECT id FROM kept)
                 OR chain::text || number IN (SELECT chain::text || number + 1000 FROM kept);
             INSERT INTO audit SELECT * FROM kept;
             INSERT INTO audit_seals SELECT * FROM kept_seals ON CONFLICT DO NOTHING",
        );
        verified(&environment);
    }
    // Only managers verify.
    environment.tok(&["audit", "verify"]).acting_as("will").fails(4);
}

#[test]
fn a_kill_loses_no_line_and_breaks_no_chain() {
    let environment = acme();
    for number in 0..5 {
        environment.tok(&["user", "create", &format!("user{number}")]).ok();
    }
    environment.kill();
    environment.start();
    let report = verified(&environment);
    assert!(report["chains"].as_array().unwrap().len() >= 2, "{report:#}");
    assert_eq!(
        events(&environment, &["--action", "user.create"])
            .iter()
            .filter(|event| { event["subject_user"].as_str().unwrap().starts_with("user") })
            .count(),
        5
    );
    // A clean stop leaves nothing unsealed, and what was used a moment before is there.
    let token = environment.token("will", &[]);
    asked(&environment, "acme/app", READ, &token);
    environment.stop();
    environment.start();
    assert!(!events(&environment, &["--token", &token[..11], "--action", "token.use"]).is_empty());
    let chains = verified(&environment)["chains"].as_array().unwrap().clone();
    let before_last = &chains[chains.len() - 2];
    assert_eq!(before_last["unsealed"], 0, "{chains:#?}");
}

#[test]
fn two_daemons_on_one_database_write_two_chains_and_whoever_follows_sees_every_line_once() {
    let database = Database::empty();
    let (one, other) = (Environment::new(), Environment::new());
    // One pepper for both.
    one.start_with(&one.serve_recipe("").variable("DATABASE_URL", database.url()));
    fs::create_dir_all(other.data()).unwrap();
    fs::copy(one.data().join("pepper"), other.data().join("pepper")).unwrap();
    own_like(&other.data().join("pepper"));
    other.start_with(&other.serve_recipe("").variable("DATABASE_URL", database.url()));

    one.tok(&["user", "create", "first"]).ok();
    let shown = one.work("followed");
    let script = "exec \"$0\" audit --follow --output json --action user.create >\"$1\"";
    let arguments =
        ["-c".into(), script.into(), binaries::path("tok").into_os_string(), shown.clone().into_os_string()];
    let follower = one.call("sh").arguments(arguments).start();
    let followed = || fs::read_to_string(&shown).unwrap_or_default();
    wait::until_true("the follower has begun", || followed().contains("\"first\""));
    let create = |environment: &Environment, name: &str| {
        (0..25).for_each(|number| drop(environment.tok(&["user", "create", &format!("{name}{number}")]).ok()));
    };
    thread::scope(|scope| {
        for writer in 0..2 {
            let (one, other) = (&one, &other);
            scope.spawn(move || create(one, &format!("one{writer}n")));
            scope.spawn(move || create(other, &format!("other{writer}n")));
        }
    });
    let chains = postgres::rows(database.url(), "SELECT DISTINCT chain FROM audit WHERE action = 'user.create'");
    assert_eq!(chains.len(), 2);
    verified(&one);
    verified(&other);
    one.tok(&["user", "create", "last"]).ok();
    wait::until_true("the last line is shown", || followed().contains("\"last\""));
    follower.kill();
    follower.wait();
    let shown: Vec<Value> = followed().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = shown.iter().map(|event| event["subject_user"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!((names.len(), distinct.len()), (102, 102), "{names:?}");
}

/// tokd trusts no pepper file of somebody else, and none that others read.
fn own_like(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn retention_comes_from_the_configuration() {
    let database = Database::migrated();
    database.execute(
        "SELECT audit_month('2020-05-05'), audit_month('2020-06-05');
         INSERT INTO audit (at, action, outcome, actor_name, detail, times, chain, number, xact)
         SELECT '2020-05-05', 'token.use', 'done', 'ann', 'old', 1, '00000000-0000-0000-0000-000000000000', n, 0
         FROM generate_series(1, 4) n",
    );
    let environment = Environment::new();
    let start =
        |text: &str| environment.start_with(&environment.serve_recipe(text).variable("DATABASE_URL", database.url()));
    start("[audit]\nretention = \"forever\"\n");
    wait::until_true("the old lines are sealed", || verified(&environment)["chains"][0]["lines"] == 4);
    assert_eq!(database.rows("SELECT 1 FROM audit WHERE detail = 'old'").len(), 4);
    environment.stop();
    start("[audit]\nretention = \"90d\"\n");
    wait::until_true("they are dropped", || database.rows("SELECT 1 FROM audit WHERE detail = 'old'").is_empty());
    assert!(database.rows("SELECT 1 FROM pg_class WHERE relname IN ('audit_2020_05', 'audit_2020_06')").is_empty());
    let pruned = events(&environment, &["--action", "audit.prune"]);
    assert!(pruned[0]["detail"].as_str().unwrap().contains("4 lines"), "{pruned:?}");
    assert_eq!(pruned[0]["actor_user"], "tokd");
    let report = verified(&environment);
    assert_eq!((&report["chains"][0]["lines"], &report["chains"][0]["pruned"]), (&4.into(), &4.into()));
    let this_month =
        database.rows("SELECT 1 FROM pg_class WHERE relname = to_char(now() AT TIME ZONE 'UTC', '\"audit_\"YYYY_MM')");
    assert_eq!(this_month.len(), 1);
}

#[test]
fn the_trail_is_verified_over_http_as_by_the_command() {
    let people = crate::api::people();
    let verify = |query: &str| people.get(&people.boss, &format!("/v1/audit/verify{query}"));
    let report = verify("").json();
    assert_eq!(report["intact"], true, "{report:#}");
    let chain = &report["chains"][0];
    assert!(chain["lines"].as_u64().unwrap() > 0 && chain["fault"].is_null(), "{report:#}");
    let (name, hash) = (chain["chain"].as_str().unwrap(), chain["head"].as_str().unwrap());
    let noted = format!("?chain={name}&heads={name}:{hash}");
    assert_eq!(verify(&noted).json()["intact"], true);
    // A head that never was is the end of a chain that was cut off.
    let never = verify(&format!("?heads={name}:{hash},{name}:{}", "0".repeat(64))).json();
    assert_eq!(never["intact"], false, "{never:#}");
    people.environment.execute("UPDATE audit SET detail = 'nothing' WHERE id = (SELECT min(id) FROM audit)");
    let changed = verify("");
    assert_eq!((changed.status, &changed.json()["intact"]), (200, &Value::Bool(false)));
    people.environment.tok(&["audit", "verify"]).fails(1);
    crate::api::problem(&verify("?heads=x"), 400, "invalid_argument", Some("heads"));
    crate::api::problem(&people.get(&people.mona, "/v1/audit/verify"), 403, "forbidden", None);
}
