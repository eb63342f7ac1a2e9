//! Every operation, every kind of caller, every relation between the two, every state of a token, and every way to
//! present one: what each is answered, asked of a running server, and what it should be, written down by hand.
//!
//! `docs/permissions.txt` is that table. `operations.rs` has its rows and `callers.rs` says who may; neither knows the
//! product's own rule.

mod asking;
mod callers;
pub(crate) mod line;
mod operations;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{env, fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use tok_tests::environment::Environment;

use self::asking::Question;
use self::callers::{Kind, Part, State, Verdict, expected};
use self::line::{Answer, Door, Lines};
use self::operations::{Needs, OPERATIONS, Operation, Target};
use self::world::{Cast, TEMPORARY, cast, holder, populated};
use crate::remote_grpc::{Channel, declared, each, field, fields, last, text};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

// ---- the text -----------------------------------------------------------------------------------------------------------

const HEAD: &str = "\
Who may do what
===============

Every operation, every kind of caller, every relation between the two and every state of a token, as the tests ask a
running server. Written by `just generate` from tests/it/matrix; do not edit it.

  y  allowed
  1  401, UNAUTHENTICATED: nothing, or nothing good, was presented
  3  403, PERMISSION_DENIED: it is good, and not enough
  4  404, NOT_FOUND: it is not there for this caller
  s  401 with insufficient_scope: a git token that is too narrow; the helper gets another
  x  400: it makes no sense for this caller
  .  there is no such case

About: whose token, user, workspace or repository it is: the caller's own (own), of the workspace in which the caller
has the part that the column says (workspace), of somebody or something that the caller has nothing to do with (other).
Callers: five letters for a reader, a writer, a maintainer, no member, and a manager of the server; one for who is no
user. Then nine for a token that is expired, revoked, rotated away, of a disabled owner, used up, from a wrong address, not
used for too long, ended with all of its owner's from before some moment, and rotated with its grace still running.
However a token is presented (Bearer, Basic password, Basic user name with nothing or x-oauth-basic as its password, gRPC
metadata), the letter is the same; and in the body of an introspection or a check it is active where it is let in at all.
";

fn table() -> String {
    let mut table = HEAD.to_owned();
    for operation in OPERATIONS {
        let names = [
            operation.http.map(str::to_owned),
            operation.grpc.map(|name| format!("tok.v1.{name}")),
            operation.helper.map(|right| format!("git-credential-tok get, for repo:{right}")),
        ];
        let names: Vec<String> = names.into_iter().flatten().collect();
        let _ = write!(table, "\n{}\n", names.join("  =  "));
        for target in operation.targets {
            for kind in Kind::EVERY {
                // git is asked about over HTTP alone, and the helper asks here.
                if kind.is_local() && operation.grpc.is_none() && operation.helper.is_none()
                    || !kind.is_local() && operation.helper.is_some()
                {
                    continue;
                }
                let letter = |part, state| expected(operation.needs, *target, kind, part, state).letter();
                let active: String = if kind.parts().is_empty() {
                    letter(None, State::Active).to_string()
                } else {
                    let has = |part: &Part| kind.parts().contains(part);
                    Part::EVERY
                        .iter()
                        .map(|part| if has(part) { letter(Some(*part), State::Active) } else { '.' })
                        .collect()
                };
                let others: String = State::OTHERS
                    .iter()
                    .map(|state| if state.exists(kind) { letter(holder(kind), *state) } else { '.' })
                    .collect();
                let _ = writeln!(table, "  {:<10}{:<24}{active:<7}{others}", target.word(), kind.word());
            }
        }
    }
    table
}

#[test]
fn the_committed_table_is_the_one_that_is_tested() {
    let path = repository("docs/permissions.txt");
    let table = table();
    if env::var_os("TOK_UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == table, "docs/permissions.txt is stale: run `just generate`, and look at what changed in it");
}

#[test]
fn every_operation_has_its_row() {
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(repository("docs/openapi.json")).unwrap()).unwrap();
    let mut missing = Vec::new();
    let rows: BTreeSet<&str> = OPERATIONS.iter().filter_map(|operation| operation.http).collect();
    let mut found = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete", "patch", "head", "options", "trace"] {
            let name = format!("{} {path}", method.to_uppercase());
            if methods.get(method).is_some() {
                found += 1;
                if !rows.contains(name.as_str()) {
                    missing.push(name);
                }
            }
        }
    }
    assert!(found > 30, "{found}");
    let environment = Environment::dev();
    let mut channel = Channel::open(&environment);
    let rows: BTreeSet<String> =
        OPERATIONS.iter().filter_map(|operation| operation.grpc).map(|name| format!("tok.v1.{name}")).collect();
    let mut methods = BTreeSet::new();
    for service in each(&channel.reflect("v1", &field(7, b""), 6), 1).iter().map(|service| text(&fields(service), 1)) {
        let files = channel.reflect("v1", &field(4, service.as_bytes()), 4);
        methods.extend(declared(&last(&files, 1)).0.into_iter().map(|(method, _)| method));
    }
    methods.retain(|method| method.starts_with("tok.v1."));
    assert!(methods.len() > 30, "{methods:?}");
    missing.extend(methods.difference(&rows).cloned());
    assert!(
        missing.is_empty(),
        "no row says who may do this: {missing:#?}\nadd it to OPERATIONS in tests/it/matrix/operations.rs, how it is asked to \
         tests/it/matrix/asking.rs, and run `just generate`"
    );
    assert!(rows.is_subset(&methods), "these rows are of no method: {:?}", rows.difference(&methods));
}

// ---- the questions --------------------------------------------------------------------------------------------------------

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presented {
    Bearer,
    Password,
    UserName,
    BeforeXOauthBasic,
}

impl Presented {
    const EVERY: [Self; 4] = [Self::Bearer, Self::Password, Self::UserName, Self::BeforeXOauthBasic];

    /// Every way; but what says how a token ended is read after the ways have become one, so the ways take turns there.
    fn ways(kind: Kind, state: State, turn: &mut impl Iterator<Item = usize>) -> &'static [Self] {
        match state {
            _ if !kind.is_token() => &Self::EVERY[..1],
            State::Idle | State::CutOff | State::Grace => turn.next().map_or(&[], |turn| &Self::EVERY[turn % 4..][..1]),
            _ => &Self::EVERY,
        }
    }

    fn header(self, token: &str) -> String {
        let basic = |pair: String| format!("Basic {}", STANDARD.encode(pair));
        match self {
            Self::Bearer => format!("Bearer {token}"),
            Self::Password => basic(format!("anybody:{token}")),
            Self::UserName => basic(format!("{token}:")),
            Self::BeforeXOauthBasic => basic(format!("{token}:x-oauth-basic")),
        }
    }
}

/// One question, by one caller, in one way.
struct Cell {
    operation: &'static Operation,
    target: Target,
    door: Door,
    kind: Kind,
    part: Option<Part>,
    state: State,
    presented: Presented,
}

/// Of what goes on until its deadline, when nothing had come by then.
const LATE: &str = "no answer in time";

impl Cell {
    fn expected(&self) -> Verdict {
        expected(self.operation.needs, self.target, self.kind, self.part, self.state)
    }

    fn describe(&self) -> String {
        let Self { operation, target, door, kind, part, state, presented } = self;
        let name = match door {
            Door::Http => operation.http,
            Door::Grpc | Door::Local | Door::Stranger => operation.grpc,
            Door::Helper => operation.helper,
        };
        format!(
            "{} ({}), by {door:?}: {kind:?} of {part:?}, {state:?}, as {presented:?}",
            name.unwrap_or(""),
            target.word()
        )
    }

    fn ask(&self, lines: &mut Lines, cast: &Cast) -> Result<Verdict, String> {
        if self.door == Door::Helper {
            return Self::of_helper(&lines.helper(&self.relayed(lines), self.kind == Kind::LocalStranger));
        }
        let question: Option<Question> = match self.door {
            Door::Http => cast.world.over_http(self.operation, self.target, self.part),
            Door::Grpc | Door::Local | Door::Stranger | Door::Helper => {
                cast.world.over_grpc(self.operation, self.target, self.part)
            }
        };
        let question = question.ok_or("there is no such question")?;
        let mut credentials = Vec::new();
        let user = || self.part.map(|part| part.user().to_owned()).unwrap_or_default();
        match self.kind {
            Kind::Nobody | Kind::LocalRoot | Kind::LocalStranger => {}
            Kind::LocalActing => credentials.push(("tok-as", user())),
            Kind::Acting => {
                credentials.push(("authorization", self.presented.header(&cast.chief)));
                credentials.push(("tok-as", user()));
            }
            Kind::Temporary => {
                let (name, secret) = TEMPORARY;
                let pair = STANDARD.encode(format!("{name}:{secret}"));
                credentials.push(("authorization", format!("Basic {pair}")));
            }
            _ => {
                let token = &cast.tokens[&(self.kind, self.part, self.state)];
                credentials.push(("authorization", self.presented.header(token)));
            }
        }
        let answer = lines.ask(self.door, &question, &credentials);
        if self.door == Door::Http {
            return self.of_http(&answer);
        }
        match self.of_grpc(&answer) {
            // Perhaps the machine is busy.
            Err(late) if late == LATE => self.of_grpc(&lines.ask(self.door, &question.until("5S"), &credentials)),
            said => said,
        }
    }

    fn of_http(&self, answer: &Answer) -> Result<Verdict, String> {
        let text = String::from_utf8_lossy(&answer.body);
        let error = answer.header("x-tok-error");
        let done = self.operation.done;
        Ok(match answer.status {
            401 if error == "insufficient_scope" => Verdict::TooNarrow,
            401 => Verdict::Unknown,
            403 if error == "not_found" => Verdict::Hidden,
            403 => Verdict::Forbidden,
            404 if done != 404 || text.contains("not found, or you may not see it") => Verdict::Hidden,
            status if status == done => Verdict::Allowed,
            400 => Verdict::Senseless,
            status => return Err(format!("{status} {text}")),
        })
    }

    /// What git's helper writes to the socket, for whoever it acts as.
    fn relayed(&self, lines: &Lines) -> String {
        let (right, repo) = (self.operation.helper.unwrap_or_default(), repository_of(self.target));
        let user = (self.kind == Kind::LocalActing).then_some(self.part).flatten();
        let acting = user.map(|part| format!("as={}\n", part.user())).unwrap_or_default();
        format!("tok/1 get\n{}{acting}\n", lines.challenged(repo, right))
    }

    fn of_helper(answer: &str) -> Result<Verdict, String> {
        let says = |word: &str| answer.contains(word);
        match () {
            () if says("\ncredential=tokgit_") && says("\nephemeral=1\n") => Ok(Verdict::Allowed),
            () if !says("quit=1\n") || says("tokgit_") => Err(answer.to_owned()),
            () if says("no tok user has the name of this system user") => Ok(Verdict::Unknown),
            () if says("not found, or you may not see it") => Ok(Verdict::Hidden),
            () => Ok(Verdict::Forbidden),
        }
    }

    fn of_grpc(&self, answer: &Answer) -> Result<Verdict, String> {
        let done = match self.operation.done {
            400 => "3",
            504 => "4",
            404 => "5",
            409 | 412 => "6",
            _ => "0",
        };
        let message = answer.header("grpc-message");
        Ok(match answer.header("grpc-status") {
            "16" => Verdict::Unknown,
            "7" => Verdict::Forbidden,
            "5" if done != "5" || message.contains("may%20not%20see%20it") => Verdict::Hidden,
            // What goes on until its deadline has said something at once; else nobody had an answer in that time.
            "4" if done == "4" && answer.body.is_empty() => return Err(LATE.to_owned()),
            status if status == done => Verdict::Allowed,
            "3" => Verdict::Senseless,
            status => return Err(format!("{status} {message}")),
        })
    }
}

/// A repository, as the caller stands to it.
fn repository_of(target: Target) -> &'static str {
    if target == Target::Team { "acme/app" } else { "zoo/lib" }
}

fn cells() -> Vec<Cell> {
    let (mut cells, mut turn) = (Vec::new(), 0..);
    for operation in OPERATIONS {
        for target in operation.targets {
            for kind in Kind::EVERY {
                let parts: Vec<Option<Part>> =
                    if kind.parts().is_empty() { vec![None] } else { kind.parts().iter().copied().map(Some).collect() };
                let active = parts.into_iter().map(|part| (part, State::Active));
                let others =
                    State::OTHERS.into_iter().filter(|state| state.exists(kind)).map(|state| (holder(kind), state));
                for (part, state) in active.chain(others) {
                    if expected(operation.needs, *target, kind, part, state) == Verdict::Nothing {
                        continue;
                    }
                    let doors: &[Door] = match (kind.is_local(), operation.http, operation.grpc) {
                        (local, ..) if operation.helper.is_some() => {
                            if local {
                                &[Door::Helper]
                            } else {
                                &[]
                            }
                        }
                        (true, _, Some(_)) if kind == Kind::LocalStranger => &[Door::Stranger],
                        (true, _, Some(_)) => &[Door::Local],
                        (true, _, None) => &[],
                        (false, Some(_), Some(_)) => &[Door::Http, Door::Grpc],
                        (false, None, _) => &[Door::Grpc],
                        (false, _, None) => &[Door::Http],
                    };
                    for door in doors {
                        let ways = Presented::ways(kind, state, &mut turn);
                        cells.extend(ways.iter().map(|presented| Cell {
                            operation,
                            target: *target,
                            door: *door,
                            kind,
                            part,
                            state,
                            presented: *presented,
                        }));
                    }
                }
            }
        }
    }
    cells
}

#[test]
fn every_cell_is_answered_as_the_table_says() {
    let environment = populated();
    let cast = cast(&environment);
    let step = env::var("TOK_MATRIX_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(1);
    let there = |cell: &Cell| cell.kind != Kind::LocalStranger || line::stranger_there();
    let cells: Vec<Cell> = cells().into_iter().filter(there).step_by(step).collect();
    let began = Instant::now();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let wrongs = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut lines = Lines::open(&environment);
                while let Some(cell) = in_turn(&cells, next.fetch_add(1, Ordering::Relaxed)) {
                    let (expected, said) = (cell.expected(), cell.ask(&mut lines, &cast));
                    if said.as_ref() != Ok(&expected) {
                        wrongs.fetch_add(1, Ordering::Relaxed);
                        let mut wrong = wrong.lock().unwrap();
                        if wrong.len() < 30 || env::var_os("TOK_MATRIX_ALL").is_some() {
                            wrong.push(format!("{}: {said:?}, not {expected:?}", cell.describe()));
                        }
                    }
                }
            });
        }
    });
    let introspected = introspected_alike(&environment, &cast);
    wrongs.fetch_add(introspected.1.len(), Ordering::Relaxed);
    wrong.lock().unwrap().extend(introspected.1);
    let asked = cells.len() + introspected.0;
    let (wrong, wrongs) = (wrong.into_inner().unwrap(), wrongs.into_inner());
    eprintln!("{asked} cells in {:.0?}, {wrongs} wrong", began.elapsed());
    assert!(wrongs == 0, "{wrongs} of {asked} cells are wrong:\n{}", wrong.join("\n"));
    assert!(asked >= 60_000, "{asked} cells");
}

/// Each cell once, those of one operation far from each other: some of them wait for their deadline, and the threads should
/// not all do that at once.
fn in_turn(cells: &[Cell], turn: usize) -> Option<&Cell> {
    const STRIDE: usize = 7_919;
    let coprime = if cells.len().is_multiple_of(STRIDE) { 1 } else { STRIDE };
    (turn < cells.len()).then(|| &cells[turn * coprime % cells.len()])
}

/// In the body of an introspection and of a check, over HTTP and over gRPC, a token is worth what it is in a header: it
/// is active if it lets anybody in at all.
fn introspected_alike(environment: &Environment, cast: &Cast) -> (usize, Vec<String>) {
    let mut lines = Lines::open(environment);
    let mut wrong = Vec::new();
    for ((kind, part, state), token) in &cast.tokens {
        let credentials = [("authorization", Presented::Bearer.header(&cast.chief))];
        let mut grpc = |method: &str, number: u64| {
            let answer = lines.ask(Door::Grpc, &asking::grpc(method, &field(1, token.as_bytes())), &credentials);
            // A check may say that there is nothing to say.
            answer.header("grpc-status") == "0" && !each(&fields(&answer.body[5..]), number).is_empty()
        };
        let by_grpc = [grpc("AuthorizationService/Introspect", 1), grpc("AuthorizationService/Check", 5)];
        let form = asking::form("/oauth2/introspect", &format!("token={token}"));
        let introspected: serde_json::Value =
            serde_json::from_slice(&lines.ask(Door::Http, &form, &credentials).body).unwrap();
        let checked =
            lines.json(&Method::POST, "/v1/tokens/check", &cast.chief, &serde_json::json!({"secret": token})).1;
        let active = [by_grpc[0], by_grpc[1], introspected["active"] == true, checked["usable"] == true];
        let expected = expected(Needs::Credential, Target::Any, *kind, *part, *state) == Verdict::Allowed;
        if active != [expected; 4] {
            wrong.push(format!("{kind:?} of {part:?}, {state:?}: in bodies active is {active:?}, not {expected}"));
        }
    }
    (4 * cast.tokens.len(), wrong)
}
