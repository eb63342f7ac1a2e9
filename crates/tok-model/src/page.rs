//! Pages of a list: how many rows, and the cursor to the next ones.
//!
//! A cursor names the last row that was shown by what never changes about it, so pages neither skip nor repeat rows
//! while others come and go. To everybody outside it is one opaque word.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use uuid::Uuid;

use crate::clock::Timestamp;

/// The first byte of every cursor; a later form takes the next number.
const VERSION: u8 = 1;
/// Version, microseconds, identifier.
const BODY: usize = 1 + 8 + 16;
/// The body and its checksum.
const WHOLE: usize = BODY + 4;

/// The text is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not the shape of a cursor, or a character was lost or changed on the way.
    #[error("this is not a whole cursor; copy next_cursor exactly, or start again without one")]
    Damaged,
    /// A cursor of another version of tok.
    #[error("this cursor is of another version of tok; start the list again without one")]
    Version,
}

/// The last row of a page: rows are ordered by creation time and then identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    at: Timestamp,
    id: Uuid,
}

impl Cursor {
    /// The cursor of a row; the time is kept to the microsecond, as the store keeps it.
    pub fn new(created_at: Timestamp, id: Uuid) -> Self {
        let at = DateTime::from_timestamp_micros(created_at.timestamp_micros()).unwrap_or(created_at);
        Self { at, id }
    }

    /// When the row was created.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The row's identifier.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(WHOLE);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        f.pad(&hex(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = unhex(text).ok_or(CursorError::Damaged)?;
        let (body, checksum) = bytes.split_at_checked(bytes.len().wrapping_sub(4)).ok_or(CursorError::Damaged)?;
        if crc32fast::hash(body).to_be_bytes() != checksum {
            return Err(CursorError::Damaged);
        }
        let (version, rest) = body.split_first().ok_or(CursorError::Damaged)?;
        if *version != VERSION {
            return Err(CursorError::Version);
        }
        let (micros, id) = rest.split_first_chunk::<8>().ok_or(CursorError::Damaged)?;
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros)).ok_or(CursorError::Damaged)?;
        let id = Uuid::from_slice(id).map_err(|_| CursorError::Damaged)?;
        Ok(Self { at, id })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Lower-case hexadecimal only: each cursor has exactly one text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    if text.len() > 4 * WHOLE || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// The number of rows is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a page has 1 to {} rows", PageSize::MOST)]
pub struct PageSizeError;

/// How many rows a page has: 1 to 1,000, by default 50.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize(u16);

impl PageSize {
    /// The largest page.
    pub const MOST: u16 = 1000;

    /// The number of rows.
    pub fn rows(self) -> u16 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<u32> for PageSize {
    type Error = PageSizeError;
    fn try_from(rows: u32) -> Result<Self, PageSizeError> {
        u16::try_from(rows).ok().filter(|rows| (1..=Self::MOST).contains(rows)).map(Self).ok_or(PageSizeError)
    }
}

impl FromStr for PageSize {
    type Err = PageSizeError;
    fn from_str(text: &str) -> Result<Self, PageSizeError> {
        text.parse::<u32>().map_err(|_| PageSizeError)?.try_into()
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_cursor()(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999, id in any::<u128>()) -> Cursor {
            Cursor::new(DateTime::from_timestamp_micros(micros).unwrap(), Uuid::from_u128(id))
        }
    }

    #[test]
    fn a_cursor_of_a_later_version_says_so() {
        let mut body = vec![2, 1, 2, 3];
        body.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        assert_eq!(hex(&body).parse::<Cursor>(), Err(CursorError::Version));
        assert_eq!("".parse::<Cursor>(), Err(CursorError::Damaged));
    }

    #[test]
    fn page_sizes_are_bounded() {
        assert_eq!(PageSize::default().rows(), 50);
        assert_eq!("1000".parse::<PageSize>().unwrap().rows(), 1000);
        for bad in ["0", "1001", "-1", "", "many", "99999999999"] {
            assert_eq!(bad.parse::<PageSize>(), Err(PageSizeError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_and_is_safe_in_a_url(cursor in any_cursor()) {
            let text = cursor.to_string();
            prop_assert!(text.len() == 2 * WHOLE && text.bytes().all(|b| b.is_ascii_alphanumeric()));
            prop_assert_eq!(text.parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn one_changed_character_is_noticed(cursor in any_cursor(), at in 0..2 * WHOLE, with in "[0-9a-zA-Z]") {
            let mut text = cursor.to_string();
            text.replace_range(at..=at, &with);
            prop_assert!(text == cursor.to_string() || text.parse::<Cursor>().is_err());
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}|[0-9a-f]{0,80}") {
            let _ = text.parse::<Cursor>();
        }
    }
}
