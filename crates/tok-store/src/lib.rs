//! The only place that speaks SQL: aggregates in, rows out, one transaction = one audited change.
//!
//! Synchronous throughout; tokd's executor is what puts it on threads. Functions that change or reveal anything take a
//! [`Permit`](tok_model::decide::Permit) and act on what it allows.

pub mod audit;
pub mod device_logins;
pub mod embedded;
mod error;
mod migrate;
pub mod peppers;
mod pool;
mod prepared;
mod schema;
#[cfg(any(test, feature = "testdb"))]
pub mod testdb;
pub mod tokens;
pub mod trusts;
mod tx;
pub mod users;
pub mod workspaces;

pub use error::StoreError;
pub use migrate::{MigrateError, Migrated, migrate, newest_version};
pub use pool::{Connections, Store};
pub use tx::{ReadTx, WriteTx};

diesel::define_sql_function! {
    /// PostgreSQL's `lower`.
    fn lower(text: diesel::sql_types::Text) -> diesel::sql_types::Text;
}
