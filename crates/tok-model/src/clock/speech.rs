//! Times as people say them, for tables and sentences.

use super::{DAY, HOUR, MINUTE, Timestamp};

const YEAR: i64 = 365 * DAY;

/// `then` as seen from `now`, for tables: `just now`, `2 hours ago`. A moment ahead of `now` reads as [`in_future`].
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = (now - then).num_seconds();
    if seconds < -MINUTE {
        return in_future(then, now);
    }
    match count(seconds) {
        Some(text) => format!("{text} ago"),
        None => "just now".to_owned(),
    }
}

/// `then` as seen from `now`, for tables: `in 3 days`, `in less than a minute`. A moment before `now` reads as [`ago`].
pub fn in_future(then: Timestamp, now: Timestamp) -> String {
    let seconds = (then - now).num_seconds();
    if seconds < 0 {
        return ago(then, now);
    }
    // Half a minute of grace, so that what was just made for 90 days does not read "in 89 days".
    match count(seconds.saturating_add(MINUTE / 2)) {
        Some(text) => format!("in {text}"),
        None => "in less than a minute".to_owned(),
    }
}

/// `5 minutes`, `1 day`; nothing below a minute.
fn count(seconds: i64) -> Option<String> {
    let (size, name) = [(YEAR, "year"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")]
        .into_iter()
        .find(|(size, _)| seconds >= *size)?;
    let number = seconds / size;
    Some(if number == 1 { format!("1 {name}") } else { format!("{number} {name}s") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    #[test]
    fn tables_read_like_speech() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (2 * HOUR + 5, "2 hours ago"),
            (DAY, "1 day ago"),
            (400 * DAY, "1 year ago"),
            (-30, "just now"),
            (-3 * DAY, "in 3 days"),
        ] {
            assert_eq!(ago(now - TimeDelta::seconds(seconds), now), text);
        }
        for (seconds, text) in [
            (5, "in less than a minute"),
            (15 * MINUTE - 1, "in 15 minutes"),
            (90 * DAY - 1, "in 90 days"),
            (-61, "1 minute ago"),
        ] {
            assert_eq!(in_future(now + TimeDelta::seconds(seconds), now), text);
        }
    }
}
