//! The store: a pool of connections, and the two ways to use one.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use diesel::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel::{Connection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use tok_model::clock::Timestamp;
use tok_model::id::ChainId;
use tok_model::secret::Peppers;
use tok_model::token::Token;

use crate::audit::{Pruned, Trail};
use crate::error::StoreError;
use crate::tokens::Mint;
use crate::tx::{ReadTx, WriteTx};

/// How a connection waits and gives up. Set on each connection, so that no forgotten lock holds a thread for ever.
///
/// A statement that was prepared when its tables were small keeps the plan of that day, which reads them whole, until
/// somebody counts them anew: a minute in which a database that fills answers a tenth of what it could. So tables, and
/// indexes to join them by, are read whole only where there is no other way.
const SESSION: &str = "SET statement_timeout = '10s'; SET lock_timeout = '3s'; \
                       SET idle_in_transaction_session_timeout = '15s'; \
                       SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
                       SET enable_material = off; \
                       SET application_name = 'tokd'";

/// The token store. Cheap to clone; all clones share the pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool<ConnectionManager<PgConnection>>,
    trail: Option<Arc<Trail>>,
}

/// The state of the pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Connections to the database.
    pub open: u32,
    /// Those of them that nobody uses now.
    pub idle: u32,
}

#[derive(Debug)]
struct Session;

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        use diesel::connection::SimpleConnection;
        connection.batch_execute(SESSION).map_err(diesel::r2d2::Error::QueryError)
    }
}

impl Store {
    /// Connects. `url` is a libpq URI or keyword string, several hosts and TLS settings included; `connections` is the
    /// most that are open at once, and `wait` how long a caller waits for one of them.
    pub fn connect(url: &SecretString, connections: u32, wait: Duration) -> Result<Self, StoreError> {
        // One plain connection first: its error says what is wrong, where the pool's says only that it waited.
        PgConnection::establish(url.expose_secret())
            .map_err(|error| StoreError::unavailable("no connection to PostgreSQL", error))?;
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(1))
            .connection_timeout(wait)
            // A ping before each use would double the cost of a lookup; a lost connection is noticed and retried below.
            .test_on_check_out(false)
            .connection_customizer(Box::new(Session))
            .build(ConnectionManager::new(url.expose_secret()))
            .map_err(|error| StoreError::unavailable("no connection to PostgreSQL", error))?;
        Ok(Self { pool, trail: None })
    }

    /// Begins this run's chain of the audit trail, without which nothing can be written, and makes the trail's months.
    pub fn open_trail(mut self, peppers: &Peppers, chain: ChainId, at: Timestamp) -> Result<Self, StoreError> {
        let mut connection = self.checkout()?;
        self.trail = Some(Arc::new(Trail::open(&mut connection, peppers, chain, at)?));
        if let Err(error) = crate::audit::make_months(&mut connection, at) {
            // Lines of a month without a partition go into the default one.
            tracing::warn!(%error, "the audit trail's next month could not be prepared; it is tried again");
        }
        drop(connection);
        Ok(self)
    }

    /// The chain that this store writes.
    pub fn trail(&self) -> Result<&Trail, StoreError> {
        self.trail.as_deref().ok_or(StoreError::NoTrail)
    }

    /// Seals what has been written to the trail and has settled. Returns how many lines.
    pub fn seal(&self, at: Timestamp) -> Result<usize, StoreError> {
        let trail = self.trail()?;
        if !trail.has_unsealed() {
            return Ok(0);
        }
        crate::audit::seal_own(&mut *self.checkout()?, trail, at)
    }

    /// Seals what daemons that were killed have left. Returns how many lines.
    pub fn seal_abandoned(&self, at: Timestamp) -> Result<usize, StoreError> {
        crate::audit::seal_abandoned(&mut *self.checkout()?, self.trail()?, at)
    }

    /// Prepares the trail's next month, and drops the months that ended longer ago than lines are kept.
    pub fn keep_months(&self, keep: Option<TimeDelta>, at: Timestamp) -> Result<Option<Pruned>, StoreError> {
        let (mut connection, trail) = (self.checkout()?, self.trail()?);
        crate::audit::make_months(&mut connection, at)?;
        match keep {
            Some(keep) => crate::audit::prune_months(&mut connection, trail, keep, at),
            None => Ok(None),
        }
    }

    /// Reads. Tried once more on another connection if the first turns out to be dead; reading twice harms nobody.
    pub fn read<T>(&self, work: impl Fn(&mut ReadTx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut connection = self.checkout()?;
        match work(&mut ReadTx::new(&mut connection)) {
            Err(error) if error.lost_connection() => {
                drop(connection);
                let mut connection = self.living_checkout()?;
                work(&mut ReadTx::new(&mut connection))
            }
            done => done,
        }
    }

    /// Changes something: `work` gets a transaction that takes effect by [`WriteTx::commit`] and not at all otherwise.
    pub fn write<T>(&self, work: impl FnOnce(WriteTx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (mut connection, trail) = (self.checkout()?, self.trail()?);
        match WriteTx::begin(&mut connection, trail) {
            Ok(tx) => return work(tx),
            // Nothing has been sent yet, so another connection can be tried; after this no write is ever repeated.
            Err(error) if error.lost_connection() => {}
            Err(error) => return Err(error),
        }
        drop(connection);
        let mut connection = self.living_checkout()?;
        let tx = WriteTx::begin(&mut connection, trail)?;
        work(tx)
    }

    /// Makes a token and writes that down; nothing is made if its parent, where it has one, was ended. The token is the
    /// permit's, as with [`tokens::create`](crate::tokens::create). A try whose answer was lost may be repeated: it makes
    /// one token.
    pub fn mint(&self, mint: &Mint) -> Result<Token, StoreError> {
        let (mut connection, trail) = (self.checkout()?, self.trail()?);
        match crate::tokens::mint(&mut connection, trail, mint) {
            // PostgreSQL undid it, since somebody waited for us as we for them; they are through now.
            Err(error) if error.undone() => {
                let done = crate::tokens::mint(&mut connection, trail, mint);
                return made_before(&mut connection, mint, done);
            }
            Err(error) if error.lost_connection() => {}
            done => return made_before(&mut connection, mint, done),
        }
        drop(connection);
        let mut connection = self.living_checkout()?;
        let done = crate::tokens::mint(&mut connection, trail, mint);
        made_before(&mut connection, mint, done)
    }

    /// Makes several tokens with one commit, each as [`mint`](Self::mint) does; what one of them rests on, and is there no
    /// more, refuses only that one. The answers are in the order of `mints`. After an error none was made, but if the
    /// connection was lost: then each can be tried again by itself.
    pub fn mint_together(&self, mints: &[&Mint]) -> Result<Vec<Result<Token, StoreError>>, StoreError> {
        self.write(|tx| crate::tokens::mint_together(tx, mints))
    }

    /// How many connections are open, and how many of them wait for work.
    pub fn connections(&self) -> Connections {
        let state = self.pool.state();
        Connections { open: state.connections, idle: state.idle_connections }
    }

    /// One round trip to the database, as proof that it answers.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.read(|tx| Ok(diesel::sql_query("SELECT 1").execute(tx.connection()).map(drop)?))
    }

    fn checkout(&self) -> Result<PooledConnection<ConnectionManager<PgConnection>>, StoreError> {
        self.pool.get().map_err(|error| StoreError::unavailable("no free connection", error))
    }

    /// After a connection was found dead its neighbours usually are too (the server restarted): skip those.
    fn living_checkout(&self) -> Result<PooledConnection<ConnectionManager<PgConnection>>, StoreError> {
        for _ in 0..self.pool.max_size() {
            let mut connection = self.checkout()?;
            if diesel::sql_query("SELECT 1").execute(&mut *connection).is_ok() {
                return Ok(connection);
            }
        }
        self.checkout()
    }
}

/// A try whose answer was lost may have happened. If so, the same ID cannot be made again, which says so.
fn made_before(
    connection: &mut PgConnection,
    mint: &Mint,
    done: Result<Token, StoreError>,
) -> Result<Token, StoreError> {
    match done {
        Err(StoreError::Conflict { what }) if what.contains("tokens_pkey") => {
            crate::tokens::made_before(connection, mint)?.ok_or(StoreError::Conflict { what })
        }
        done => done,
    }
}
