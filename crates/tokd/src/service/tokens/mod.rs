//! Making, finding, changing, checking and ending tokens.

mod check;
mod create;
mod explain;
mod idempotency;
mod introspect;
mod list;
mod modify;
pub mod policy;
mod resolve;
mod restore;
mod revoke;
mod rotate;
mod secret;

pub use check::effective_scopes;
pub(super) use create::made_through;
pub(super) use idempotency::asker;
pub(super) use list::page_size;

/// What to do about a text that is no token of this server.
const OF_ANOTHER_SERVER: &str = "compare it with where it was copied from; if it is whole, another server made it: `tok status` shows which one answers here";
