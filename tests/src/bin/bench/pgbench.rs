//! The database's floor: `pgbench`, which comes with PostgreSQL, on the cluster that tokd has, in a database of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tok_tests::environment::Environment;
use tok_tests::postgres;

/// Rows in pgbench's table of accounts, in hundred thousands.
const SCALE: &str = "10";
/// Client counts to choose the best of.
const CLIENTS: [u32; 6] = [2, 4, 8, 16, 32, 64];

/// pgbench's own tables, ready to be measured on.
pub(crate) struct Floor {
    url: String,
    insert: PathBuf,
}

impl Floor {
    /// Makes the database.
    pub(crate) fn new(environment: &Environment) -> Self {
        let own = postgres::embedded_url(environment.data());
        let url = own.replacen("@/tok?", "@/floor?", 1);
        assert_ne!(url, own, "the floor has a database of its own");
        postgres::psql(&own, "CREATE DATABASE floor");
        let insert = environment.path("insert.sql");
        let statement = "\\set delta random(-5000, 5000)\nINSERT INTO pgbench_history (tid, bid, aid, delta, mtime) \
                         VALUES (1, 1, 1, :delta, CURRENT_TIMESTAMP);\n";
        fs::write(&insert, statement).expect("the directory is ours");
        let floor = Self { url, insert };
        floor.pgbench(&["-i", "-q", "-s", SCALE]);
        floor
    }

    /// One-row selects in a second, prepared, by so many clients.
    pub(crate) fn selects(&self, clients: u32) -> f64 {
        self.measure(clients, &["-S"])
    }

    /// The client count at which there are the most selects.
    pub(crate) fn best_client_count(&self) -> u32 {
        let measured = CLIENTS.map(|clients| (clients, self.selects(clients)));
        let best = measured.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(CLIENTS[0], |(clients, _)| clients)
    }

    /// One-row inserts in a second, prepared and each committed, by so many clients.
    pub(crate) fn inserts(&self, clients: u32) -> f64 {
        self.measure(clients, &["-f", self.insert.to_str().expect("the path is text")])
    }

    fn measure(&self, clients: u32, what: &[&str]) -> f64 {
        let clients = clients.to_string();
        let common = ["-n", "-M", "prepared", "-T", "1", "-j", "2", "-c", &clients];
        let said = self.pgbench(&[&common, what].concat());
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench said no rate: {said}"))
    }

    fn pgbench(&self, arguments: &[&str]) -> String {
        let output = Command::new(postgres::program("pgbench"))
            .args(arguments)
            .arg(&self.url)
            .output()
            .expect("pgbench can be started: it is among PostgreSQL's programs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench {arguments:?}: {complaint}");
        String::from_utf8(output.stdout).expect("pgbench prints text")
    }
}
