//! The bytes: from git, to the daemon, and back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::stdio;
use tok_model::credential::{LARGEST_ANSWER, LARGEST_REQUEST};

use crate::deadline::Deadline;
use crate::output;
use crate::trouble::Trouble;

/// How much room is made for one read: most requests and all answers fit.
const CHUNK: usize = 8 * 1024;

/// Reads what git says, up to a blank line or the end. Nothing if it cannot be read or never ends.
pub(crate) fn read_stdin(deadline: &Deadline) -> Result<Option<Vec<u8>>, Trouble> {
    let stdin = stdio::stdin();
    let mut bytes = Vec::with_capacity(CHUNK);
    loop {
        deadline.wait(stdin, PollFlags::IN)?;
        bytes.reserve(CHUNK);
        match rustix::io::read(stdin, spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(_) if bytes.len() > LARGEST_REQUEST => {
                output::debug(|| format!("git's request was refused: more than {LARGEST_REQUEST} bytes"));
                return Ok(None);
            }
            Ok(_) if bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n") || bytes == b"\n" => {
                return Ok(Some(bytes));
            }
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                output::debug(|| format!("stdin cannot be read: {error}"));
                return Ok(None);
            }
        }
    }
}

/// Sends a whole request and reads the whole answer.
pub(crate) fn exchange(connection: &OwnedFd, request: &[u8], deadline: &Deadline) -> Result<Vec<u8>, Trouble> {
    let mut rest = request;
    while !rest.is_empty() {
        match send(connection, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => deadline.wait(connection.as_fd(), PollFlags::OUT)?,
            // Whoever hung up in the middle may have said why before; if not, the reading below finds out.
            Err(Errno::PIPE | Errno::CONNRESET) => break,
            Err(error) => return Err(Trouble::Broken(error)),
        }
    }
    let _ = shutdown(connection, Shutdown::Write);
    let mut answer = Vec::with_capacity(CHUNK);
    loop {
        deadline.wait(connection.as_fd(), PollFlags::IN)?;
        answer.reserve(CHUNK);
        match recv(connection, spare_capacity(&mut answer), RecvFlags::empty()) {
            Ok((_, 0)) => return Ok(answer),
            // One byte too many is enough for the parser to refuse it; what follows need not be read.
            Ok(_) if answer.len() > LARGEST_ANSWER => return Ok(answer),
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(Trouble::Broken(error)),
        }
    }
}
