//! One transaction = one audited change.

use std::ops::{Deref, DerefMut};

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::sql_types::{BigInt, Text};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use tok_model::audit::{AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;

use crate::audit::Trail;
use crate::error::StoreError;

type Manager = AnsiTransactionManager;

diesel::define_sql_function! {
    /// Waits for, and holds until the end of the transaction, the lock of this number.
    fn pg_advisory_xact_lock(number: BigInt);
}
diesel::define_sql_function! {
    /// A hash that is spread evenly, and secret to nobody.
    fn hashtextextended(text: Text, seed: BigInt) -> BigInt;
}

/// Something to read with. Reading functions take it; a [`WriteTx`] is one too.
pub struct ReadTx<'c> {
    connection: &'c mut PgConnection,
}

impl<'c> ReadTx<'c> {
    pub(crate) fn new(connection: &'c mut PgConnection) -> Self {
        Self { connection }
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }
}

impl ReadTx<'_> {
    /// PostgreSQL's version, as in `15.18`.
    pub fn server_version(&mut self) -> Result<String, StoreError> {
        #[derive(QueryableByName)]
        struct Shown {
            #[diesel(sql_type = Text)]
            server_version: String,
        }
        let shown: Shown = diesel::sql_query("SHOW server_version").get_result(self.connection())?;
        Ok(shown.server_version.split(' ').next().unwrap_or_default().to_owned())
    }
}

/// A change that has not happened yet. Dropping it rolls back.
pub struct WriteTx<'c> {
    read: ReadTx<'c>,
    trail: &'c Trail,
    open: bool,
}

impl<'c> WriteTx<'c> {
    pub(crate) fn begin(connection: &'c mut PgConnection, trail: &'c Trail) -> Result<Self, StoreError> {
        <Manager as TransactionManager<PgConnection>>::begin_transaction(connection)?;
        Ok(Self { read: ReadTx::new(connection), trail, open: true })
    }

    /// Makes the change and its trail permanent, together. The only way to do so: what nobody wrote down does not exist.
    pub fn commit(self, events: impl Into<AuditEvents>, at: Timestamp) -> Result<(), StoreError> {
        let events = events.into();
        self.commit_lines(events.as_slice().iter().map(|event| (event, at, 1)))
    }

    /// Waits for whoever holds this name, which stands for no row, and holds it until this transaction is over.
    pub(crate) fn hold(&mut self, name: &str) -> Result<(), StoreError> {
        diesel::select(pg_advisory_xact_lock(hashtextextended(name, 0))).execute(self.connection())?;
        Ok(())
    }

    /// Makes a use's count permanent, or that it was the first, or that a key is forgotten. The use itself has its line in the
    /// trail, which the batch of uses brings, and what was made under the key has its own; no other change is made without.
    pub(crate) fn commit_noted(mut self) -> Result<(), StoreError> {
        self.open = false;
        <Manager as TransactionManager<PgConnection>>::commit_transaction(self.read.connection)?;
        Ok(())
    }

    /// The same for events that happened at different times, or several times.
    pub(crate) fn commit_lines<'e>(
        mut self,
        events: impl IntoIterator<Item = (&'e AuditEvent, Timestamp, i32)>,
    ) -> Result<(), StoreError> {
        let events: Vec<_> = events.into_iter().collect();
        crate::audit::append(&mut self.read, self.trail, events.iter().copied())?;
        self.open = false;
        let committed = <Manager as TransactionManager<PgConnection>>::commit_transaction(self.read.connection);
        // Also after a failure: a commit whose answer was lost may have happened.
        self.trail.written();
        committed?;
        for (event, _, times) in events {
            self.trail.tally().count(event, times);
        }
        Ok(())
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        if self.open
            && let Err(error) =
                <Manager as TransactionManager<PgConnection>>::rollback_transaction(self.read.connection)
        {
            // The server rolls back by itself when the connection goes; nothing is left half done.
            tracing::debug!(%error, "a rollback did not reach the database");
        }
    }
}

impl<'c> Deref for WriteTx<'c> {
    type Target = ReadTx<'c>;
    fn deref(&self) -> &ReadTx<'c> {
        &self.read
    }
}

impl<'c> DerefMut for WriteTx<'c> {
    fn deref_mut(&mut self) -> &mut ReadTx<'c> {
        &mut self.read
    }
}

/// Says how many rows a change must have touched; fewer means that somebody was faster.
pub(crate) fn exactly(expected: usize, touched: usize, otherwise: &str) -> Result<(), StoreError> {
    if touched == expected { Ok(()) } else { Err(StoreError::Conflict { what: otherwise.to_owned() }) }
}
