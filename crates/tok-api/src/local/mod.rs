//! The listening side of a local socket, which the daemon and a user's agent share: its place in the file system, who
//! connects, which of the two languages they speak, and how each is served.
//!
//! Only with the feature `listen`: a client of the API has no use for it.

pub mod gate;
pub mod grpc;
pub mod helper;
pub mod listener;
pub mod place;
pub mod prefixed;
