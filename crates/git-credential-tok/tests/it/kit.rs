//! A helper to run, and a daemon to run it against.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

/// The helper that was built for this test.
pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_git-credential-tok");
/// A request as git writes it, with everything a new git sends.
pub(crate) const REQUEST: &str = "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.com\n\
                                  path=acme/app.git\nwwwauth[]=Basic realm=\"tok\", Bearer realm=\"tok\"\n";

/// What the helper left behind. It has to exit with 0, whatever happened.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The helper with an empty environment.
pub(crate) fn helper() -> Command {
    let mut command = Command::new(HELPER);
    command.env_clear();
    command
}

/// Runs `command` with `input` on stdin until it ends.
pub(crate) fn run(command: &mut Command, input: impl AsRef<[u8]>) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    match stdin.write_all(input.as_ref()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
        _ => drop(stdin),
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A socket that nobody answers on; `was_reached` tells whether somebody connected.
pub(crate) struct Silent {
    listener: UnixListener,
    directory: TempDir,
}

impl Silent {
    pub(crate) fn bind() -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        Self { listener, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(crate) fn was_reached(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        match self.listener.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A socket where each request is answered with the same bytes and handed to the test.
pub(crate) struct Daemon {
    path: PathBuf,
    requests: Receiver<String>,
    _directory: Option<TempDir>,
}

impl Daemon {
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let directory = TempDir::new().unwrap();
        let daemon = Self::at(&directory.path().join("s"), answer);
        Self { _directory: Some(directory), ..daemon }
    }

    /// Listens at a path of the test's own. The thread ends with the test binary.
    pub(crate) fn at(path: &Path, answer: impl Into<Vec<u8>>) -> Self {
        let (answer, listener) = (answer.into(), UnixListener::bind(path).unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let request = read_request(&mut stream);
                // A helper that has seen enough hangs up before it has read everything.
                let _ = stream.write_all(&answer);
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_owned(), requests, _directory: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next request that was answered.
    pub(crate) fn request(&self) -> String {
        self.requests.recv().unwrap()
    }

    /// Runs the helper against this socket.
    pub(crate) fn ask<S: AsRef<OsStr>>(&self, arguments: &[S], input: impl AsRef<[u8]>) -> Outcome {
        run(helper().env("TOK_SOCKET", &self.path).args(arguments), input)
    }
}

/// Reads up to the blank line, as the daemon does.
pub(crate) fn read_request(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.ends_with(b"\n\n") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the request ended without its blank line: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Whether this test runs as root, so that it can play other users.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
