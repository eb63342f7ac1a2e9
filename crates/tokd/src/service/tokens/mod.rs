//! Making, finding, changing, checking and ending tokens.

mod check;
mod create;
mod idempotency;
mod introspect;
mod list;
mod modify;
mod resolve;
mod revoke;
mod rotate;
mod secret;

pub use check::effective_scopes;
pub(super) use idempotency::asker;
pub(super) use list::page_size;
