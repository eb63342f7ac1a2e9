//! The audit trail: written with each change, in batches for uses, and chained so that nobody who lacks the pepper can
//! change, add, move or take out a line of it unnoticed.
//!
//! Two things keep it. Each line carries a hash of its own ([`mod@line`]), made when it is written, so that nothing waits for
//! another writer. A moment later its place is sealed ([`seal`]): one row that covers the lines and the seal before it.
//! Each run of a daemon writes a chain of its own, which begins with the last seals of those before it ([`trail`]).

mod line;
mod list;
mod months;
mod seal;
mod tally;
mod trail;
mod verify;
mod write;

pub use line::Line;
pub(crate) use line::NewLine;
pub use list::{Filter, Follow, Followed, follow, list, newest};
pub use months::Pruned;
pub(crate) use months::{make as make_months, prune as prune_months};
pub(crate) use seal::{seal_abandoned, seal_own};
pub use tally::Tally;
pub use trail::Trail;
pub use verify::{ChainReport, Verification};
pub(crate) use write::append;
pub use write::{Use, record_uses};
