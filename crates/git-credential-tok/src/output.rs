//! What git and the person get to see. Neither stream is worth failing for: whoever closed it does not want to know.

use rustix::io::{Errno, write};
use rustix::stdio;

/// Writes everything for git, in one piece as far as the kernel takes it.
pub(crate) fn stdout(bytes: &[u8]) {
    write_all(stdio::stdout(), bytes);
}

/// One line for the person.
pub(crate) fn complain(words: &str) {
    let mut line = String::with_capacity(words.len() + 6);
    line.push_str("tok: ");
    line.extend(words.chars().map(|c| if c.is_control() { ' ' } else { c }));
    line.push('\n');
    write_all(stdio::stderr(), line.as_bytes());
}

/// One line for whoever looks for a fault, with `TOK_LOG=debug` only. Never a value of the request.
pub(crate) fn debug(words: impl FnOnce() -> String) {
    if std::env::var_os("TOK_LOG").is_some_and(|level| level == "debug" || level == "trace") {
        complain(&words());
    }
}

fn write_all(stream: std::os::fd::BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(stream, bytes) {
            Ok(0) => return,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
