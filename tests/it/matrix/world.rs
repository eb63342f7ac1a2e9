//! Makes the people, the places, and a real token of every kind in every state.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use tok_tests::environment::Environment;

use super::asking::{World, grpc, number};
use super::callers::{Kind, Part, State};
use super::line::{Door, Lines};
use crate::remote_grpc::{field, fields, last, text};

/// Who asks: their kind, whose token it is, and its state.
pub(crate) type Who = (Kind, Option<Part>, State);

/// Everything that the questions need.
pub(crate) struct Cast {
    pub(crate) world: World,
    /// The texts of the tokens.
    pub(crate) tokens: BTreeMap<Who, String>,
    /// A manager's, who acts as others.
    pub(crate) chief: String,
}

/// Its user and password are known: it is the one of the documents.
pub(crate) const TEMPORARY: (&str, &str) = ("root", "root-secret");

/// Whose git tokens of before half an hour ago are ended; they live too short for what everybody else's get.
const CUT_OFF: &str = "olga";

/// A running server with everybody in it.
pub(crate) fn populated() -> Environment {
    let environment = Environment::dev();
    environment.stop();
    let configuration = format!(
        "[server]\npublic_url = \"{}\"\n[tokens]\nidle_lifetime = \"2h\"\n[git]\ncreate_on_push = true\n",
        environment.url()
    );
    environment.start_with(&environment.serve_recipe(&configuration).arguments(&["--token", "root:root-secret"]));
    environment.tok(&["git", "setup", &environment.url()]).ok();
    // The stranger gets as far as the socket.
    fs::set_permissions(environment.root(), Permissions::from_mode(0o711)).unwrap();
    for manager in ["boss", "chef", "dorb"] {
        environment.tok(&["user", "create", manager, "--manager"]).ok();
    }
    environment.users(&["rita", "will", "mona", "sten", "zoe", "zed", "dora", "ella", "rene", "afar", CUT_OFF]);
    let members = [
        ("rita", "reader"),
        ("will", "writer"),
        ("mona", "maintainer"),
        ("dora", "maintainer"),
        ("ella", "maintainer"),
        ("rene", "maintainer"),
        ("afar", "maintainer"),
        (CUT_OFF, "maintainer"),
        ("zoe", "reader"),
    ];
    environment.workspace("acme", &members);
    environment.workspace("zoo", &[("zoe", "maintainer")]);
    environment.pushed("will", "acme/app");
    environment.pushed("zoe", "zoo/lib");
    // Thousands of refusals are written down; that they are on a disk is not what is asked here.
    environment.execute("ALTER SYSTEM SET synchronous_commit = off");
    environment.execute("SELECT pg_reload_conf()");
    environment
}

struct Mint<'e> {
    environment: &'e Environment,
    lines: Lines,
    /// What makes rows what time or another program would make of them; all at once, before anything is presented.
    changes: Vec<String>,
}

impl Mint<'_> {
    /// A new token of this user's, as root of this machine makes it for them: its text and its ID.
    fn token(&mut self, user: &str, message: &[Vec<u8>]) -> (String, String) {
        let message = [&[field(1, b"the matrix's")][..], message].concat().concat();
        let question = grpc("TokenService/Create", &message);
        let answer = self.lines.ask(Door::Local, &question, &[("tok-as", user.to_owned())]);
        assert_eq!(answer.header("grpc-status"), "0", "{user}: {}", answer.header("grpc-message"));
        made(&answer.body)
    }

    fn rotate(&mut self, user: &str, id: &str, grace: &str) {
        let message = [field(1, id.as_bytes()), field(2, grace.as_bytes())].concat();
        let question = grpc("TokenService/Rotate", &message);
        let answer = self.lines.ask(Door::Local, &question, &[("tok-as", user.to_owned())]);
        assert_eq!(answer.header("grpc-status"), "0", "{user}: {}", answer.header("grpc-message"));
    }

    /// A token of this kind and state.
    fn of(&mut self, kind: Kind, user: &str, state: State) -> String {
        if matches!(kind, Kind::GitRead | Kind::GitWrite) {
            let right = if kind == Kind::GitRead { "read" } else { "write" };
            let text = self.environment.git_token(user, "acme/app", right);
            let row = format!(
                "SELECT t.id FROM tokens t JOIN users u ON u.id = t.user_id \
                 WHERE t.kind = 'git' AND t.permission = '{right}' AND u.name = '{user}'"
            );
            let id = self.environment.rows(&row)[0]["id"].as_str().unwrap().to_owned();
            self.bring_about(&id, user, state);
            return text;
        }
        let mut message = match kind {
            Kind::WorkspaceRead | Kind::WorkspaceWrite => vec![number(3, 2), field(6, b"acme")],
            Kind::RepoRead | Kind::RepoWrite => vec![number(3, 3), field(6, b"acme"), field(7, b"app")],
            Kind::Session => vec![number(3, 1)],
            _ => {
                let scopes = kind.scopes().unwrap();
                let scopes = scopes.iter().map(|scope| field(4, scope.as_bytes()));
                scopes.chain([number(3, 1)]).collect()
            }
        };
        match kind {
            Kind::WorkspaceRead | Kind::RepoRead => message.push(number(5, 1)),
            Kind::WorkspaceWrite | Kind::RepoWrite => message.push(number(5, 2)),
            Kind::Routed => message.push(field(8, b"acme/app:rw")),
            _ => {}
        }
        if state == State::UsedUp {
            message.push(number(12, 1));
        }
        if state == State::WrongAddress && kind != Kind::Session {
            message.push(field(9, b"203.0.113.0/24"));
        }
        let (text, id) = self.token(user, &message);
        if kind == Kind::Session {
            // Sessions are tokd's own, which shows their texts to nobody; so a personal one becomes one.
            self.changes.push(format!("UPDATE tokens SET kind = 'session', scopes = NULL WHERE id = '{id}'"));
        }
        self.bring_about(&id, user, state);
        text
    }

    fn bring_about(&mut self, id: &str, user: &str, state: State) {
        let change = match state {
            State::Active | State::OwnerDisabled => return,
            State::Expired => "created_at = now() - interval '1 hour', expires_at = now() - interval '1 minute'",
            State::Revoked => "revoked_at = now() - interval '1 hour', revoked_by = 'root'",
            State::UsedUp => "uses = 1",
            State::WrongAddress => "allow_from = '{203.0.113.0/24}'",
            State::RotatedAway => return self.rotate(user, id, ""),
            State::Grace => return self.rotate(user, id, "1h"),
            State::Idle => "created_at = now() - interval '3 hours'",
            // Before the cut-off, and no idle one.
            State::CutOff if user == CUT_OFF => "created_at = now() - interval '40 minutes'",
            State::CutOff => {
                self.changes.push(format!("INSERT INTO last_uses (token_id, at) VALUES ('{id}', now())"));
                "created_at = now() - interval '1 day'"
            }
        };
        self.changes.push(format!("UPDATE tokens SET {change} WHERE id = '{id}'"));
    }
}

/// The text and the ID in the reply to `Create`.
fn made(body: &[u8]) -> (String, String) {
    let reply = fields(&body[5..]);
    (text(&reply, 1), text(&fields(&last(&reply, 2)), 1))
}

/// Whose bad token it is, of those who would otherwise be let in.
pub(crate) fn holder(kind: Kind) -> Option<Part> {
    let most = if kind == Kind::ManagerOnly { Part::Manager } else { Part::Maintainer };
    Some(most).filter(|_| !kind.parts().is_empty())
}

/// Makes them all.
pub(crate) fn cast(environment: &Environment) -> Cast {
    let mut mint = Mint { environment, lines: Lines::open(environment), changes: Vec::new() };
    let personal = |scopes: &[&str]| scopes.iter().map(|scope| field(4, scope.as_bytes())).collect::<Vec<_>>();
    let own = Part::EVERY.map(|part| (part, mint.token(part.user(), &personal(&["repo:read"])).1));
    let (_, teams) = mint.token("mona", &[number(3, 2), field(6, b"acme"), number(5, 1)]);
    let (good, others) = mint.token("zoe", &personal(&["repo:read"]));
    let (ended, id) = mint.token("zoe", &[]);
    mint.bring_about(&id, "zoe", State::Revoked);
    let (chief, _) = mint.token("chef", &personal(&["all"]));
    let mut tokens = BTreeMap::new();
    for kind in Kind::EVERY.into_iter().filter(|kind| kind.is_token()) {
        if kind.parts().is_empty() {
            tokens.insert((kind, None, State::Active), mint.of(kind, "mona", State::Active));
        }
        for part in kind.parts() {
            tokens.insert((kind, Some(*part), State::Active), mint.of(kind, part.user(), State::Active));
        }
        for state in State::OTHERS.into_iter().filter(|state| state.exists(kind)) {
            let user = match (state, kind) {
                (State::OwnerDisabled, Kind::ManagerOnly) => "dorb",
                (State::OwnerDisabled, _) => "dora",
                (_, Kind::ManagerOnly) => "boss",
                // The helper is given the same git token again, so each state has its own user.
                (State::Expired, Kind::GitRead | Kind::GitWrite) => "ella",
                (State::Revoked, Kind::GitRead | Kind::GitWrite) => "rene",
                (State::WrongAddress, Kind::GitRead | Kind::GitWrite) => "afar",
                (State::CutOff, Kind::GitRead | Kind::GitWrite) => CUT_OFF,
                _ => "mona",
            };
            tokens.insert((kind, holder(kind), state), mint.of(kind, user, state));
        }
    }
    let changes = std::mem::take(&mut mint.changes);
    environment.execute(&changes.join(";\n"));
    let whole = [["--user", "mona"], ["--user", "boss"], ["--workspace", "acme"]].map(|owner| (owner, "12h"));
    for (owner, before) in whole.into_iter().chain([(["--user", CUT_OFF], "30m")]) {
        let cut = environment.tok(&["token", "revoke", "--minted-before", before, "--force"]).arguments(owner).ok();
        assert!(!cut.text().contains("Revoked 0"), "{}", cut.describe());
    }
    for user in ["dora", "dorb", "zed"] {
        environment.tok(&["user", "disable", user]).ok();
    }
    let world = World { own: own.to_vec(), teams, others, ended, good };
    Cast { world, tokens, chief }
}
