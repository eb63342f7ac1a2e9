//! Rows 1 to 3: the helper, as git starts it, next to git's own `credential-cache` and to a process that does nothing.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tok_tests::binaries;
use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::process::Program;
use crate::rounds::{Contender, Rounds, interleave};
use crate::statistics::{Series, Unit};

const ROUNDS: Rounds = Rounds { warm_up: 20, counted: 1000 };
/// Each commits to the disk; on a slow one a thousand would take too long.
const MINTING_ROUNDS: Rounds = Rounds { warm_up: 20, counted: 400 };
/// The user that tokens are for.
pub(crate) const USER: &str = "alice";

/// What the three rows share: a daemon with a user, and the programs.
pub(crate) struct Bench<'a> {
    environment: &'a Environment,
    cache: Cache,
    program: PathBuf,
    helper: Program,
    helper_size: u64,
}

impl<'a> Bench<'a> {
    /// With this helper, in an environment whose daemon runs and knows [`USER`].
    pub(crate) fn new(environment: &'a Environment, helper: &Path) -> Self {
        let program = helper.to_owned();
        let helper_size = fs::metadata(helper).expect("the helper is there").len();
        let helper = Program::new(helper.to_owned(), environment.home())
            .variable("TOK_USER", USER)
            .arguments([Path::new("--socket"), &environment.socket()]);
        Self { environment, cache: Cache::start(environment), program, helper, helper_size }
    }

    /// A git token that may read `acme/app`.
    pub(crate) fn git_token(&self) -> String {
        token(&self.get().run(self.wish().as_bytes()).1)
    }

    /// Row 1: the token that was minted for git a moment ago is given again, by the daemon's local socket.
    pub(crate) fn kept_token(&self) -> Figure {
        let name = "helper get, unexpired git token";
        self.kept(1, name, "git-credential-tok get, over the socket", &self.get())
    }

    /// Row 17: the same by a user's agent, who got it from the remote address.
    pub(crate) fn agents_token(&self) -> Figure {
        self.environment.through_agent(&[USER]);
        let socket = self.environment.home().join("run/tok/agent.sock");
        let helper = Program::new(self.program.clone(), self.environment.home());
        let helper = helper.arguments([Path::new("--socket"), &socket]).arguments(["get"]);
        self.kept(
            17,
            "helper get, unexpired git token of a warm agent",
            "git-credential-tok get, from the agent",
            &helper,
        )
    }

    fn kept(&self, row: u32, name: &'static str, ours_is: &str, helper: &Program) -> Figure {
        let lines = self.wish();
        self.cache.keep(&lines);
        let first = token(&helper.run(lines.as_bytes()).1);
        let ours: Contender<'_, f64> = Box::new(|_| {
            let (took, printed) = helper.run(lines.as_bytes());
            assert_eq!(token(&printed), first, "this row is about one token");
            took
        });
        let names = [CACHE_GET, ours_is];
        let [baseline, ours] = timed(ROUNDS, names, [self.cache.get(&lines), ours]);
        let note = format!("Both get the same bytes on stdin. The helper has {} bytes.", self.helper_size);
        Figure { row, name, ours, baseline, goal: Goal::AtMost(0.9), beside: Vec::new(), note }
    }

    /// Row 2: each round asks for another repository, so each waits for a new token's row and its line in the trail.
    pub(crate) fn minting(&self) -> Figure {
        let (lines, helper) = (self.wish(), self.get());
        self.cache.keep(&lines);
        let seen = RefCell::new(HashSet::new());
        let before = self.minted();
        let ours: Contender<'_, f64> = Box::new(|round| {
            let lines = self.environment.challenged(&format!("acme/r{round:05}"), "read") + "\n";
            let (took, printed) = helper.run(lines.as_bytes());
            assert!(seen.borrow_mut().insert(token(&printed)), "a token was given twice");
            took
        });
        let disk = Disk::new(self.environment.root());
        let disk: Contender<'_, f64> = Box::new(|_| disk.write());
        let names = [CACHE_GET, "git-credential-tok get, minting", "8 KiB written and fdatasync, nothing else"];
        let [baseline, ours, disk] = timed(MINTING_ROUNDS, names, [self.cache.get(&lines), ours, disk]);
        let after = self.minted();
        let expected = i64::try_from(seen.borrow().len()).expect("it is small");
        assert_eq!((after.0 - before.0, after.1 - before.1), (expected, expected), "rows of tokens and of their trail");
        let settings = self.environment.rows(
            "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, \
             current_setting('full_page_writes') AS full_page_writes",
        );
        let note = format!(
            "{expected} rows in tokens and {expected} in audit were committed, on a cluster with {}.",
            settings.first().expect("settings are one row")
        );
        Figure {
            row: 2,
            name: "helper get that mints: row and audit line committed",
            ours,
            baseline,
            goal: Goal::AtMost(1.3),
            beside: vec![disk],
            note,
        }
    }

    /// Row 3: git stores what we answered, which needs nobody to be asked.
    pub(crate) fn own_store(&self) -> Figure {
        let lines = self.wish();
        let answer = String::from_utf8(self.get().run(lines.as_bytes()).1).expect("an answer is text");
        // As git does it: what it asked for, and what it was told.
        let stored = lines.trim_end().to_owned() + "\n" + &answer;
        let store = self.helper.clone().arguments(["store"]);
        let silent = |program: Program| -> Contender<'_, f64> {
            let stored = &stored;
            Box::new(move |_| {
                let (took, printed) = program.run(stored.as_bytes());
                assert!(printed.is_empty(), "nothing is to be said");
                took
            })
        };
        let home = || self.environment.home();
        let exits = Program::new(PathBuf::from("/bin/true"), home());
        let nothing = Program::new(binaries::path("nothing"), home());
        let names = ["/bin/true", "git-credential-tok store", "an empty Rust program, linked as usual"];
        let [baseline, ours, nothing] = timed(ROUNDS, names, [silent(exits), silent(store), silent(nothing)]);
        Figure {
            row: 3,
            name: "helper store of our own answer",
            ours,
            baseline,
            goal: Goal::AtMost(1.1),
            beside: vec![nothing],
            note: "The process that exits at once is /bin/true, the faster of the two that do.".to_owned(),
        }
    }

    /// What git sends after the server's challenge.
    fn wish(&self) -> String {
        self.environment.challenged("acme/app", "read") + "\n"
    }

    fn get(&self) -> Program {
        self.helper.clone().arguments(["get"])
    }

    /// How many git tokens there are, and how many lines of the trail say that one was minted.
    fn minted(&self) -> (i64, i64) {
        let count = |what: &str| self.environment.count(&format!("SELECT count(*) AS count FROM {what}"));
        (count("tokens WHERE kind = 'git'"), count("audit WHERE action = 'token.mint' AND outcome = 'done'"))
    }
}

const CACHE_GET: &str = "git credential-cache get";

/// Milliseconds of each, in turns.
pub(crate) fn timed<const N: usize>(
    rounds: Rounds,
    names: [&str; N],
    contenders: [Contender<'_, f64>; N],
) -> [Series; N] {
    let mut values = interleave(rounds, contenders.into()).into_iter();
    names.map(|name| Series {
        name: name.to_owned(),
        unit: Unit::Milliseconds,
        values: values.next().expect("one for each contender"),
    })
}

/// The token in an answer; there must be one.
pub(crate) fn token(answer: &[u8]) -> String {
    let text = str::from_utf8(answer).expect("an answer is text");
    let found = text.lines().find_map(|line| line.strip_prefix("credential="));
    found.expect("the helper answers with a token").to_owned()
}

/// A `credential-cache` daemon with one credential.
struct Cache {
    git: Program,
}

impl Cache {
    fn start(environment: &Environment) -> Self {
        let directory = environment.path("cache");
        fs::create_dir(&directory).expect("the directory is ours");
        // credential-cache insists on it.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("the directory is ours");
        let git = Program::new(find("git"), environment.home()).arguments(["credential-cache", "--socket"]);
        Self { git: git.arguments([directory.join("socket")]) }
    }

    /// Keeps a password for what these lines ask for, as long as this takes.
    fn keep(&self, lines: &str) {
        let lines = lines.trim_end().to_owned() + "\nusername=alice\npassword=" + PASSWORD + "\n\n";
        self.git.clone().arguments(["--timeout", "3600", "store"]).run(lines.as_bytes());
    }

    fn get<'a>(&self, lines: &'a str) -> Contender<'a, f64> {
        let get = self.git.clone().arguments(["get"]);
        Box::new(move |_| {
            let (took, printed) = get.run(lines.as_bytes());
            let text = String::from_utf8_lossy(&printed);
            assert!(text.contains(PASSWORD), "credential-cache has forgotten it: {text}");
            took
        })
    }
}

/// As long as a token.
const PASSWORD: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";

impl Drop for Cache {
    fn drop(&mut self) {
        self.git.clone().arguments(["exit"]).run(b"");
    }
}

/// What the disk alone takes for what PostgreSQL cannot do without.
struct Disk(File);

impl Disk {
    fn new(directory: &Path) -> Self {
        let file = File::create(directory.join("disk")).expect("the directory is ours");
        file.write_all_at(&[0; 16 * 1024], 0).and_then(|()| file.sync_all()).expect("the disk has room");
        Self(file)
    }

    /// Milliseconds.
    fn write(&self) -> f64 {
        let begin = Instant::now();
        self.0.write_all_at(&[1; 8 * 1024], 0).and_then(|()| self.0.sync_data()).expect("the disk works");
        begin.elapsed().as_secs_f64() * 1e3
    }
}

/// A program on `PATH`.
pub(crate) fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{program} is not on PATH"))
}
