//! Row 8: tokens made over the API, each committed with its line in the trail, next to the least that PostgreSQL can
//! commit.

use std::time::Duration;

use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::first::CONNECTIONS;
use crate::load::{self, Answer, Load};
use crate::pgbench::Floor;
use crate::processors::{Spent, costs};
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};
use crate::trail::Trail;

const ROUNDS: Rounds = Rounds { warm_up: 2, counted: 9 };
const ROUND: Duration = Duration::from_secs(1);
/// pgbench's clients.
const CLIENTS: u32 = 8;

/// Measures it with this token, which may make others.
pub(crate) fn measure(environment: &Environment, floor: &Floor, token: &str) -> Figure {
    let body = r#"{"name":"bench","scopes":["repo:read"],"expires":"30d"}"#;
    let request = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        environment.host(),
        body.len()
    );
    let counted = |what: &str| environment.count(&format!("SELECT count(*) AS count FROM {what}"));
    let rows = || (counted("tokens"), counted("audit WHERE action = 'token.create' AND outcome = 'done'"));
    let before = rows();
    let (address, mut answers, mut spent) = (environment.address(), 0_i64, Vec::new());
    let trail = Trail::of(environment);
    let ours: Contender<'_, f64> = Box::new(|_| {
        let answer = Answer { begin: b"HTTP/1.1 201 ", end: b"}}" };
        let before = Spent::so_far(environment.pid());
        let load: Load = load::round(address, CONNECTIONS, answer, || request.as_bytes(), ROUND);
        spent.push((Spent::so_far(environment.pid()).since(&before), load.answers));
        trail.catch_up();
        answers += i64::from(load.answers);
        load.per_second()
    });
    let baseline: Contender<'_, f64> = Box::new(|_| floor.inserts(CLIENTS));
    let database: Contender<'_, f64> = Box::new(|_| floor.mints());
    let all = interleave(ROUNDS, vec![baseline, ours, database]);
    let [baseline, ours, database] = <[_; 3]>::try_from(all).expect("one for each");
    let after = rows();
    let (tokens, lines) = (after.0 - before.0, after.1 - before.1);
    assert!(tokens >= answers && tokens == lines, "{answers} answers, {tokens} tokens, {lines} lines of the trail");
    let rate = |name: &str, values| Series { name: name.to_owned(), unit: Unit::PerSecond, values };
    Figure {
        row: 8,
        name: "POST /v1/tokens: row and audit line committed",
        ours: rate("tokd POST /v1/tokens", ours),
        baseline: rate("pgbench, one-row insert, 8 clients", baseline),
        goal: Goal::AtLeast(1.5),
        beside: [rate("PostgreSQL alone, the same rows by SQL", database)]
            .into_iter()
            .chain(costs("one mint", &spent[ROUNDS.warm_up..]))
            .collect(),
        note: format!(
            "{CONNECTIONS} connections from one thread, {} s each in turns; {tokens} rows in tokens and as many lines in \
             audit were committed.",
            ROUND.as_secs()
        ),
    }
}
