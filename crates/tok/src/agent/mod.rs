//! The user's agent: it keeps the connection to each server warm and unexpired git tokens in memory, and answers git's
//! helper, the command line and nobody else.
//!
//! [`serve`] is its life, [`door`] what it answers on its socket, [`session`] one login with its connection, [`tokens`]
//! what was minted through it. It reads the logins and never writes them.

pub(crate) mod book;
mod door;
mod grpc;
pub(crate) mod hardening;
pub(crate) mod keeper;
pub(crate) mod latch;
mod patience;
pub(crate) mod place;
pub(crate) mod serve;
mod session;
pub(crate) mod start;
mod tokens;
