//! Row 15: a hundred thousand tokens ended by one command.

use std::time::Instant;

use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::fill;
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};

const ROUNDS: Rounds = Rounds { warm_up: 0, counted: 3 };
const TOKENS: usize = 100_000;
/// What it may take.
const GOAL: f64 = 10_000.0;

/// Measures it with tokens like this one.
pub(crate) fn measure(environment: &Environment, model: &str) -> Figure {
    let ours: Contender<'_, f64> = Box::new(|round| {
        let user = format!("leaver-{round}");
        environment.users(&[&user]);
        fill::unknown(environment, model, &user, TOKENS);
        let live = format!(
            "SELECT count(*) AS count FROM tokens JOIN users ON users.id = tokens.user_id
             WHERE users.name = '{user}' AND tokens.revoked_at IS NULL"
        );
        assert_eq!(usize::try_from(environment.count(&live)), Ok(TOKENS), "they were made");
        let begin = Instant::now();
        environment.tok(&["user", "delete", &user, "--force"]).ok();
        let took = begin.elapsed().as_secs_f64() * 1e3;
        assert_eq!(environment.count(&live), 0, "each of them is ended");
        took
    });
    let values = interleave(ROUNDS, vec![ours]).pop().expect("one contender");
    Figure {
        row: 15,
        name: "100,000 tokens ended by one command, audited",
        ours: Series { name: "tok user delete, with 100,000 tokens".to_owned(), unit: Unit::Milliseconds, values },
        baseline: Series { name: "10 s".to_owned(), unit: Unit::Milliseconds, values: vec![GOAL; ROUNDS.counted] },
        goal: Goal::AtMost(1.0),
        beside: Vec::new(),
        note: "The goal is a time here, whatever the machine. The command's own start is in it.".to_owned(),
    }
}
