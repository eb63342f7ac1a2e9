//! The store against a real PostgreSQL: a database of its own for each test, cloned from a migrated template.
//!
//! Permits come from [`tok_model::decide::decide`] here as everywhere, times are invented, and where a test has to meet
//! another in the middle, it waits until PostgreSQL says that somebody waits: nothing sleeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what is missing fails the test, with its line")]

mod audit;
mod audit_chain;
mod audit_follow;
mod audit_months;
mod catalogue;
mod changes;
mod constraints;
mod corrupt;
mod device_logins;
mod endings;
mod list;
mod migrations;
mod outages;
mod people;
mod peppers;
mod permits;
mod restoring;
mod revoke;
mod rotate;
mod schema;
mod secrecy;
mod together;
mod tokens;
mod transactions;
mod trusts;
mod world;
