//! Row 7: the first verification of a token, which asks the database, next to the least that PostgreSQL can do.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::fill;
use crate::load::{self, Answer, Load};
use crate::pgbench::Floor;
use crate::processors::{Spent, costs};
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};
use crate::trail::Trail;

const ROUNDS: Rounds = Rounds { warm_up: 1, counted: 7 };
const ROUND: Duration = Duration::from_secs(1);
/// As many as there are clients.
pub(crate) const CONNECTIONS: usize = 64;
/// More than are asked about within the five seconds that tokd keeps what it read.
const TOKENS: usize = 200_000;

/// Measures it, with tokens that may read `acme/app`.
pub(crate) fn measure(environment: &Environment, floor: &Floor, model: &str) -> Figure {
    fill::users(environment);
    let requests = RefCell::new(Requests::new(environment, &fill::known(environment, model, TOKENS)));
    let trail = Trail::of(environment);
    let clients = floor.best_client_count();
    let address = environment.address();
    let mut spent = Vec::new();
    let ours: Contender<'_, f64> = Box::new(|_| {
        let before = Spent::so_far(environment.pid());
        let load = requests.borrow_mut().round(address, ROUND);
        spent.push((Spent::so_far(environment.pid()).since(&before), load.answers));
        trail.catch_up();
        spent.push((Spent::so_far(environment.pid()).since(&before), load.answers));
        load.per_second()
    });
    let baseline: Contender<'_, f64> = Box::new(|_| floor.selects(clients));
    let database: Contender<'_, f64> = Box::new(|_| floor.verifications());
    let all = interleave(ROUNDS, vec![baseline, ours, database]);
    let [baseline, ours, database] = <[_; 3]>::try_from(all).expect("one for each");
    let each = |skipped: usize| spent.iter().skip(2 * ROUNDS.warm_up + skipped).step_by(2).cloned().collect::<Vec<_>>();
    let rate = |name: String, values| Series { name, unit: Unit::PerSecond, values };
    let parts = [("one verification", each(0)), ("the same, written down and sealed", each(1))];
    let alone = rate("PostgreSQL alone, look-up and use by SQL".to_owned(), database);
    let beside = [alone].into_iter().chain(parts.into_iter().flat_map(|(what, rounds)| costs(what, &rounds))).collect();
    Figure {
        row: 7,
        name: "/authz/git, first verification of a token",
        ours: rate("tokd /authz/git, Basic, from the database".to_owned(), ours),
        baseline: rate(format!("pgbench -S -M prepared, {clients} clients"), baseline),
        goal: Goal::AtLeast(0.8),
        beside,
        note: format!(
            "{CONNECTIONS} connections from one thread, {} s each in turns; {TOKENS} tokens of 100 users, each asked \
             about once before any is asked about again.",
            ROUND.as_secs()
        ),
    }
}

/// Requests with one token after the other.
pub(crate) struct Requests {
    all: Vec<Vec<u8>>,
    next: usize,
}

impl Requests {
    /// About `acme/app`, with each of these tokens.
    pub(crate) fn new(environment: &Environment, tokens: &[String]) -> Self {
        let host = environment.host();
        let request = |token: &String| {
            format!(
                "GET /authz/git HTTP/1.1\r\nHost: {host}\r\n\
                 X-Original-URI: /acme/app.git/info/refs?service=git-upload-pack\r\nX-Original-Method: GET\r\n\
                 Authorization: Basic {}\r\nUser-Agent: git/2.47.3\r\n\r\n",
                STANDARD.encode(format!("git:{token}"))
            )
            .into_bytes()
        };
        Self { all: tokens.iter().map(request).collect(), next: 0 }
    }

    /// Asks for so long.
    pub(crate) fn round(&mut self, address: std::net::SocketAddr, time: Duration) -> Load {
        let answer = Answer { begin: b"HTTP/1.1 204 ", end: b"\r\n\r\n" };
        let next = || {
            self.next = (self.next + 1) % self.all.len();
            self.all[self.next].as_slice()
        };
        load::round(address, CONNECTIONS, answer, next, time)
    }
}
