//! Two types for one secret: [`Plaintext`] is shown once, [`Digest`] is what a query takes.
//!
//! Token text is a kind's prefix, 34 base62 characters from the operating system's generator (202 bits, so a keyed hash
//! is enough and no slow one is needed), and 6 base62 characters of CRC-32 (ISO-HDLC) over all that precedes. Base62
//! is `0-9A-Za-z`, most significant digit first. The checksum lets scanners recognise a token and lets tokd refuse a
//! typing error without asking the database; it is no protection.

mod device;
mod others;

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

use crate::kind::TokenKind;
use crate::trail::TrailKey;

pub use device::{DeviceCode, UserCode};
pub use others::{ForeignSecret, LEAST_FOREIGN, LONGEST_SECRET, PairOf};

/// Random characters in a token.
pub const BODY_LENGTH: usize = 34;
/// Checksum characters at its end.
pub const CHECKSUM_LENGTH: usize = 6;
/// Characters of the body that lists show after the prefix.
pub const SHOWN_LENGTH: usize = 4;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why text is not one of our tokens. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It starts with no prefix of ours.
    #[error("this is not a tok token: it starts with none of tokpat_, tokwsp_, tokrep_, tokses_, tokgit_")]
    Prefix,
    /// The prefix is ours, the rest is too short, too long, or not base62.
    #[error(
        "this token is not whole: {BODY_LENGTH} letters and digits and a checksum of {CHECKSUM_LENGTH} follow the prefix; copy it again"
    )]
    Shape,
    /// The checksum does not fit: a character was changed.
    #[error("this token has a wrong character: its checksum does not fit; copy it again")]
    Checksum,
}

/// The text of a token. No `Debug`, `Display`, `PartialEq` or `Serialize`, and wiped when dropped.
pub struct Plaintext {
    kind: TokenKind,
    text: SecretString,
}

impl Plaintext {
    /// A new token of `kind`.
    pub fn mint(kind: TokenKind, rng: &mut impl CryptoRng) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(kind.prefix().len() + BODY_LENGTH + CHECKSUM_LENGTH));
        text.push_str(kind.prefix());
        draw(&mut text, BODY_LENGTH, ALPHABET, rng);
        let sum = checksum(&text);
        text.push_str(&sum);
        Self { kind, text: SecretString::from(text.as_str()) }
    }

    /// Reads presented text, refusing what cannot be a token of ours before anything is hashed or asked.
    pub fn parse(text: &str) -> Result<Self, TokenTextError> {
        let kind = TokenKind::every().find(|k| text.starts_with(k.prefix())).ok_or(TokenTextError::Prefix)?;
        let rest = &text.as_bytes()[kind.prefix().len()..];
        if rest.len() != BODY_LENGTH + CHECKSUM_LENGTH || !rest.iter().all(u8::is_ascii_alphanumeric) {
            return Err(TokenTextError::Shape);
        }
        let (before, sum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        if checksum(before) != sum {
            return Err(TokenTextError::Checksum);
        }
        Ok(Self { kind, text: SecretString::from(text) })
    }

    /// The kind its prefix names.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Prefix and first characters, as in `tokpat_a1b2`: what lists show and what `revoke` takes.
    pub fn shown_prefix(&self) -> String {
        self.reveal()[..self.kind.prefix().len() + SHOWN_LENGTH].to_owned()
    }

    /// The text itself. Every call is a place where the secret leaves: the answer to its creation, and nowhere else.
    pub fn reveal(&self) -> &str {
        self.text.expose_secret()
    }

    /// What the store may know of it.
    pub fn digest(&self, pepper: &Pepper) -> Digest {
        pepper.digest(self.reveal().as_bytes())
    }
}

/// Adds so many characters of an alphabet, each as likely as the others.
fn draw<const N: usize>(text: &mut String, count: usize, alphabet: &[u8; N], rng: &mut impl CryptoRng) {
    // A few more than are used, so that the system is nearly always asked once.
    let mut bytes = Zeroizing::new([0_u8; BODY_LENGTH + 6]);
    let whole = text.len() + count;
    // The highest multiple: what lies above would make some characters likelier than others.
    let fair = 256 / N * N;
    while text.len() < whole {
        rng.fill_bytes(&mut *bytes);
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair).take(whole - text.len());
        text.extend(fair.map(|byte| char::from(alphabet[byte % N])));
    }
}

/// Where a whole token of ours stands in a text, as bytes: what people paste into the wrong place.
fn first_token(text: &str) -> Option<std::ops::Range<usize>> {
    let whole = |start: usize, kind: TokenKind| {
        let end = start + kind.prefix().len() + BODY_LENGTH + CHECKSUM_LENGTH;
        let found = text.get(start..end)?;
        found.starts_with(kind.prefix()).then_some(())?;
        Plaintext::parse(found).is_ok().then_some(start..end)
    };
    text.match_indices("tok").find_map(|(start, _)| TokenKind::every().find_map(|kind| whole(start, kind)))
}

/// Whether a whole token of ours stands in a text.
pub fn has_token(text: &str) -> bool {
    first_token(text).is_some()
}

/// A text in which of each token nothing stands but its prefix: what comes from strangers and is kept.
pub fn without_tokens(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = first_token(&text) {
        let prefix = at.start + TokenKind::Git.prefix().len();
        text.replace_range(prefix..at.end, "…");
    }
    text
}

fn checksum(before: &str) -> String {
    let mut rest = crc32fast::hash(before.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits.iter().map(|d| char::from(*d)).collect()
}

/// HMAC-SHA-256 of a token under a pepper: useless without the pepper, and nobody without it can make one up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes, for the store's column.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest read back from its column.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// A pepper's name. Each row tells under which pepper it was made, so that several can verify side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperId(pub i16);

/// A secret key that lives outside the database.
pub struct Pepper {
    id: PepperId,
    key: SecretBox<[u8; 32]>,
    /// Has taken in the key already, which is half the work of a digest.
    keyed: Hmac<Sha256>,
}

impl Pepper {
    /// A pepper with this name and key.
    pub fn new(id: PepperId, key: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the block size itself (RFC 2104); doing it here makes the call infallible.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&key);
        Self { id, key: SecretBox::new(Box::new(key)), keyed: Hmac::new((&*block).into()) }
    }

    /// A new random pepper.
    pub fn random(id: PepperId, rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *key);
        Self::new(id, *key)
    }

    /// Its name.
    pub fn id(&self) -> PepperId {
        self.id
    }

    /// A value that the database keeps to recognise the pepper by; says nothing of the key.
    pub fn fingerprint(&self) -> Digest {
        self.digest(b"tok pepper fingerprint")
    }

    /// A hash of what somebody asked for, by which a repetition is recognised. What is asked for may hold a secret, so it is
    /// hashed as one; no token's text begins so.
    pub fn request_hash(&self, asked_for: &str) -> [u8; 32] {
        self.digest(format!("request\n{asked_for}").as_bytes()).0
    }

    /// The key of the audit trail, derived from this pepper: what is known of one says nothing of the other.
    pub fn trail_key(&self) -> TrailKey {
        TrailKey::new(self.digest(b"tok audit trail key").as_bytes())
    }

    fn digest(&self, text: &[u8]) -> Digest {
        let mut mac = self.keyed.clone();
        mac.update(text);
        Digest(mac.finalize().into_bytes().into())
    }
}

/// All peppers of a server: new tokens are made under the current one, old ones verify under theirs.
pub struct Peppers {
    current: Pepper,
    earlier: Vec<Pepper>,
}

/// The pepper file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PepperFileError {
    /// A line that is not `<number>:<64 hexadecimal digits>`.
    #[error("line {line} of the pepper file is not <number>:<64 hexadecimal digits>")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// The same number twice.
    #[error("the pepper file has number {0} twice")]
    Twice(i16),
    /// No pepper in it.
    #[error("the pepper file has no pepper in it")]
    Empty,
}

impl Peppers {
    /// A server with one pepper.
    pub fn only(current: Pepper) -> Self {
        Self { current, earlier: Vec::new() }
    }

    /// The pepper that new tokens are made under.
    pub fn current(&self) -> &Pepper {
        &self.current
    }

    /// All of them, the current one first.
    pub fn every(&self) -> impl Iterator<Item = &Pepper> {
        std::iter::once(&self.current).chain(&self.earlier)
    }

    /// The file's text: one `<number>:<hex>` a line, the current pepper last.
    pub fn to_file(&self) -> SecretString {
        let mut text = Zeroizing::new(String::new());
        for pepper in self.earlier.iter().chain(std::iter::once(&self.current)) {
            text.push_str(&pepper.id.0.to_string());
            text.push(':');
            for byte in pepper.key.expose_secret() {
                for nibble in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
                }
            }
            text.push('\n');
        }
        SecretString::from(text.as_str())
    }
}

impl FromStr for Peppers {
    type Err = PepperFileError;
    fn from_str(text: &str) -> Result<Self, PepperFileError> {
        let mut peppers: Vec<Pepper> = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
            let wrong = PepperFileError::Line { line: at + 1 };
            let (id, hex) = line.trim().split_once(':').ok_or(wrong.clone())?;
            let id = PepperId(id.parse().map_err(|_| wrong.clone())?);
            let mut key = Zeroizing::new([0_u8; 32]);
            if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong);
            }
            for (byte, pair) in key.iter_mut().zip(hex.as_bytes().chunks(2)) {
                let pair = std::str::from_utf8(pair).map_err(|_| wrong.clone())?;
                *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong.clone())?;
            }
            if peppers.iter().any(|p| p.id == id) {
                return Err(PepperFileError::Twice(id.0));
            }
            peppers.push(Pepper::new(id, *key));
        }
        let current = peppers.pop().ok_or(PepperFileError::Empty)?;
        Ok(Self { current, earlier: peppers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    #[test]
    fn the_published_vectors_hold() {
        // Also in docs: a scanner that agrees on these agrees on all.
        for (body, whole) in [
            ("tokpat_0000000000000000000000000000000000", VECTORS[0]),
            ("tokgit_abcdefghijklmnopqrstuvwxyzABCDEFGH", VECTORS[1]),
        ] {
            assert_eq!(format!("{body}{}", checksum(body)), whole);
            assert!(Plaintext::parse(whole).is_ok());
        }
    }
    const VECTORS: [&str; 2] =
        ["tokpat_00000000000000000000000000000000003lJNA8", "tokgit_abcdefghijklmnopqrstuvwxyzABCDEFGH0MqZth"];

    #[test]
    fn a_digest_does_not_print_and_depends_on_the_pepper() {
        let token = Plaintext::mint(TokenKind::Git, &mut rng(1));
        let (one, two) = (Pepper::random(PepperId(1), &mut rng(2)), Pepper::random(PepperId(2), &mut rng(3)));
        assert_eq!(format!("{:?}", token.digest(&one)), "Digest(..)");
        assert!(token.digest(&one) != token.digest(&two));
        assert!(token.digest(&one) == Plaintext::parse(token.reveal()).unwrap().digest(&one));
    }

    #[test]
    fn the_pepper_file_round_trips_and_says_which_line_is_wrong() {
        let file = format!("# tok\n1:{}\n2:{}\n", "ab".repeat(32), "0F".repeat(32));
        let peppers: Peppers = file.parse().unwrap();
        assert_eq!(peppers.current().id(), PepperId(2));
        let again: Peppers = peppers.to_file().expose_secret().parse().unwrap();
        assert!(again.every().map(Pepper::fingerprint).eq(peppers.every().map(Pepper::fingerprint)));
        for (bad, says) in
            [("", "no pepper"), ("1:zz", "line 1"), ("\nx", "line 2"), (&format!("{0}\n{0}\n", &file[6..72]), "twice")]
        {
            let error = bad.parse::<Peppers>().err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(says), "{bad:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(seed: u64, kind in proptest::sample::select(TokenKind::every().collect::<Vec<_>>())) {
            let token = Plaintext::mint(kind, &mut rng(seed));
            let again = Plaintext::parse(token.reveal()).unwrap();
            prop_assert!(again.kind() == kind && again.reveal() == token.reveal());
            prop_assert_eq!(token.shown_prefix().len(), 11);
        }

        #[test]
        fn one_changed_character_is_refused(seed: u64, at in 0_usize..47, to in proptest::char::any()) {
            let token = Plaintext::mint(TokenKind::Personal, &mut rng(seed));
            let changed: String =
                token.reveal().chars().enumerate().map(|(i, c)| if i == at { to } else { c }).collect();
            prop_assert!(changed == token.reveal() || Plaintext::parse(&changed).is_err());
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,80}") {
            let _ = Plaintext::parse(&text);
            let _ = Plaintext::parse(&format!("tokpat_{text}"));
        }
    }

    #[test]
    fn a_token_in_a_text_is_found_and_taken_out() {
        let token = Plaintext::mint(TokenKind::Personal, &mut rand::rand_core::UnwrapErr(rand::rngs::SysRng));
        let text = token.reveal();
        for (written, kept) in [
            (text.to_owned(), "tokpat_…"),
            (format!("curl/{text} tok {text}x"), "curl/tokpat_… tok tokpat_…x"),
            (format!("ä{text}"), "ätokpat_…"),
        ] {
            assert!(has_token(&written));
            assert_eq!(without_tokens(&written), kept);
        }
        for harmless in ["", "tok", "git/2.47.3", &text[..20], "tokpat_…"] {
            assert!(!has_token(harmless));
            assert_eq!(without_tokens(harmless), harmless);
        }
    }
}
