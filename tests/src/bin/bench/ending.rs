//! Row 15: a hundred thousand tokens ended by one command.

use std::time::Instant;

use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::fill;
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};

const ROUNDS: Rounds = Rounds { warm_up: 0, counted: 3 };
const TOKENS: usize = 100_000;
const RECORDED: &str = "SELECT count(*) AS count FROM audit WHERE action = 'token.revoke' AND outcome = 'done'";
/// What it may take.
const GOAL: f64 = 10_000.0;

/// Measures it with tokens like this one.
pub(crate) fn measure(environment: &Environment, model: &str) -> Figure {
    let mut recorded = Vec::new();
    let ours: Contender<'_, f64> = Box::new(|round| {
        let user = format!("leaver-{round}");
        environment.users(&[&user]);
        fill::unknown(environment, model, &user, TOKENS);
        let live = format!(
            "SELECT count(*) AS count FROM tokens JOIN users ON users.id = tokens.user_id
             WHERE users.name = '{user}' AND tokens.revoked_at IS NULL"
        );
        assert_eq!(usize::try_from(environment.count(&live)), Ok(TOKENS), "they were made");
        let lines = || environment.count(RECORDED);
        let before = lines();
        let begin = Instant::now();
        environment.tok(&["token", "revoke", "--user", &user, "--reason", "left", "--force"]).ok();
        let took = begin.elapsed().as_secs_f64() * 1e3;
        recorded.push(lines() - before);
        assert_eq!(environment.count(&live), 0, "each of them is ended");
        let undone = environment.count(&format!("SELECT count(DISTINCT revoke_act) AS count FROM tokens JOIN users ON users.id = tokens.user_id WHERE users.name = '{user}'"));
        assert_eq!(undone, 1, "as one act, which can be undone as one");
        took
    });
    let values = interleave(ROUNDS, vec![ours]).pop().expect("one contender");
    Figure {
        row: 15,
        name: "100,000 tokens ended by one command, audited",
        ours: Series { name: "tok token revoke --user, 100,000 tokens".to_owned(), unit: Unit::Milliseconds, values },
        baseline: Series { name: "10 s".to_owned(), unit: Unit::Milliseconds, values: vec![GOAL; ROUNDS.counted] },
        goal: Goal::AtMost(1.0),
        beside: Vec::new(),
        note: format!(
            "The goal is a time here, whatever the machine. The command's own start is in it. Lines in the trail, which say \
             who, how many and why: {recorded:?}; each token's own row says the same."
        ),
    }
}
