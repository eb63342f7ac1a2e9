//! The wire between the daemon and those who ask it.
//!
//! Proto files in `proto/tok/v1`, checked conversions between their messages and plain structs ([`convert`]), the one
//! shape of failure ([`fault`]), and the client over a local socket ([`client`]). Generated types ([`wire`]) stop here:
//! the daemon meets them in its gRPC door only, the command line never.

pub mod client;
pub mod convert;
pub mod endpoint;
pub mod fault;
pub mod wire;
