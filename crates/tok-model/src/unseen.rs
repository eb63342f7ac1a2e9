//! Characters that nobody sees: two names that differ in one of them look the same, and some turn the text around them.
//!
//! The one place that knows them: what a name may have in it and what is shown of other text go by it.

use std::fmt;

/// A character of a text and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen {
    /// Which one.
    pub character: char,
    /// Where, counted in characters from 1.
    pub position: usize,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X} at position {}", u32::from(self.character), self.position)
    }
}

/// The first control character, or one that turns text around or breaks a line: such stand nowhere.
pub fn first_hostile(text: &str) -> Option<Unseen> {
    find(text, |_, character, _| is_hostile(character))
}

/// The first character that nobody sees, or that does not say what is seen. What joins or dresses an emoji is none.
pub fn first(text: &str) -> Option<Unseen> {
    find(text, is_unseen)
}

/// The text with everything escaped that nobody would see or a terminal would obey, as in `a\u{200b}b`.
pub fn escaped(text: &str) -> String {
    let mut printed = String::with_capacity(text.len());
    each(text, |before, character, after| {
        if is_unseen(before, character, after) {
            printed.extend(character.escape_default());
        } else {
            printed.push(character);
        }
    });
    printed
}

fn find(text: &str, wanted: fn(&[char], char, Option<char>) -> bool) -> Option<Unseen> {
    let (mut found, mut position) = (None, 0);
    each(text, |before, character, after| {
        position += 1;
        if found.is_none() && wanted(before, character, after) {
            found = Some(Unseen { character, position });
        }
    });
    found
}

/// Walks over a text: the two characters before each, itself, and the one after it.
fn each(text: &str, mut visit: impl FnMut(&[char], char, Option<char>)) {
    let mut last: [char; 2] = ['\0'; 2];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        visit(&last, character, characters.peek().copied());
        last = [last[1], character];
    }
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_unseen(before: &[char], character: char, after: Option<char>) -> bool {
    match character {
        '\u{200d}' => !joins(before, after),
        '\u{fe0e}' | '\u{fe0f}' => !dresses(before, after),
        _ => is_hostile(character) || is_invisible(character),
    }
}

/// Unicode's `Default_Ignorable_Code_Point` and what else has no glyph of its own.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A zero width joiner between two emoji, as in a family.
fn joins(before: &[char], after: Option<char>) -> bool {
    let left = match before {
        [dressed, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'] => *dressed,
        [.., last] => *last,
        [] => return false,
    };
    is_pictograph(left) && after.is_some_and(is_pictograph)
}

/// A variation selector behind an emoji, or inside a keycap as in 1️⃣.
fn dresses(before: &[char], after: Option<char>) -> bool {
    match before.last() {
        Some('0'..='9' | '#' | '*') => after == Some('\u{20e3}'),
        Some(last) => is_pictograph(*last),
        None => false,
    }
}

fn is_pictograph(character: char) -> bool {
    matches!(character,
        '\u{00a9}' | '\u{00ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{27ff}'
        | '\u{2900}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_found_wherever_it_stands() {
        for hidden in [
            '\u{00ad}',
            '\u{061c}',
            '\u{115f}',
            '\u{1160}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{7}',
            '\n',
        ] {
            for text in [format!("a{hidden}b"), format!("{hidden}ab"), format!("ab{hidden}"), format!("é{hidden}漢")]
            {
                let found = first(&text).unwrap_or_else(|| panic!("{text:?}"));
                assert_eq!(found.character, hidden, "{text:?}");
                assert!(first(&escaped(&text)).is_none() && escaped(&text) != text, "{text:?}");
            }
        }
        assert_eq!(first("ab\u{200b}c").unwrap().to_string(), "U+200B at position 3");
    }

    #[test]
    fn what_is_seen_stays() {
        for text in
            ["CI „acme“", "🚀", "👩‍👩‍👧", "❤️", "👩🏽‍🚀", "🏳️‍🌈", "1️⃣", "हिन्दी", "العربية", "שלום", "e\u{301}", "a\u{a0}b"]
        {
            assert_eq!((first(text), escaped(text).as_str()), (None, text));
        }
        // The same characters where they dress or join nothing.
        for text in ["a\u{200d}b", "🚀\u{200d}", "\u{200d}🚀", "1\u{fe0f}", "a\u{fe0f}", "🚀\u{fe0f}\u{fe0f}"] {
            assert!(first(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn hostile_is_less_than_unseen() {
        assert!(first_hostile("a\u{200b}\u{ad}b").is_none());
        assert_eq!(first_hostile("ab\u{202e}c").unwrap().position, 3);
    }
}
