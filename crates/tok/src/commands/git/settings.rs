//! What git's configuration says as a whole, with the place where each thing is said.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::process::Git;
use crate::exit::Failure;
use crate::output::quoted;

/// Whose configuration, in the order in which git reads it.
const SCOPES: [&str; 5] = ["system", "global", "local", "worktree", "command"];

/// One line of git's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Entry {
    /// `system`, `global`, `local`, `worktree` or `command`.
    pub(in crate::commands) scope: String,
    /// Its file, if it is from one.
    pub(in crate::commands) file: Option<String>,
    /// As in `credential.https://git.example.com.helper`: first and last part in lower case.
    pub(in crate::commands) key: String,
    pub(in crate::commands) value: String,
}

impl Entry {
    /// Section, subsection and name.
    pub(in crate::commands) fn parts(&self) -> (&str, Option<&str>, &str) {
        let (section, rest) = self.key.split_once('.').unwrap_or((&self.key, ""));
        match rest.rsplit_once('.') {
            Some((subsection, name)) => (section, Some(subsection), name),
            None => (section, None, rest),
        }
    }

    /// Whether it says yes, as git reads a switch.
    pub(in crate::commands) fn is_true(&self) -> bool {
        let yes = ["true", "yes", "on"].iter().any(|word| self.value.eq_ignore_ascii_case(word));
        yes || self.value.parse::<i64>().is_ok_and(|number| number != 0)
    }

    /// How late git reads the file that it is of: what is read later counts.
    fn rank(&self) -> usize {
        SCOPES.iter().position(|scope| *scope == self.scope).unwrap_or(SCOPES.len())
    }

    /// Where it stands, for people.
    pub(in crate::commands) fn place(&self) -> String {
        match &self.file {
            Some(file) => file.clone(),
            None => "the command line or the environment".to_owned(),
        }
    }

    /// The command that takes it away, and leaves what the pattern does not fit.
    pub(in crate::commands) fn unset(&self, pattern: Option<&str>) -> String {
        let pattern = pattern.map(|pattern| format!(" {}", quoted(pattern))).unwrap_or_default();
        match &self.file {
            Some(file) => format!("git config --file {} --unset-all {}{pattern}", quoted(file), quoted(&self.key)),
            None => "unset GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT".to_owned(),
        }
    }
}

/// All of git's configuration, as it is seen from here.
#[derive(Debug)]
pub(in crate::commands) struct Settings {
    git: Git,
    entries: Vec<Entry>,
    /// Which subsections are about which URL, asked once.
    matches: RefCell<BTreeMap<(String, String, String), bool>>,
}

impl Settings {
    /// Reads it.
    pub(in crate::commands) fn read(git: &Git) -> Result<Self, Failure> {
        let output = git.run(&["config", "--list", "--show-scope", "--show-origin", "-z"])?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = why.trim().trim_start_matches("fatal: ").trim_start_matches("error: ");
            return Err(Failure::local(format!("git does not read its configuration: {}", crate::output::safe(why)))
                .hint("mend the file that it names; `git config --list --show-origin` shows all of them"));
        }
        let entries = entries(&String::from_utf8_lossy(&output.stdout));
        Ok(Self { git: git.clone(), entries, matches: RefCell::default() })
    }

    /// git itself.
    pub(in crate::commands) fn git(&self) -> &Git {
        &self.git
    }

    /// The same without what is read after the files of a scope: what its own lines have to stand up to.
    pub(in crate::commands) fn up_to(&self, scope: &str) -> Self {
        let last = SCOPES.iter().position(|known| *known == scope).unwrap_or(SCOPES.len());
        let entries = self.entries.iter().filter(|entry| entry.rank() <= last).cloned().collect();
        Self { git: self.git.clone(), entries, matches: RefCell::default() }
    }

    /// Every line, in the order in which git reads them.
    pub(in crate::commands) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The lines of a section, in the order in which git reads them, whatever their subsection.
    pub(in crate::commands) fn section<'a>(
        &'a self,
        section: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| {
            let (here, _, this) = entry.parts();
            here == section && this == name
        })
    }

    /// The lines that git goes by for a URL: those without a subsection, and those whose subsection fits.
    pub(in crate::commands) fn about(&self, section: &str, name: &str, url: &str) -> Result<Vec<&Entry>, Failure> {
        let mut found = Vec::new();
        for entry in &self.entries {
            let (here, subsection, this) = entry.parts();
            if here != section || this != name {
                continue;
            }
            if match subsection {
                None => true,
                Some(pattern) => self.fits(section, pattern, url)?,
            } {
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// The line of a credential's setting that counts for a URL: of all that fit it the last, however closely they fit.
    pub(in crate::commands) fn credential(&self, name: &str, url: &str) -> Result<Option<&Entry>, Failure> {
        Ok(self.about("credential", name, url)?.pop())
    }

    /// Whether a subsection is about a URL: git decides, about a key that nobody has.
    fn fits(&self, section: &str, pattern: &str, url: &str) -> Result<bool, Failure> {
        let known = (section.to_owned(), pattern.to_owned(), url.to_owned());
        if let Some(fits) = self.matches.borrow().get(&known) {
            return Ok(*fits);
        }
        if section == "credential" && !names_a_host(pattern) {
            return Ok(fits_in_part(pattern, url));
        }
        let probe = self
            .git
            .with("GIT_CONFIG_COUNT", "1")
            .with("GIT_CONFIG_KEY_0", format!("{section}.{pattern}.tokprobe"))
            .with("GIT_CONFIG_VALUE_0", "1");
        let fits = probe.says(&["config", "--get-urlmatch", &format!("{section}.tokprobe"), url])?.is_some();
        self.matches.borrow_mut().insert(known, fits);
        Ok(fits)
    }
}

/// The lines of one file, as it is without what it includes. None if it is not there or cannot be read.
pub(in crate::commands) fn of_file(git: &Git, file: &std::path::Path) -> Vec<Entry> {
    let Some(shown) = file.to_str() else { return Vec::new() };
    let output = git.run(&["config", "--file", shown, "--list", "-z"]);
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return Vec::new() };
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = listed.split('\0').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (key, value) = line.split_once('\n').unwrap_or((line, "true"));
            let (key, value) = (key.to_owned(), value.to_owned());
            Entry { scope: "file".to_owned(), file: Some(shown.to_owned()), key, value }
        })
        .collect()
}

/// Whether it is a whole URL, as most sections of git's have it.
fn names_a_host(pattern: &str) -> bool {
    pattern.split_once("://").is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with('/'))
}

/// git takes `git.example.com`, `https://` and `/acme/app.git` for a credential's section, too: what it names must be so.
fn fits_in_part(pattern: &str, url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (wanted, rest) = pattern.split_once("://").map_or((None, pattern), |(scheme, rest)| (Some(scheme), rest));
    let (authority, wanted_path) = rest.split_once('/').unwrap_or((rest, ""));
    let (wanted_user, wanted_host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    wanted.is_none_or(|wanted| wanted == scheme)
        && wanted_user.is_none_or(|wanted| wanted == user)
        && (wanted_host.is_empty() || wanted_host == host)
        && (wanted_path.is_empty() || wanted_path == path)
}

fn entries(listed: &str) -> Vec<Entry> {
    let mut words = listed.split('\0');
    let mut entries = Vec::new();
    while let (Some(scope), Some(origin), Some(line)) = (words.next(), words.next(), words.next()) {
        // A key alone means yes.
        let (key, value) = line.split_once('\n').unwrap_or((line, "true"));
        let file = origin.strip_prefix("file:").map(absolute);
        entries.push(Entry { scope: scope.to_owned(), file, key: key.to_owned(), value: value.to_owned() });
    }
    entries
}

/// A repository's own file is named as it is seen from here, which is of no use elsewhere.
fn absolute(file: &str) -> String {
    std::path::absolute(file).map_or_else(|_| file.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_their_place() {
        let listed =
            "global\0file:/h/.gitconfig\0credential.https://a.b:8/x.y.helper\ntok\0local\0file:/r/c\0core.bare\0";
        let entries = entries(listed);
        assert_eq!(entries[0].parts(), ("credential", Some("https://a.b:8/x.y"), "helper"));
        assert_eq!((entries[1].parts(), entries[1].value.as_str()), (("core", None, "bare"), "true"));
        assert_eq!(
            entries[0].unset(Some("^tok$")),
            "git config --file /h/.gitconfig --unset-all credential.https://a.b:8/x.y.helper '^tok$'"
        );
    }

    #[test]
    fn git_says_what_is_about_a_url() {
        let home = tempfile::tempdir().unwrap();
        let text = "[credential]\n\thelper = store\n[credential \"https://a.example\"]\n\thelper =\n\thelper = tok\n\
                    [credential \"b.example\"]\n\thelper = cache\n[credential \"https://*.c.example\"]\n\thelper = x\n\
                    [credential \"https://a.example/acme\"]\n\thelper = y\n";
        std::fs::write(home.path().join(".gitconfig"), text).unwrap();
        let git = Git::default()
            .with("HOME", home.path())
            .with("GIT_CONFIG_GLOBAL", home.path().join(".gitconfig"))
            .with("GIT_CONFIG_NOSYSTEM", "1");
        let settings = Settings::read(&git).unwrap();
        let helpers = |url: &str| {
            let found = settings.about("credential", "helper", url).unwrap();
            found.into_iter().map(|entry| entry.value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(helpers("https://a.example/other/app.git"), ["store", "", "tok"]);
        assert_eq!(helpers("https://a.example/acme/app.git"), ["store", "", "tok", "y"]);
        assert_eq!(helpers("https://git.c.example/x"), ["store", "x"]);
        assert_eq!(helpers("https://a.example:444/x"), ["store"]);
        assert_eq!(helpers("https://b.example/x"), ["store", "cache"], "as git has it, a host alone is enough");
    }
}
