//! A running `tokd`: started, waited for, stopped or killed, with everything it said.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries;
use crate::http::Request;
use crate::processes::{self, Process};
use crate::wait;

/// Making a cluster takes a second; a busy machine takes some more.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// What the daemon of a test that failed gets to end by itself.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// How to start a daemon.
#[derive(Clone)]
pub struct Recipe {
    /// What comes behind `tokd`.
    pub arguments: Vec<String>,
    /// Its whole environment, besides `PATH` and `HOME`.
    pub variables: Vec<(String, String)>,
    /// Where its stdout and stderr are kept.
    pub log: PathBuf,
    /// Its home.
    pub home: PathBuf,
    /// Where it answers, if it is one that does not print a ready line.
    pub silent: Option<Ready>,
}

impl Recipe {
    /// With one more environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Starts it and waits for its `ready` line. Its words, if it ended instead.
    pub fn start(&self) -> Result<Daemon, Refused> {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let stderr = log.try_clone().expect("a file can be shared");
        let begin = fs::metadata(&self.log).map_or(0, |status| status.len());
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("tokd can be started");
        let pid = child.id().cast_signed();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (lines, said) = mpsc::channel();
        // Reads on for as long as it runs, so that what it prints later neither blocks it nor is lost.
        let reader = thread::spawn(move || {
            let mut log = log;
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(log, "{line}");
                let _ = lines.send(line);
            }
        });
        let ready = match &self.silent {
            None => said.recv_timeout(START_PATIENCE).map(|line| Ready::parse(&line).ok_or(line)),
            Some(ready) => Self::watch(&mut child, ready).map(Ok),
        };
        match ready {
            Ok(Ok(ready)) => return Ok(Daemon { child, pid, ready, log: self.log.clone() }),
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait().expect("a child can be waited for");
                reader.join().expect("the reader does not panic");
                return Err(Refused { status, said: from(&self.log, begin) });
            }
            _ => {}
        }
        let _ = (child.kill(), child.wait());
        match ready {
            Ok(Err(line)) => panic!("the first line on stdout is not the ready line: {line:?}"),
            _ => panic!("tokd did not get ready within {} s:\n{}", START_PATIENCE.as_secs(), from(&self.log, begin)),
        }
    }

    /// Asks until it answers or has ended.
    fn watch(child: &mut Child, ready: &Ready) -> Result<Ready, RecvTimeoutError> {
        let address: SocketAddr = address_in(&ready.url);
        wait::until("tokd answers or ends", || {
            if child.try_wait().expect("a child can be waited for").is_some() {
                return Some(Err(RecvTimeoutError::Disconnected));
            }
            let request = Request::get("/readyz");
            let reply = match &ready.trust {
                Some(trust) => request.attempt_securely(address, trust),
                None => request.attempt(address),
            }?;
            (reply.status == 200 && ready.socket.exists()).then(|| Ok(ready.clone()))
        })
    }

    /// Runs it to its end: for what does not serve.
    pub fn run(&self) -> Refused {
        let log = File::options().create(true).append(true).open(&self.log).expect("the log can be written");
        let begin = fs::metadata(&self.log).map_or(0, |status| status.len());
        let stderr = log.try_clone().expect("a file can be shared");
        let status =
            self.command().stdin(Stdio::null()).stdout(log).stderr(stderr).status().expect("tokd can be started");
        Refused { status, said: from(&self.log, begin) }
    }

    /// The daemon shall not outlive a test that is killed; its own children do not outlive it.
    fn command(&self) -> Command {
        let tokd = binaries::path("tokd");
        let mut command = if Path::new("/usr/bin/setpriv").exists() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(tokd);
            command
        } else {
            Command::new(tokd)
        };
        command.args(&self.arguments).env_clear().current_dir("/");
        command.env("PATH", binaries::search_path()).env("HOME", &self.home);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A daemon that ended instead of serving.
#[derive(Debug)]
pub struct Refused {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote on stdout and stderr.
    pub said: String,
}

impl Refused {
    /// Fails unless it ended by itself, with a code that is not 0, and said each of these words.
    #[track_caller]
    pub fn because(&self, words: &[&str]) {
        assert!(self.status.code().is_some_and(|code| code != 0), "it ended with {}: {}", self.status, self.said);
        for word in words {
            assert!(self.said.contains(word), "it does not say {word:?}: {}", self.said);
        }
        assert!(!self.said.contains("panicked"), "{}", self.said);
    }
}

/// What the ready line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What git clones from, without a slash at its end.
    pub url: String,
    /// The local socket.
    pub socket: PathBuf,
    /// With TLS: the file of certificates that clients have to trust.
    pub trust: Option<PathBuf>,
}

impl Ready {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (Some("ready"), Some(url), Some("socket"), Some(socket), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        Some(Self { url: url.trim_end_matches('/').to_owned(), socket: socket.into(), trust: None })
    }
}

/// A daemon that serves.
pub struct Daemon {
    child: Child,
    pid: i32,
    ready: Ready,
    log: PathBuf,
}

impl Daemon {
    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// `http://127.0.0.1:<port>`, without a slash at its end; `https://…` with TLS.
    pub fn url(&self) -> &str {
        &self.ready.url
    }

    /// Where its remote listener is.
    pub fn address(&self) -> SocketAddr {
        address_in(&self.ready.url)
    }

    /// Its local socket.
    pub fn socket(&self) -> &Path {
        &self.ready.socket
    }

    /// Everything it said so far.
    pub fn said(&self) -> String {
        from(&self.log, 0)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("the daemon runs");
    }

    /// Waits for its end and for that of everything it started.
    pub fn wait(mut self) -> ExitStatus {
        let family = processes::tree(self.pid);
        self.end(&family)
    }

    /// Asks it to stop, as systemd does: it must end with 0 and leave nothing running.
    pub fn stop(mut self) {
        let family = processes::tree(self.pid);
        self.signal(Signal::SIGTERM);
        let status = self.end(&family);
        assert!(status.success(), "tokd ended with {status} on SIGTERM:\n{}", self.said());
    }

    /// Kills it without warning. Its children end by themselves, a moment later.
    pub fn kill(mut self) {
        let family = processes::tree(self.pid);
        self.signal(Signal::SIGKILL);
        let status = self.end(&family);
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}:\n{}", self.said());
    }

    fn end(&mut self, family: &[Process]) -> ExitStatus {
        let mut ended = None;
        wait::until_true("tokd ends", || {
            ended = self.child.try_wait().expect("a child can be waited for");
            ended.is_some()
        });
        let alive = || family.iter().filter(|process| process.runs()).map(Process::name).collect::<Vec<_>>();
        wait::until_true(&format!("everything that tokd started ends, of {:?}", alive()), || alive().is_empty());
        ended.expect("it was waited for")
    }
}

impl Drop for Daemon {
    /// Whoever ended it properly has reaped it, so this only meets the daemons of tests that failed.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        wait::within(LAST_PATIENCE, || self.child.try_wait().transpose());
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn address_in(url: &str) -> SocketAddr {
    let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let address = authority.and_then(|authority| authority.parse().ok());
    address.unwrap_or_else(|| panic!("{url:?} is not http:// or https://, an address and a port"))
}

fn from(log: &Path, begin: u64) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let begin = usize::try_from(begin).unwrap_or_default().min(bytes.len());
    String::from_utf8_lossy(&bytes[begin..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_exactly() {
        let ready = Ready::parse("ready http://127.0.0.1:7650/ socket /tmp/x/tokd.sock").unwrap();
        assert_eq!((ready.url.as_str(), ready.socket.to_str()), ("http://127.0.0.1:7650", Some("/tmp/x/tokd.sock")));
        for other in ["", "ready", "ready http://h socket", "READY http://h socket /s", "ready http://h socket /s x"] {
            assert_eq!(Ready::parse(other), None, "{other:?}");
        }
    }
}
