//! One deadline for the whole run: connecting, writing and reading share it.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::trouble::Trouble;

/// When this run has to be over.
pub(crate) struct Deadline {
    start: Instant,
    whole: Duration,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn start(whole: Duration) -> Self {
        Self { start: Instant::now(), whole }
    }

    /// What is left of it, never zero.
    pub(crate) fn remaining(&self) -> Result<Duration, Trouble> {
        let left = self.whole.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero());
        left.ok_or(self.passed())
    }

    /// That it has passed.
    pub(crate) fn passed(&self) -> Trouble {
        Trouble::Late { whole: self.whole }
    }

    /// Waits a moment, if there is one left.
    pub(crate) fn pause(&self, moment: Duration) -> Result<(), Trouble> {
        std::thread::sleep(moment.min(self.remaining()?));
        Ok(())
    }

    /// Waits until `fd` is ready for `events` or is closed on the other side.
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<(), Trouble> {
        loop {
            let timeout = Timespec::try_from(self.remaining()?).map_err(|_| self.passed())?;
            match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&timeout)) {
                // Zero is a timeout: the next turn finds nothing left.
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Trouble::Broken(error)),
            }
        }
    }
}
