//! The keyed hash that keeps the audit trail as it was written: nobody who lacks the pepper can make up, change or
//! re-link a line of it.
//!
//! Every field is hashed with its length, so that no two different sequences of fields are the same bytes, and each use
//! of the key begins with words of its own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Derived from a pepper by [`Pepper::trail_key`](crate::secret::Pepper::trail_key).
#[derive(Clone)]
pub struct TrailKey(Hmac<Sha256>);

impl TrailKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the block size itself (RFC 2104); doing it here makes the call infallible.
        let mut block = secrecy::zeroize::Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(key);
        Self(Hmac::new((&*block).into()))
    }

    /// Begins a hash; `purpose` tells it from every other use of the key.
    pub fn begin(&self, purpose: &str) -> TrailHash {
        let mut hash = TrailHash(self.0.clone());
        hash.bytes(Some(purpose.as_bytes()));
        hash
    }
}

impl std::fmt::Debug for TrailKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrailKey(..)")
    }
}

/// A hash under way.
pub struct TrailHash(Hmac<Sha256>);

impl TrailHash {
    /// Takes in a field that may be absent, which differs from every value, the empty one included.
    pub fn bytes(&mut self, field: Option<&[u8]>) {
        match field {
            None => self.0.update(&[0]),
            Some(bytes) => {
                self.0.update(&[1]);
                self.0.update(&(bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
        }
    }

    /// Takes in a number.
    pub fn number(&mut self, number: i64) {
        self.bytes(Some(&number.to_be_bytes()));
    }

    /// The hash of all that was taken in.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Pepper, PepperId};

    fn hash(key: &TrailKey, purpose: &str, fields: &[Option<&str>]) -> [u8; 32] {
        let mut hash = key.begin(purpose);
        for field in fields {
            hash.bytes(field.map(str::as_bytes));
        }
        hash.finish()
    }

    #[test]
    fn no_two_sequences_of_fields_are_alike() {
        let key = Pepper::new(PepperId(1), [7; 32]).trail_key();
        let sequences: [(&str, &[Option<&str>]); 7] = [
            ("line", &[Some("ab"), Some("c")]),
            ("line", &[Some("a"), Some("bc")]),
            ("line", &[Some("abc")]),
            ("line", &[Some("abc"), None]),
            ("line", &[Some("abc"), Some("")]),
            ("line", &[None, Some("abc")]),
            ("seal", &[Some("abc")]),
        ];
        let hashes: std::collections::BTreeSet<_> = sequences.iter().map(|(p, f)| hash(&key, p, f)).collect();
        assert_eq!(hashes.len(), sequences.len());
        assert_eq!(hash(&key, "line", &[Some("abc")]), hash(&key, "line", &[Some("abc")]));
    }

    #[test]
    fn another_pepper_is_another_key_and_the_key_does_not_print() {
        let (one, other) = (Pepper::new(PepperId(1), [7; 32]), Pepper::new(PepperId(1), [8; 32]));
        assert_ne!(hash(&one.trail_key(), "line", &[]), hash(&other.trail_key(), "line", &[]));
        assert_eq!(format!("{:?}", one.trail_key()), "TrailKey(..)");
    }
}
