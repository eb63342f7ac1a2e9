//! The local socket: what a helper is answered.

pub mod helper;
