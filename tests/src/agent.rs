//! A user's agent, on a laptop.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binaries;
use crate::call::{Call, Finished};
use crate::helper::{self, Answer};
use crate::laptop::Laptop;
use crate::processes::Process;
use crate::wait;

/// Whatever agent runs on a laptop is stopped when this is dropped.
pub struct Agent<'a> {
    laptop: &'a Laptop<'a>,
}

impl<'a> Laptop<'a> {
    /// Its agent, whether or not one runs.
    pub fn agent(&'a self) -> Agent<'a> {
        Agent { laptop: self }
    }

    /// The git that the tests themselves find first; [`git`](Self::git) is the system's, which may be older.
    pub fn newest_git(&self, arguments: &[&str]) -> Call {
        let finder =
            std::process::Command::new("sh").args(["-c", "command -v git"]).output().expect("there is a shell");
        let program = String::from_utf8(finder.stdout).expect("a path is text");
        self.git_as(program.trim(), arguments)
    }

    /// `git-credential-tok` there, without its operation.
    pub fn helper(&self) -> Call {
        self.call(if self.is_another_user() {
            "git-credential-tok".into()
        } else {
            binaries::path("git-credential-tok")
        })
    }

    /// What the helper answers there to these lines.
    #[track_caller]
    pub fn get(&self, lines: &str) -> Answer {
        helper::answer(&self.ask(lines))
    }

    /// The same, with all that it said.
    #[track_caller]
    pub fn ask(&self, lines: &str) -> Finished {
        self.helper().argument("get").input(format!("{lines}\n")).shows_secret().ok()
    }
}

impl Agent<'_> {
    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.laptop.home().join("run/tok/agent.sock")
    }

    /// What it says of itself; nothing if none runs.
    pub fn status(&self) -> Option<Value> {
        let said = self.laptop.tok(&["agent", "status", "--output", "json"]).run();
        (said.code == Some(0)).then(|| said.json())
    }

    /// Its process ID; one must run.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let status = self.status().expect("an agent runs");
        i32::try_from(status["pid"].as_i64().expect("a process has an ID")).expect("it is small")
    }

    /// Kills it, and waits until it is gone.
    #[track_caller]
    pub fn kill(&self) {
        let pid = self.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it may be killed");
        wait::until_true("the agent is gone", || Process::read(pid).is_none());
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let said = self.laptop.tok(&["agent", "stop"]).run();
        if !std::thread::panicking() {
            assert_eq!(said.code, Some(0), "{}", said.describe());
        }
    }
}
