//! Where a repository is: the [`Origin`] of a server and the [`GitPath`] on it.
//!
//! The helper's side, the gateway and every door read a URL with these two types and nothing else. Two readers that
//! disagree about one path are how a token for one repository opens another.

mod origin;
mod path;

pub use origin::{Origin, OriginRefusal, Scheme};
pub use path::{GitPath, LONGEST_PATH, LfsTail, PathRefusal, Tail};
