//! Single fields, and the pages that lists come in.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use crate::fault::Fault;

/// Reads a field that must be there, through the one parser of its type. The fault names the field.
pub fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|why| Fault::field(name, why))
}

/// Reads a field that may be left out, which the wire says with an empty text.
pub fn optional<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<Option<T>, Fault> {
    if text.is_empty() { Ok(None) } else { parsed(name, text).map(Some) }
}

/// Reads a field that may be left out and is not empty if it is there: what nearly always was a variable that was not set
/// must not drop a condition.
pub fn if_said<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Fault> {
    match text {
        None => Ok(None),
        Some("") => Err(Fault::field(name, format!("{name} is empty")).hint("give it a value, or leave it out")),
        Some(text) => parsed(name, text).map(Some),
    }
}

/// Reads a moment that may be left out, as text (RFC 3339).
pub fn moment_said(name: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Fault> {
    let Some(text) = text else { return Ok(None) };
    // chrono's own words say neither which part is wrong nor what would be right.
    let Ok(moment) = DateTime::parse_from_rfc3339(text) else {
        let why = "this is no moment that a calendar knows, with its time and its distance from UTC";
        return Err(Fault::field(name, why).hint("write it as in 2026-11-22T10:00:00Z (RFC 3339)"));
    };
    Ok(Some(moment.to_utc()))
}

/// Which page of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageAsk {
    /// How many rows at most; `None` leaves it to the server.
    pub size: Option<u32>,
    /// Where the page before ended; `None` is the start. Opaque.
    pub cursor: Option<String>,
}

impl PageAsk {
    /// From a request's `page_size` and `cursor`.
    pub fn from_wire(page_size: u32, cursor: String) -> Self {
        Self { size: Some(page_size).filter(|size| *size > 0), cursor: given(cursor) }
    }

    pub(crate) fn into_wire(self) -> (u32, String) {
        (self.size.unwrap_or(0), self.cursor.unwrap_or_default())
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOf<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// What to ask for the next page with; `None`: this was the last.
    pub next_cursor: Option<String>,
    /// What else whoever reads it has to know, for people.
    pub note: Option<String>,
}

impl<T> PageOf<T> {
    /// Converts each row for the wire.
    pub fn into_wire<W: From<T>>(self) -> (Vec<W>, String) {
        (self.rows.into_iter().map(W::from).collect(), self.next_cursor.unwrap_or_default())
    }

    pub(crate) fn from_wire<W>(rows: Vec<W>, next_cursor: String) -> Result<Self, Fault>
    where
        T: TryFrom<W, Error = Fault>,
    {
        let rows = rows.into_iter().map(T::try_from).collect::<Result<_, _>>()?;
        Ok(Self { rows, next_cursor: given(next_cursor), note: None })
    }
}

/// Empty text is absence.
pub(crate) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A message that must be there.
pub(crate) fn present<T>(name: &str, message: Option<T>) -> Result<T, Fault> {
    message.ok_or_else(|| Fault::field(name, format!("`{name}` is missing")))
}

/// A moment that must be there.
pub(crate) fn moment(name: &str, time: Option<Timestamp>) -> Result<DateTime<Utc>, Fault> {
    present(name, optional_moment(name, time)?)
}

/// A moment that may be left out.
pub(crate) fn optional_moment(name: &str, time: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Fault> {
    let Some(time) = time else { return Ok(None) };
    u32::try_from(time.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos))
        .map(Some)
        .ok_or_else(|| Fault::field(name, format!("`{name}` is not a moment that a calendar knows")))
}

/// A moment for the wire.
pub(crate) fn wire_moment(time: DateTime<Utc>) -> Timestamp {
    // A leap second counts more than 10^9 nanoseconds, which the wire does not know.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(nanos).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_and_impossible_ones_are_named() {
        let time = DateTime::from_timestamp(1_795_305_600, 123_456_000).unwrap();
        assert_eq!(moment("at", Some(wire_moment(time))), Ok(time));
        for bad in [Timestamp { seconds: i64::MAX, nanos: 0 }, Timestamp { seconds: 0, nanos: -1 }] {
            assert_eq!(optional_moment("at", Some(bad)).unwrap_err().field.as_deref(), Some("at"));
        }
        assert!(moment("at", None).unwrap_err().message.contains("missing"));
    }

    #[test]
    fn nothing_said_is_not_an_empty_value() {
        assert_eq!(PageAsk::from_wire(0, String::new()), PageAsk::default());
        assert_eq!(optional::<u8>("n", ""), Ok(None));
        assert_eq!(optional::<u8>("n", "300").unwrap_err().field.as_deref(), Some("n"));
    }
}
