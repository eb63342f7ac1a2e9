//! Row 4: `/authz/git` with a token that was seen before, next to the least that a server on hyper can do.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tok_tests::environment::Environment;
use tok_tests::wait;

use crate::bare::BareHyper;
use crate::figure::{Figure, Goal};
use crate::helper::USER;
use crate::load::{self, Answer, Load};
use crate::processors;
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};

/// Many short rounds: whatever disturbs the machine then spoils a few of them, on all sides.
const ROUNDS: Rounds = Rounds { warm_up: 2, counted: 40 };
const ROUND: Duration = Duration::from_millis(400);

/// Measures it with this token, which may read `acme/app`.
pub(crate) fn measure(environment: &Environment, token: &str) -> Figure {
    let bare = BareHyper::start();
    // What nginx sends for `auth_request`; both servers get the same bytes but for the port.
    let asked = |address: SocketAddr| {
        format!(
            "GET /authz/git HTTP/1.1\r\nHost: {address}\r\nX-Original-URI: /acme/app.git/info/refs?service=git-upload-pack\r\n\
             X-Original-Method: GET\r\nAuthorization: Basic {}\r\nUser-Agent: git/2.47.3\r\n\r\n",
            STANDARD.encode(format!("{USER}:{token}"))
        )
    };
    let verdict = Answer { begin: b"HTTP/1.1 204 ", end: b"\r\n\r\n" };
    // No token, no verdict: what the listener takes of it.
    let alive = |address: SocketAddr| format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let healthy = Answer { begin: b"HTTP/1.1 200 ", end: b"\r\n\r\nok\n" };
    let contender = |address: SocketAddr, pid: i32, request: String, answer| -> Contender<'_, (Load, Duration)> {
        Box::new(move |_| {
            let before = processors::time(pid);
            let load = load::round(address, load::CONNECTIONS, answer, || request.as_bytes(), ROUND);
            (load, processors::time(pid).saturating_sub(before))
        })
    };
    let (here, tokd) = (environment.address(), environment.pid());
    let contenders = vec![
        contender(bare.address, bare.pid(), asked(bare.address), verdict),
        contender(here, tokd, asked(here), verdict),
        contender(here, tokd, alive(here), healthy),
    ];
    let [baseline, ours, listener] = <[_; 3]>::try_from(interleave(ROUNDS, contenders)).expect("one for each");

    // A verdict that was not written down would have been cheap.
    let answers: i64 = ours.iter().map(|(load, _)| i64::from(load.answers)).sum();
    let recorded = "SELECT coalesce(sum(times), 0)::bigint AS count FROM audit WHERE action = 'token.use'";
    wait::until_true("every use is in the trail", || environment.count(recorded) >= answers);

    Figure {
        row: 4,
        name: "/authz/git, token seen before",
        ours: rate("tokd /authz/git, Basic", &ours),
        baseline: rate("bare hyper, 204", &baseline),
        goal: Goal::AtLeast(0.8),
        beside: vec![
            rate("tokd /healthz: the listener without a verdict", &listener),
            cost("one verdict of tokd", &ours),
            cost("one answer of bare hyper", &baseline),
            cost("one /healthz of tokd", &listener),
        ],
        note: format!(
            "{} connections from one thread, {} ms each in turns; all {answers} uses that were counted are in the trail.",
            load::CONNECTIONS,
            ROUND.as_millis()
        ),
    }
}

fn rate(name: &str, rounds: &[(Load, Duration)]) -> Series {
    let values = rounds.iter().map(|(load, _)| load.per_second()).collect();
    Series { name: name.to_owned(), unit: Unit::PerSecond, values }
}

fn cost(name: &str, rounds: &[(Load, Duration)]) -> Series {
    let values = rounds.iter().map(|(load, time)| time.as_secs_f64() * 1e6 / f64::from(load.answers)).collect();
    Series { name: name.to_owned(), unit: Unit::ProcessorMicroseconds, values }
}
