//! Lines of `key=value`: how they are cut, what they may hold, and how they are printed again.

use secrecy::zeroize::Zeroizing;

/// The longest line git documents, in bytes and with its newline.
pub const LONGEST_LINE: usize = 65_535;

/// Why a request or an answer was refused as a whole. Names a line or a key, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More bytes than we are willing to read.
    #[error("more than {limit} bytes in all")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// Longer than [`LONGEST_LINE`].
    #[error("line {line} is longer than {} bytes", LONGEST_LINE)]
    LongLine {
        /// Counted from 1.
        line: usize,
    },
    /// A byte below 0x20, or 0x7f: a smuggled line break, most likely.
    #[error("line {line} has a control character")]
    Control {
        /// Counted from 1.
        line: usize,
    },
    /// Not UTF-8.
    #[error("line {line} is not UTF-8")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// No `=`, or nothing before it.
    #[error("line {line} is not key=value")]
    NoKey {
        /// Counted from 1.
        line: usize,
    },
    /// A key that has one value came twice.
    #[error("the key {key} came more than once")]
    Repeated {
        /// The key.
        key: &'static str,
    },
    /// Nothing, or an empty value, where a request needs one: an absent host never means "any host".
    #[error("the key {key} is missing or empty")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value that its key cannot have.
    #[error("the value of {key} is not one it can have")]
    Value {
        /// The key.
        key: &'static str,
    },
    /// The end came before the last line was whole.
    #[error("it was cut off before its end")]
    CutOff,
    /// The first line over the socket is not `tok/1 get`, `store` or `erase`.
    #[error("the first line is not a known operation of this version")]
    Head,
}

/// Cuts bytes into checked pairs until a blank line or the end. Splits on LF alone, and forgives exactly one CR before it.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    line: usize,
    blank: bool,
    whole: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8], limit: usize) -> Result<Self, Malformed> {
        if bytes.len() > limit {
            return Err(Malformed::TooLarge { limit });
        }
        Ok(Self { rest: bytes, line: 0, blank: false, whole: true })
    }

    /// Whether a blank line ended it.
    pub(super) fn ended_blank(&self) -> bool {
        self.blank
    }

    /// Whether the last line had its newline.
    pub(super) fn ended_whole(&self) -> bool {
        self.whole
    }

    /// The next line without its end; nothing after the last, or after a blank one.
    pub(super) fn text(&mut self) -> Option<Result<&'a str, Malformed>> {
        if self.blank || self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let line = self.line;
        let (text, length) = if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            (text.strip_suffix(b"\r").unwrap_or(text), end + 1)
        } else {
            self.whole = false;
            let text = std::mem::take(&mut self.rest);
            (text, text.len())
        };
        if length > LONGEST_LINE {
            return Some(Err(Malformed::LongLine { line }));
        }
        if text.is_empty() {
            self.blank = true;
            return None;
        }
        if text.iter().any(u8::is_ascii_control) {
            return Some(Err(Malformed::Control { line }));
        }
        Some(str::from_utf8(text).map_err(|_| Malformed::NotText { line }))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(&'a str, &'a str), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.text()?.and_then(|text| {
            let broken = Malformed::NoKey { line: self.line };
            text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or(broken)
        });
        Some(pair)
    }
}

/// Prints pairs into a buffer that is wiped when it is dropped. `each` is run twice, first to learn the size: a buffer
/// that grew would leave copies of secrets behind.
pub(super) fn print(head: &str, tail: &str, each: impl Fn(&mut dyn FnMut(&str, &str))) -> Zeroizing<Vec<u8>> {
    let mut size = head.len() + tail.len();
    each(&mut |key, value| size += key.len() + value.len() + 2);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.extend_from_slice(head.as_bytes());
    each(&mut |key, value| {
        for part in [key, "=", value, "\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    });
    bytes.extend_from_slice(tail.as_bytes());
    bytes
}

/// Whether `value` may stand in a line.
pub(super) fn printable(value: &str) -> bool {
    !value.bytes().any(|b| b.is_ascii_control())
}

/// `text` with every control character (C0, DEL and C1) spelled out, so that a terminal shows it and does not obey it.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}
