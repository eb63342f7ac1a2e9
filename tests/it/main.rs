//! The product, judged from outside: real PostgreSQL, the three binaries, real git.
//!
//! One module a topic; each test's name says what holds. `incident_NN_…` is the test that would have caught an incident
//! of another product, numbered as in the list that the design keeps of them.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails where it should, helper functions included")]

mod agent;
mod agent_memory;
mod agent_outage;
mod api;
mod api_changes;
mod api_endings;
mod api_limits;
mod api_oauth;
mod api_secrets;
mod audit_trail;
mod authority;
mod bad_input;
mod both_ways;
mod busy;
mod chains;
mod chosen;
mod cli;
mod cli_input;
mod cli_tokens;
mod client_examples;
mod config;
mod console;
mod console_browser;
mod cursors;
mod demo;
mod doctor;
mod documents;
mod durability;
mod endings;
mod explain;
mod faults;
mod first_hour;
mod git_http2;
mod git_protocol;
mod healing;
mod helper_hostile;
mod helper_protocol;
mod idempotency;
mod imports;
mod kit;
mod laptop;
mod local_users;
mod logins;
mod main_job;
mod matrix;
mod metrics;
mod mid_push;
mod modify;
mod other_gits;
mod package;
mod parity;
mod passwords;
mod people;
mod policy;
mod presentation;
mod proxies;
mod remote;
mod remote_grpc;
mod revocation;
mod rotation;
mod server_config;
mod shells;
mod suspend;
mod temporary;
mod trust;
mod typed;
mod typescript;
mod unreadable;
mod uses;
mod why;
mod wire;
