//! The spawn timer: from before a process is started until it was waited for, as git does with its helpers.

use std::ffi::OsString;
use std::io::{PipeReader, Read, Write, pipe};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The largest input that a pipe takes before anybody reads it.
const PIPE: usize = 64 * 1024;

/// A program to start again and again, always in the same surroundings.
#[derive(Clone)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Program {
    /// The program at this path, with `home` as its home. The path has a slash: looking for it would be timed, too.
    pub(crate) fn new(path: PathBuf, home: PathBuf) -> Self {
        assert!(path.is_absolute(), "{} is not absolute", path.display());
        let variables = vec![("HOME", home.into()), ("PATH", "/usr/local/bin:/usr/bin:/bin".into())];
        Self { path, arguments: Vec::new(), variables }
    }

    /// More arguments.
    #[must_use]
    pub(crate) fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// With one more variable.
    #[must_use]
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it once with this on stdin. Gives the milliseconds that it took, and what it printed.
    ///
    /// Everything that can be made before is made before: the input is in its pipe, and the pipe for the output is there.
    pub(crate) fn run(&self, input: &[u8]) -> (f64, Vec<u8>) {
        assert!(input.len() < PIPE, "the input must fit into a pipe");
        let (stdin, mut feed) = pipe().expect("there are descriptors");
        feed.write_all(input).expect("a pipe takes this much");
        drop(feed);
        let (mut output, stdout): (PipeReader, _) = pipe().expect("there are descriptors");
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(stdout).stderr(Stdio::inherit());

        let begin = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", self.path.display()));
        let status = child.wait().expect("a child can be waited for");
        let took = begin.elapsed();

        assert!(status.success(), "{} ended with {status}", self.path.display());
        // It holds our end of the pipe, which would keep the output from ending.
        drop(command);
        let mut printed = Vec::new();
        output.read_to_end(&mut printed).expect("a pipe can be read");
        (took.as_secs_f64() * 1e3, printed)
    }
}
