//! The kit: starts PostgreSQL, `tokd`, `tok`, `git-credential-tok` and real git, and judges them from outside.
//!
//! A test makes an [`Environment`](environment::Environment), which has a temporary directory, a home, a data directory
//! and a socket of its own, so tests run side by side. When it is dropped it stops its daemon and fails the test if that
//! did not end with 0, left a process behind, or if any secret that the test made is found where none belongs
//! ([`secrets`]). Everything here panics with what it saw: that is how a test fails.

#![expect(clippy::missing_panics_doc, reason = "a kit for tests panics wherever a test should fail")]

pub mod agent;
pub mod binaries;
pub mod browser;
pub mod call;
pub mod cgi;
pub mod chance;
pub mod clock;
pub mod daemon;
pub mod desktop;
pub mod distance;
pub mod environment;
pub mod front;
pub mod git;
pub mod grpc;
pub mod helper;
pub mod http;
pub mod issuer;
pub mod laptop;
pub mod normalise;
pub mod overheard;
pub mod pages;
pub mod postgres;
pub mod processes;
pub mod proxy;
mod scratch;
pub mod secrets;
mod stories;
pub mod suspend;
mod template;
pub mod terminal;
pub mod tls;
pub mod wait;
pub mod witness;
