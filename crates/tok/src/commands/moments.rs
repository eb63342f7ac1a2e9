//! Moments as people type them.

use chrono::{NaiveDate, NaiveTime};
use tok_model::clock::{Expiry, Timestamp};

use crate::exit::Failure;

/// A moment behind: how long ago, or when. A date means its first second, in UTC.
pub(crate) fn behind(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = || wrong(flag, "2h is two hours ago");
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Some(day) = day(text) {
        return Ok(day);
    }
    match text.parse() {
        Ok(Expiry::After(period)) => now.checked_sub_signed(period.delta()).ok_or_else(wrong),
        Ok(Expiry::At(at)) => Ok(at),
        Ok(Expiry::Never) | Err(_) => Err(wrong()),
    }
}

/// A moment behind or ahead: how long from now, or when. A date means its first second, in UTC.
pub(crate) fn anytime(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = || wrong(flag, "2h is two hours from now");
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Some(day) = day(text) {
        return Ok(day);
    }
    match text.parse() {
        Ok(Expiry::After(period)) => now.checked_add_signed(period.delta()).ok_or_else(wrong),
        Ok(Expiry::At(at)) => Ok(at),
        Ok(Expiry::Never) | Err(_) => Err(wrong()),
    }
}

fn day(text: &str) -> Option<Timestamp> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|day| day.and_time(NaiveTime::MIN).and_utc())
}

fn wrong(flag: &str, example: &str) -> Failure {
    let why = format!("--{flag} takes a length of time ({example}), a date (2026-11-01), an RFC 3339 time, or now");
    Failure::usage(why).field(&flag.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_four_ways() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, before, after) in [
            ("2h", "2026-11-22T08:00:00Z", "2026-11-22T12:00:00Z"),
            ("7", "2026-11-15T10:00:00Z", "2026-11-29T10:00:00Z"),
            ("now", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
        ] {
            assert_eq!(behind("x", text, now).unwrap(), before.parse::<Timestamp>().unwrap(), "{text}");
            assert_eq!(anytime("x", text, now).unwrap(), after.parse::<Timestamp>().unwrap(), "{text}");
        }
        for text in ["never", "soon", ""] {
            assert!(behind("x", text, now).is_err() && anytime("x", text, now).is_err(), "{text}");
        }
    }
}
