//! The Rust client of tok, and the wire that it shares with the daemon `tokd`.
//!
//! tok keeps the access tokens of a git server. A program that hands out tokens of its own, such as a CI server or a
//! dashboard, uses [`Client`](client::Client): one connection to one daemon, over its local socket or over TLS, and one
//! method for each call.
//!
//! ```no_run
//! use tok_api::client::{Caller, Client, RemoteOptions};
//! use tok_api::convert::TokenDraft;
//! use tok_api::fault::{Fault, FaultCode};
//! use tok_api::model::kind::{Permission, TokenKind};
//! use tok_api::secrecy::{ExposeSecret as _, SecretString};
//!
//! # async fn run() -> Result<(), Fault> {
//! // A server elsewhere knows its callers by their tokens.
//! let server = "https://git.example.com".parse().expect("a server's address");
//! let token = std::env::var("TOK_TOKEN").expect("a token that may create others").into();
//! let caller = Caller { token: Some(token), act_as: None };
//! let mut client = Client::remote(&server, &caller, &RemoteOptions::default()).await?;
//!
//! // One CI job gets one repository, for an hour.
//! let draft = TokenDraft {
//!     name: "CI job 4711".to_owned(),
//!     kind: Some(TokenKind::Repo),
//!     permission: Some(Permission::Write),
//!     repos: vec!["acme/app".to_owned()],
//!     expires: Some("1h".to_owned()),
//!     // A retry after a lost answer makes no second token.
//!     idempotency_key: Some("job-4711".to_owned()),
//!     ..TokenDraft::default()
//! };
//! match client.create_token(draft).await {
//!     // The text is here once and never again; `created.token` is what lists show of it.
//!     Ok(created) => hand_over(created.secret.expose_secret()),
//!     Err(fault) if fault.code == FaultCode::Forbidden => eprintln!("{fault}"),
//!     Err(fault) => return Err(fault),
//! }
//! # Ok(())
//! # }
//! # fn hand_over(_: &str) {}
//! ```
//!
//! # Who is asked, and as whom
//!
//! | | connects to | the caller is |
//! |---|---|---|
//! | [`Client::connect`](client::Client::connect) | the local socket of a daemon on this machine | the user of this process, or a token |
//! | [`Client::remote`](client::Client::remote) | `https://…`, or `http://…` on this machine only | a token |
//! | [`Client::from_environment`](client::Client::from_environment) | what `TOK_SERVER`, else `TOK_SOCKET` names | `TOK_TOKEN`, if it is set |
//!
//! A manager may act as another user with [`Caller::act_as`](client::Caller::act_as).
//!
//! # Lists
//!
//! Lists come in pages, newest or by name. [`PageOf::next_cursor`](convert::PageOf::next_cursor) goes into the next
//! [`PageAsk`](convert::PageAsk) until there is none; no row is seen twice or left out because others come and go.
//!
//! # Errors
//!
//! Whatever goes wrong is a [`Fault`](fault::Fault): a [`code`](fault::Fault::code) for programs, a message and mostly a hint
//! for people, and the field at fault.
//!
//! | code | what happened | what to do |
//! |---|---|---|
//! | `invalid_argument` | a field cannot be so; [`field`](fault::Fault::field) names it | correct it |
//! | `unauthenticated` | no token, or one that is unknown, expired or revoked | get another |
//! | `forbidden` | the caller is known and may not do this | ask somebody who may |
//! | `not_found` | there is no such thing, or the caller may not know of it | |
//! | `ambiguous` | the reference fits several things, listed in [`matches`](fault::Fault::matches); nothing was changed | give more of it |
//! | `conflict` | it exists already, or somebody was faster | read again, decide again |
//! | `too_large` | more than the daemon takes | send less |
//! | `rate_limited` | too many failures from there | wait |
//! | `unavailable` | nobody answers, not in time, or with a certificate that is not to be trusted; or the database is away. Says nothing about any token | try again later |
//! | `internal` | a fault of tok's own | see the daemon's log |
//!
//! Calls have a deadline ([`CALL_DEADLINE`](client::CALL_DEADLINE)) and are not repeated by themselves. A connection that breaks is made
//! anew by the next call.
//!
//! # What else is in here
//!
//! Proto files in `proto/tok/v1`, checked conversions between their messages and plain structs ([`convert`]), the one
//! shape of failure ([`fault`]), and where a local daemon is looked for ([`endpoint`]). Generated types ([`wire`]) stop
//! here: the daemon meets them in its gRPC door only, the command line never.
//!
//! Runnable examples are in `examples`: `ci_token`, `dashboard_token`, `paging`.

pub mod client;
pub mod convert;
pub mod endpoint;
pub mod fault;
pub mod fetch;
#[cfg(feature = "listen")]
pub mod local;
#[cfg(feature = "listen")]
pub mod moment;
pub mod wire;

/// How secrets are held, so that none is printed by accident.
pub use secrecy;
/// The types that requests and answers are made of: names, kinds, scopes, times, addresses.
pub use tok_model as model;
