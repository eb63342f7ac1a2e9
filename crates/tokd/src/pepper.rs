//! The pepper file: the key that the database never has.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::id::ChainId;
use tok_model::secret::{Pepper, PepperFileError, PepperId, Peppers};
use tok_store::peppers::PepperMismatch;
use tok_store::{Store, StoreError};

/// Why there is no pepper to start with.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The file is not there, and the database has tokens that need it.
    #[error(
        "the pepper file {path} is missing, and this database's tokens cannot be verified without it: put it back from your backup (it is not in the database's)"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("the pepper file {path} cannot be used")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("the pepper file {path} has the mode {mode:04o}, so others may read it: chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could change it.
    #[error(
        "the pepper file {path} belongs to the user ID {owner}, who could read and change it: chown it to tokd's user"
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It is not a pepper file.
    #[error("the pepper file {path} is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PepperFileError,
    },
    /// It belongs to another database.
    #[error("{path} does not belong to this database")]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// How it differs.
        #[source]
        source: PepperMismatch,
    },
    /// The database cannot be asked.
    #[error("the peppers could not be checked against the database")]
    Store(#[from] StoreError),
}

/// The peppers that belong to this database: read and checked, or made if neither side has one yet. With them the audit
/// trail's next chain is begun, and so the store can write.
pub fn ready(store: Store, path: &Path, now: Timestamp) -> Result<(Store, Arc<Peppers>), PepperError> {
    let known = store.read(tok_store::peppers::count)?;
    let peppers = match read(path)? {
        Some(peppers) => peppers,
        None if known > 0 => return Err(PepperError::Missing { path: path.to_owned() }),
        None => make(path)?,
    };
    let peppers = Arc::new(peppers);
    let mismatch = |source| PepperError::Mismatch { path: path.to_owned(), source };
    let checked = store.read(|tx| Ok(tok_store::peppers::check(tx, &peppers)))?;
    let unknown = checked.map_err(mismatch)?;
    let store = store.open_trail(&peppers, ChainId::random(&mut UnwrapErr(SysRng)), now)?;
    for id in unknown {
        let file = Arc::clone(&peppers);
        store.write(move |mut tx| {
            tok_store::peppers::register(&mut tx, &file, id, now)?;
            tx.commit(
                AuditEvent::done(Action::ServerSetup, Actor::daemon()).detail(format!("pepper {} registered", id.0)),
                now,
            )
        })?;
    }
    Ok((store, peppers))
}

fn read(path: &Path) -> Result<Option<Peppers>, PepperError> {
    let file = |source| PepperError::File { path: path.to_owned(), source };
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
    };
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(PepperError::Foreign { path: path.to_owned(), owner });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PepperError::Exposed { path: path.to_owned(), mode });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file)?);
    text.parse().map(Some).map_err(|source| PepperError::Damaged { path: path.to_owned(), source })
}

fn make(path: &Path) -> Result<Peppers, PepperError> {
    let file = |source| PepperError::File { path: path.to_owned(), source };
    let peppers = Peppers::only(Pepper::random(PepperId(1), &mut UnwrapErr(SysRng)));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(file)?;
    }
    // Whole or not at all: a full disk must not leave half a key behind that later counts as damaged.
    let growing = path.with_extension("new");
    let _ = std::fs::remove_file(&growing);
    let mut opened =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&growing).map_err(file)?;
    let written = opened
        .write_all(peppers.to_file().expose_secret().as_bytes())
        .and_then(|()| opened.sync_all())
        .and_then(|()| std::fs::hard_link(&growing, path));
    let _ = std::fs::remove_file(&growing);
    written.map_err(file)?;
    tracing::info!(path = %path.display(), "Made the pepper file; back it up apart from the database: without it no token can be verified");
    Ok(peppers)
}
