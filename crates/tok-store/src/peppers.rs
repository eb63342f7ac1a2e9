//! Which peppers the database knows, so that a wrong pepper file is noticed before a single token is refused for it.

use diesel::prelude::*;
use subtle::ConstantTimeEq;
use tok_model::clock::Timestamp;
use tok_model::secret::{PepperId, Peppers};

use crate::error::StoreError;
use crate::schema::peppers;
use crate::tx::{ReadTx, WriteTx, exactly};

/// Why the pepper file does not belong to the database.
#[derive(Debug, thiserror::Error)]
pub enum PepperMismatch {
    /// Same number, other key.
    #[error("the pepper {} in the pepper file is not the one this database was made with, so no token could be verified: put the right file back (it is never stored in the database or its backups)", .0.0)]
    Wrong(PepperId),
    /// The database has tokens under a pepper that the file lacks.
    #[error("the pepper file lacks the pepper {} that tokens in this database were made with: add its line again", .0.0)]
    Missing(PepperId),
    /// Asking failed.
    #[error("the peppers could not be checked")]
    Store(#[from] StoreError),
}

/// Checks the file's peppers against the database's. Returns those of the file that the database does not know yet.
pub fn check(tx: &mut ReadTx<'_>, file: &Peppers) -> Result<Vec<PepperId>, PepperMismatch> {
    let known: Vec<(i16, Vec<u8>)> =
        peppers::table.select((peppers::id, peppers::fingerprint)).load(tx.connection()).map_err(StoreError::from)?;
    for (id, fingerprint) in &known {
        let id = PepperId(*id);
        let pepper = file.every().find(|p| p.id() == id).ok_or(PepperMismatch::Missing(id))?;
        if !bool::from(pepper.fingerprint().as_bytes().as_slice().ct_eq(fingerprint)) {
            return Err(PepperMismatch::Wrong(id));
        }
    }
    Ok(file.every().map(tok_model::secret::Pepper::id).filter(|id| known.iter().all(|(k, _)| *k != id.0)).collect())
}

/// Writes down a pepper that the database does not know yet. Part of starting, before anybody calls.
pub fn register(tx: &mut WriteTx<'_>, file: &Peppers, id: PepperId, at: Timestamp) -> Result<(), StoreError> {
    let Some(pepper) = file.every().find(|p| p.id() == id) else {
        return Err(StoreError::NotFound {
            what: format!("the pepper file has no pepper {}", id.0),
            look: "tokd's configuration says where the file is".to_owned(),
        });
    };
    let written = diesel::insert_into(peppers::table)
        .values((
            peppers::id.eq(id.0),
            peppers::fingerprint.eq(pepper.fingerprint().as_bytes().to_vec()),
            peppers::registered_at.eq(at),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())?;
    exactly(1, written, "another tokd registered this pepper at the same moment; start again")
}

/// How many peppers the database knows.
pub fn count(tx: &mut ReadTx<'_>) -> Result<i64, StoreError> {
    Ok(peppers::table.count().get_result(tx.connection())?)
}
