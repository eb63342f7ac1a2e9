//! What a token was given when it was made, as far as its kind has such a thing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use crate::kind::{Permission, TokenKind};
use crate::name::{RepoName, RepoPath, WorkspaceName};
use crate::route::Routes;
use crate::scope::ScopeSet;

/// The most repositories on a repo token's allowlist.
pub const MOST_REPOS: usize = 256;

/// What a token was given; each kind carries its own facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Scopes, and routes if somebody narrowed it further.
    Personal {
        /// What kind of call it may make.
        scopes: ScopeSet,
        /// Where; `None` is everywhere its owner may.
        routes: Option<Routes>,
    },
    /// Every repository of a workspace; with write, control-plane calls for that workspace too.
    Workspace {
        /// Which one.
        workspace: WorkspaceName,
        /// Read or write.
        permission: Permission,
    },
    /// Some repositories of a workspace, nothing else.
    Repo {
        /// Which workspace.
        workspace: WorkspaceName,
        /// Read or write.
        permission: Permission,
        /// Which repositories of it. Never empty.
        repos: BTreeSet<RepoName>,
    },
    /// As the user, while logged in.
    Session,
    /// One repository, minted just in time.
    Git {
        /// Which one.
        repo: RepoPath,
        /// Read or write.
        permission: Permission,
    },
}

impl Grant {
    /// The kind of token that carries it.
    pub fn kind(&self) -> TokenKind {
        match self {
            Self::Personal { .. } => TokenKind::Personal,
            Self::Workspace { .. } => TokenKind::Workspace,
            Self::Repo { .. } => TokenKind::Repo,
            Self::Session => TokenKind::Session,
            Self::Git { .. } => TokenKind::Git,
        }
    }

    /// Read or write, for the kinds that carry it.
    pub fn permission(&self) -> Option<Permission> {
        match self {
            Self::Workspace { permission, .. } | Self::Repo { permission, .. } | Self::Git { permission, .. } => {
                Some(*permission)
            }
            Self::Personal { .. } | Self::Session => None,
        }
    }

    /// The workspace it is confined to, if it is.
    pub fn workspace(&self) -> Option<&WorkspaceName> {
        match self {
            Self::Workspace { workspace, .. } | Self::Repo { workspace, .. } => Some(workspace),
            Self::Git { repo, .. } => Some(&repo.workspace),
            Self::Personal { .. } | Self::Session => None,
        }
    }
}

/// An address block in CIDR notation, as `--allow-cidr` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Text that is not an address block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address block: write 192.0.2.0/24, 2001:db8::/32, or a single address; bits after the prefix must be zero"
)]
pub struct CidrError(String);

impl Cidr {
    /// Whether `address` lies in it. An IPv4 address that arrives in its IPv6 form (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(given)) => {
                self.bits == 0 || (base.to_bits() ^ given.to_bits()) >> (32 - u32::from(self.bits)) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(given)) => {
                self.bits == 0 || (base.to_bits() ^ given.to_bits()) >> (128 - u32::from(self.bits)) == 0
            }
            _ => false,
        }
    }

    /// Whether everything in `other` lies in it too.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.bits <= other.bits && self.contains(other.base)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.chars().take(60).collect());
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let base: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |b| b.parse::<u8>().map_err(|_| wrong()))?;
        let rest_is_zero = match base {
            _ if bits > most => return Err(wrong()),
            IpAddr::V4(v4) => bits == 32 || v4.to_bits() << bits == 0,
            IpAddr::V6(v6) => bits == 128 || v6.to_bits() << bits == 0,
        };
        if rest_is_zero { Ok(Self { base, bits }) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_blocks_contain_what_they_say() {
        let block: Cidr = "192.0.2.0/24".parse().unwrap();
        assert!(block.contains("192.0.2.255".parse().unwrap()) && block.contains("::ffff:192.0.2.7".parse().unwrap()));
        assert!(!block.contains("192.0.3.0".parse().unwrap()) && !block.contains("2001:db8::".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().covers(&block) && !block.covers(&"0.0.0.0/0".parse().unwrap()));
        assert_eq!("2001:db8::1".parse::<Cidr>().unwrap().to_string(), "2001:db8::1/128");
        for bad in ["", "192.0.2.1/24", "192.0.2.0/33", "::/129", "1.2.3/8", "192.0.2.0/-1", "host/8"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
