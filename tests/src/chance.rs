//! Chance that can be repeated: the same for the same seed.

use std::hash::{BuildHasher, RandomState};

/// A seed that nobody chose: to be said when what follows from it fails.
pub fn seed() -> u64 {
    RandomState::new().hash_one(()) >> 32
}

/// `SplitMix64`, by Guy Steele and others (2014).
pub struct Chance(u64);

impl Chance {
    /// From this seed on.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`, as evenly as a test needs it.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit as u64).expect("it is below a usize")
    }

    /// One of these.
    pub fn one_of<'t, T>(&mut self, things: &'t [T]) -> &'t T {
        &things[self.below(things.len())]
    }
}
