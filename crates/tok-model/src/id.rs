//! Identifiers that cannot be swapped by mistake.
//!
//! All are random UUIDs (version 4): the first characters are what people type as an ID prefix, so they must not be a
//! timestamp that a hundred neighbours share.

use std::fmt;
use std::str::FromStr;

use rand::CryptoRng;
use uuid::Uuid;

/// The text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not a {kind} ID: it has 32 hexadecimal digits, as in 1b4e28ba-2fa1-4d2e-883f-0016d3cca427")]
pub struct IdError {
    kind: &'static str,
    what: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random identifier.
            pub fn random(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = [0; 16];
                rng.fill_bytes(&mut bytes);
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// The identifier that the store holds as this UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID, for the store and the wire.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError {
                    kind: $kind,
                    what: format!("{:?}", text.chars().take(40).collect::<String>()),
                })
            }
        }
    };
}

id! {
    /// A token. The handle everywhere outside the secret itself; safe to show and to log.
    TokenId, "token"
}
id! {
    /// A user.
    UserId, "user"
}
id! {
    /// A workspace.
    WorkspaceId, "workspace"
}
id! {
    /// A trust rule.
    TrustId, "trust rule"
}
id! {
    /// What one run of one daemon writes to the audit trail.
    ChainId, "chain"
}
id! {
    /// A login that waits to be approved in a browser.
    DeviceLoginId, "login"
}
