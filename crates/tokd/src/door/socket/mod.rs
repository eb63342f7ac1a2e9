//! The local socket.

pub mod helper;
pub mod listener;
pub mod place;
