//! A terminal with somebody at it: what they see, what they type, and what they are left with.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::pty::openpty;
use rustix::termios::{LocalModes, Termios, tcgetattr};

use crate::call::Call;
use crate::normalise::without_tokens;
use crate::secrets::Canaries;
use crate::wait;

/// Ctrl-C.
pub const INTERRUPT: &[u8] = b"\x03";
/// Ctrl-D.
pub const END: &[u8] = b"\x04";

/// A terminal on which one program runs, as the leader of a session of its own.
pub struct Terminal {
    keys: File,
    /// The program's side, kept open so that what is left of its settings can be seen.
    screen: Option<OwnedFd>,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    before: Termios,
    child: Child,
    canaries: Arc<Canaries>,
}

impl Call {
    /// Starts it on a terminal.
    pub fn on_terminal(self) -> Terminal {
        let ends = openpty(None, None).expect("there are terminals");
        let before = tcgetattr(&ends.slave).expect("it is a terminal");
        let end = || Stdio::from(ends.slave.try_clone().expect("a descriptor can be shared"));
        let canaries = Arc::clone(self.canaries());
        // Its process is the session's, and Ctrl-C is for it.
        let mut command = self.in_front(["setsid", "--ctty", "--wait"]).command();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid is installed");
        let keys = File::from(ends.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, seen) = (keys.try_clone().expect("a descriptor can be shared"), Arc::clone(&shown));
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut chunk) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
            }
        });
        Terminal { keys, screen: Some(ends.slave), shown, reader: Some(reader), before, child, canaries }
    }
}

impl Terminal {
    /// Everything that was on it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until this is on it.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        let shown = wait::within(wait::PATIENCE, || self.text().contains(words).then_some(()));
        assert!(shown.is_some(), "{words:?} never came: {}", without_tokens(&self.text()));
    }

    /// Types this.
    pub fn types(&mut self, keys: impl AsRef<[u8]>) {
        self.keys.write_all(keys.as_ref()).expect("the terminal takes keys");
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        self.modes().contains(LocalModes::ECHO)
    }

    /// The number of the program's process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the program's end, which must leave the terminal as it was; gives how it ended, and all that was shown.
    #[track_caller]
    pub fn ends(mut self) -> (ExitStatus, String) {
        let status = wait::until("the program ends", || self.child.try_wait().expect("a child can be waited for"));
        assert_eq!(self.modes(), self.before.local_modes, "the terminal is not as it was");
        // What nobody holds any more ends, and all that was shown has come by then.
        self.screen = None;
        self.reader.take().expect("it ends once").join().expect("the reader does not panic");
        let text = self.text();
        self.canaries.inspect("a terminal", text.as_bytes());
        (status, text)
    }

    fn modes(&self) -> LocalModes {
        tcgetattr(self.screen.as_ref().expect("it has not ended")).expect("it is a terminal").local_modes
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whoever waited for it has reaped it.
        let _ = (self.child.kill(), self.child.wait());
    }
}
