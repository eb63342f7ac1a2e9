//! Digests of secrets that are no text of ours: those of other systems, and pairs of a name and a secret.
//!
//! Each kind has its label in front of what is hashed. No text of ours begins with one, so that a digest of one kind can
//! never be taken for one of another.

use hmac::Mac;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

use super::{Digest, Pepper};

/// The fewest characters of a foreign secret that is found by its digest. What is shorter could be tried through, so it
/// needs a slow hash and a name to be found by.
pub const LEAST_FOREIGN: usize = 16;
/// The longest secret of any form that is looked at, in bytes.
pub const LONGEST_SECRET: usize = 1024;

const FOREIGN: &[u8] = b"tok foreign secret\0";

/// A random secret that another system made. Only its SHA-256 is kept, so that what was brought in by value and what was
/// brought in by hash are found alike.
pub struct ForeignSecret(Zeroizing<[u8; 32]>);

impl ForeignSecret {
    /// Of its text.
    pub fn of_text(text: &str) -> Self {
        Self(Zeroizing::new(Sha256::digest(text.as_bytes()).into()))
    }

    /// Of its SHA-256, written in hexadecimal digits; `None` if it is not 64 of those.
    pub fn of_sha256(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = Zeroizing::new([0_u8; 32]);
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// What the store may know of it.
    pub fn digest(&self, pepper: &Pepper) -> Digest {
        pepper.labelled(FOREIGN, &[&*self.0])
    }
}

/// What a name and a secret belong together for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairOf {
    /// A token with a chosen secret, once it was found good: remembered in memory only.
    Chosen,
    /// A temporary token: kept in memory only.
    Temporary,
    /// What a device that wants to be logged in is known by. It has no name.
    DeviceCode,
    /// What its user types to approve that. It has no name.
    UserCode,
    /// What a form of the console carries, so that it was this server's page that it was sent from: for whom, and for
    /// which form.
    ConsoleForm,
}

impl Pepper {
    /// The digest of a name and a secret, such that no other two have it.
    pub fn pair(&self, of: PairOf, name: &str, secret: &str) -> Digest {
        let label: &[u8] = match of {
            PairOf::Chosen => b"tok chosen secret\0",
            PairOf::Temporary => b"tok temporary token\0",
            PairOf::DeviceCode => b"tok device code\0",
            PairOf::UserCode => b"tok user code\0",
            PairOf::ConsoleForm => b"tok console form\0",
        };
        self.labelled(label, &[name.as_bytes(), secret.as_bytes()])
    }

    fn labelled(&self, label: &[u8], parts: &[&[u8]]) -> Digest {
        let mut mac = self.keyed.clone();
        mac.update(label);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Digest(mac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{PepperId, Plaintext};

    fn pepper() -> Pepper {
        Pepper::new(PepperId(1), [7; 32])
    }

    #[test]
    fn by_value_and_by_hash_are_the_same() {
        let text = "wick_pat_0123456789abcdef0123456789abcdef";
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let abc = ForeignSecret::of_sha256(&hex.to_ascii_uppercase()).unwrap();
        assert!(ForeignSecret::of_text("abc").digest(&pepper()) == abc.digest(&pepper()));
        assert!(ForeignSecret::of_text(text).digest(&pepper()) != abc.digest(&pepper()));
        for bad in ["", "ba78", &"g".repeat(64), &hex[1..]] {
            assert!(ForeignSecret::of_sha256(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn no_kind_of_digest_is_taken_for_another() {
        let ours = Plaintext::parse("tokpat_00000000000000000000000000000000003lJNA8").unwrap();
        let digests = [
            ours.digest(&pepper()),
            ForeignSecret::of_text(ours.reveal()).digest(&pepper()),
            pepper().pair(PairOf::Chosen, "ann", "secret"),
            pepper().pair(PairOf::Chosen, "anns", "ecret"),
            pepper().pair(PairOf::Temporary, "ann", "secret"),
            Pepper::new(PepperId(1), [8; 32]).pair(PairOf::Chosen, "ann", "secret"),
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(digests[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
