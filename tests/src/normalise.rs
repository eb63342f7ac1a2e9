//! Text in which everything that differs from run to run has a name instead.

use tok_model::secret::{BODY_LENGTH, CHECKSUM_LENGTH, Plaintext};

use crate::secrets::tokens_in;

/// Puts `[token]` for whole tokens. What is hidden is certain to be one: its checksum was right.
pub fn without_tokens(text: &str) -> String {
    let mut text = text.to_owned();
    for token in tokens_in(text.as_bytes()) {
        assert!(Plaintext::parse(&token).is_ok());
        text = text.replace(&token, "[token]");
    }
    text
}

/// Puts `[token]` for tokens, `[prefix]` for their beginnings as lists show them, `[id]` for UUIDs, `[time]` for times, `[number]` for Unix times, and the given
/// names for the given texts, longest first.
pub fn normalise(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = without_tokens(text);
    let mut names = names.to_vec();
    names.sort_by_key(|(found, _)| std::cmp::Reverse(found.len()));
    for (found, name) in names {
        text = text.replace(found, name);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back().is_none_or(|c| !c.is_ascii_alphanumeric());
        let found = if before { variable_part(rest) } else { None };
        if let Some((length, name)) = found {
            out.push_str(name);
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn variable_part(text: &str) -> Option<(usize, &'static str)> {
    let ends = |length: usize| text[length..].chars().next().is_none_or(|c| !c.is_ascii_alphanumeric());
    let shaped = |shape: &str| {
        let fits = text.len() >= shape.len()
            && text.is_char_boundary(shape.len())
            && text.bytes().zip(shape.bytes()).all(|(found, form)| match form {
                b'h' => found.is_ascii_hexdigit(),
                b'9' => found.is_ascii_digit(),
                b'x' => found.is_ascii_alphanumeric(),
                other => found == other,
            });
        (fits && ends(shape.len())).then_some(shape.len())
    };
    if let Some(length) = shaped("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") {
        return Some((length, "[id]"));
    }
    // As JSON has them, and as people read them.
    for shape in [
        "9999-99-99T99:99:99Z",
        "9999-99-99T99:99:99.999Z",
        "9999-99-99T99:99:99.999999Z",
        "9999-99-99 99:99:99.999999 UTC",
        "9999-99-99 99:99:99.999 UTC",
        "9999-99-99 99:99:99 UTC",
        "9999-99-99 99:99 UTC",
        "9999-99-99 99:99:99",
    ] {
        if let Some(length) = shaped(shape) {
            return Some((length, "[time]"));
        }
    }
    for kind in ["pat", "wsp", "rep", "ses", "git"] {
        if let Some(length) = shaped(&format!("tok{kind}_xxxx")) {
            return Some((length, "[prefix]"));
        }
    }
    // Ten digits: a Unix time until the year 2286.
    shaped("9999999999").map(|length| (length, "[number]"))
}

/// A token that is well-formed and known to no server.
pub fn invented_token() -> String {
    const INVENTED: &str = "tokgit_0000000000000000000000000000000000";
    assert_eq!(INVENTED.len(), 7 + BODY_LENGTH);
    let sum = crc(INVENTED.as_bytes());
    let alphabet: Vec<char> = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    let mut rest = sum as usize;
    let mut digits = Vec::new();
    for _ in 0..CHECKSUM_LENGTH {
        digits.push(alphabet[rest % 62]);
        rest /= 62;
    }
    let token = INVENTED.chars().chain(digits.into_iter().rev()).collect::<String>();
    assert!(Plaintext::parse(&token).is_ok(), "the documented checksum is CRC-32 (ISO-HDLC) in base62");
    token
}

/// CRC-32 (ISO-HDLC), bit by bit, independent of the crate that the product uses.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_gets_a_name() {
        let token = invented_token();
        let text = format!(
            "{token} 1b4e28ba-2fa1-4d2e-883f-0016d3cca427 2026-11-22T10:00:00Z 1800000000 /tmp/x/y 127.0.0.1 3"
        );
        let expected = "[token] [id] [time] [number] [root]/y 127.0.0.1 3";
        assert_eq!(normalise("tokpat_a1B2… tokpat_a1B2c tokpat_", &[]), "[prefix]… tokpat_a1B2c tokpat_");
        assert_eq!(normalise(&text, &[("/tmp/x", "[root]")]), expected);
        assert_eq!(normalise("a1800000000 18000000001 2026-11-22", &[]), "a1800000000 18000000001 2026-11-22");
    }
}
