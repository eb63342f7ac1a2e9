//! The file of logins: read only if nobody else can, written whole or not at all.
//!
//! ```toml
//! [[login]]
//! server = "https://git.example.com"
//! user = "alice"
//! session = "3f2b8c1e-8a55-4d0e-9d0e-0123456789ab"
//! token_prefix = "tokses_a1b2"
//! expires_at = "2027-02-20T10:00:00Z"
//! storage = "keyring"
//! ```
//!
//! `server` stands on a line of its own, so that git's helper finds the servers without a parser.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tok_model::clock::Timestamp;
use zeroize::Zeroizing;

use super::{Kept, Login, Logins, LoginsFile, Storage, Trouble, TroubleKind};
use crate::output::{quoted, safe};

/// More than any file of logins has, in bytes.
const LARGEST: u64 = 1 << 20;
/// How long another process may take with its own change. It is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    login: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    server: String,
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    session: String,
    token_prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    default_server: bool,
    storage: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Hushed>,
}

/// A secret on its way into the file or out of it.
struct Hushed(Zeroizing<String>);

impl Serialize for Hushed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hushed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl LoginsFile {
    /// The logins in the file; none if there is no file.
    pub(crate) fn read(&self) -> Result<Logins, Trouble> {
        match self.open()? {
            None => Ok(Logins::default()),
            Some(file) => {
                let mut text = Zeroizing::new(String::new());
                file.take(LARGEST).read_to_string(&mut text).map_err(|why| self.unreadable(&why))?;
                self.parse(&text)
            }
        }
    }

    /// Makes sure that the logins could be changed.
    pub(super) fn writable(&self) -> Result<(), Trouble> {
        self.make_directory()?;
        let _lock = self.lock()?;
        self.read().map(drop)
    }

    /// Changes the logins, alone: whoever else wants to waits.
    pub(super) fn change<T>(&self, how: impl FnOnce(&mut Vec<Login>) -> T) -> Result<T, Trouble> {
        self.make_directory()?;
        let _lock = self.lock()?;
        let Logins(mut logins) = self.read()?;
        let outcome = how(&mut logins);
        self.write(&logins)?;
        Ok(outcome)
    }

    /// Opens the file, if it is there, and makes sure that it is this user's alone.
    fn open(&self) -> Result<Option<File>, Trouble> {
        let path = self.path();
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        let file = match OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path) {
            Ok(file) => file,
            Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(why) if why.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(self.not_ours("is a symbolic link").hint(format!("rm {}", shown(path))));
            }
            Err(why) => return Err(self.unreadable(&why)),
        };
        let found = file.metadata().map_err(|why| self.unreadable(&why))?;
        let mode = found.mode() & 0o777;
        if !found.is_file() {
            return Err(self.not_ours("is no plain file").hint(format!("rm -r {}", shown(path))));
        }
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.somebody_elses(path, found.uid()));
        }
        if mode & 0o077 != 0 {
            let why = format!("can be read or changed by others (mode {mode:04o})");
            return Err(self.not_ours(&why).hint(format!("chmod 600 {}", shown(path))));
        }
        self.check_directory()?;
        Ok(Some(file))
    }

    /// A file in a directory that others may write to is theirs to replace.
    fn check_directory(&self) -> Result<(), Trouble> {
        let directory = self.directory();
        let found = fs::metadata(directory).map_err(|why| self.unreadable(&why))?;
        let mode = found.mode() & 0o777;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.somebody_elses(directory, found.uid()));
        }
        if mode & 0o022 != 0 {
            let why = format!("is in a directory that others may write to (mode {mode:04o})");
            return Err(self.not_ours(&why).hint(format!("chmod 700 {}", shown(directory))));
        }
        Ok(())
    }

    fn make_directory(&self) -> Result<(), Trouble> {
        let directory = self.directory();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|why| self.unwritable(directory, &why))?;
        self.check_directory()
    }

    /// Held until it is dropped, or until this process ends however it ends.
    fn lock(&self) -> Result<File, Trouble> {
        let path = self.path().with_extension("lock");
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&path);
        let file = file.map_err(|why| self.unwritable(&path, &why))?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
                Err(Errno::WOULDBLOCK) => {
                    let what = format!("another tok has been changing {} for {PATIENCE:?}", shown(self.path()));
                    return Err(Trouble::new(what).hint(format!("see which with `fuser {}`", shown(&path))));
                }
                Err(why) => return Err(self.unwritable(&path, &why.into())),
            }
        }
    }

    /// Replaces the file. Only whoever holds the lock may.
    fn write(&self, logins: &[Login]) -> Result<(), Trouble> {
        let written = Written { login: logins.iter().map(Entry::from).collect() };
        let text = toml::to_string(&written).map(Zeroizing::new);
        let text = text.map_err(|why| Trouble::new(format!("the logins cannot be written down: {why}")))?;
        let fresh = self.path().with_extension("toml.new");
        // One that was left behind by a process that was killed.
        let _ = fs::remove_file(&fresh);
        let replace = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, self.path())?;
            File::open(self.directory())?.sync_all()
        };
        replace().map_err(|why| {
            let _ = fs::remove_file(&fresh);
            self.unwritable(self.path(), &why)
        })
    }

    fn parse(&self, text: &str) -> Result<Logins, Trouble> {
        let wrong = |why: String| {
            let what = format!("{} makes no sense: {why}", shown(self.path()));
            Trouble::new(what).hint(format!("mend it, or `rm {}` and log in again", shown(self.path())))
        };
        // The error's own text would quote the line, and a line may hold a secret.
        let line =
            |error: &toml::de::Error| error.span().and_then(|span| text.get(..span.start)).map_or(1, line_number);
        let written: Written =
            toml::from_str(text).map_err(|error| wrong(format!("line {}: {}", line(&error), safe(error.message()))))?;
        let logins = written.login.into_iter().map(Login::try_from).collect::<Result<_, _>>();
        Ok(Logins(logins.map_err(wrong)?))
    }

    fn not_ours(&self, why: &str) -> Trouble {
        Trouble::new(format!("your logins are not read: {} {why}", shown(self.path())))
    }

    fn somebody_elses(&self, path: &Path, uid: u32) -> Trouble {
        let what = format!("your logins are not read: {} belongs to user ID {uid}", shown(path));
        let hint = if rustix::process::geteuid().is_root() {
            "with sudo, use `sudo -H`".to_owned()
        } else {
            format!("sudo chown -R \"$(id -un)\" {}", shown(self.directory()))
        };
        Trouble::new(what).of_kind(TroubleKind::SomebodyElses).hint(hint)
    }

    fn unreadable(&self, why: &io::Error) -> Trouble {
        Trouble::new(format!("cannot read {}: {why}", shown(self.path()))).hint(format!(
            "ls -ld {} {}",
            shown(self.directory()),
            shown(self.path())
        ))
    }

    fn unwritable(&self, path: &Path, why: &io::Error) -> Trouble {
        Trouble::new(format!("cannot write {}: {why}", shown(path))).hint(format!("ls -ld {}", shown(self.directory())))
    }
}

fn shown(path: &Path) -> String {
    safe(&quoted(&path.display().to_string()))
}

fn line_number(before: &str) -> usize {
    before.matches('\n').count() + 1
}

impl From<&Login> for Entry {
    fn from(login: &Login) -> Self {
        Self {
            server: login.server.to_string(),
            user: login.user.to_string(),
            profile: login.profile.as_ref().map(ToString::to_string),
            session: login.session.to_string(),
            token_prefix: login.token_prefix.clone(),
            expires_at: login.expires_at.map(|end| end.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            paths: login.paths.iter().map(ToString::to_string).collect(),
            default: login.default,
            default_server: login.default_server,
            storage: login.storage().as_str().to_owned(),
            secret: match &login.kept {
                Kept::Keyring => None,
                Kept::File(secret) => Some(Hushed(Zeroizing::new(secret.expose_secret().to_owned()))),
            },
        }
    }
}

impl TryFrom<Entry> for Login {
    type Error = String;
    fn try_from(entry: Entry) -> Result<Self, String> {
        let Entry {
            server,
            user,
            profile,
            session,
            token_prefix,
            expires_at,
            paths,
            default,
            default_server,
            storage,
            secret,
        } = entry;
        let kept = match (storage.as_str(), secret) {
            (word, None) if word == Storage::Keyring.as_str() => Kept::Keyring,
            (word, Some(secret)) if word == Storage::File.as_str() => Kept::File(secret.0.as_str().into()),
            _ => return Err("storage is \"keyring\", or \"file\" with a secret".to_owned()),
        };
        let server: tok_model::url::Origin = server.parse().map_err(|why| format!("server: {why}"))?;
        if !server.acceptable() {
            return Err("server: a session is not sent in the clear to another machine".to_owned());
        }
        let end = |text: String| text.parse::<Timestamp>().map_err(|why| format!("expires_at: {why}"));
        Ok(Self {
            server,
            user: user.parse().map_err(|why| format!("user: {why}"))?,
            profile: profile.map(|name| name.parse().map_err(|why| format!("profile: {why}"))).transpose()?,
            session: session.parse().map_err(|why| format!("session: {why}"))?,
            token_prefix,
            expires_at: expires_at.map(end).transpose()?,
            paths: paths
                .iter()
                .map(|path| path.parse().map_err(|why| format!("paths: {why}")))
                .collect::<Result<_, _>>()?,
            default,
            default_server,
            kept,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::super::fixture::login;
    use super::super::put;
    use super::*;

    fn place() -> (TempDir, LoginsFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = LoginsFile::at(directory.path().join("config/tok/logins.toml"));
        (directory, file)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_kept_comes_back_and_nobody_else_can_read_it() {
        let (_directory, file) = place();
        assert!(file.read().unwrap().all().is_empty(), "no file is no logins");
        let mut first = login("https://a.example", "alice").under("work").only_for(&["acme", "libs/x"]).meant();
        first.expires_at = Some("2027-02-20T10:00:00.123456Z".parse().unwrap());
        let mut second = login("http://127.0.0.1:7650", "bob");
        second.kept = Kept::Keyring;
        for login in [first.clone(), second] {
            file.change(|logins| put(logins, login)).unwrap();
        }
        let read = file.read().unwrap();
        assert_eq!(read.all().len(), 2);
        let [alice, bob] = read.all() else { panic!("two were kept") };
        assert_eq!((alice.to_string(), &alice.paths, alice.default), (first.to_string(), &first.paths, true));
        assert!(alice.default_server && !bob.default_server);
        assert_eq!((alice.expires_at, alice.session), (first.expires_at, first.session));
        assert!(matches!(&alice.kept, Kept::File(secret) if secret.expose_secret() == "tokses_secret"));
        assert_eq!((bob.storage(), bob.server.to_string()), (Storage::Keyring, "http://127.0.0.1:7650".to_owned()));
        assert_eq!((mode(file.path()), mode(file.directory())), (0o600, 0o700));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.lines().any(|line| line == "server = \"https://a.example\""), "{text}");
    }

    #[test]
    fn a_file_that_others_could_touch_is_refused_with_what_mends_it() {
        let (_directory, file) = place();
        file.change(|logins| put(logins, login("https://a.example", "alice"))).unwrap();
        for (path, bad, good, command) in [
            (file.path(), 0o640, 0o600, "chmod 600"),
            (file.path(), 0o602, 0o600, "chmod 600"),
            (file.directory(), 0o770, 0o700, "chmod 700"),
        ] {
            set_mode(path, bad);
            let trouble = file.read().unwrap_err();
            assert!(trouble.hint.starts_with(command) && trouble.hint.ends_with(path.to_str().unwrap()), "{trouble:?}");
            assert!(file.change(|_| ()).is_err(), "nor is it changed");
            set_mode(path, good);
            assert_eq!(file.read().unwrap().all().len(), 1);
        }
        set_mode(file.directory(), 0o755);
        assert!(file.read().is_ok(), "others may see that it is there");
    }

    #[test]
    fn a_link_or_a_pipe_is_no_file_of_ours() {
        let (directory, file) = place();
        fs::create_dir_all(file.directory()).unwrap();
        let other: PathBuf = directory.path().join("other");
        fs::write(&other, "").unwrap();
        set_mode(&other, 0o600);
        symlink(&other, file.path()).unwrap();
        assert!(file.read().unwrap_err().message.contains("symbolic link"));
        fs::remove_file(file.path()).unwrap();
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(file.path()).status().unwrap();
        assert!(made.success());
        assert!(file.read().unwrap_err().message.contains("no plain file"), "and reading it does not hang");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named_without_its_secrets() {
        let (_directory, file) = place();
        fs::create_dir_all(file.directory()).unwrap();
        let entry = "[[login]]\nserver = 'https://a.example'\nuser = 'alice'\n\
                     session = '3f2b8c1e-8a55-4d0e-9d0e-0123456789ab'\ntoken_prefix = 'x'\n";
        for (text, word) in [
            ("secret = tokses_hush\n".to_owned(), "line 1"),
            (format!("{entry}storage = 'file'\n"), "storage"),
            (format!("{entry}storage = 'keyring'\nsecret = 'tokses_hush'\n"), "storage"),
            (format!("{entry}storage = 'file'\nsecret = 'tokses_hush'\ncolour = 1\n"), "colour"),
            (entry.replace("https://a", "http://a") + "storage = 'keyring'\n", "in the clear"),
        ] {
            fs::write(file.path(), &text).unwrap();
            set_mode(file.path(), 0o600);
            let trouble = file.read().unwrap_err();
            assert!(trouble.message.contains(word) && !trouble.message.contains("hush"), "{text}: {trouble}");
            assert!(trouble.hint.contains("rm "), "{trouble:?}");
        }
    }

    #[test]
    fn many_who_change_it_at_once_lose_nothing() {
        let (_directory, file) = place();
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let file = file.clone();
                thread::spawn(move || {
                    for turn in 0..5 {
                        let server = format!("https://s{worker}-{turn}.example");
                        file.change(|logins| put(logins, login(&server, "alice"))).unwrap();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(file.read().unwrap().all().len(), 40);
        let left: Vec<_> = fs::read_dir(file.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the file and its lock: {left:?}");
    }
}
