//! Whom git asks for a credential, one after the other.

use tok_model::url::Origin;

use super::helper::is_ours;
use super::settings::{Entry, Settings};
use super::target::Target;
use crate::exit::Failure;

/// The helpers that git asks about a URL.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Chain {
    asked: Vec<Entry>,
    /// The last line that made git forget those before it.
    reset: Option<Entry>,
    /// Whether ours is named at all, if only to be forgotten.
    named: bool,
}

impl Chain {
    /// As git's configuration says: an empty value forgets the helpers before it.
    pub(in crate::commands) fn of(settings: &Settings, url: &str) -> Result<Self, Failure> {
        let mut chain = Self { asked: Vec::new(), reset: None, named: false };
        for entry in settings.about("credential", "helper", url)? {
            if entry.value.is_empty() {
                chain.asked.clear();
                chain.reset = Some(entry.clone());
            } else {
                chain.named |= is_ours(&entry.value);
                chain.asked.push(entry.clone());
            }
        }
        Ok(chain)
    }

    /// All of them, in order.
    pub(in crate::commands) fn helpers(&self) -> &[Entry] {
        &self.asked
    }

    /// Ours, if it is asked.
    pub(in crate::commands) fn ours(&self) -> Option<&Entry> {
        self.asked.iter().find(|entry| is_ours(&entry.value))
    }

    /// The others that are asked first.
    pub(in crate::commands) fn before_ours(&self) -> impl Iterator<Item = &Entry> {
        self.asked.iter().take_while(|entry| !is_ours(&entry.value))
    }

    /// The others that are asked, or told to keep what ours said, afterwards.
    pub(in crate::commands) fn after_ours(&self) -> impl Iterator<Item = &Entry> {
        self.asked.iter().skip_while(|entry| !is_ours(&entry.value)).filter(|entry| !is_ours(&entry.value))
    }

    /// Who is asked, in words.
    pub(in crate::commands) fn order(&self) -> String {
        let asked: Vec<_> = self.asked.iter().map(|entry| entry.value.as_str()).collect();
        if asked.is_empty() { "nobody".to_owned() } else { asked.join(", ") }
    }

    /// If ours is not asked: what is the matter, and the command that mends it where it is the matter.
    pub(in crate::commands) fn without_ours(&self, server: &Origin) -> Option<(String, String)> {
        if self.ours().is_some() {
            return None;
        }
        let what = format!("git does not ask tok; it asks {}", self.order());
        let setup = format!("tok git setup {server}");
        let Some(reset) = &self.reset else { return Some((what, setup)) };
        let forgotten = format!("{what} ({} makes it forget the helpers before)", reset.place());
        Some(match (reset.scope.as_str(), self.named) {
            ("local", _) => (forgotten, format!("{setup} --local")),
            ("worktree" | "command", true) => (forgotten, reset.unset(None)),
            (_, true) => (forgotten, setup),
            (_, false) => (what, setup),
        })
    }

    /// The command that puts ours first, where it stands behind this one.
    pub(in crate::commands) fn put_first(&self, neighbour: &Entry, server: &Origin) -> String {
        match self.ours().map(|ours| ours.scope.as_str()) {
            Some("local") => format!("tok git setup {server} --local"),
            Some("worktree" | "command") => neighbour.unset(Some(&exactly(&neighbour.value))),
            _ => format!("tok git setup {server}"),
        }
    }
}

/// If git does not say which repository it means: what is the matter, and the command that mends it.
pub(in crate::commands) fn without_path(
    settings: &Settings,
    target: &Target,
) -> Result<Option<(String, String)>, Failure> {
    let setup = format!("tok git setup {}", target.server);
    Ok(match settings.credential("usehttppath", &target.url())? {
        Some(entry) if entry.is_true() => None,
        None => Some(("useHttpPath is not on".to_owned(), setup)),
        Some(entry) => {
            let mend = match entry.scope.as_str() {
                "system" | "global" => setup,
                _ => entry.unset(None),
            };
            Some((format!("useHttpPath is off ({}: {})", entry.place(), entry.key), mend))
        }
    })
}

/// A regular expression for exactly this value.
pub(in crate::commands) fn exactly(value: &str) -> String {
    format!("^{}$", literally(value))
}

/// A regular expression for this text, wherever it stands.
pub(in crate::commands) fn literally(text: &str) -> String {
    let literal = |c: char| match c {
        '^' => r"\^".to_owned(),
        c if c.is_ascii_alphanumeric() || " /_-=:,@".contains(c) => c.to_string(),
        c => format!("[{c}]"),
    };
    text.chars().map(literal).collect()
}

/// Whether a helper writes what it is told into a plain file.
pub(in crate::commands) fn writes_to_disk(value: &str) -> bool {
    let program = value.trim_start_matches('!').split_whitespace().next().unwrap_or_default();
    program == "store" || program.rsplit('/').next() == Some("git-credential-store")
}

/// The option of a helper's command line, as git's configuration has it: `--socket`, `--profile` or `--timeout`.
pub(in crate::commands) fn option(value: &str, name: &str) -> Option<String> {
    let words = words(value);
    let mut following = words.iter().skip(1);
    while let Some(word) = following.next() {
        if word == name {
            return following.next().cloned();
        }
        if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

/// Whether a helper's command line has this option, which takes no value.
pub(in crate::commands) fn has_flag(value: &str, name: &str) -> bool {
    words(value).iter().skip(1).any(|word| word == name)
}

/// Whether two command lines of helpers say the same in another order.
pub(in crate::commands) fn same_words(one: &str, other: &str) -> bool {
    let sorted = |line: &str| {
        let mut words = words(&line.replace("--profile=", "--profile ").replace("--timeout=", "--timeout "));
        words.sort();
        words
    };
    sorted(one) == sorted(other)
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
        assert_eq!(option("tok --push --profile=work", "--profile").unwrap(), "work");
        assert!(has_flag("tok --profile work --push", "--push") && !has_flag("tok --pushed", "--push"));
        assert!(same_words("tok --push --profile=work", "tok --profile work --push"));
    }

    #[test]
    fn a_pattern_fits_one_value_and_no_other() {
        assert_eq!(exactly("store"), "^store$");
        assert_eq!(exactly("store --file ~/.x"), "^store --file [~]/[.]x$");
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
