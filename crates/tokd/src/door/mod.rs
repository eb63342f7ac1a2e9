//! The doors: everything that accepts a connection.

pub mod api;
pub mod authz;
pub mod console;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod socket;
#[cfg(test)]
pub(crate) mod testing;
