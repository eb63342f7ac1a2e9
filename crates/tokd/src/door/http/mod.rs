//! The remote address.

pub mod answer;
mod certificate;
mod connection;
pub mod figures;
pub mod hearing;
pub mod in_flight;
pub mod limits;
pub mod listener;
pub mod router;
mod seldom;
pub mod source;
pub mod tls;
