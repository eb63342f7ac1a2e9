//! Git's credential format, `key=value` lines, in both directions (git-credential(1), "INPUT/OUTPUT FORMAT").
//!
//! A [`CredentialRequest`] is what git writes to a helper, an [`Answer`] what a helper writes back. Between the helper
//! and the daemon the same lines travel over a local socket: a [`RelayRequest`] puts `tok/1 get` and what only the
//! helper knows around the request, and a [`RelayedAnswer`] is the answer as the helper checks it before git sees it.
//!
//! Requests are hostile: a URL in a stranger's submodule decides most of what stands in them. What breaks a rule here
//! is [`Malformed`] as a whole; there is no half-read request, and no error repeats a value.

mod answer;
mod conversation;
mod draft;
mod lines;
mod memory;
mod relay;
mod request;

pub use answer::{Answer, RelayedAnswer, Unprintable};
pub use conversation::{Given, Wish, refused};
pub use draft::LARGEST_REQUEST;
pub use lines::{LONGEST_LINE, Malformed};
pub use memory::Memory;
pub use relay::{Hint, LARGEST_ANSWER, Operation, RELAY_MARK, RelayRequest};
pub use request::{Capabilities, CredentialRequest};

/// A git token is answered, and made, with this much left or not at all: no clone starts with a token about to end.
pub const LEAST_LEFT: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// What every `state[]` value of ours begins with; others belong to other helpers.
pub const STATE_PREFIX: &str = "tok:";
