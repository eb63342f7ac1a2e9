//! The same bad input by every door: HTTP, gRPC and the command line say no with the same code, the same field, the same
//! words and the same next step.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tok_tests::http::Request;

use crate::api::{People, people};
use crate::remote_grpc::{Channel, field, varint};

/// A value of a request, for each door in its own form.
#[derive(Clone)]
enum Said {
    Text(&'static str),
    Long(usize),
    Texts(&'static [&'static str]),
    Number(u64),
    /// A word, and its number in the proto file.
    Word(&'static str, u64),
}

impl Said {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Word(text, _) => (*text).to_owned(),
            Self::Long(length) => "x".repeat(*length),
            Self::Texts(texts) => texts.join(","),
            Self::Number(number) => number.to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Texts(texts) => json!(texts),
            Self::Number(number) => json!(number),
            _ => json!(self.text()),
        }
    }

    fn wire(&self, number: u64) -> Vec<u8> {
        match self {
            Self::Texts(texts) => texts.iter().flat_map(|text| field(number, text.as_bytes())).collect(),
            Self::Number(value) | Self::Word(_, value) => [varint(number << 3), varint(*value)].concat(),
            _ => field(number, self.text().as_bytes()),
        }
    }
}

/// What a call takes: the name of each field over HTTP, its number over gRPC, and its flag; no flag: a word by itself.
type Fields = &'static [(&'static str, u64, &'static str)];

/// One call, as each door has it.
struct Call {
    method: &'static str,
    path: &'static str,
    grpc: &'static str,
    command: &'static [&'static str],
    fields: Fields,
}

const CREATE: Call = Call {
    method: "POST",
    path: "/v1/tokens",
    grpc: "TokenService/Create",
    command: &["token", "create"],
    fields: &[
        ("name", 1, ""),
        ("description", 2, "description"),
        ("kind", 3, "kind"),
        ("scopes", 4, "scopes"),
        ("permission", 5, "permission"),
        ("workspace", 6, "workspace"),
        ("repos", 7, "repo"),
        ("routes", 8, "route"),
        ("allow_cidrs", 9, "allow-cidr"),
        ("expires", 10, "expires"),
        ("labels", 11, "label"),
        ("max_uses", 12, "max-uses"),
        ("secret", 13, "secret-stdin"),
        ("idempotency_key", 14, "idempotency-key"),
    ],
};
const SHOW: Call = Call {
    method: "GET",
    path: "/v1/tokens/{reference}",
    grpc: "TokenService/Show",
    command: &["token", "show"],
    fields: &[("reference", 1, "")],
};
const REVOKE: Call = Call {
    method: "DELETE",
    path: "/v1/tokens/{reference}",
    grpc: "TokenService/Revoke",
    command: &["token", "revoke", "--force"],
    fields: &[("reference", 1, "")],
};
const RESTORE: Call = Call {
    method: "POST",
    path: "/v1/tokens/{reference}/restore",
    grpc: "TokenService/Restore",
    command: &["token", "restore"],
    fields: &[("reference", 1, "")],
};
const ROTATE: Call = Call {
    method: "POST",
    path: "/v1/tokens/{reference}/rotate",
    grpc: "TokenService/Rotate",
    command: &["token", "rotate"],
    fields: &[
        ("reference", 1, ""),
        ("grace", 2, "grace"),
        ("expires", 3, "expires"),
        ("idempotency_key", 4, "idempotency-key"),
        ("secret", 5, "secret-stdin"),
    ],
};
const RENAME: Call = Call {
    method: "PATCH",
    path: "/v1/tokens/{reference}",
    grpc: "TokenService/Modify",
    command: &["token", "modify"],
    fields: &[
        ("reference", 1, ""),
        ("name", 2, "name"),
        ("description", 3, "description"),
        ("expires", 4, "expires"),
        ("permission", 10, "permission"),
    ],
};
const EXPLAIN: Call = Call {
    method: "POST",
    path: "/v1/explain",
    grpc: "AuthorizationService/Explain",
    command: &["token", "explain"],
    fields: &[("reference", 1, ""), ("repository", 2, "repo"), ("address", 4, "from")],
};
const LIST: Call = Call {
    method: "GET",
    path: "/v1/tokens?",
    grpc: "TokenService/List",
    command: &["token", "list"],
    fields: &[
        ("page_size", 1, "limit"),
        ("cursor", 2, "cursor"),
        ("user", 5, "user"),
        ("workspace", 9, "workspace"),
        ("label", 10, "label"),
    ],
};
const REVOKE_MANY: Call = Call {
    method: "POST",
    path: "/v1/tokens/revoke",
    grpc: "TokenService/RevokeMany",
    command: &["token", "revoke", "--force"],
    fields: &[
        ("user", 1, "user"),
        ("workspace", 2, "workspace"),
        ("label", 3, "label"),
        ("parent", 4, "parent"),
        ("reason", 8, "reason"),
    ],
};
const AUDIT: Call = Call {
    method: "GET",
    path: "/v1/audit?",
    grpc: "AuditService/ListEvents",
    command: &["audit"],
    fields: &[
        ("token", 1, "token"),
        ("user", 2, "user"),
        ("repository", 3, "repo"),
        ("page_size", 5, "limit"),
        ("cursor", 6, "cursor"),
        ("action", 9, "action"),
        ("outcome", 10, "outcome"),
    ],
};
const NEW_USER: Call = Call {
    method: "POST",
    path: "/v1/users",
    grpc: "IdentityService/CreateUser",
    command: &["user", "create"],
    fields: &[("name", 1, "")],
};
const SHOW_USER: Call = Call {
    method: "GET",
    path: "/v1/users/{name}",
    grpc: "IdentityService/ShowUser",
    command: &["user", "show"],
    fields: &[("name", 1, "")],
};
const DISABLE_USER: Call = Call {
    method: "POST",
    path: "/v1/users/{name}/disable",
    grpc: "IdentityService/DisableUser",
    command: &["user", "disable"],
    fields: &[("name", 1, "")],
};
const ENABLE_USER: Call = Call {
    method: "POST",
    path: "/v1/users/{name}/enable",
    grpc: "IdentityService/EnableUser",
    command: &["user", "enable"],
    fields: &[("name", 1, "")],
};
const DELETE_USER: Call = Call {
    method: "DELETE",
    path: "/v1/users/{name}",
    grpc: "IdentityService/DeleteUser",
    command: &["user", "delete", "--force"],
    fields: &[("name", 1, "")],
};
const NEW_WORKSPACE: Call = Call {
    method: "POST",
    path: "/v1/workspaces",
    grpc: "IdentityService/CreateWorkspace",
    command: &["workspace", "create"],
    fields: &[("name", 1, ""), ("owner", 2, "owner")],
};
const DELETE_WORKSPACE: Call = Call {
    method: "DELETE",
    path: "/v1/workspaces/{name}",
    grpc: "IdentityService/DeleteWorkspace",
    command: &["workspace", "delete", "--force"],
    fields: &[("name", 1, "")],
};
const MEMBERS: Call = Call {
    method: "GET",
    path: "/v1/workspaces/{workspace}/members",
    grpc: "IdentityService/ListMembers",
    command: &["workspace", "member", "list"],
    fields: &[("workspace", 1, "")],
};
const NEW_MEMBER: Call = Call {
    method: "PUT",
    path: "/v1/workspaces/{workspace}/members/{user}",
    grpc: "IdentityService/AddMember",
    command: &["workspace", "member", "add"],
    fields: &[("workspace", 1, ""), ("user", 2, ""), ("role", 3, "role")],
};
const LOST_MEMBER: Call = Call {
    method: "DELETE",
    path: "/v1/workspaces/{workspace}/members/{user}",
    grpc: "IdentityService/RemoveMember",
    command: &["workspace", "member", "remove"],
    fields: &[("workspace", 1, ""), ("user", 2, "")],
};

/// Stands for the ID of a token that is there.
const THERE: &str = "{there}";
const NOWHERE: &str = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";

/// Who asks, what, and what should be said: the code and the field.
type Case = (&'static str, &'static Call, Vec<(&'static str, Said)>, &'static str, Option<&'static str>);

fn creations() -> Vec<Case> {
    use Said::{Long, Number, Text, Texts, Word};
    let bad = |said: Vec<(&'static str, Said)>, field| ("will", &CREATE, said, "invalid_argument", Some(field));
    // With a name that is good.
    let named = |mut said: Vec<(&'static str, Said)>, field| {
        said.insert(0, ("name", Text("CI")));
        bad(said, field)
    };
    vec![
        bad(vec![("name", Text(" "))], "name"),
        bad(vec![("name", Text("a\u{7}b"))], "name"),
        bad(vec![("name", Text("a\nb"))], "name"),
        bad(vec![("name", Text("CI\u{200b}"))], "name"),
        bad(vec![("name", Text("\u{202e}CI"))], "name"),
        bad(vec![("name", Long(201))], "name"),
        named(vec![("description", Text("a\u{1b}[2J"))], "description"),
        named(vec![("description", Long(201))], "description"),
        named(vec![("expires", Text("soon"))], "expires"),
        named(vec![("expires", Text("2020-01-01"))], "expires"),
        named(vec![("expires", Text("0"))], "expires"),
        named(vec![("expires", Text("-1"))], "expires"),
        named(vec![("expires", Text("2027-02-30"))], "expires"),
        named(vec![("expires", Text("99999999999d"))], "expires"),
        named(vec![("scopes", Texts(&["repo:wrote"]))], "scopes"),
        named(vec![("scopes", Texts(&["REPO:READ"]))], "scopes"),
        named(vec![("scopes", Texts(&["repo:read", "*"]))], "scopes"),
        named(vec![("routes", Texts(&["acme"]))], "routes"),
        named(vec![("routes", Texts(&["acme/../x:r"]))], "routes"),
        named(vec![("routes", Texts(&["acme/*:q"]))], "routes"),
        named(vec![("routes", Texts(&["acme/%2e%2e:r"]))], "routes"),
        named(vec![("allow_cidrs", Texts(&["10.0.0.1/8"]))], "allow_cidrs"),
        named(vec![("allow_cidrs", Texts(&["here"]))], "allow_cidrs"),
        named(vec![("allow_cidrs", Texts(&["10.0.0.0/33"]))], "allow_cidrs"),
        named(vec![("labels", Texts(&["a b"]))], "labels"),
        named(vec![("labels", Texts(&["-x"]))], "labels"),
        named(vec![("repos", Texts(&["acme/app"]))], "repos"),
        named(vec![("kind", Word("repo", 3)), ("permission", Word("read", 1))], "repos"),
        named(vec![("kind", Word("workspace", 2)), ("permission", Word("read", 1))], "workspace"),
        named(vec![("kind", Word("git", 5)), ("permission", Word("read", 1))], "kind"),
        named(vec![("kind", Word("session", 4))], "kind"),
        named(
            vec![("kind", Word("repo", 3)), ("permission", Word("read", 1)), ("repos", Texts(&["acme/.."]))],
            "repos",
        ),
        named(vec![("kind", Word("repo", 3)), ("permission", Word("read", 1)), ("repos", Texts(&["app"]))], "repos"),
        named(
            vec![("kind", Word("workspace", 2)), ("permission", Word("read", 1)), ("workspace", Text("a/b"))],
            "workspace",
        ),
        named(vec![("permission", Word("write", 2))], "permission"),
        named(vec![("idempotency_key", Text("a b"))], "idempotency_key"),
        named(vec![("idempotency_key", Long(256))], "idempotency_key"),
        named(vec![("secret", Text("password1"))], "secret"),
        named(vec![("secret", Text("short"))], "secret"),
        named(vec![("max_uses", Number(u64::MAX))], "max_uses"),
        ("will", &CREATE, vec![("name", Text("CI")), ("scopes", Texts(&["manager"]))], "forbidden", None),
        (
            "will",
            &CREATE,
            vec![
                ("name", Text("CI")),
                ("kind", Word("workspace", 2)),
                ("permission", Word("read", 1)),
                ("workspace", Text("nowhere")),
            ],
            "not_found",
            None,
        ),
    ]
}

fn others() -> Vec<Case> {
    use Said::{Number, Text, Word};
    let mut cases: Vec<Case> = Vec::new();
    for call in [&SHOW, &REVOKE, &RESTORE, &ROTATE, &EXPLAIN] {
        for reference in ["!", NOWHERE, "tokpat_zzzz"] {
            cases.push(("will", call, vec![("reference", Text(reference))], "not_found", None));
        }
    }
    let there = |call: &'static Call, name: &'static str, said: Said, code, field| {
        ("will", call, vec![("reference", Text(THERE)), (name, said)], code, field)
    };
    let bad = "invalid_argument";
    cases.extend([
        there(&RENAME, "name", Text("a\u{7}b"), bad, Some("name")),
        there(&RENAME, "name", Text(" "), bad, Some("name")),
        there(&RENAME, "description", Text("a\u{7}b"), bad, Some("description")),
        there(&RENAME, "expires", Text("soon"), bad, Some("expires")),
        there(&RENAME, "expires", Text("2020-01-01"), bad, Some("expires")),
        there(&RENAME, "permission", Word("write", 2), bad, Some("permission")),
        ("will", &RENAME, vec![("reference", Text(NOWHERE)), ("name", Text("x"))], "not_found", None),
        there(&ROTATE, "grace", Text("soon"), bad, Some("grace")),
        there(&ROTATE, "grace", Text("8d"), bad, Some("grace")),
        there(&ROTATE, "expires", Text("soon"), bad, Some("expires")),
        there(&ROTATE, "idempotency_key", Text("a b"), bad, Some("idempotency_key")),
        there(&ROTATE, "secret", Text("violet-kestrel-9-umbrella"), bad, Some("secret")),
        ("will", &EXPLAIN, vec![("repository", Text("app"))], bad, Some("repository")),
        ("will", &EXPLAIN, vec![("address", Text("here"))], bad, Some("address")),
        ("will", &LIST, vec![("cursor", Text("nonsense"))], bad, Some("cursor")),
        ("will", &LIST, vec![("page_size", Number(1001))], bad, Some("page_size")),
        ("will", &LIST, vec![("label", Text("a b"))], bad, Some("label")),
        ("will", &LIST, vec![("user", Text("../x"))], bad, Some("user")),
        ("will", &LIST, vec![("user", Text("mona"))], "forbidden", None),
        ("will", &LIST, vec![("workspace", Text("nowhere"))], "not_found", None),
        ("boss", &LIST, vec![("user", Text("nobody"))], "not_found", None),
        ("will", &REVOKE_MANY, vec![("label", Text("a b"))], bad, Some("label")),
        ("will", &REVOKE_MANY, vec![("label", Text("ci")), ("reason", Text("a\u{7}b"))], bad, Some("reason")),
        ("will", &REVOKE_MANY, vec![("parent", Text(NOWHERE))], "not_found", None),
        ("will", &REVOKE_MANY, vec![("user", Text("mona"))], "forbidden", None),
        ("boss", &REVOKE_MANY, vec![("user", Text("nobody"))], "not_found", None),
        ("will", &REVOKE_MANY, vec![("workspace", Text("nowhere"))], "not_found", None),
        ("boss", &AUDIT, vec![("action", Text("token.eat"))], bad, Some("action")),
        ("boss", &AUDIT, vec![("outcome", Text("maybe"))], bad, Some("outcome")),
        ("boss", &AUDIT, vec![("cursor", Text("00"))], bad, Some("cursor")),
        ("boss", &AUDIT, vec![("repository", Text("app"))], bad, Some("repository")),
        ("boss", &AUDIT, vec![("page_size", Number(1001))], bad, Some("page_size")),
        ("boss", &NEW_USER, vec![("name", Text(".."))], bad, Some("name")),
        ("boss", &NEW_USER, vec![("name", Text("a/b"))], bad, Some("name")),
        ("boss", &NEW_USER, vec![("name", Text("WILL"))], "conflict", None),
        ("will", &NEW_USER, vec![("name", Text("eve"))], "forbidden", None),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("a b"))], bad, Some("name")),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("acme"))], "conflict", None),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("fresh")), ("owner", Text("nobody"))], "not_found", None),
        ("boss", &DELETE_WORKSPACE, vec![("name", Text("nowhere"))], "not_found", None),
        ("will", &MEMBERS, vec![("workspace", Text("nowhere"))], "not_found", None),
        ("will", &LOST_MEMBER, vec![("workspace", Text("acme")), ("user", Text("rita"))], "forbidden", None),
        ("mona", &LOST_MEMBER, vec![("workspace", Text("acme")), ("user", Text("nobody"))], "not_found", None),
    ]);
    for call in [&SHOW_USER, &DISABLE_USER, &ENABLE_USER, &DELETE_USER] {
        cases.push(("boss", call, vec![("name", Text("nobody"))], "not_found", None));
        cases.push(("will", call, vec![("name", Text("mona"))], "forbidden", None));
    }
    for user in ["nobody", "a/b"] {
        let (code, field) = if user == "nobody" { ("not_found", None) } else { (bad, Some("user")) };
        let said = vec![("workspace", Text("acme")), ("user", Text(user)), ("role", Word("reader", 1))];
        cases.push(("mona", &NEW_MEMBER, said, code, field));
    }
    cases
}

/// What a door said: code, field, message and hint.
#[derive(Debug, PartialEq, Eq)]
struct No {
    code: String,
    field: Option<String>,
    message: String,
    hint: Option<String>,
}

impl No {
    fn of(json: &Value, message: &str) -> Self {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Self {
            code: text("code").unwrap_or_default(),
            field: text("field"),
            message: text(message).unwrap_or_default(),
            hint: text("hint"),
        }
    }
}

struct Doors {
    people: People,
    channel: Channel,
    there: String,
}

impl Doors {
    fn token(&self, who: &str) -> &str {
        match who {
            "boss" => &self.people.boss,
            "mona" => &self.people.mona,
            _ => &self.people.will,
        }
    }

    fn real(&self, said: &Said) -> Said {
        match said {
            Said::Text(THERE) => Said::Text(self.there.clone().leak()),
            other => other.clone(),
        }
    }

    fn over_http(&self, (who, call, said, ..): &Case) -> No {
        let escaped = |text: &str| {
            text.bytes().fold(String::new(), |mut all, byte| {
                let _ = write!(all, "%{byte:02X}");
                all
            })
        };
        let (mut path, mut body) = (call.path.to_owned(), Map::new());
        for (name, value) in said {
            let (value, hole) = (self.real(value), format!("{{{name}}}"));
            if path.contains(&hole) {
                path = path.replace(&hole, &escaped(&value.text()));
            } else if path.contains('?') {
                let _ = write!(path, "{name}={}&", escaped(&value.text()));
            } else {
                body.insert((*name).to_owned(), value.json());
            }
        }
        let token = self.token(who);
        let path = path.trim_end_matches('&').to_owned();
        let reply = if matches!(call.method, "GET" | "DELETE") {
            self.people.environment.send(&Request::get(&path).method(call.method).bearer(token))
        } else {
            self.people.json(token, call.method, &path, &Value::Object(body))
        };
        assert!(reply.status >= 400, "{} {path}: {} {}", call.method, reply.status, reply.text());
        No::of(&reply.json(), "detail")
    }

    fn over_grpc(&mut self, (who, call, said, ..): &Case) -> No {
        let number = |name: &str| call.fields.iter().find(|(known, ..)| *known == name).unwrap().1;
        let message: Vec<u8> = said.iter().flat_map(|(name, value)| self.real(value).wire(number(name))).collect();
        let bearer = format!("Bearer {}", self.token(who));
        let answer = self.channel.call(&format!("tok.v1.{}", call.grpc), &message, &[("authorization", &bearer)]);
        let fault = answer.fault();
        let text = |number: u64| {
            let text = fault.get(&number).map(|bytes| String::from_utf8(bytes.clone()).unwrap());
            text.filter(|text| !text.is_empty())
        };
        No { code: text(1).unwrap(), message: text(2).unwrap(), hint: text(3), field: text(4) }
    }

    fn by_command(&self, (who, call, said, ..): &Case) -> No {
        let environment = &self.people.environment;
        let (mut words, mut flags, mut stdin) = (Vec::new(), Vec::new(), String::new());
        for (name, value) in said {
            let value = self.real(value).text();
            match call.fields.iter().find(|(known, ..)| known == name).unwrap().2 {
                "" => words.push(value),
                "secret-stdin" => {
                    flags.push("--secret-stdin".to_owned());
                    stdin = value + "\n";
                }
                flag => flags.push(format!("--{flag}={value}")),
            }
        }
        let tok = environment.tok(call.command).arguments(flags).argument("--").arguments(words).input(stdin);
        let tok = tok.variable("TOK_OUTPUT", "json").variable("TOK_TOKEN", self.token(who));
        let ended = tok.run();
        assert_ne!(ended.code, Some(0), "{}", ended.describe());
        No::of(&serde_json::from_slice::<Value>(&ended.stderr).unwrap_or_default()["error"], "message")
    }
}

#[test]
fn each_door_says_no_in_the_same_words() {
    let people = people();
    let channel = Channel::open(&people.environment);
    let there = people.json(&people.will, "POST", "/v1/tokens", &json!({"name": "there"})).json();
    let there = there["token"]["id"].as_str().unwrap().to_owned();
    let mut doors = Doors { people, channel, there };
    let cases: Vec<Case> = creations().into_iter().chain(others()).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let (who, call, said, code, field) = case;
        let words: Vec<String> = said.iter().map(|(name, value)| format!("{name}={:.20}", value.text())).collect();
        let about = format!("{} of {who}, {}", call.grpc, words.join(" "));
        let (http, grpc, command) = (doors.over_http(case), doors.over_grpc(case), doors.by_command(case));
        if (http.code.as_str(), http.field.as_deref()) != (*code, *field) {
            let _ = writeln!(wrong, "{about}: not {code} {field:?}, but {http:?}");
        }
        if grpc != http {
            let _ = writeln!(wrong, "{about}: HTTP says {http:?}\n    and gRPC {grpc:?}");
        }
        // What the command line sees by itself is wrong usage, of the flag that is called like the field; what it asks the
        // server comes back as the server said it, perhaps with a next step in its own words.
        let same = match command.code.as_str() {
            "usage" => *code == "invalid_argument",
            _ => (&command.code, &command.field, &command.message) == (&http.code, &http.field, &http.message),
        };
        if !same {
            let _ = writeln!(wrong, "{about}: HTTP says {http:?}\n    and the command line {command:?}");
        }
        if http.hint.is_none() {
            let _ = writeln!(wrong, "{about}: no next step: {http:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
