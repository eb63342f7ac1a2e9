//! One run of a program: its surroundings, and what came of it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binaries;
use crate::secrets::Canaries;

/// A program that takes longer hangs. The slowest honest run (a large push on a busy machine) takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program that is about to run. Its environment is empty but for what the test gives it.
#[derive(Clone)]
pub struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Vec<u8>,
    canaries: Arc<Canaries>,
    shows_secret: bool,
    lasts: bool,
    holds_input: bool,
}

impl Call {
    /// `program` in `directory`, with `home` as its home.
    pub fn new(program: impl Into<PathBuf>, directory: &Path, home: &Path, canaries: &Arc<Canaries>) -> Self {
        let mut call = Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            directory: directory.to_owned(),
            input: Vec::new(),
            canaries: Arc::clone(canaries),
            shows_secret: false,
            lasts: false,
            holds_input: false,
        };
        for (name, value) in [
            ("PATH", binaries::search_path().as_os_str()),
            ("HOME", home.as_os_str()),
            ("XDG_CONFIG_HOME", home.join(".config").as_os_str()),
            ("XDG_STATE_HOME", home.join(".local/state").as_os_str()),
            ("XDG_RUNTIME_DIR", home.join("run").as_os_str()),
            ("LC_ALL", OsStr::new("C.UTF-8")),
            ("TZ", OsStr::new("UTC")),
        ] {
            call = call.variable(name, value);
        }
        call
    }

    /// Where the program is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// An environment variable; replaces an earlier one of that name.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    /// Without that environment variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// What the program reads on stdin.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// The directory that it runs in.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// In the name of another tok user (managers only).
    #[must_use]
    pub fn acting_as(self, user: &str) -> Self {
        self.variable("TOK_USER", user)
    }

    /// Its stdout is where a secret belongs: what it shows is remembered and looked for everywhere else.
    #[must_use]
    pub fn shows_secret(mut self) -> Self {
        self.shows_secret = true;
        self
    }

    /// It runs for as long as the test wants it, and is killed at its end.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasts = true;
        self
    }

    /// Its input has no end: somebody sits there. (`script` waits for two seconds when it does.)
    #[must_use]
    pub fn holds_input(mut self) -> Self {
        self.holds_input = true;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Runs it and expects that it succeeds.
    pub fn ok(self) -> Finished {
        self.run().expect_code(0)
    }

    /// Runs it and expects this exit code.
    pub fn fails(self, code: i32) -> Finished {
        self.run().expect_code(code)
    }

    /// Starts it, to be waited for later. It has a process group of its own.
    pub fn start(self) -> Running {
        let what = self.words();
        let mut command = self.command();
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let (input, held) = (self.input, self.holds_input);
        let (leave, left) = mpsc::channel::<()>();
        thread::spawn(move || {
            // A program that does not read its input is no reason to fail here.
            drop(stdin.write_all(&input));
            if held {
                let _ = left.recv();
            }
        });
        let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
        let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
        let group = Pid::from_raw(child.id().cast_signed());
        let (over, watched) = mpsc::channel::<()>();
        let deadline = if self.lasts { Duration::MAX } else { DEADLINE };
        thread::spawn(move || {
            if watched.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = killpg(group, Signal::SIGKILL);
            }
        });
        Running { what, child, stdout, stderr, over, leave, canaries: self.canaries, shows_secret: self.shows_secret }
    }

    /// The same program, started by another one with these words before its own.
    pub(crate) fn in_front<const N: usize>(mut self, words: [&str; N]) -> Self {
        let program = std::mem::take(&mut self.program).into_os_string();
        let mut words = words.into_iter().map(OsString::from);
        self.program = words.next().expect("there is a program").into();
        self.arguments.splice(0..0, words.chain([program]));
        self
    }

    /// The program with its arguments in its surroundings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn canaries(&self) -> &Arc<Canaries> {
        &self.canaries
    }

    fn words(&self) -> String {
        let mut words = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for argument in &self.arguments {
            // Writing to a String cannot fail.
            let _ = write!(words, " {}", argument.to_string_lossy().escape_debug());
        }
        words
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what the program said.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// A program that runs.
pub struct Running {
    what: String,
    child: std::process::Child,
    stdout: thread::JoinHandle<Vec<u8>>,
    stderr: thread::JoinHandle<Vec<u8>>,
    over: mpsc::Sender<()>,
    leave: mpsc::Sender<()>,
    canaries: Arc<Canaries>,
    shows_secret: bool,
}

impl Running {
    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Kills it and everything in its process group.
    pub fn kill(&self) {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Finished {
        let status = self.child.wait().expect("a child can be waited for");
        drop(self.leave);
        let finished = Finished {
            code: status.code(),
            stdout: self.stdout.join().expect("the reader of stdout does not panic"),
            stderr: self.stderr.join().expect("the reader of stderr does not panic"),
            what: self.what,
        };
        drop(self.over);
        if self.shows_secret {
            self.canaries.register_shown(&finished.stdout);
        } else {
            self.canaries.inspect(&format!("stdout of {}", finished.what), &finished.stdout);
        }
        self.canaries.inspect(&format!("stderr of {}", finished.what), &finished.stderr);
        finished
    }
}

/// A program that ended.
#[derive(Clone)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote for programs.
    pub stdout: Vec<u8>,
    /// What it wrote for people.
    pub stderr: Vec<u8>,
    what: String,
}

impl Finished {
    /// Fails unless it ended with this code.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "most tests want no more than this")]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(self.code == Some(code), "expected exit code {code}\n{}", self.describe());
        self
    }

    /// stdout as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap_or_else(|_| panic!("stdout is not UTF-8\n{}", self.describe()))
    }

    /// stdout without the line end, as scripts read it.
    #[track_caller]
    pub fn line(&self) -> &str {
        let line = self.text().trim_end_matches('\n');
        assert!(!line.is_empty() && !line.contains('\n'), "stdout is not one line\n{}", self.describe());
        line
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.stdout);
        parsed.unwrap_or_else(|error| panic!("stdout is not JSON ({error})\n{}", self.describe()))
    }

    /// stderr as text.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails unless stderr has each of these words.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        let complaint = self.complaint();
        for word in words {
            assert!(complaint.contains(word), "stderr does not say {word:?}\n{}", self.describe());
        }
        self
    }

    /// Everything that is known of it, for the message of a failing test.
    pub fn describe(&self) -> String {
        format!(
            "$ {}\nexit code: {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.code,
            crate::normalise::without_tokens(&String::from_utf8_lossy(&self.stdout)),
            crate::normalise::without_tokens(&self.complaint()),
        )
    }
}
