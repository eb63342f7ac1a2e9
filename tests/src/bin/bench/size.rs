//! Row 10: what a large database costs: first verifications and pages of a list, next to a small one.

use std::time::{Duration, Instant};

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use crate::figure::{Figure, Goal};
use crate::fill;
use crate::first::Requests;
use crate::helper::USER;
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};

const ROUNDS: Rounds = Rounds { warm_up: 1, counted: 9 };
const PAGES: Rounds = Rounds { warm_up: 20, counted: 200 };
const ROUND: Duration = Duration::from_secs(1);
const SMALL: usize = 10_000;
/// Unless `TOK_BENCH_ROWS` says otherwise: the design's ten million take an hour and 20 GB.
const LARGE: usize = 1_000_000;
/// Tokens with known texts, in each of the two.
const KNOWN: usize = 200_000;
const PAGE: usize = 50;

/// Measures it with two daemons of its own.
pub(crate) fn measure() -> Vec<Figure> {
    let large = std::env::var("TOK_BENCH_ROWS").ok();
    let large = large.map_or(LARGE, |text| text.parse().expect("TOK_BENCH_ROWS is a number of rows"));
    let (mut few, mut many) = (Sized::new(SMALL), Sized::new(large));
    let note = format!(
        "{SMALL} and {large} tokens in two daemons (TOK_BENCH_ROWS says how many in the larger), besides {KNOWN} in each \
         that are asked about; pages of {PAGE}."
    );
    let first = {
        let (few_requests, many_requests) = (&mut few.requests, &mut many.requests);
        let (few, many) = (few.environment.address(), many.environment.address());
        let small: Contender<'_, f64> = Box::new(|_| 1e6 / few_requests.round(few, ROUND).per_second());
        let large: Contender<'_, f64> = Box::new(|_| 1e6 / many_requests.round(many, ROUND).per_second());
        series(
            interleave(ROUNDS, vec![small, large]),
            Unit::Microseconds,
            ["first verification, small", "first verification, large"],
        )
    };
    let cursor = many.last_page();
    let pages = {
        let small: Contender<'_, f64> = Box::new(|_| few.page(None).0);
        let large: Contender<'_, f64> = Box::new(|_| many.page(None).0);
        let last: Contender<'_, f64> = Box::new(|_| many.page(Some(&cursor)).0);
        series(
            interleave(PAGES, vec![small, large, last]),
            Unit::Milliseconds,
            ["page 1, small", "page 1, large", "last page, large"],
        )
    };
    let [first_small, first_large] = first;
    let [page_small, page_large, page_last] = pages;
    let figure = |name, ours, baseline| Figure {
        row: 10,
        name,
        ours,
        baseline,
        goal: Goal::AtMost(1.3),
        beside: Vec::new(),
        note: note.clone(),
    };
    vec![
        figure("first verification, many tokens next to few", first_large, first_small),
        figure("a page of a list, many tokens next to few", page_large.clone(), page_small),
        figure("the last page of many tokens next to page 1", page_last, page_large),
    ]
}

fn series<const N: usize>(values: Vec<Vec<f64>>, unit: Unit, names: [&str; N]) -> [Series; N] {
    let mut values = values.into_iter();
    names.map(|name| Series { name: name.to_owned(), unit, values: values.next().expect("one for each") })
}

/// A daemon whose user has so many tokens.
struct Sized {
    environment: Environment,
    requests: Requests,
    token: String,
}

impl Sized {
    fn new(rows: usize) -> Self {
        let environment = Environment::new();
        environment.start();
        environment.users(&[USER]).workspace("acme", &[(USER, "writer")]);
        fill::users(&environment);
        let token = fill::made(&environment, USER, "repo:read,token:read");
        fill::unknown(&environment, &token, USER, rows);
        let requests = Requests::new(&environment, &fill::known(&environment, &token, KNOWN));
        Self { environment, requests, token }
    }

    /// Milliseconds, and where the next page begins.
    fn page(&self, cursor: Option<&str>) -> (f64, Option<String>) {
        self.page_of(PAGE, cursor)
    }

    fn page_of(&self, size: usize, cursor: Option<&str>) -> (f64, Option<String>) {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let request = Request::get(format!("/v1/tokens?page_size={size}{cursor}")).bearer(&self.token);
        let begin = Instant::now();
        let reply = self.environment.send(&request);
        let took = begin.elapsed().as_secs_f64() * 1e3;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        let page: Value = serde_json::from_slice(&reply.body).expect("a page is JSON");
        assert!(page["tokens"].as_array().is_some_and(|tokens| tokens.len() == size), "a whole page");
        (took, page["next_cursor"].as_str().map(str::to_owned))
    }

    /// Where the last page begins: found as people find it, page by page.
    fn last_page(&self) -> String {
        let rows = self.environment.count(&format!(
            "SELECT count(*) AS count FROM tokens JOIN users ON users.id = tokens.user_id WHERE users.name = '{USER}'"
        ));
        let mut left = usize::try_from(rows).expect("it is a count");
        let mut cursor = None;
        while left > PAGE {
            let size = (left - PAGE).min(1000);
            cursor = self.page_of(size, cursor.as_deref()).1;
            left -= size;
        }
        cursor.expect("there is more than one page")
    }
}
