//! Words for people: times, counts, and text that others chose.

use tok_model::clock::{Timestamp, ago, in_future};
use tok_model::unseen;

/// Closer than this, the hour matters and not only the day.
const NEAR_SECONDS: i64 = 48 * 60 * 60;

/// How text may be dressed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Whether the reader shows colours. They never carry a meaning of their own.
    pub(crate) color: bool,
}

impl Style {
    /// For what a line is about.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what no longer works.
    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Text that somebody else chose, with everything escaped that a terminal would obey: control characters, and those
/// that turn text around or hide it.
pub(crate) fn safe(text: &str) -> String {
    unseen::escaped(text)
}

/// A word for a shell: as it is if it is plain, in quotes otherwise.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A moment ahead: `2027-01-31 (in 70 days)`, with the time of day if it is near.
pub(crate) fn when(then: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", day(then, now), in_future(then, now))
}

/// A moment behind: `2026-11-20 (2 days ago)`, with the time of day if it is near.
pub(crate) fn ended(then: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", day(then, now), ago(then, now))
}

fn day(then: Timestamp, now: Timestamp) -> String {
    let near = (then - now).num_seconds().abs() < NEAR_SECONDS;
    then.format(if near { "%Y-%m-%d %H:%M UTC" } else { "%Y-%m-%d" }).to_string()
}

/// `1 token`, `3 tokens`.
pub(crate) fn count(number: impl Into<u64>, thing: &str) -> String {
    match number.into() {
        1 => format!("1 {thing}"),
        number => format!("{number} {thing}s"),
    }
}

/// Lines of `Name: value`, values in one column. Empty values are left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let told = || facts.iter().filter(|(_, value)| !value.is_empty());
    let width = told().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 1;
    let lines: Vec<_> = told().map(|(name, value)| format!("{:width$} {value}\n", format!("{name}:"))).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        assert_eq!(safe("CI „acme“ 🚀"), "CI „acme“ 🚀");
        assert_eq!(safe("👩‍👩‍👧 a\u{200b}\u{ad}b"), "👩‍👩‍👧 a\\u{200b}\\u{ad}b");
        assert_eq!(safe("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}");
    }

    #[test]
    fn words_arrive_whole_in_a_shell() {
        for (word, expected) in
            [("/a-b_c.sock", "/a-b_c.sock"), ("", "''"), ("a b", "'a b'"), ("it's $X", r"'it'\''s $X'")]
        {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn near_moments_have_an_hour() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(when(at("2027-01-31T10:00:00Z"), now), "2027-01-31 (in 70 days)");
        assert_eq!(when(at("2026-11-22T10:15:00Z"), now), "2026-11-22 10:15 UTC (in 15 minutes)");
        assert_eq!(ended(at("2026-11-22T08:00:00Z"), now), "2026-11-22 08:00 UTC (2 hours ago)");
    }

    #[test]
    fn facts_line_up_and_leave_out_what_is_unknown() {
        let lines = [("Name", "CI".to_owned()), ("Description", String::new()), ("Scopes", "all".to_owned())];
        assert_eq!(facts(&lines), "Name:   CI\nScopes: all\n");
        assert_eq!((count(1_u32, "token"), count(0_u32, "token")), ("1 token".to_owned(), "0 tokens".to_owned()));
    }

    #[test]
    fn colour_is_only_for_those_who_see_it() {
        assert_eq!(Style { color: false }.strong("x"), "x");
        assert_eq!(Style { color: true }.strong("x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
