//! Looking into databases from outside, with the `psql` of the PostgreSQL that tok found.
//!
//! Only tok-store speaks SQL in the product; here `psql` does, so that what is judged is what any other client sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tok_store::embedded::{Binaries, DATABASE};
use tok_store::testdb::TestDatabase;

/// A database in the cluster of this test process, made anew for one test.
pub struct Database(TestDatabase);

impl Database {
    /// With the current schema: a clone of a template that was migrated once.
    pub fn migrated() -> Self {
        let migrate: tok_store::testdb::Migrate = |url| tok_store::migrate(url).map(drop).map_err(Into::into);
        Self(TestDatabase::new(migrate).unwrap_or_else(|error| panic!("no database for the test: {}", chain(&error))))
    }

    /// Without any table, as an administrator makes it for tokd.
    pub fn empty() -> Self {
        let database = Self::migrated();
        database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        database
    }

    /// The libpq URI.
    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// The rows of a query, each as a JSON object.
    #[track_caller]
    pub fn rows(&self, query: &str) -> Vec<Value> {
        rows(self.url(), query)
    }

    /// Runs statements.
    #[track_caller]
    pub fn execute(&self, statements: &str) {
        psql(self.url(), statements);
    }
}

/// The rows of a query, each as a JSON object.
#[track_caller]
pub fn rows(url: &str, query: &str) -> Vec<Value> {
    let wrapped = format!("SELECT coalesce(json_agg(row_to_json(found)), '[]') FROM ({query}) AS found");
    let text = psql(url, &wrapped);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("psql did not print JSON ({error}): {text}"))
}

/// Runs statements with psql and gives what it printed; stops at the first error.
#[track_caller]
pub fn psql(url: &str, statements: &str) -> String {
    let output = Command::new(program("psql"))
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements])
        .env_remove("PGOPTIONS")
        .output()
        .expect("psql can be started");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "psql: {complaint}\n{statements}");
    String::from_utf8(output.stdout).expect("psql prints UTF-8")
}

/// The libpq URI of the database that a daemon with its own cluster keeps in this data directory.
///
/// Read from what postgres writes about itself (`postmaster.pid`: the fifth line is the socket's directory).
pub fn embedded_url(data: &Path) -> String {
    let path = data.join("pg/postmaster.pid");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines().skip(3);
    let (port, sockets) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    assert!(sockets.starts_with('/'), "{}: {text}", path.display());
    format!("postgresql://tok@/{DATABASE}?host={}&port={port}", sockets.replace('/', "%2F"))
}

/// A program of the PostgreSQL that tok found.
pub fn program(name: &str) -> PathBuf {
    let found = Binaries::find(None).unwrap_or_else(|error| panic!("{}", chain(&error)));
    found.directory().join(name)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
