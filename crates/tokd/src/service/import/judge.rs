//! Whether a secret of another system is as random as its format says. Such a one is found by its text alone, so whoever
//! guesses it has it.

use secrecy::{ExposeSecret as _, SecretString};
use tok_model::import::FOREIGN_PREFIXES;
use tok_model::secret::{ForeignSecret, LEAST_FOREIGN, Pepper};
use zxcvbn::Score;

use super::entry::Secret;
use crate::strength;

/// What a system makes behind its prefix has so many characters at least, where an estimate finds a pattern in it, …
const LONG: usize = 32;
/// … and so many different ones among them.
const DIFFERENT: usize = 10;

/// Texts of which the hash is refused. In general nobody can say what a hash is of; these are what is tried first.
const EVIDENT: &[&str] = &[
    "",
    "password",
    "passwordpassword",
    "password12345678",
    "password123456789",
    "changemechangeme",
    "changeme",
    "secret",
    "secretsecretsecret",
    "token",
    "admin",
    "root",
    "test",
    "hunter2",
    "letmein",
    "qwerty",
    "qwertyuiopasdfgh",
    "qwertyuiopasdfghjklzxcvbnm",
    "123456",
    "12345678",
    "123456789",
    "1234567890",
    "1234567890123456",
    "1234567812345678",
    "0123456789abcdef",
    "0123456789abcdef0123456789abcdef",
    "aaaaaaaaaaaaaaaa",
    "0000000000000000",
    "xxxxxxxxxxxxxxxx",
];

/// Takes a secret as random if it can be, else as one that somebody chose, else not at all. `about` are the words that a
/// guesser begins with: the token's name, and whose it is. The reason never has anything of the secret in it.
pub(super) fn judge(secret: Secret, about: &[String], pepper: &Pepper) -> Result<Secret, String> {
    match secret {
        Secret::Random { secret, text: None, .. } if is_evident(&secret, about, pepper) => Err(
            "its hash is that of nothing, of its name, or of a password that is tried first; make a new token instead"
                .to_owned(),
        ),
        Secret::Random { text: Some(text), .. } if !is_random(&text, about) => {
            // A prefix that everybody knows makes nothing stronger.
            match strength::check(body(text.expose_secret()), about) {
                Ok(()) => Ok(Secret::Chosen(text)),
                Err(why) => Err(format!(
                    "its text is none that a system made at random, and as a secret that somebody chose it is refused: {why}; make a new token instead"
                )),
            }
        }
        other => Ok(other),
    }
}

/// Whether a text is beyond guessing even by whoever has no name to it.
fn is_random(text: &SecretString, about: &[String]) -> bool {
    let text = text.expose_secret();
    let body = body(text);
    if body.len() < LEAST_FOREIGN {
        return false;
    }
    let different = body.bytes().collect::<std::collections::HashSet<_>>().len();
    strength::score(body, about) >= Score::Three
        || (body.len() < text.len() && body.len() >= LONG && different >= DIFFERENT)
}

/// A text without the prefix of its system.
fn body(text: &str) -> &str {
    FOREIGN_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text)
}

fn is_evident(secret: &ForeignSecret, about: &[String], pepper: &Pepper) -> bool {
    let digest = secret.digest(pepper);
    let is = |text: &str| ForeignSecret::of_text(text).digest(pepper) == digest;
    EVIDENT.iter().chain(&FOREIGN_PREFIXES).any(|text| is(text) || is(&format!("{text}\n")))
        || about.iter().any(|word| is(word) || is(&word.to_lowercase()) || is(&word.repeat(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::import::entry::random;
    use sha2::{Digest as _, Sha256};
    use tok_model::secret::PepperId;

    fn judged(text: Option<&str>, sha256: Option<&str>) -> Result<&'static str, String> {
        let pepper = Pepper::random(PepperId(1), &mut crate::service::rng());
        let about = ["deploy-of-acme".to_owned(), "annabelle-of-the-hill".to_owned()];
        judge(random(text, sha256, "wit_")?, &about, &pepper).map(|secret| match secret {
            Secret::Random { .. } => "random",
            Secret::Chosen(_) => "chosen",
            Secret::Bcrypt(_) => "bcrypt",
        })
    }

    #[test]
    fn only_what_nobody_can_guess_is_found_by_its_text_alone() {
        for random in [
            "wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0",
            "wit_0123456789abcdef0123456789abcdef",
            "gr_7d1f0b9e6a2c4835",
            "k9Xw2vQpL7mZr4TbN8sH",
            "f3a9d1c07b52e8864d",
        ] {
            assert_eq!(judged(Some(random), None), Ok("random"), "{random}");
        }
        for chosen in ["wit_k9Xw2vQpL7mZ", "k9Xw2vQpL7mZr"] {
            assert_eq!(judged(Some(chosen), None), Ok("chosen"), "{chosen}");
        }
        for (weak, says) in [
            ("password12345678", "can be guessed"),
            ("aaaaaaaaaaaaaaaa", "can be guessed"),
            ("wit_aaaaaaaaaaaaaaaa", "can be guessed"),
            ("wit_password12345678", "can be guessed"),
            ("wit_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "can be guessed"),
            ("deploy-of-acme12", "can be guessed"),
            ("Annabelle-of-the-hill", "can be guessed"),
            ("k9Xw2vQpL7m", "too short"),
            ("wit_a1b2c3…s9t0", "cut short"),
            ("wit_a1b2c3d4e5f6...q7r8s9t0", "cut short"),
        ] {
            let why = judged(Some(weak), None).unwrap_err();
            assert!(why.contains(says) && !why.contains(weak), "{weak}: {why}");
        }
    }

    #[test]
    fn the_hash_of_nothing_or_of_an_evident_word_is_refused() {
        let hash = |text: &str| {
            let pairs: Vec<String> = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.concat()
        };
        for evident in ["", "\n", "password", "password12345678", "deploy-of-acme", "annabelle-of-the-hill", "wit_"] {
            let why = judged(None, Some(&hash(evident))).unwrap_err();
            assert!(why.contains("tried first"), "{evident:?}: {why}");
        }
        assert_eq!(judged(None, Some(&hash("wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4"))), Ok("random"));
    }
}
