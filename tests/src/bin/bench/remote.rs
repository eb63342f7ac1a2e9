//! Row 18: a git token of a server far away, on a connection that is there already, next to the least that can be asked on
//! one: how it is (gRPC's health check). What takes one round trip takes as long as that.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tok_tests::distance::Distance;
use tok_tests::environment::Environment;
use tok_tests::grpc::{Channel, field, fields, text, varint};

use crate::figure::{Figure, Goal};
use crate::helper::{USER, timed, token};
use crate::process::Program;
use crate::rounds::{Contender, Rounds};

const ROUNDS: Rounds = Rounds { warm_up: 5, counted: 100 };
/// As far as from one continent to the next.
const WAY: Duration = Duration::from_millis(50);

/// Measures it with this helper, at a server of its own that speaks TLS.
pub(crate) fn measure(helper: &Path) -> Figure {
    let environment = Environment::tls();
    environment.users(&[USER]).workspace("acme", &[(USER, "writer")]);
    let [agents, ours] = [WAY; 2].map(|way| Distance::start(environment.address(), way));
    let password = environment.log_in_at(&format!("https://{}", agents.address()), USER);
    environment.through_agent(&[]);
    let socket = environment.home().join("run/tok/agent.sock");
    let helper = Program::new(helper.to_owned(), environment.home());
    let helper = helper.arguments([Path::new("--socket"), &socket]).arguments(["get"]);
    let host = agents.address().to_string();
    let seen = RefCell::new(HashSet::new());
    let before = minted(&environment);
    let lines = |repo: &str| {
        let lines = environment.challenged(repo, "read").replace("protocol=http\n", "protocol=https\n");
        lines.replace(&environment.host(), &host) + "\n"
    };
    // The first one makes the connection, and begins to watch.
    helper.run(lines("acme/first").as_bytes());

    let asked = RefCell::new(Vec::new());
    let through_agent: Contender<'_, f64> = Box::new(|round| {
        let lines = lines(&format!("acme/r{round:05}"));
        let before = agents.questions();
        let (took, printed) = helper.run(lines.as_bytes());
        asked.borrow_mut().push(agents.questions() - before);
        assert!(seen.borrow_mut().insert(token(&printed)), "a token was given twice");
        took
    });
    let [far, near] = [ours.address(), environment.address()]
        .map(|address| RefCell::new(Connection::open(&environment, address, &password)));
    let health = |connection: &'_ RefCell<Connection>| connection.borrow_mut().health();
    let mint = |connection: &'_ RefCell<Connection>, place: &str, round: usize| {
        let (took, token) = connection.borrow_mut().mint(&format!("acme/{place}{round:05}"));
        assert!(seen.borrow_mut().insert(token), "a token was given twice");
        took
    };
    let names = [
        "a health check, warm connection, 50 ms each way",
        "git-credential-tok get, minted by the agent, 50 ms each way",
        "MintGit alone, 50 ms each way",
        "a health check, warm connection, no distance",
        "MintGit alone, no distance",
    ];
    let contenders: [Contender<'_, f64>; 5] = [
        Box::new(|_| health(&far)),
        through_agent,
        Box::new(|round| mint(&far, "far", round)),
        Box::new(|_| health(&near)),
        Box::new(|round| mint(&near, "near", round)),
    ];
    let [baseline, agent, alone, near_health, near_mint] = timed(ROUNDS, names, contenders);
    let count = i64::try_from(seen.borrow().len()).expect("it is small");
    assert_eq!(minted(&environment) - before, count + 1, "rows of git tokens");
    let mut asked = asked.into_inner();
    asked.sort_unstable();
    let (usual, most) = (asked[asked.len() / 2], asked[asked.len() - 1]);
    Figure {
        row: 18,
        name: "remote mint on a warm connection, 100 ms away: one round trip",
        ours: agent,
        baseline,
        goal: Goal::AtMost(1.1),
        beside: vec![alone, near_health, near_mint],
        note: format!(
            "The agent's connection was asked {usual} time(s) for each token (at most {most}); each one is a row and a line \
             of the trail that were committed before the answer."
        ),
    }
}

fn minted(environment: &Environment) -> i64 {
    environment.count("SELECT count(*) AS count FROM tokens WHERE kind = 'git'")
}

/// A connection that stays, with a session of its own.
struct Connection {
    channel: Channel,
    bearer: String,
}

impl Connection {
    fn open(environment: &Environment, address: std::net::SocketAddr, password: &str) -> Self {
        let mut channel = Channel::through(environment, address);
        let login = [field(1, USER.as_bytes()), field(2, password.as_bytes()), field(3, b"bench")].concat();
        let opened = channel.call("tok.v1.SessionService/OpenSession", &login, &[]);
        assert_eq!(opened.status(), 0, "nobody is let in");
        let bearer = format!("Bearer {}", text(&fields(&opened.messages[0]), 1));
        Self { channel, bearer }
    }

    /// Milliseconds.
    fn health(&mut self) -> f64 {
        let begin = Instant::now();
        let answer = self.channel.call("grpc.health.v1.Health/Check", b"", &[]);
        let took = begin.elapsed();
        assert_eq!(answer.status(), 0, "{answer:?}");
        took.as_secs_f64() * 1e3
    }

    /// Milliseconds, and the token.
    fn mint(&mut self, repo: &str) -> (f64, String) {
        let wish = [field(1, repo.as_bytes()), varint(2 << 3), varint(1)].concat();
        let begin = Instant::now();
        let answer = self.channel.call("tok.v1.SessionService/MintGit", &wish, &[("authorization", &self.bearer)]);
        let took = begin.elapsed();
        assert_eq!(answer.status(), 0, "no token");
        (took.as_secs_f64() * 1e3, text(&fields(&answer.messages[0]), 1))
    }
}
