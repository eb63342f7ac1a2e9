//! The same bad input by every door: HTTP, gRPC and the command line say no with the same code, the same field, the same
//! words and the same next step.

mod calls;
mod cases;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tok_tests::http::Request;

use calls::Said;
use cases::{Case, THERE, creations, others};

use crate::api::{People, people};
use crate::remote_grpc::Channel;

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
