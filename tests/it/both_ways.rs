//! `tok` is one program, over the local socket, over TLS and by a stored login: with the same token, every command says the
//! same and ends alike.
//!
//! The story below is told three times, in places that begin alike, once each way. A new command takes a line in it:
//! `every_command_is_in_the_story` says which are missing.

use std::collections::HashMap;

use serde_json::Value;
use tok_tests::binaries;
use tok_tests::call::Finished;
use tok_tests::environment::Environment;
use tok_tests::normalise::{invented_token, normalise};
use tok_tests::wait;

/// One line of the story. `{name}` in its words is what an earlier line kept.
struct Line {
    who: &'static str,
    words: &'static [&'static str],
    input: &'static str,
    code: i32,
    keeps: Option<(&'static str, &'static str)>,
    /// Whether it is asked a second time, for JSON: only for what changes nothing.
    twice: bool,
}

/// By root, who administers the server.
const fn root(words: &'static [&'static str]) -> Line {
    Line { who: "root", words, input: "", code: 0, keeps: None, twice: false }
}

/// By alice, who maintains acme.
const fn alice(words: &'static [&'static str]) -> Line {
    Line { who: "alice", ..root(words) }
}

impl Line {
    /// With this on stdin.
    const fn input(self, input: &'static str) -> Self {
        Self { input, ..self }
    }

    /// It may end with any code, if only with the same both ways.
    const fn alike(self) -> Self {
        Self { code: -1, ..self }
    }

    /// It ends with this code.
    const fn fails(self, code: i32) -> Self {
        Self { code, ..self }
    }

    /// By whoever has this token: a name kept before.
    const fn with(self, who: &'static str) -> Self {
        Self { who, ..self }
    }

    /// Keeps stdout's only line, or with a JSON pointer what is there, under a name; of a token also its prefix, as
    /// `name.prefix`.
    const fn keeps(self, name: &'static str, pointer: &'static str) -> Self {
        Self { keeps: Some((name, pointer)), ..self }
    }

    /// As a table and as JSON.
    const fn twice(self) -> Self {
        Self { twice: true, ..self }
    }
}

const STORY: &[Line] = &[
    root(&["whoami"]).twice(),
    root(&["status"]).twice(),
    // People.
    root(&["user", "create", "carol"]),
    root(&["user", "create", "dora", "--manager", "--output", "json"]),
    root(&["user", "create", "carol"]).fails(1),
    root(&["user", "create", ".."]).fails(2),
    root(&["user", "list"]).twice(),
    root(&["user", "list", "--limit", "2", "--output", "json"]).keeps("users", "/next_cursor"),
    root(&["user", "list", "--limit", "2", "--cursor", "{users}"]),
    root(&["user", "show", "alice"]).twice(),
    root(&["user", "show", "nobody-there"]).fails(5),
    root(&["user", "disable", "carol"]),
    root(&["user", "enable", "carol", "--output", "json"]),
    alice(&["user", "list"]).fails(4),
    // Places.
    root(&["workspace", "create", "lab"]),
    root(&["workspace", "create", "lab"]).fails(1),
    root(&["workspace", "list"]).twice(),
    alice(&["workspace", "list"]).twice(),
    root(&["workspace", "member", "add", "lab", "carol", "--role", "writer"]),
    root(&["workspace", "member", "list", "lab"]).twice(),
    root(&["workspace", "member", "remove", "lab", "carol"]),
    root(&["workspace", "delete", "lab", "--dry-run"]).twice(),
    root(&["workspace", "delete", "lab"]).fails(2),
    root(&["workspace", "delete", "lab", "--force"]),
    alice(&["repo", "list"]).twice(),
    // Tokens.
    alice(&["token", "scopes"]).twice(),
    alice(&["token", "create", "CI", "--scopes", "repo:read", "--expires", "90d"]).keeps("ci", ""),
    alice(&["token", "create", "Old", "--output", "json"]).keeps("old", "/secret"),
    alice(&["token", "create", "Team", "--kind", "workspace", "--workspace", "acme", "--permission", "read"]),
    alice(&["token", "create", "Deploy", "--kind", "repo", "--repo", "acme/app", "--permission", "write"]),
    alice(&["token", "create", "Beyond", "--scopes", "manager"]).fails(4),
    alice(&["token", "create", "Odd", "--scopes", "repo:wrote"]).fails(2),
    alice(&["token", "list"]).twice(),
    alice(&["token", "list", "--limit", "2", "--output", "json"]).keeps("page", "/next_cursor"),
    alice(&["token", "list", "--limit", "2", "--cursor", "{page}"]),
    alice(&["token", "list", "--cursor", "nonsense"]).fails(2),
    root(&["token", "list", "--user", "alice"]).twice(),
    alice(&["token", "show", "{ci.prefix}"]).twice(),
    root(&["token", "show", "tokpat_0000"]).fails(5),
    alice(&["token", "check"]).input("{ci}\n").twice(),
    alice(&["whoami"]).with("ci").twice(),
    alice(&["token", "list"]).with("ci").fails(4),
    root(&["token", "list", "--as", "alice"]).twice(),
    root(&["token", "create", "For alice", "--as", "alice", "--scopes", "repo:read", "--expires", "30d"]),
    root(&["whoami", "--as", "nobody-there"]).fails(5),
    alice(&["token", "rename", "{ci.prefix}", "Nightly"]),
    alice(&["token", "modify", "{ci.prefix}", "--description", "builds acme/app each night"]),
    alice(&["token", "modify", "{ci.prefix}", "--scopes", "manager"]).alike(),
    alice(&["token", "rotate", "{ci.prefix}", "--grace", "1h"]),
    alice(&["token", "explain", "{old.prefix}", "--repo", "acme/app", "--push"]).alike(),
    alice(&["token", "explain", "--repo", "acme/app", "--output", "json"]).alike(),
    root(&["token", "import", "--format", "htpasswd", "--user", "alice"]).input("not a line of any\n").alike(),
    alice(&["user", "passwd"]).input("a-long-and-lucky-password-of-mine\n").alike(),
    alice(&["token", "revoke", "{old.prefix}"]).fails(2),
    alice(&["token", "revoke", "--force", "--reason", "left on a bus", "{old.prefix}"]),
    alice(&["token", "show", "{old.prefix}"]).twice(),
    alice(&["whoami"]).with("old").fails(3),
    alice(&["token", "restore", "{old.prefix}"]).alike(),
    alice(&["whoami"]).with("unknown").fails(3),
    alice(&["whoami", "--as", "carol"]).fails(4),
    // Jobs of CI systems.
    root(&[
        "trust",
        "add",
        "app",
        "--system",
        "github",
        "--audience",
        "tok",
        "--claim",
        "repository=acme/app",
        "--claim",
        "repository_id=42",
        "--repo",
        "acme/app",
        "--permission",
        "write",
    ])
    .alike(),
    root(&[
        "trust",
        "add",
        "all",
        "--system",
        "github",
        "--claim",
        "ref=x",
        "--repo",
        "acme/app",
        "--permission",
        "read",
    ])
    .fails(2),
    root(&[
        "trust",
        "add",
        "app",
        "--system",
        "gitlab",
        "--claim",
        "project_id=1",
        "--workspace",
        "acme",
        "--permission",
        "read",
    ])
    .fails(1),
    root(&["trust", "list"]).alike(),
    root(&["trust", "show", "app"]).alike(),
    root(&["trust", "show", "none-of-these"]).fails(5),
    root(&["trust", "check"]).input("no-identity-token\n").fails(2),
    root(&["trust", "remove", "app", "--dry-run"]).alike(),
    root(&["trust", "remove", "app"]).fails(2),
    root(&["trust", "remove", "app", "--force"]).alike(),
    alice(&["trust", "list"]).fails(4),
    // What happened, and the end of somebody.
    // Uses are counted by the batch they were written in, which differs from run to run; acts are not.
    root(&["audit", "--limit", "50", "--user", "alice", "--action", "token.create"]).twice(),
    alice(&["audit", "--limit", "5", "--action", "token.revoke"]),
    root(&["audit", "--outcome", "refused", "--action", "token.create"]),
    alice(&["audit", "verify"]).fails(4),
    root(&["audit", "verify", "--chain", "00000000-0000-4000-8000-000000000000"]).alike(),
    root(&["server", "status"]).alike(),
    root(&["server", "config"]).alike(),
    root(&["user", "delete", "carol", "--dry-run"]).twice(),
    root(&["user", "delete", "carol"]).fails(2),
    root(&["user", "delete", "carol", "--force"]),
];

/// Commands that ask no daemon, or find theirs by themselves, and are thus the same however one is reached. They have
/// tests of their own.
const LOCAL: &[&str] = &[
    "agent start",
    "agent stop",
    "agent status",
    "agent lock",
    "agent unlock",
    "ci exec",
    "ci token",
    "git setup",
    "git unset",
    "git why",
    "login",
    "logout",
    "doctor",
    "completions",
];

#[test]
fn every_command_is_in_the_story() {
    let reference = std::fs::read_to_string(binaries::workspace().join("docs/cli.md")).unwrap();
    let commands: Vec<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("## `tok ")?.strip_suffix('`')).collect();
    let leaves =
        commands.iter().filter(|command| !commands.iter().any(|other| other.starts_with(&format!("{command} "))));
    let told = |command: &str| STORY.iter().any(|line| line.words.join(" ").starts_with(command));
    let missing: Vec<_> = leaves.clone().filter(|command| !told(command) && !LOCAL.contains(command)).collect();
    assert!(missing.is_empty(), "no line of the story in both_ways.rs has these commands: {missing:?}");
    assert!(leaves.count() > 20, "{commands:?}");
    for local in LOCAL {
        assert!(commands.contains(local), "`tok {local}` is no command any more");
    }
}

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    Tls,
    Login,
}

#[test]
fn every_command_behaves_alike_over_the_socket_over_tls_and_by_a_login() {
    let (socket, tls, login) = std::thread::scope(|scope| {
        let [socket, tls, login] = [Way::Socket, Way::Tls, Way::Login].map(|way| scope.spawn(move || tell(way)));
        (socket.join().unwrap(), tls.join().unwrap(), login.join().unwrap())
    });
    assert_eq!((socket.len(), socket.len()), (tls.len(), login.len()));
    // Whoever is logged in is shown their logins, too.
    let plain = |told: &&String| !told.starts_with("$ tok status\n");
    let by_login = tls.iter().filter(plain).zip(login.iter().filter(plain)).map(|(tls, login)| ("login", login, tls));
    let over_tls = socket.iter().zip(&tls).map(|(socket, tls)| ("socket", socket, tls));
    let different: Vec<String> = over_tls
        .chain(by_login)
        .filter(|(_, one, tls)| one != tls)
        .map(|(way, one, tls)| difference(way, one, tls))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// The command, and the lines that differ.
fn difference(way: &str, one: &str, tls: &str) -> String {
    let command = one.lines().next().unwrap_or_default();
    let only = |way: &str, these: &str, others: &str| {
        let lines = these.lines().filter(|line| !others.lines().any(|other| other == *line));
        lines.map(|line| format!("\n  {way}: {line}")).collect::<Vec<_>>().concat()
    };
    format!("{command}{}{}", only(way, one, tls), only("tls", tls, one))
}

/// What each line of the story said and how it ended, without what differs from run to run.
fn tell(way: Way) -> Vec<String> {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    environment.pushed("alice", "acme/app");
    wait::until_true("the push is in the trail, before what follows", || {
        let trail = environment.tok(&["audit", "--repo", "acme/app", "--output", "json"]).ok().json();
        trail["events"].as_array().unwrap().iter().any(|event| event["git_command"] == "receive-pack")
    });
    let mut kept = HashMap::from([("unknown".to_owned(), invented_token())]);
    kept.insert(
        "root".to_owned(),
        environment.tok(&["token", "create", "mine", "--scopes", "all"]).ok().line().to_owned(),
    );
    kept.insert("alice".to_owned(), environment.token("alice", &["--scopes", "all"]));

    if way == Way::Login {
        for who in ["root", "alice"] {
            let login = environment.tok(&["login", &environment.url(), "--with-token", "--profile", who]);
            let login = login.without("TOK_SOCKET").variable("TOK_STORAGE", "file").input(format!("{}\n", kept[who]));
            login.variable("XDG_CONFIG_HOME", environment.canaries().exempt()).ok();
        }
    }

    let mut told = Vec::new();
    for line in STORY {
        for json in [false, true] {
            if json && !line.twice {
                continue;
            }
            let finished = run(&environment, way, line, &kept, json);
            assert!(
                line.code == -1 || finished.code == Some(line.code),
                "{way:?}, expected {}\n{}",
                line.code,
                finished.describe()
            );
            if let Some((name, pointer)) = line.keeps {
                let text = match pointer {
                    "" => finished.line().to_owned(),
                    _ => finished.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned(),
                };
                assert!(!text.is_empty(), "nothing to keep as {name}\n{}", finished.describe());
                kept.insert(format!("{name}.prefix"), text.chars().take(11).collect());
                kept.insert(name.to_owned(), text);
            }
            told.push(format!("$ tok {}\n{}", line.words.join(" "), masked(&environment, &finished, &kept)));
        }
    }
    told
}

fn run(environment: &Environment, way: Way, line: &Line, kept: &HashMap<String, String>, json: bool) -> Finished {
    let filled = |text: &str| {
        let fill = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{name}}}"), value);
        kept.iter().fold(text.to_owned(), fill)
    };
    let words: Vec<String> = line.words.iter().map(|word| filled(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut call = environment.tok(&words).input(filled(line.input)).variable("TOK_TOKEN", kept[line.who].clone());
    if json {
        call = call.arguments(["--output", "json"]);
    }
    match way {
        Way::Socket => call.run(),
        Way::Login if ["root", "alice"].contains(&line.who) => {
            let call = call.without("TOK_SOCKET").without("TOK_TOKEN").variable("TOK_PROFILE", line.who);
            call.variable("XDG_CONFIG_HOME", environment.canaries().exempt()).run()
        }
        Way::Tls | Way::Login => call.without("TOK_SOCKET").variable("TOK_SERVER", environment.url()).run(),
    }
}

/// What was said, with names for what differs from place to place and from moment to moment.
fn masked(environment: &Environment, finished: &Finished, kept: &HashMap<String, String>) -> String {
    let (url, host, socket) = (environment.url(), environment.host(), environment.socket().display().to_string());
    let root = environment.root().display().to_string();
    let mut names: Vec<(&str, &str)> = vec![
        (&url, "[address]"),
        (&host, "[address]"),
        (&socket, "[address]"),
        (&root, "[root]"),
        ("unix:uid=0", "[from]"),
        ("127.0.0.1", "[from]"),
    ];
    for cursor in ["users", "page"] {
        names.extend(kept.get(cursor).map(|cursor| (cursor.as_str(), "[cursor]")));
    }
    let stdout = match serde_json::from_slice(&finished.stdout) {
        Ok(mut value) => {
            forget(&mut value);
            serde_json::to_string_pretty(&value).unwrap()
        }
        Err(_) => finished.text().to_owned(),
    };
    let said = format!("exit code {:?}\n{stdout}\n{}", finished.code, finished.complaint());
    // Of a last use that was not written down yet there is nothing to say.
    let of_a_use = |line: &&str| !["Used with", "Used for"].iter().any(|name| line.trim().starts_with(name));
    let said = normalise(&said, &names);
    // A line of nothing else is the same: there is none before the first use is written down.
    let said: Vec<String> = said.lines().filter(of_a_use).map(flat).filter(|line| line != "[moving]").collect();
    said.join("\n")
}

/// Where from and when is what may differ.
fn forget(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget),
        Value::Object(fields) => {
            for (name, field) in fields {
                let moving = name.starts_with("last_used_")
                    || ["uptime_seconds", "address", "actor_uid", "route"].contains(&name.as_str());
                let cursor = name == "next_cursor" && !field.is_null();
                let event = name == "id" && field.as_str().is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit()));
                if moving || cursor || event {
                    *field = Value::String("[moving]".to_owned());
                }
                forget(field);
            }
        }
        _ => {}
    }
}

/// Without the widths of columns, and what changes within a second.
fn flat(line: &str) -> String {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (before, after) in [
        ("Last used: ", " •"),
        ("Last used: ", ""),
        ("--cursor ", ""),
        ("Never used", " •"),
        (", up ", ""),
        (", just started", ""),
    ] {
        if let Some(begin) = line.find(before) {
            let end = if after.is_empty() {
                line.len()
            } else {
                line[begin..].find(after).map_or(line.len(), |at| begin + at)
            };
            return format!("{}[moving]{}", &line[..begin], &line[end..]);
        }
    }
    line
}
