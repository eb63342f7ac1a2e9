//! Jobs of CI systems: rules about whose identity tokens are believed, and the exchange of one for a git token (RFC 8693).

mod exchange;
mod identity;
mod issuer;
mod judge;
mod jwk;
mod rules;

pub(super) use issuer::Issuers;
