//! One transaction = one audited change.

use std::ops::{Deref, DerefMut};

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};
use tok_model::audit::{AuditEvent, AuditEvents};
use tok_model::clock::Timestamp;

use crate::error::StoreError;

type Manager = AnsiTransactionManager;

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
            #[diesel(sql_type = diesel::sql_types::Text)]
            server_version: String,
        }
        let shown: Shown = diesel::sql_query("SHOW server_version").get_result(self.connection())?;
        Ok(shown.server_version.split(' ').next().unwrap_or_default().to_owned())
    }
}

/// A change that has not happened yet. Dropping it rolls back.
pub struct WriteTx<'c> {
    read: ReadTx<'c>,
    open: bool,
}

impl<'c> WriteTx<'c> {
    pub(crate) fn begin(connection: &'c mut PgConnection) -> Result<Self, StoreError> {
        <Manager as TransactionManager<PgConnection>>::begin_transaction(connection)?;
        Ok(Self { read: ReadTx::new(connection), open: true })
    }

    /// Makes the change and its trail permanent, together. The only way to do so: what nobody wrote down does not exist.
    pub fn commit(self, events: impl Into<AuditEvents>, at: Timestamp) -> Result<(), StoreError> {
        self.commit_times(&events.into(), at, 1)
    }

    /// Makes a use's count permanent, or that it was the first. The use itself has its line in the trail, which the batch of
    /// uses brings; no other change is made without one of its own.
    pub(crate) fn commit_noted(mut self) -> Result<(), StoreError> {
        self.open = false;
        <Manager as TransactionManager<PgConnection>>::commit_transaction(self.read.connection)?;
        Ok(())
    }

    pub(crate) fn commit_times(self, events: &AuditEvents, at: Timestamp, times: i32) -> Result<(), StoreError> {
        self.commit_lines(events.as_slice().iter().map(|event| (event, at, times)))
    }

    /// For several changes that take effect together: each has its own lines, with their times.
    pub(crate) fn commit_lines<'e>(
        mut self,
        lines: impl IntoIterator<Item = (&'e AuditEvent, Timestamp, i32)>,
    ) -> Result<(), StoreError> {
        crate::audit::append(&mut self.read, lines)?;
        self.open = false;
        <Manager as TransactionManager<PgConnection>>::commit_transaction(self.read.connection)?;
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
