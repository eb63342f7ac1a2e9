//! The leak scanner: every secret that a test made or saw is looked for wherever none belongs.
//!
//! Whole tokens are recognised by their own form and checksum, so one leaks even if no test knew of it. Everything else
//! (passwords, the pepper) is looked for once it is registered, as it is and in base64. Looked at are: all files of the
//! environment (logs, PostgreSQL's files and its WAL, repositories, configurations, git's traces), stdout and stderr of
//! every program, and the arguments and variables of the daemon's processes. A test puts what must hold a secret into
//! [`Canaries::exempt`]. A file that was there before there was a secret, and in which nothing was written since, holds none.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tok_model::kind::TokenKind;
use tok_model::secret::{BODY_LENGTH, CHECKSUM_LENGTH, Plaintext};

use crate::processes;

/// A whole token is that long.
const TOKEN_LENGTH: usize = 7 + BODY_LENGTH + CHECKSUM_LENGTH;

/// All secrets of an environment, and where they were found.
pub struct Canaries {
    root: PathBuf,
    exempt: PathBuf,
    known: Mutex<BTreeMap<String, Canary>>,
    clean: Mutex<HashMap<PathBuf, Written>>,
    leaks: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Canary {
    what: String,
    home: Option<PathBuf>,
}

impl Canaries {
    /// Watches everything below `root`.
    pub fn new(root: &Path) -> Self {
        let exempt = root.join("exempt");
        fs::create_dir(&exempt).expect("the environment's directory is ours");
        Self {
            root: root.to_owned(),
            exempt,
            known: Mutex::default(),
            clean: Mutex::default(),
            leaks: Mutex::default(),
        }
    }

    /// The one directory where a test may put secrets.
    pub fn exempt(&self) -> &Path {
        &self.exempt
    }

    /// Looks for this secret from now on. It must be long enough not to occur by chance.
    pub fn register(&self, what: &str, secret: &str) {
        self.insert(what, secret, None);
    }

    /// Looks for this secret everywhere but in the file that it lives in.
    pub fn register_file(&self, what: &str, secret: &str, home: &Path) {
        self.insert(what, secret, Some(home.to_owned()));
    }

    fn insert(&self, what: &str, secret: &str, home: Option<PathBuf>) {
        assert!(secret.len() >= 12, "{what}: a canary this short would be found by chance");
        lock(&self.known).insert(secret.to_owned(), Canary { what: what.to_owned(), home });
    }

    /// Registers every token in the output of a program that is there to show one.
    pub fn register_shown(&self, output: &[u8]) {
        for token in tokens_in(output) {
            self.register("a token that a program showed", &token);
        }
    }

    /// Notes it if there is a secret where there should be none.
    pub fn inspect(&self, place: &str, bytes: &[u8]) {
        for token in tokens_in(bytes) {
            self.note(place, &format!("the token {}…", &token[..11]));
        }
        let known = lock(&self.known).clone();
        for (secret, canary) in known {
            if canary.home.as_deref() != Some(Path::new(place))
                && forms(&secret).iter().any(|form| contains(bytes, form.as_bytes()))
            {
                self.note(place, &canary.what);
            }
        }
    }

    /// Looks at the arguments and variables of a process and everything below it.
    pub fn inspect_processes(&self, pid: i32) {
        for process in processes::tree(pid) {
            let name = process.name();
            self.inspect(&format!("arguments of {name}"), &process.arguments);
            self.inspect(&format!("variables of {name}"), &process.variables);
        }
    }

    /// Leaves out what is in this directory now, each file until it is written to. It was inspected elsewhere, and there is
    /// no secret yet that could be in it.
    pub(crate) fn leave_out(&self, directory: &Path) {
        let files = files(directory).into_iter().map(|(path, status)| (path, Written::of(&status)));
        lock(&self.clean).extend(files);
    }

    /// Looks at every file of the environment.
    pub fn inspect_files(&self) {
        let needles = self.exempt.join("needles");
        let lines: String = lock(&self.known).keys().flat_map(|secret| forms(secret)).map(|form| form + "\n").collect();
        fs::write(&needles, lines).expect("the environment's directory is ours");
        let pattern = format!("tok(pat|wsp|rep|ses|git)_[0-9A-Za-z]{{{}}}", BODY_LENGTH + CHECKSUM_LENGTH);
        let candidates = self.candidates();
        let mut files = grep(&["-E", "-e", &pattern], &candidates);
        files.extend(grep(&["-F", "-f", &needles.to_string_lossy()], &candidates));
        files.sort();
        files.dedup();
        for file in files {
            // A file that is gone again was read by grep all the same, but what it held can no longer be said.
            match fs::read(&file) {
                Ok(bytes) => self.inspect(&file.to_string_lossy(), &bytes),
                Err(_) => self.note(&file.to_string_lossy(), "a secret, in a file that has gone since"),
            }
        }
        fs::remove_file(&needles).expect("the environment's directory is ours");
    }

    /// The files that a secret can have got into.
    fn candidates(&self) -> Vec<PathBuf> {
        let clean = lock(&self.clean);
        let written = |path: &Path, status: &Metadata| clean.get(path) != Some(&Written::of(status));
        let files = files(&self.root).into_iter();
        files.filter(|(path, status)| written(path, status)).map(|(path, _)| path).collect()
    }

    fn note(&self, place: &str, what: &str) {
        let mut leaks = lock(&self.leaks);
        let leak = format!("{what}: in {place}");
        if !leaks.contains(&leak) {
            leaks.push(leak);
        }
    }

    /// What was found so far, and forgets it.
    pub fn take_leaks(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.leaks))
    }
}

/// Which file it is, and when it was last written to. That is the one time which no program can set.
#[derive(PartialEq, Eq)]
struct Written {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Written {
    fn of(status: &Metadata) -> Self {
        Self { inode: status.ino(), length: status.len(), changed: (status.ctime(), status.ctime_nsec()) }
    }
}

/// The files in a directory and below it, but for what is exempt and what goes meanwhile.
fn files(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(status) if status.is_dir() && entry.file_name() != "exempt" => directories.push(entry.path()),
                Ok(status) if status.is_file() => found.push((entry.path(), status)),
                _ => {}
            }
        }
    }
    found
}

/// Those of the files that match; grep reads them a hundred times faster than a debug build would.
fn grep(arguments: &[&str], files: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // So many are never too long for one command line.
    for files in files.chunks(500) {
        let output = Command::new("grep")
            .env("LC_ALL", "C")
            .args(["-l", "-a", "-s", "-Z", "--devices=skip"])
            .args(arguments)
            .arg("--")
            .args(files)
            .output()
            .expect("grep is installed");
        // 1 is "nothing found"; 2 is also what a file that vanished while it was read gives, and -s is silent about that.
        assert!(output.stderr.is_empty(), "grep: {}", String::from_utf8_lossy(&output.stderr));
        let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        found.extend(names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned())));
    }
    found
}

/// Every whole token in a text.
pub fn tokens_in(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(&bytes[at..], b"tok").map(|offset| at + offset) {
        at = start + 1;
        let Some(candidate) = bytes.get(start..start + TOKEN_LENGTH) else { break };
        let plausible = TokenKind::every().any(|kind| candidate.starts_with(kind.prefix().as_bytes()));
        if let Some(text) = plausible.then(|| str::from_utf8(candidate).ok()).flatten()
            && Plaintext::parse(text).is_ok()
        {
            found.push(text.to_owned());
        }
    }
    found
}

/// A secret as it is, and the parts of its base64 that do not depend on what stands before and after it.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for offset in 0..3 {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(secret.as_bytes());
        let encoded = STANDARD.encode(&padded);
        forms.push(encoded[(offset * 8).div_ceil(6)..padded.len() * 8 / 6].to_owned());
    }
    forms
}

/// Whether `needle` is somewhere in `bytes`.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    find(bytes, needle).is_some()
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(offset) = bytes.get(at..)?.iter().position(|byte| *byte == first) {
        at += offset;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed in the middle still reports what it knows.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    #[test]
    fn what_was_left_out_is_looked_at_again_once_it_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let canaries = Canaries::new(directory.path());
        let path = directory.path().join("file");
        fs::write(&path, "correct horse battery").unwrap();
        canaries.leave_out(directory.path());
        canaries.register("the password", "correct horse battery");
        canaries.inspect_files();
        assert_eq!(canaries.take_leaks(), [""; 0]);

        // The same length, and by the time that everybody sees and can set the same age.
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        wait::until_true("the clock of the files goes on", || {
            fs::write(&path, "CORRECT horse battery").unwrap();
            fs::write(&path, "correct horse battery").unwrap();
            fs::File::open(&path).unwrap().set_modified(before).unwrap();
            canaries.inspect_files();
            canaries.take_leaks().iter().any(|leak| leak.ends_with("/file"))
        });
    }

    #[test]
    fn the_base64_of_a_secret_is_found_wherever_it_starts() {
        let secret = "correct horse battery";
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy"] {
                let header = STANDARD.encode(format!("{before}{secret}{after}"));
                assert!(forms(secret).iter().any(|form| header.contains(form.as_str())), "{before:?} {after:?}");
            }
        }
        assert!(!forms(secret).iter().any(|form| STANDARD.encode("correct horse stable").contains(form.as_str())));
    }
}
