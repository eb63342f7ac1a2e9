//! A token gives its place to a successor: what works when, and what happens to whoever presents what was given up.

use std::sync::Barrier;
use std::thread;

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};

use crate::authority::{READ, WRITE, acme, asked};

/// What `tok token rotate` answers to the owner.
pub(crate) fn rotate(environment: &Environment, user: &str, token: &str, arguments: &[&str]) -> Value {
    let call = environment.tok(&["token", "rotate", "--output", "json", &token[..11]]);
    call.arguments(arguments.iter().copied()).acting_as(user).ok().json()
}

/// The text in an answer.
pub(crate) fn secret(answer: &Value) -> String {
    answer["secret"].as_str().unwrap().to_owned()
}

pub(crate) fn show(environment: &Environment, token: &str) -> Value {
    environment.tok(&["token", "show", "--output", "json", &token[..11]]).ok().json()
}

pub(crate) fn status(environment: &Environment, token: &str) -> u16 {
    asked(environment, "acme/app", READ, token).status
}

pub(crate) fn alarms(environment: &Environment) -> i64 {
    environment.count("SELECT count(*) AS count FROM audit WHERE action = 'token.reuse'")
}

#[test]
fn a_successor_has_all_that_the_old_one_had() {
    let environment = acme();
    let old = environment.token(
        "will",
        &[
            "--description",
            "pushes builds",
            "--scopes",
            "repo:write",
            "--route",
            "acme/**:rw,acme/lib:r",
            "--label",
            "ci,team=web",
            "--allow-cidr",
            "127.0.0.0/8",
            "--expires",
            "30d",
            "--max-uses",
            "100",
        ],
    );
    let before = show(&environment, &old);
    let answer = rotate(&environment, "will", &old, &["--grace", "1d"]);
    let (new, given_up) = (&answer["token"], &answer["predecessor"]);
    for same in [
        "kind",
        "name",
        "description",
        "scopes",
        "routes",
        "labels",
        "allow_cidrs",
        "max_uses",
        "family_id",
        "user",
        "parent_id",
        "created_by_name",
    ] {
        assert_eq!(new[same], before[same], "{same}");
    }
    assert_ne!(new["id"], before["id"]);
    assert_eq!(new["predecessor_id"], before["id"]);
    assert_eq!((&given_up["successor_id"], &given_up["state"]), (&new["id"], &Value::from("active")));
    assert!(given_up["rotated_at"].is_string() && given_up["grace_ends_at"].is_string());
    // 30 days from now, and not what was left of the old one's.
    environment.execute("UPDATE tokens SET created_at = created_at - interval '9 days', expires_at = expires_at - interval '9 days' WHERE successor_id IS NULL AND predecessor_id IS NOT NULL");
    let next = rotate(&environment, "will", &secret(&answer), &[]);
    let days = environment.rows(&format!(
        "SELECT round(extract(epoch FROM expires_at - created_at) / 86400) AS days FROM tokens WHERE id = '{}'",
        next["token"]["id"].as_str().unwrap()
    ));
    assert_eq!(days[0]["days"].as_f64(), Some(30.0), "{days:?}");
    assert_eq!(next["token"]["family_id"], before["id"], "the first of its line");
    let trail = environment.tok(&["audit", "--token", before["id"].as_str().unwrap(), "--output", "json"]).ok();
    assert!(trail.text().contains("token.rotate"), "{}", trail.text());
}

#[test]
fn the_old_one_works_until_the_successor_is_first_used_and_to_present_it_then_ends_the_family() {
    let environment = acme();
    let old = environment.token("will", &[]);
    assert_eq!(status(&environment, &old), 200);
    let new = secret(&rotate(&environment, "will", &old, &["--grace", "1h"]));
    assert_eq!(status(&environment, &old), 200);
    assert_eq!(status(&environment, &old), 200);
    // To ask about it is no use of it.
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(new.clone()).ok().json();
    assert_eq!(checked["usable"], Value::from(true));
    assert_eq!(status(&environment, &old), 200);

    assert_eq!(status(&environment, &new), 200);
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(old.clone()).fails(1).json();
    assert_eq!((&checked["usable"], alarms(&environment)), (&Value::from(false), 0));
    assert_eq!(status(&environment, &new), 200);

    // Reuse. Whoever did it, and however often the successor's good name was remembered.
    let other = environment.token("will", &[]);
    let refused = asked(&environment, "acme/app", READ, &old);
    assert_eq!(refused.status, 401);
    assert_eq!((status(&environment, &new), alarms(&environment)), (401, 1));
    for ended in [&old, &new] {
        let record = show(&environment, ended);
        assert_eq!(record["state"], "revoked");
        let reason = record["revoke_reason"].as_str().unwrap();
        assert!(reason.contains(&old[..11]) && reason.contains("rotated away"), "{reason}");
    }
    assert_eq!(status(&environment, &other), 200, "other families have nothing to do with it");
    // Whoever held the new one is told what happened to it, and what to do.
    let told = environment.tok(&["whoami"]).variable("TOK_TOKEN", &new).fails(3);
    let look = format!("tok audit --token {}", &old[..11]);
    told.says(&["was revoked at", &old[..11], "had been rotated away, was used again", "tok token create", &look]);
    let restored = environment.tok(&["token", "restore", &new[..11]]).acting_as("will").fails(1);
    restored.says(&["was not ended by somebody's act", "tok token create", "tok audit --token", &new[..11]]);
    // It is over: no second alarm.
    assert_eq!((status(&environment, &old), alarms(&environment)), (401, 1));
}

#[test]
fn without_a_grace_the_old_one_ends_at_once() {
    let environment = acme();
    let old = environment.token("will", &[]);
    let answer = rotate(&environment, "will", &old, &[]);
    assert_eq!(answer["predecessor"]["state"], "revoked");
    let new = secret(&answer);
    assert_eq!(status(&environment, &new), 200);
    assert_eq!((status(&environment, &old), alarms(&environment), status(&environment, &new)), (401, 1, 401));
}

#[test]
fn the_grace_ends_by_the_clock_too() {
    let environment = acme();
    let old = environment.token("will", &[]);
    let answer = rotate(&environment, "will", &old, &["--grace", "10m"]);
    assert_eq!(status(&environment, &old), 200);
    environment.execute("UPDATE tokens SET grace_ends_at = now() WHERE grace_ends_at IS NOT NULL");
    assert_eq!((status(&environment, &old), alarms(&environment)), (401, 1));
    assert_eq!(status(&environment, &secret(&answer)), 401, "nobody has used it, and it is of the family");
}

#[test]
fn what_was_made_through_the_old_one_ends_with_it() {
    let environment = acme();
    let old = environment.token("will", &["--scopes", "repo:read,token:write", "--expires", "never"]);
    let through = |token: &str, arguments: &[&str]| {
        let call = environment.tok(&["token", "create", "child", "--scopes", "repo:read"]);
        call.arguments(arguments.iter().copied()).variable("TOK_TOKEN", token.to_owned())
    };
    let child = through(&old, &[]).ok().line().to_owned();
    assert_eq!(status(&environment, &child), 200);
    let new = secret(&rotate(&environment, "will", &old, &["--grace", "2h"]));
    assert_eq!(status(&environment, &child), 200);
    let ends = environment.rows("SELECT t.expires_at = p.grace_ends_at AS clamped FROM tokens t JOIN tokens p ON p.id = t.parent_id WHERE t.name = 'child'");
    assert_eq!(ends[0]["clamped"], Value::from(true));
    // Nor can the old one make anything that outlives it now.
    through(&old, &["--expires", "3h"]).fails(4);
    let late = through(&old, &["--expires", "1h"]).ok().line().to_owned();
    assert_eq!(status(&environment, &late), 200);

    assert_eq!(status(&environment, &new), 200);
    assert_eq!([status(&environment, &child), status(&environment, &late)], [401, 401]);
    assert_eq!((status(&environment, &new), alarms(&environment)), (200, 0));
}

#[test]
fn nobody_gets_more_by_rotating_than_by_creating() {
    let environment = acme();
    let wide = environment.token("will", &["--scopes", "repo:write,token:write"]);
    let narrow = environment.token("will", &["--scopes", "repo:read,token:write"]);
    let powerless = environment.token("will", &["--scopes", "repo:write"]);
    let as_token = |token: &str, other: &str| {
        environment.tok(&["token", "rotate", &other[..11]]).variable("TOK_TOKEN", token.to_owned())
    };
    as_token(&narrow, &wide).fails(4).says(&["the scope repo:write is not in your token"]);
    as_token(&powerless, &powerless).fails(4).says(&["token:write"]);
    // A manager does not come by the text of somebody else's token, but may act as them.
    environment.tok(&["token", "rotate", &wide[..11]]).fails(4).says(&["--as will"]);
    // One that rotates itself lives no longer by it.
    let before = show(&environment, &narrow)["expires_at"].clone();
    let own = as_token(&narrow, &narrow).arguments(["--output", "json"]).ok().json();
    assert_eq!(own["token"]["expires_at"], before);
    assert_eq!(own["token"]["parent_id"], Value::Null, "it stands where the old one stood");
    assert_eq!(status(&environment, &secret(&own)), 200);

    let git = environment.git_token("will", "acme/app", "read");
    environment.tok(&["token", "rotate", &git[..11]]).acting_as("will").fails(2).says(&["git token is not rotated"]);
    environment.tok(&["token", "revoke", "--force", &powerless[..11]]).acting_as("will").ok();
    environment.tok(&["token", "rotate", &powerless[..11]]).acting_as("will").fails(1).says(&["was revoked at"]);
    let narrow_again = environment.tok(&["token", "rotate", &narrow[..11]]).acting_as("will").fails(1);
    narrow_again.says(&["was given a successor", own["token"]["id"].as_str().unwrap()]);
}

#[test]
fn a_workspaces_token_stays_its_makers_however_often_it_rotates() {
    let environment = acme();
    let create = environment.tok(&["token", "create", "ci", "--kind", "workspace", "--workspace", "acme"]);
    let token = create.arguments(["--permission", "write"]).acting_as("mona").ok().line().to_owned();
    let own = environment.tok(&["token", "rotate", "--output", "json", &token[..11]]).variable("TOK_TOKEN", token);
    let new = secret(&own.ok().json());
    assert_eq!(asked(&environment, "acme/app", WRITE, &new).status, 200);
    environment.tok(&["workspace", "member", "remove", "acme", "mona"]).ok();
    assert_eq!(asked(&environment, "acme/app", WRITE, &new).status, 401);
}

#[test]
fn first_uses_at_once_all_count_as_one_and_of_rotations_at_once_one_does() {
    let environment = acme();
    for _ in 0..5 {
        let old = environment.token("will", &[]);
        let new = secret(&rotate(&environment, "will", &old, &["--grace", "1d"]));
        let together = Barrier::new(12);
        let statuses: Vec<(bool, u16)> = thread::scope(|scope| {
            let race = |is_new: bool| {
                let (environment, together) = (&environment, &together);
                let text = if is_new { &new } else { &old };
                scope.spawn(move || {
                    together.wait();
                    (is_new, status(environment, text))
                })
            };
            let runs: Vec<_> = (0..12).map(|number| race(number % 3 != 0)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let raised = environment.count(&format!(
            "SELECT count(*) AS count FROM audit WHERE action = 'token.reuse' AND token_prefix = '{}'",
            &old[..11]
        ));
        // Whoever presented the old one in time was let in. Whoever came a moment late raised the alarm, once.
        let late = statuses.iter().any(|(is_new, status)| !is_new && *status == 401);
        assert_eq!(raised, i64::from(late), "{statuses:?}");
        assert!(late || statuses.iter().all(|(_, status)| *status == 200), "{statuses:?}");
        assert_eq!(status(&environment, &new), if late { 401 } else { 200 });
        assert_eq!(status(&environment, &old), 401);
        assert_eq!(status(&environment, &new), 401);
    }

    let token = environment.token("will", &[]);
    let calls: Vec<_> =
        (0..4).map(|_| environment.tok(&["token", "rotate", &token[..11]]).acting_as("will").start()).collect();
    let done: Vec<_> = calls.into_iter().map(|call| call.wait().code).collect();
    assert_eq!(done.iter().filter(|code| **code == Some(0)).count(), 1, "{done:?}");
}

#[test]
fn a_change_at_the_moment_of_a_rotation_is_in_the_successor_or_is_refused() {
    let environment = acme();
    let hand = environment.token("will", &["--scopes", "all"]);
    let send = |method: &str, target: &str, version: &str, body: &Value| {
        let request = Request::json(method, target, body).bearer(&hand);
        environment.send(&if version.is_empty() { request } else { request.header("If-Match", version) })
    };
    let at_once = |first: &(dyn Fn() -> Reply + Sync), second: &(dyn Fn() -> Reply + Sync)| {
        let together = Barrier::new(2);
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                together.wait();
                second()
            });
            together.wait();
            (first(), other.join().unwrap())
        })
    };
    let mut both = 0;
    for round in 0..24 {
        let token = environment.token("will", &["--scopes", "repo:write", "--expires", "2d"]);
        let target = format!("/v1/tokens/{}", &token[..11]);
        let version = if round % 2 == 0 { "\"1\"" } else { "" };
        let narrow = serde_json::json!({"scopes": ["repo:read"], "allow_cidrs": ["127.0.0.0/8"], "labels": ["seen"]});
        let (changed, rotated) = at_once(&|| send("PATCH", &target, "", &narrow), &|| {
            send("POST", &format!("{target}/rotate"), version, &serde_json::json!({}))
        });
        assert!([200, 409].contains(&changed.status), "{}", changed.text());
        assert!([201, 409, 412].contains(&rotated.status), "{}", rotated.text());
        if (changed.status, rotated.status) == (200, 201) {
            both += 1;
            assert_eq!(version, "", "that was not what was seen: {}", rotated.text());
            let successor = &rotated.json()["token"];
            assert_eq!(successor["scopes"], serde_json::json!(["repo:read"]), "{successor}");
            assert_eq!(
                (&successor["allow_cidrs"][0], &successor["labels"][0]),
                (&"127.0.0.0/8".into(), &"seen".into())
            );
        }

        let token = environment.token("will", &["--scopes", "repo:write"]);
        let target = format!("/v1/tokens/{}", &token[..11]);
        let (changed, ended) =
            at_once(&|| send("PATCH", &target, "\"1\"", &serde_json::json!({"description": "changed"})), &|| {
                send("DELETE", &target, "\"1\"", &Value::Null)
            });
        assert_ne!((changed.status, ended.status), (200, 200), "what ended was another version: {}", ended.text());
    }
    eprintln!("{both} of 24 times both were done");
}

#[test]
fn a_grace_promises_no_more_time_than_the_old_one_had() {
    let environment = acme();
    let old = environment.token("will", &["--expires", "1h"]);
    let answer = rotate(&environment, "will", &old, &["--grace", "1d"]);
    assert_eq!(answer["predecessor"]["grace_ends_at"], answer["predecessor"]["expires_at"]);
    assert_eq!(show(&environment, &old)["grace_ends_at"], answer["predecessor"]["expires_at"]);
    let trail = environment.tok(&["audit", "--token", &old[..11], "--action", "token.rotate", "--output", "json"]);
    let end = answer["predecessor"]["expires_at"].as_str().unwrap().to_owned();
    let trail = trail.ok().json();
    let detail = trail["events"][0]["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{end} at the latest")), "{detail}");
    let why = environment.tok(&["token", "explain", &old[..11]]).acting_as("will").ok();
    assert!(
        why.text().contains(&format!("beside its successor until {}", end[..19].replace('T', " "))),
        "{}",
        why.text()
    );
    // What ran out is no theft: the successor goes on.
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' \
         WHERE shown_prefix = '{}'",
        &old[..11]
    ));
    assert_eq!(status(&environment, &old), 401);
    assert_eq!((status(&environment, &secret(&answer)), alarms(&environment)), (200, 0));
    // A shorter one is what it is.
    let other = environment.token("will", &["--expires", "9d"]);
    let answer = rotate(&environment, "will", &other, &["--grace", "1d"]);
    assert_ne!(answer["predecessor"]["grace_ends_at"], answer["predecessor"]["expires_at"]);
}

#[test]
fn what_ended_is_found_by_its_name_as_by_its_id() {
    let environment = acme();
    let will = |arguments: &[&str]| environment.tok(arguments).acting_as("will");
    let named = |name: &str| {
        let made = will(&["token", "create", name, "--output", "json"]).shows_secret().ok().json();
        made["token"]["id"].as_str().unwrap().to_owned()
    };
    let (expired, revoked, live) = (named("expired"), named("revoked"), named("live"));
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' WHERE id = '{expired}'"
    ));
    will(&["token", "revoke", &revoked, "--force"]).ok();
    for (name, id) in [("expired", &expired), ("revoked", &revoked)] {
        let by_id = will(&["token", "rotate", id]).fails(1);
        will(&["token", "rotate", name]).fails(1).says(&[by_id.complaint().lines().next().unwrap()]);
        will(&["token", "modify", name, "--description", "x"]).fails(1).says(&["so it cannot be changed"]);
    }
    let again = will(&["token", "revoke", "revoked", "--force"]).ok();
    assert!(again.text().contains("revoked before"), "{}", again.text());
    will(&["token", "restore", "live"]).fails(1).says(&["is not revoked, so there is nothing to undo"]);
    will(&["token", "restore", "never-was"]).fails(5).says(&["no token of yours matches"]);
    will(&["token", "restore", "revoked"]).ok();
    will(&["token", "revoke", "expired", "--force"]).ok();
    assert_eq!(
        environment.count(&format!("SELECT count(*) FROM tokens WHERE id = '{expired}' AND revoked_at IS NOT NULL")),
        1
    );
    // What works comes before what ended, and of several that ended none is chosen.
    will(&["token", "revoke", "live", "--force"]).ok();
    let second = named("live");
    will(&["token", "revoke", "live", "--force"]).ok();
    let ended = will(&["token", "show", &second, "--output", "json"]).ok().json();
    assert_eq!(ended["state"], "revoked");
    will(&["token", "revoke", "live", "--force"]).fails(5).says(&["more than one token matches", &live, &second]);
}
