//! The grammar of `WWW-Authenticate` (RFC 9110 §11.2 to §11.6.1), read within bounds and without trust.

/// The longest header value that is read, in bytes.
pub const LONGEST_LINE: usize = 8 * 1024;
/// The most challenges and parameters that one line may hold, together.
pub const MOST_PARTS: usize = 64;
/// The header value does not follow RFC 9110's grammar, or is larger than we are willing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefusal {
    /// Longer than [`LONGEST_LINE`].
    #[error("a challenge is longer than {} bytes", LONGEST_LINE)]
    TooLong,
    /// More than [`MOST_PARTS`] challenges and parameters.
    #[error("a challenge line has more than {} parts", MOST_PARTS)]
    TooMany,
    /// Not the grammar, or a parameter given twice.
    #[error("a challenge does not follow RFC 9110: see byte {at}")]
    Grammar {
        /// Where reading stopped, in bytes from the start.
        at: usize,
    },
}

/// One challenge of a header line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The scheme as it was written; compare it without regard to case.
    pub scheme: &'a str,
    /// What stands for parameters in schemes such as Negotiate.
    pub token68: Option<&'a str>,
    /// Names as they were written, and values without their quotes.
    pub parameters: Vec<(&'a str, String)>,
}

impl Challenge<'_> {
    /// The value of a parameter; its name is compared without regard to case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads one header value, which may hold several challenges.
pub fn parse(line: &str) -> Result<Vec<Challenge<'_>>, ChallengeRefusal> {
    if line.len() > LONGEST_LINE {
        return Err(ChallengeRefusal::TooLong);
    }
    let mut reader = Reader { line, at: 0 };
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    let mut parts = 0;
    reader.skip(b", \t");
    while !reader.is_done() {
        parts += 1;
        let start = reader.at;
        let word = reader.token()?;
        // After a comma, `name =` goes on with the present challenge and anything else begins the next one.
        if let Some(value) = reader.value()? {
            let refusal = ChallengeRefusal::Grammar { at: start };
            let challenge = challenges.last_mut().filter(|c| c.token68.is_none()).ok_or(refusal)?;
            if challenge.parameter(word).is_some() {
                return Err(refusal);
            }
            challenge.parameters.push((word, value));
        } else {
            let mut challenge = Challenge { scheme: word, token68: None, parameters: Vec::new() };
            if reader.skip(b" ") {
                let before = reader.at;
                match reader.token68() {
                    Some(token68) => challenge.token68 = Some(token68),
                    None if reader.is_done() || reader.peek() == Some(b',') => {}
                    None => {
                        // The first parameter follows its scheme without a comma.
                        let name = reader.token()?;
                        let value = reader.value()?.ok_or(ChallengeRefusal::Grammar { at: before })?;
                        challenge.parameters.push((name, value));
                        parts += 1;
                    }
                }
            }
            challenges.push(challenge);
        }
        if parts > MOST_PARTS {
            return Err(ChallengeRefusal::TooMany);
        }
        reader.skip(b" \t");
        if !reader.is_done() && !reader.skip(b", \t") {
            return Err(reader.refuse());
        }
    }
    Ok(challenges)
}

struct Reader<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn is_done(&self) -> bool {
        self.at >= self.line.len()
    }

    fn refuse(&self) -> ChallengeRefusal {
        ChallengeRefusal::Grammar { at: self.at }
    }

    /// Passes over any of `set`; whether there was one.
    fn skip(&mut self, set: &[u8]) -> bool {
        let start = self.at;
        while self.peek().is_some_and(|b| set.contains(&b)) {
            self.at += 1;
        }
        self.at > start
    }

    /// Takes bytes as long as `member` holds; they are ASCII, so the cut is between characters.
    fn run(&mut self, member: fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(member) {
            self.at += 1;
        }
        self.line.get(start..self.at).unwrap_or_default()
    }

    fn token(&mut self) -> Result<&'a str, ChallengeRefusal> {
        let token = self.run(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if token.is_empty() { Err(self.refuse()) } else { Ok(token) }
    }

    /// A token68 that ends the challenge; otherwise nothing is taken.
    fn token68(&mut self) -> Option<&'a str> {
        let start = self.at;
        let body = self.run(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        let empty = body.is_empty();
        self.run(|b| b == b'=');
        let end = self.at;
        self.skip(b" \t");
        let ends = self.is_done() || self.peek() == Some(b',');
        self.at = if empty || !ends { start } else { end };
        if empty || !ends { None } else { self.line.get(start..end) }
    }

    /// `= value` with optional blanks, or nothing taken if no equals sign follows.
    fn value(&mut self) -> Result<Option<String>, ChallengeRefusal> {
        let start = self.at;
        self.skip(b" \t");
        if self.peek() != Some(b'=') {
            self.at = start;
            return Ok(None);
        }
        self.at += 1;
        self.skip(b" \t");
        if self.peek() == Some(b'"') { self.quoted().map(Some) } else { self.token().map(|t| Some(t.to_owned())) }
    }

    fn quoted(&mut self) -> Result<String, ChallengeRefusal> {
        let mut value = String::new();
        let rest = self.line.get(self.at + 1..).ok_or_else(|| self.refuse())?;
        let mut characters = rest.char_indices();
        while let Some((offset, c)) = characters.next() {
            match c {
                '"' => {
                    self.at += offset + 2;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) if escaped == '\t' || !escaped.is_control() => value.push(escaped),
                    _ => return Err(self.refuse()),
                },
                c if c.is_control() && c != '\t' => return Err(self.refuse()),
                c => value.push(c),
            }
        }
        Err(self.refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_grammar_of_rfc_9110_is_read() {
        let line = "Newauth realm=\"apps\", type = 1 ,,\ttitle=\"Login to \\\"apps\\\"\", Basic realm=simple,Negotiate, NTLM abc/d==, X ";
        let read = parse(line).unwrap();
        let schemes: Vec<_> = read.iter().map(|c| c.scheme).collect();
        assert_eq!(schemes, ["Newauth", "Basic", "Negotiate", "NTLM", "X"]);
        assert_eq!(read[0].parameter("TITLE"), Some("Login to \"apps\""));
        assert_eq!(read[0].parameter("type"), Some("1"));
        assert_eq!(read[1].parameter("realm"), Some("simple"));
        assert_eq!(read[3].token68, Some("abc/d=="));
        assert_eq!(parse(" , ").unwrap(), []);
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        for line in [
            "realm=\"tok\"",
            "Bearer realm=\"tok",
            "Bearer realm=\"tok\\",
            "Bearer a=b, realm=",
            "Bearer realm=\"a\" scope=\"b\"",
            "Bearer realm=\"a\", realm=\"b\"",
            "Bearer abc, realm=\"a\"",
            "Bearer realm=\"a\nb\"",
            "Bearer (x)",
            "Bearer a b",
            "é",
        ] {
            assert!(matches!(parse(line), Err(ChallengeRefusal::Grammar { .. })), "{line}: {:?}", parse(line));
        }
        assert_eq!(parse(&"a,".repeat(65)), Err(ChallengeRefusal::TooMany));
        assert_eq!(parse(&"a".repeat(LONGEST_LINE + 1)), Err(ChallengeRefusal::TooLong));
    }

    proptest! {
        #[test]
        fn hostile_lines_are_read_without_panic(line in "\\PC{0,60}|[Bearer \",=\\\\\tt/é]{0,60}|(a ?=? ?\"?,?){0,80}") {
            if let Ok(read) = parse(&line) {
                prop_assert!(read.iter().map(|c| 1 + c.parameters.len()).sum::<usize>() <= MOST_PARTS);
            }
        }
    }
}
