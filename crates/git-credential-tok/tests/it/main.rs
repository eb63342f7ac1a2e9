//! The built helper, judged from outside: its standard streams, and a Unix socket that plays the daemon.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod conversation;
mod deadline;
mod fuzz;
mod hostile;
mod kit;
mod token;
