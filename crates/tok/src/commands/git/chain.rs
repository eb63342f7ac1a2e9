//! Whom git asks for a credential, one after the other.

use super::helper::is_ours;
use super::settings::{Entry, Settings};
use crate::exit::Failure;

/// The helpers that git asks about a URL.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Chain(Vec<Entry>);

impl Chain {
    /// As git's configuration says: an empty value forgets the helpers before it.
    pub(in crate::commands) fn of(settings: &Settings, url: &str) -> Result<Self, Failure> {
        let mut asked: Vec<Entry> = Vec::new();
        for entry in settings.about("credential", "helper", url)? {
            if entry.value.is_empty() {
                asked.clear();
            } else {
                asked.push(entry.clone());
            }
        }
        Ok(Self(asked))
    }

    /// All of them, in order.
    pub(in crate::commands) fn helpers(&self) -> &[Entry] {
        &self.0
    }

    /// Ours, if it is asked.
    pub(in crate::commands) fn ours(&self) -> Option<&Entry> {
        self.0.iter().find(|entry| is_ours(&entry.value))
    }

    /// The others that are asked first.
    pub(in crate::commands) fn before_ours(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().take_while(|entry| !is_ours(&entry.value))
    }

    /// The others that are asked, or told to keep what ours said, afterwards.
    pub(in crate::commands) fn after_ours(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().skip_while(|entry| !is_ours(&entry.value)).filter(|entry| !is_ours(&entry.value))
    }
}

/// Whether a helper writes what it is told into a plain file.
pub(in crate::commands) fn writes_to_disk(value: &str) -> bool {
    let program = value.trim_start_matches('!').split_whitespace().next().unwrap_or_default();
    program == "store" || program.rsplit('/').next() == Some("git-credential-store")
}

/// The option of a helper's command line, as git's configuration has it: `--socket` or `--profile`.
pub(in crate::commands) fn option(value: &str, name: &str) -> Option<String> {
    let words = words(value);
    let place = words.iter().position(|word| word == name)?;
    words.get(place + 1).cloned()
}

/// The words of a command line that [`quoted`](crate::output::quoted) made, or that has no quotes at all.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut open, mut begun) = (Vec::new(), String::new(), false, false);
    let mut characters = line.trim_start_matches('!').chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => (open, begun) = (!open, true),
            '\\' if !open => word.extend(characters.next()),
            c if c.is_whitespace() && !open => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ours_are_found_whatever_is_in_them() {
        let value = r"!'/o p/git-credential-tok' --socket '/it'\''s/x.sock' --profile work";
        assert_eq!(option(value, "--socket").unwrap(), "/it's/x.sock");
        assert_eq!(option(value, "--profile").unwrap(), "work");
        assert_eq!(option("tok", "--socket"), None);
        assert_eq!(option("tok --socket", "--socket"), None);
    }

    #[test]
    fn only_store_writes_to_disk() {
        for (value, writes) in [
            ("store", true),
            ("store --file x", true),
            ("/usr/lib/git-core/git-credential-store", true),
            ("cache", false),
            ("storefront", false),
        ] {
            assert_eq!(writes_to_disk(value), writes, "{value}");
        }
    }
}
