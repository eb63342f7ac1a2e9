//! What others say to the helper: it stands between them and the real one, and writes everything down.

use std::fs;
use std::path::PathBuf;

use crate::binaries;
use crate::environment::Environment;
use crate::git::make_executable;

/// A helper that notes what it is asked, and passes it on.
pub struct Overheard {
    program: PathBuf,
    notes: PathBuf,
}

/// What was asked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The arguments: the operation is the last of them.
    pub arguments: String,
    /// Every line that was read, without the secrets.
    pub lines: Vec<String>,
}

impl Asked {
    /// The value of a key; nothing if it was not said.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }
}

impl Environment {
    /// Sets git up for the server at this address of it, with a helper that notes what it is asked, for everybody who
    /// reads this environment's configuration.
    pub fn overheard(&self, url: &str) -> Overheard {
        // What is stored has a token in it.
        let directory = self.canaries().exempt().join("overheard");
        let (program, notes) = (directory.join("git-credential-tok"), directory.join("notes"));
        fs::create_dir(&directory).expect("the directory is ours");
        fs::create_dir(&notes).expect("the directory is ours");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != --version ] || exec '{real}' \"$@\"\n\
             note=$(mktemp '{notes}/XXXXXX') && cat >\"$note.in\" && echo \"$*\" >\"$note\" && date +%s%N >\"$note.at\"\n\
             exec '{real}' \"$@\" <\"$note.in\"\n",
            real = binaries::path("git-credential-tok").display(),
            notes = notes.display(),
        );
        fs::write(&program, script).expect("the directory is ours");
        make_executable(&program);
        self.tok(&["git", "setup", url, "--helper"]).argument(&program).ok();
        Overheard { program, notes }
    }
}

impl Overheard {
    /// The helper that notes.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Everything that was asked since the last time, in its order.
    pub fn take(&self) -> Vec<Asked> {
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let entries = fs::read_dir(&self.notes).expect("the directory is ours");
        let names = entries.map(|entry| entry.expect("it can be read").path());
        let mut found: Vec<(u128, Asked)> = names
            .filter(|path| path.extension().is_none())
            .filter_map(|path| {
                let at = text(path.with_extension("at")).trim().parse().ok()?;
                let arguments = text(path.clone()).trim().to_owned();
                let secret = |line: &&str| !line.starts_with("password=") && !line.starts_with("credential=");
                let said = text(path.with_extension("in"));
                let lines = said.lines().filter(secret).map(str::to_owned).collect();
                Some((at, Asked { arguments, lines }))
            })
            .collect();
        found.sort_by_key(|(at, _)| *at);
        for entry in fs::read_dir(&self.notes).expect("the directory is ours") {
            fs::remove_file(entry.expect("it can be read").path()).expect("the directory is ours");
        }
        found.into_iter().map(|(_, asked)| asked).collect()
    }
}
