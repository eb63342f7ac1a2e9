//! A cursor is a place in an order: whoever walks a list to its end sees each row that was there all the while exactly
//! once, whatever becomes of the others meanwhile.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use hyper::Method;
use serde_json::{Value, json};
use tok_tests::chance::{self, Chance};
use tok_tests::environment::Environment;

use crate::matrix::line::Lines;

/// The tokens that the walks are about, by what nobody does to them.
#[derive(Default)]
struct Tokens {
    /// Nobody touches these.
    left_alone: Vec<Value>,
    /// These are renamed, relabelled and used, and go on living.
    changed: Vec<Value>,
    /// These are ended, brought back, and given successors.
    ended: Vec<(String, String)>,
}

/// A list, who walks it, and which of the rows that stay it must show.
struct List {
    path: &'static str,
    rows: &'static str,
    manager: bool,
    shows: fn(&Value) -> bool,
}

const TOKENS: &[List] = &[
    List { path: "/v1/tokens?", rows: "tokens", manager: false, shows: |token| token["user"] == "ann" },
    List { path: "/v1/tokens?state=active", rows: "tokens", manager: false, shows: |token| token["user"] == "ann" },
    List {
        path: "/v1/tokens?kind=personal",
        rows: "tokens",
        manager: false,
        shows: |token| token["kind"] == "personal" && token["user"] == "ann",
    },
    List {
        path: "/v1/tokens?workspace=acme",
        rows: "tokens",
        manager: false,
        shows: |token| token["workspace"] == "acme",
    },
    List {
        path: "/v1/tokens?workspace=acme&kind=repo&state=active",
        rows: "tokens",
        manager: false,
        shows: |token| token["kind"] == "repo",
    },
    List {
        path: "/v1/tokens?label=stays%3Dyes",
        rows: "tokens",
        manager: false,
        shows: |token| token["user"] == "ann" && token["labels"] == json!(["stays=yes"]),
    },
    List {
        path: "/v1/tokens?never_used=true",
        rows: "tokens",
        manager: false,
        // What is used meanwhile may be there or not.
        shows: |token| token["user"] == "ann" && token["description"] == "left alone",
    },
    List {
        path: "/v1/tokens?expiring=7d",
        rows: "tokens",
        manager: false,
        shows: |token| token["user"] == "ann" && token["labels"] == json!(["stays=yes"]),
    },
    List { path: "/v1/tokens?all_users=true", rows: "tokens", manager: true, shows: |_| true },
    List {
        path: "/v1/tokens?user=ann&state=active",
        rows: "tokens",
        manager: true,
        shows: |token| token["user"] == "ann",
    },
];

/// Makes a token, and gives its text and record.
fn create(lines: &mut Lines, holder: &str, body: &Value) -> (String, Value) {
    let (status, made) = lines.json(&Method::POST, "/v1/tokens", holder, body);
    assert_eq!(status, 201, "{made}");
    (made["secret"].as_str().unwrap().to_owned(), made["token"].clone())
}

/// A body for a token: every kind, with and without a label that means a short life.
fn body(number: usize, description: &str) -> Value {
    let mut body = match number % 4 {
        0 | 1 => json!({"scopes": ["repo:read"]}),
        2 => json!({"kind": "workspace", "workspace": "acme", "permission": "read"}),
        _ => json!({"kind": "repo", "workspace": "acme", "repos": ["app"], "permission": "read"}),
    };
    body["name"] = json!(format!("number {number}"));
    body["description"] = json!(description);
    if number.is_multiple_of(2) {
        body["labels"] = json!(["stays=yes"]);
        body["expires"] = json!("3d");
    }
    body
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

fn populated(environment: &Environment, ann: &str) -> Tokens {
    let mut lines = Lines::open(environment);
    let mut tokens = Tokens::default();
    for number in 0..24 {
        tokens.left_alone.push(create(&mut lines, ann, &body(number, "left alone")).1);
        tokens.changed.push(create(&mut lines, ann, &body(number, "changed")).1);
        let (text, record) = create(&mut lines, ann, &body(number, "ended"));
        tokens.ended.push((text, id(&record)));
    }
    // Some have their moment in common, and some are about as old as git tokens get: where lists change their ways.
    environment.execute(
        "UPDATE tokens SET created_at = date_trunc('second', created_at) WHERE kind = 'workspace'; \
         UPDATE tokens SET created_at = created_at - interval '1 hour' + (random() * 20) * interval '1 second' \
         WHERE name IN ('number 0', 'number 1', 'number 2', 'number 3', 'number 4', 'number 5', 'number 6', 'number 7'); \
         UPDATE tokens SET created_at = created_at - interval '30 days' WHERE name LIKE 'number 1_'",
    );
    tokens
}

/// Something happens to some token, to a user, or to a new one of either.
fn disturb(lines: &mut Lines, tokens: &Tokens, [ann, boss]: [&str; 2], chance: &mut Chance, round: usize) {
    let changed = id(chance.one_of(&tokens.changed));
    let (text, ended) = chance.one_of(&tokens.ended);
    let path = |id: &str, rest: &str| format!("/v1/tokens/{id}{rest}");
    let none = Value::Null;
    let (status, answer) = match chance.below(9) {
        0 | 1 => {
            let (_, record) = create(lines, ann, &body(round, "a new one"));
            lines.json(&Method::DELETE, &path(&id(&record), ""), ann, &none)
        }
        2 => (0, create(lines, ann, &body(round, "a new one")).1),
        3 => lines.json(&Method::PATCH, &path(&changed, ""), ann, &json!({"name": format!("renamed {round}")})),
        4 => lines.json(&Method::PATCH, &path(&changed, ""), ann, &json!({"expires": "5d"})),
        5 => lines.json(&Method::GET, "/v1/whoami", text, &none),
        6 => lines.json(&Method::DELETE, &path(ended, ""), ann, &none),
        7 => lines.json(&Method::POST, &path(ended, "/restore"), ann, &none),
        _ => {
            // A user comes and goes, and with them their tokens and their workspace.
            let name = format!("guest-{round}-{}", chance.below(1_000_000_000));
            lines.json(&Method::POST, "/v1/users", boss, &json!({"name": name}));
            lines.json(&Method::DELETE, &format!("/v1/users/{name}"), boss, &none)
        }
    };
    assert!(status < 500, "{status} {answer}");
}

/// Everything that a list shows, page by page, as often as it shows it.
fn walk(lines: &mut Lines, list: &List, holder: &str, size: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{}&page_size={size}{cursor}", list.path);
        let (status, page) = lines.json(&Method::GET, &path, holder, &Value::Null);
        assert_eq!(status, 200, "{path}: {page}");
        let rows = page[list.rows].as_array().unwrap();
        assert!(rows.len() <= size, "{path}");
        for row in rows {
            let name = row.get("id").or(row.get("name")).unwrap_or(row);
            *seen.entry(name.as_str().unwrap_or_else(|| panic!("{row}")).to_owned()).or_default() += 1;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

/// What is wrong with a walk.
fn wrong(list: &List, size: usize, seen: &BTreeMap<String, usize>, stay: &[String]) -> Option<String> {
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    let missing: Vec<_> = stay.iter().filter(|id| !seen.contains_key(*id)).collect();
    (!twice.is_empty() || !missing.is_empty())
        .then(|| format!("{} by {size}: twice {twice:?}, missing {missing:?}", list.path))
}

#[test]
fn every_row_that_stays_is_seen_once_while_others_come_and_go() {
    let environment = Environment::dev();
    environment.users(&["ann"]).tok(&["user", "create", "boss", "--manager"]).ok();
    environment.workspace("acme", &[("ann", "maintainer")]);
    let [ann, boss] = ["ann", "boss"].map(|user| environment.token(user, &["--scopes", "all"]));
    let tokens = populated(&environment, &ann);
    // Said if this fails: whoever repeats it gets the same mixture, if not the same moments.
    let seed = chance::seed();
    let holders = [ann.as_str(), boss.as_str()];
    let (over, acts, found) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let others = [
        List { path: "/v1/users?", rows: "users", manager: true, shows: |_| false },
        List { path: "/v1/workspaces?", rows: "workspaces", manager: true, shows: |_| false },
        List { path: "/v1/audit?", rows: "events", manager: true, shows: |_| false },
        List {
            path: "/v1/audit?oldest_first=true&action=token.create",
            rows: "events",
            manager: true,
            shows: |_| false,
        },
    ];
    let lists: Vec<(&List, Vec<String>)> = {
        let mut lines = Lines::open(&environment);
        let stay = |list: &List| {
            let all = tokens.left_alone.iter().chain(&tokens.changed);
            all.filter(|token| (list.shows)(token)).map(id).collect::<Vec<_>>()
        };
        let tokens = TOKENS.iter().map(|list| (list, stay(list)));
        // Users, workspaces and lines of the trail that are there now stay.
        let others = others.iter().map(|list| (list, walk(&mut lines, list, &boss, 50).into_keys().collect()));
        tokens.chain(others.collect::<Vec<_>>()).collect()
    };
    assert!(lists.iter().all(|(_, stay)| stay.len() > 2), "each list has rows that stay");
    thread::scope(|scope| {
        let disturbers: Vec<_> = (0..3)
            .map(|number| {
                let (environment, tokens, over, acts) = (&environment, &tokens, &over, &acts);
                scope.spawn(move || {
                    let mut lines = Lines::open(environment);
                    let mut chance = Chance::seeded(seed + number);
                    while !over.load(Ordering::Relaxed) {
                        let round = acts.fetch_add(1, Ordering::Relaxed);
                        disturb(&mut lines, tokens, holders, &mut chance, round);
                    }
                })
            })
            .collect();
        let walkers: Vec<_> = [1, 3, 10]
            .map(|size| {
                let (environment, lists, found) = (&environment, &lists, &found);
                scope.spawn(move || {
                    let mut lines = Lines::open(environment);
                    for (list, stay) in lists {
                        // The trail grows faster than it is read by ones.
                        let size = if list.rows == "events" { size * 10 } else { size };
                        let seen = walk(&mut lines, list, holders[usize::from(list.manager)], size);
                        found.lock().unwrap().extend(wrong(list, size, &seen, stay));
                    }
                })
            })
            .into();
        let walked: Vec<_> = walkers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        for end in walked.into_iter().chain(disturbers.into_iter().map(thread::ScopedJoinHandle::join)) {
            end.unwrap();
        }
    });
    let (found, acts) = (found.into_inner().unwrap(), acts.into_inner());
    assert!(found.is_empty(), "seed {seed}, {acts} acts meanwhile:\n{}", found.join("\n"));
    assert!(acts > 100, "{acts} acts are no disturbance");
}
