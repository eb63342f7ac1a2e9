//! Time: when a token stops, how people write that, and how they read it.
//!
//! Nothing here asks the system what time it is. `now` is an argument everywhere; whoever needs to ask holds a
//! [`Clock`], whose real implementation lives in the daemon.

mod speech;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;

pub use speech::{ago, in_future};

/// A moment in UTC. The store keeps microseconds.
pub type Timestamp = DateTime<Utc>;

/// Who can be asked for the time. One implementation asks the system, the others are tests that replay a history.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// Units of a duration, largest first, as they are read. Printing leaves out weeks: `90d` says more than `12w6d`.
const UNITS: [(char, i64); 5] = [('w', WEEK), ('d', DAY), ('h', HOUR), ('m', MINUTE), ('s', 1)];

/// Why an expiry was refused. The text never repeats the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// None of the forms an expiry has.
    #[error(
        "an expiry is days (30), a duration (90s, 15m, 12h, 90d, 2w, 1d12h), a date (2027-01-31), an RFC 3339 time, or never"
    )]
    Form,
    /// None of the forms a duration has.
    #[error("a duration is whole numbers with units from large to small: 90s, 15m, 12h, 90d, 2w, 1d12h (m is minutes)")]
    DurationForm,
    /// A number without its unit where days cannot be assumed.
    #[error("a duration needs a unit: write 90s, 15m, 12h, 90d or 2w")]
    NoUnit,
    /// No time at all.
    #[error("a duration of zero would end at once; give at least 1s")]
    Zero,
    /// A day that no calendar has, such as 30 February.
    #[error("there is no such day in the calendar; write a date as year-month-day, as in 2027-01-31")]
    NoSuchDay,
    /// Beyond what can be kept.
    #[error("more than 100 years ahead; write never if it should not expire")]
    TooFar,
    /// Already over.
    #[error("{} has already passed; give a later time", .at.to_rfc3339_opts(SecondsFormat::AutoSi, true))]
    Past {
        /// The moment that was asked for.
        at: Timestamp,
    },
}

/// A positive length of time in whole seconds, at most 100 years. Written `90s`, `15m`, `12h`, `90d`, `2w`, `1d12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(i64);

impl Period {
    /// The longest: 100 years of 365.25 days, in seconds.
    pub const LONGEST_SECONDS: i64 = 36_525 * DAY;

    /// A period of so many seconds; nothing if that is not positive or longer than 100 years.
    pub const fn from_seconds(seconds: i64) -> Option<Self> {
        if seconds > 0 && seconds <= Self::LONGEST_SECONDS { Some(Self(seconds)) } else { None }
    }

    /// Its length in seconds, always positive.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// Its length, to add to a [`Timestamp`].
    pub fn delta(self) -> TimeDelta {
        TimeDelta::seconds(self.0)
    }

    /// Its length, for timers.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.unsigned_abs())
    }

    fn checked(seconds: Option<i64>) -> Result<Self, ExpiryError> {
        match seconds {
            Some(0) => Err(ExpiryError::Zero),
            Some(seconds) => Self::from_seconds(seconds).ok_or(ExpiryError::TooFar),
            None => Err(ExpiryError::TooFar),
        }
    }
}

impl FromStr for Period {
    type Err = ExpiryError;
    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if is_number(text) {
            return Err(ExpiryError::NoUnit);
        }
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut total = Some(0_i64);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(ExpiryError::DurationForm)?;
            let (number, tail) = rest.split_at(digits);
            let unit = tail.chars().next().ok_or(ExpiryError::DurationForm)?;
            // Taking from the same iterator is what makes the units go from large to small, each at most once.
            let (_, seconds) = units.find(|(name, _)| *name == unit).ok_or(ExpiryError::DurationForm)?;
            if number.is_empty() {
                return Err(ExpiryError::DurationForm);
            }
            let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(*seconds));
            total = total.zip(part).and_then(|(sum, part)| sum.checked_add(part));
            rest = tail.get(unit.len_utf8()..).unwrap_or_default();
        }
        if text.is_empty() { Err(ExpiryError::DurationForm) } else { Self::checked(total) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut text = String::new();
        for (name, seconds) in UNITS.iter().skip(1) {
            if rest >= *seconds {
                text.push_str(&(rest / seconds).to_string());
                text.push(*name);
                rest %= seconds;
            }
        }
        f.pad(&text)
    }
}

impl TryFrom<String> for Period {
    type Error = ExpiryError;
    fn try_from(text: String) -> Result<Self, ExpiryError> {
        text.parse()
    }
}

/// How long tokens live by policy (`tokens.default_lifetime`, `tokens.max_lifetime`): a [`Period`] or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Lifetime {
    /// They never expire.
    Never,
    /// They end so long after they were made.
    For(Period),
}

impl FromStr for Lifetime {
    type Err = ExpiryError;
    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if text.eq_ignore_ascii_case("never") { Ok(Self::Never) } else { text.parse().map(Self::For) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.pad("never"),
            Self::For(period) => period.fmt(f),
        }
    }
}

impl TryFrom<String> for Lifetime {
    type Error = ExpiryError;
    fn try_from(text: String) -> Result<Self, ExpiryError> {
        text.parse()
    }
}

/// When a token should end, as somebody asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// It does not.
    Never,
    /// So long from now.
    After(Period),
    /// At this moment. A date alone means that the token works through that day: it ends at 23:59:59 UTC.
    At(Timestamp),
}

impl Expiry {
    /// The moment it means, or nothing for never. Refuses what has passed and what is more than 100 years ahead.
    pub fn resolve(self, now: Timestamp) -> Result<Option<Timestamp>, ExpiryError> {
        let latest = now.checked_add_signed(TimeDelta::seconds(Period::LONGEST_SECONDS)).ok_or(ExpiryError::TooFar)?;
        let at = match self {
            Self::Never => return Ok(None),
            Self::After(period) => now.checked_add_signed(period.delta()).ok_or(ExpiryError::TooFar)?,
            Self::At(at) => at,
        };
        if at <= now {
            Err(ExpiryError::Past { at })
        } else if at > latest {
            Err(ExpiryError::TooFar)
        } else {
            Ok(Some(at))
        }
    }
}

impl From<Lifetime> for Expiry {
    fn from(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Never => Self::Never,
            Lifetime::For(period) => Self::After(period),
        }
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;
    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        if text.eq_ignore_ascii_case("never") {
            return Ok(Self::Never);
        }
        if is_number(text) {
            let seconds = text.parse::<i64>().ok().and_then(|days| days.checked_mul(DAY));
            return Period::checked(seconds).map(Self::After);
        }
        if let Some(day) = date(text) {
            let last_second = day?.and_hms_opt(23, 59, 59).ok_or(ExpiryError::NoSuchDay)?;
            return Ok(Self::At(last_second.and_utc()));
        }
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            // The store keeps microseconds; a leap second becomes the second after it.
            return DateTime::from_timestamp_micros(moment.timestamp_micros()).map(Self::At).ok_or(ExpiryError::TooFar);
        }
        match text.parse() {
            Ok(period) => Ok(Self::After(period)),
            Err(ExpiryError::DurationForm) => Err(ExpiryError::Form),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.pad("never"),
            Self::After(period) => period.fmt(f),
            Self::At(at) => f.pad(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The day, if the text has the shape `2027-01-31`.
fn date(text: &str) -> Option<Result<NaiveDate, ExpiryError>> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let shaped =
        [(year, 4), (month, 2), (day, 2)].iter().all(|(part, length)| is_number(part) && part.len() == *length);
    if !shaped || parts.next().is_some() {
        return None;
    }
    let found = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    Some(found.ok_or(ExpiryError::NoSuchDay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn people_write_expiries_in_five_ways() {
        let now = at("2026-11-22T10:00:00Z");
        for (text, end) in [
            ("30", "2026-12-22T10:00:00Z"),
            ("90s", "2026-11-22T10:01:30Z"),
            ("15m", "2026-11-22T10:15:00Z"),
            ("12h", "2026-11-22T22:00:00Z"),
            ("2w", "2026-12-06T10:00:00Z"),
            ("1d12h", "2026-11-23T22:00:00Z"),
            ("2026-11-22", "2026-11-22T23:59:59Z"),
            ("2027-01-31", "2027-01-31T23:59:59Z"),
            ("2027-01-31T01:00:00+02:00", "2027-01-30T23:00:00Z"),
            ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Expiry>().unwrap().resolve(now), Ok(Some(at(end))), "{text}");
        }
        assert_eq!("Never".parse::<Expiry>().unwrap().resolve(now), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        let now = at("2026-11-22T10:00:00Z");
        let huge = "9".repeat(400);
        for (text, reason) in [
            ("", "an expiry is"),
            ("-5", "an expiry is"),
            ("+5", "an expiry is"),
            ("1.5h", "an expiry is"),
            ("12h1d", "an expiry is"),
            ("1d1d", "an expiry is"),
            ("d", "an expiry is"),
            ("1d5", "an expiry is"),
            ("1y", "an expiry is"),
            ("5é", "an expiry is"),
            ("0", "zero"),
            ("0d0s", "zero"),
            ("2027-02-30", "no such day"),
            ("36526", "100 years"),
            (huge.as_str(), "100 years"),
            ("99999999999999999999w", "100 years"),
            ("2026-11-21", "already passed"),
            ("2026-11-22T10:00:00Z", "already passed"),
            ("2127-01-01", "100 years"),
        ] {
            let error = text.parse::<Expiry>().and_then(|e| e.resolve(now)).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(Expiry::After(Period(1)).resolve(Timestamp::MAX_UTC), Err(ExpiryError::TooFar));
    }

    #[test]
    fn config_values_need_a_unit() {
        assert_eq!("15m".parse::<Period>().unwrap().seconds(), 900);
        assert_eq!("30".parse::<Period>(), Err(ExpiryError::NoUnit));
        assert_eq!("never".parse::<Lifetime>(), Ok(Lifetime::Never));
        assert_eq!("180d".parse::<Lifetime>().unwrap().to_string(), "180d");
        assert!("never".parse::<Period>().is_err() && "soon".parse::<Lifetime>().is_err());
    }

    fn any_expiry() -> impl Strategy<Value = Expiry> {
        prop_oneof![
            Just(Expiry::Never),
            (1..=Period::LONGEST_SECONDS).prop_map(|s| Expiry::After(Period(s))),
            (0_i64..253_402_300_799_999_999).prop_map(|m| Expiry::At(DateTime::from_timestamp_micros(m).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn what_prints_parses_to_the_same(expiry in any_expiry()) {
            prop_assert_eq!(expiry.to_string().parse::<Expiry>(), Ok(expiry));
        }

        #[test]
        fn any_text_parses_or_says_why(text in "\\PC{0,20}|[0-9wdhms]{0,24}|[0-9TZ:+-]{0,24}") {
            if let Ok(expiry) = text.parse::<Expiry>() {
                prop_assert_eq!(expiry.to_string().parse::<Expiry>(), Ok(expiry));
            }
        }

        #[test]
        fn what_resolves_lies_ahead(expiry in any_expiry(), now in 0_i64..9_000_000_000) {
            let now = DateTime::from_timestamp(now, 0).unwrap();
            if let Ok(Some(end)) = expiry.resolve(now) {
                prop_assert!(end > now && end <= now + TimeDelta::seconds(Period::LONGEST_SECONDS));
            }
        }
    }
}
