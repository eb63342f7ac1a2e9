//! The local socket.

pub mod grpc;
pub mod helper;
pub mod listener;
pub mod place;
