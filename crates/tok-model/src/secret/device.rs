//! The two codes of a login that is approved in a browser (RFC 8628): one that the device keeps to itself, and one that its
//! user types.

use rand::CryptoRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::{ALPHABET, BODY_LENGTH, Digest, PairOf, Pepper, draw};

/// Consonants: no words come of them, and none is taken for a digit (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code: 2.5 × 10¹⁰ of them, of which ten minutes and a few tries reach none.
const USER_CODE_LENGTH: usize = 8;

/// What the device presents to ask whether it was approved: as hard to guess as a token.
pub struct DeviceCode(SecretString);

impl DeviceCode {
    /// A new one.
    pub fn mint(rng: &mut impl CryptoRng) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(BODY_LENGTH));
        draw(&mut text, BODY_LENGTH, ALPHABET, rng);
        Self(SecretString::from(text.as_str()))
    }

    /// Reads what a device presented; `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = text.len() == BODY_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        whole.then(|| Self(SecretString::from(text)))
    }

    /// The text, for the device.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the store may know of it.
    pub fn digest(&self, pepper: &Pepper) -> Digest {
        pepper.pair(PairOf::DeviceCode, "", self.reveal())
    }
}

/// What the person types. Shown on the device's screen, and good for nothing without a login and a "yes".
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A new one.
    pub fn mint(rng: &mut impl CryptoRng) -> Self {
        let mut letters = String::with_capacity(USER_CODE_LENGTH);
        draw(&mut letters, USER_CODE_LENGTH, LETTERS, rng);
        Self(letters)
    }

    /// Reads what a person typed: in whatever case, with whatever dashes and spaces. `None` if it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: String = text
            .chars()
            .filter(|character| !character.is_whitespace() && !matches!(character, '-' | '\u{2010}'..='\u{2014}'))
            .take(USER_CODE_LENGTH + 1)
            .map(|character| character.to_ascii_uppercase())
            .collect();
        let whole = letters.len() == USER_CODE_LENGTH && letters.bytes().all(|letter| LETTERS.contains(&letter));
        whole.then_some(Self(letters))
    }

    /// As it is shown: `WDJB-MJHT`.
    pub fn shown(&self) -> String {
        let (first, last) = self.0.split_at(USER_CODE_LENGTH / 2);
        format!("{first}-{last}")
    }

    /// What the store may know of it.
    pub fn digest(&self, pepper: &Pepper) -> Digest {
        pepper.pair(PairOf::UserCode, "", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::secret::PepperId;

    #[test]
    fn codes_come_back_however_they_are_typed() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut letters = BTreeSet::new();
        for _ in 0..200 {
            let code = UserCode::mint(&mut rng);
            let shown = code.shown();
            assert_eq!((shown.len(), shown.as_bytes()[4]), (9, b'-'), "{shown}");
            letters.extend(shown.bytes());
            for typed in
                [&shown, &shown.to_lowercase(), &shown.replace('-', " "), &format!(" {} ", shown.replace('-', ""))]
            {
                assert!(UserCode::parse(typed).is_some_and(|read| read == code), "{typed}");
            }
        }
        assert_eq!(letters.len(), LETTERS.len() + 1);
        for wrong in ["", "WDJB", "WDJB-MJHA", "WDJB-MJHTW", "WDJB_MJHT", "1234-5678", "ẞDJB-MJHT"] {
            assert!(UserCode::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_device_code_is_as_long_as_a_token() {
        let code = DeviceCode::mint(&mut StdRng::seed_from_u64(7));
        assert_eq!(code.reveal().len(), BODY_LENGTH);
        let again = DeviceCode::parse(code.reveal()).unwrap();
        let pepper = Pepper::new(PepperId(1), [7; 32]);
        assert!(again.digest(&pepper) == code.digest(&pepper));
        assert!(DeviceCode::parse(&code.reveal()[1..]).is_none());
        assert!(DeviceCode::parse(&format!("{}-", &code.reveal()[1..])).is_none());
    }
}
