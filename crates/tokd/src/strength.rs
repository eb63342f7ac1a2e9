//! How strong a secret must be that somebody chooses: long, and not to be guessed from what is known of its owner.

use tok_model::kind::TokenKind;
use tok_model::secret::LONGEST_SECRET;
use zxcvbn::{Score, zxcvbn};

/// The fewest characters.
pub const LEAST_CHARACTERS: usize = 12;

/// Why a secret is not taken. Never has anything of the secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Too short.
    #[error("it is too short: take {LEAST_CHARACTERS} characters or more")]
    Short,
    /// Too long.
    #[error("it is too long: {LONGEST_SECRET} bytes are the most")]
    Long,
    /// Control characters.
    #[error("it has a line end or another control character in it")]
    Control,
    /// Looks like a token of ours.
    #[error("it begins as a token that tok makes does, and would be taken for one")]
    Token,
    /// Says nothing as a password.
    #[error("git hosting reads `x-oauth-basic` as no password at all")]
    Reserved,
    /// Known, or near to its owner's name, or a pattern.
    #[error("it can be guessed: common words, names, dates, and keys that lie side by side are tried first")]
    Guessable,
}

impl Weakness {
    /// What to do instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Control => "hand it over as one line; a single line end at its end is left off",
            _ => "four or more random words are strong and can be remembered",
        }
    }
}

/// Whether a secret may be chosen by somebody of whom these words are known.
pub fn check(secret: &str, about: &[String]) -> Result<(), Weakness> {
    if secret.len() > LONGEST_SECRET {
        return Err(Weakness::Long);
    }
    if secret.chars().any(char::is_control) {
        return Err(Weakness::Control);
    }
    if TokenKind::every().any(|kind| secret.starts_with(kind.prefix())) {
        return Err(Weakness::Token);
    }
    if secret == "x-oauth-basic" {
        return Err(Weakness::Reserved);
    }
    if secret.chars().count() < LEAST_CHARACTERS {
        return Err(Weakness::Short);
    }
    if score(secret, about) >= Score::Three { Ok(()) } else { Err(Weakness::Guessable) }
}

/// zxcvbn's estimate, from 0 (at once) to 4.
pub fn score(secret: &str, about: &[String]) -> Score {
    let mut near: Vec<&str> = about.iter().map(String::as_str).collect();
    near.extend(["tok", "tokd", "token"]);
    zxcvbn(secret, &near).score()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_ones_pass_and_each_weakness_is_named() {
        let about = ["deploy-of-acme".to_owned(), "annabelle".to_owned()];
        for good in
            ["violet-tractor-97-moon", "correct horse battery staple", "Zq8#fT2!vLp0", "größenwahn & zwölf boxkämpfer"]
        {
            assert_eq!(check(good, &about), Ok(()), "{good}");
        }
        for (bad, weakness) in [
            ("", Weakness::Short),
            ("Zq8#fT2!vLp", Weakness::Short),
            ("passwordpassword", Weakness::Guessable),
            ("qwertyuiopasdf", Weakness::Guessable),
            ("aaaaaaaaaaaaaaaaaa", Weakness::Guessable),
            ("annabelle1234", Weakness::Guessable),
            ("deploy-of-acme1", Weakness::Guessable),
            ("violet-tractor\n97", Weakness::Control),
            ("violet-tractor\097", Weakness::Control),
            ("x-oauth-basic", Weakness::Reserved),
            ("tokpat_violet-tractor-97-moon", Weakness::Token),
            (&"violet-tractor ".repeat(100), Weakness::Long),
        ] {
            assert_eq!(check(bad, &about), Err(weakness), "{bad:?}");
        }
    }
}
