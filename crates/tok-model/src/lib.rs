//! What an access token is, what it may do and when it stops.
//!
//! Pure functions only: no I/O, no clock, no ambient randomness. Time and chance come in as arguments, so that every
//! rule here can be tried against a million invented histories. The one function that the rest of tok leans on is
//! [`decide`](decide::decide): the only way to get a [`Permit`](decide::Permit).

pub mod agent_socket;
pub mod audit;
pub mod challenge;
pub mod clock;
pub mod credential;
pub mod decide;
pub mod grant;
pub mod id;
pub mod import;
pub mod kind;
pub mod label;
pub mod name;
pub mod page;
pub mod policy;
pub mod reach;
pub mod route;
pub mod scope;
pub mod secret;
pub mod token;
pub mod trail;
pub mod trust;
pub mod unseen;
pub mod url;
