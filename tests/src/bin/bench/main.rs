//! `just bench`: prints the figures of the design next to their baselines, measured side by side in one run.
//!
//! `bench --helper PATH [ROW…]`: with rows, only those are measured and nothing is written; without, all are, and
//! `bench/latest.json` has the results. A missed goal is said, and is no failure: only ratios are goals, and a busy machine
//! can spoil even these.

mod bare;
mod ending;
mod fetching;
mod figure;
mod fill;
mod first;
mod helper;
mod load;
mod machine;
mod minting;
mod pgbench;
mod process;
mod processors;
mod remote;
mod rounds;
mod size;
mod statistics;
mod trail;
mod verdict;

use std::cell::OnceCell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tok_store::testdb;
use tok_tests::binaries;
use tok_tests::environment::Environment;

use crate::figure::Figure;
use crate::pgbench::Floor;

const ALL: [u32; 11] = [1, 2, 3, 4, 7, 8, 10, 15, 17, 18, 19];

fn main() {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == bare::ARGUMENT) {
        return bare::serve();
    }
    let (mut helper, mut rows) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--helper" {
            let path = arguments.next().expect("--helper needs a path");
            helper = Some(std::path::absolute(PathBuf::from(path)).expect("there is a working directory"));
        } else {
            let row = argument.to_str().and_then(|text| text.parse().ok()).filter(|row| ALL.contains(row));
            rows.push(row.unwrap_or_else(|| panic!("{}: only --helper PATH and rows of {ALL:?}", argument.display())));
        }
    }
    let helper = helper.expect("--helper PATH says which helper to measure");
    let write = rows.is_empty();
    if write {
        rows = ALL.to_vec();
    }

    testdb::on_disk();
    let environment = Environment::new();
    environment.start();
    environment.users(&[helper::USER]).workspace("acme", &[(helper::USER, "writer")]);
    let machine = machine::describe(&environment);
    say(&format!("{machine:#}\n"));

    let mut figures = Vec::new();
    let bench = helper::Bench::new(&environment, &helper);
    let floor = OnceCell::new();
    let floor = || floor.get_or_init(|| Floor::new(&environment));
    let token = |scopes: &str| fill::made(&environment, helper::USER, scopes);
    for row in rows {
        let measured = match row {
            1 => vec![bench.kept_token()],
            2 => vec![bench.minting()],
            3 => vec![bench.own_store()],
            4 => vec![verdict::measure(&environment, &bench.git_token())],
            7 => vec![first::measure(&environment, floor(), &token("repo:read"))],
            8 => vec![minting::measure(&environment, floor(), &token("repo:read,token:write"))],
            10 => size::measure(),
            17 => vec![bench.agents_token()],
            18 => vec![remote::measure(&helper)],
            19 => vec![fetching::measure(&helper)],
            _ => vec![ending::measure(&environment, &token("repo:read"))],
        };
        for figure in measured {
            say(&figure.to_text());
            figures.push(figure);
        }
    }
    if write {
        let path = binaries::workspace().join("bench/latest.json");
        let figures: Vec<Value> = figures.iter().map(Figure::to_json).collect();
        let text = format!("{:#}\n", json!({ "machine": machine, "figures": figures }));
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("the workspace is ours");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        say(&format!("written to {}", path.display()));
    }
}

fn say(text: &str) {
    // Whoever closed it does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
}
