//! Making, finding, checking and ending tokens.

mod check;
mod create;
mod introspect;
mod list;
mod resolve;
mod revoke;

pub use check::effective_scopes;
pub(super) use list::page_size;
