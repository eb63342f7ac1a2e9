//! The git gateway: repositories over smart HTTP, through git's own `http-backend`.

pub mod backend;
pub mod call;
mod cgi;
mod child;
pub mod fault;
pub mod gate;
mod packed;
pub mod program;
pub mod repositories;
mod settings;
mod settle;
mod stream;
pub mod sweep;

#[cfg(test)]
pub(crate) mod kit;
#[cfg(test)]
mod tests;
