//! How far a token reaches altogether, and whether one reach lies within another: what a change may do to a token without
//! anybody having to be asked for more.

use crate::clock::Timestamp;
use crate::grant::{Cidr, Grant};
use crate::token::{Token, UseLimit};

/// All that limits a token besides its owner: what it was given, until when, from where, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What it was given.
    pub grant: Grant,
    /// The first moment at which it no longer works; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Addresses it works from; empty is anywhere.
    pub allow_from: Vec<Cidr>,
    /// How often it may be used in all; `None` is any number of times.
    pub max_uses: Option<i64>,
}

impl Reach {
    /// Whether nothing can be done with `self` that `other` does not allow. Sound, and a little strict about routes, as
    /// [`Routes::first_beyond`](crate::route::Routes::first_beyond) is.
    pub fn within(&self, other: &Reach) -> bool {
        self.grant.within(&other.grant)
            && no_more(self.expires_at, other.expires_at)
            && no_more(self.max_uses, other.max_uses)
            && addresses_within(&self.allow_from, &other.allow_from)
    }
}

/// Whether the first limit is as strict as the second; `None` is no limit.
fn no_more<T: Ord>(limit: Option<T>, other: Option<T>) -> bool {
    other.is_none_or(|most| limit.is_some_and(|limit| limit <= most))
}

/// Whether every address of the first list is in the second; an empty list is every address there is.
pub(crate) fn addresses_within(wanted: &[Cidr], allowed: &[Cidr]) -> bool {
    let covered = |block: &Cidr| allowed.iter().any(|mine| mine.covers(block));
    allowed.is_empty() || (!wanted.is_empty() && wanted.iter().all(covered))
}

impl Grant {
    /// Whether nothing can be done with this that `other` does not allow.
    pub fn within(&self, other: &Grant) -> bool {
        match (self, other) {
            (Self::Personal { scopes, routes }, Self::Personal { scopes: most, routes: mine }) => {
                let routed = match (routes, mine) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    (Some(wanted), Some(mine)) => mine.first_beyond(wanted).is_none(),
                };
                routed && most.first_missing(scopes).is_none()
            }
            (Self::Workspace { workspace, permission }, Self::Workspace { workspace: mine, permission: most }) => {
                workspace == mine && permission <= most
            }
            (
                Self::Repo { workspace, permission, repos },
                Self::Repo { workspace: mine, permission: most, repos: allowed },
            ) => workspace == mine && permission <= most && repos.is_subset(allowed),
            _ => self == other,
        }
    }
}

impl Token {
    /// How far it reaches as it is now.
    pub fn reach(&self) -> Reach {
        Reach {
            grant: self.grant.clone(),
            expires_at: self.expires_at,
            allow_from: self.allow_from.clone(),
            max_uses: self.use_limit.map(|UseLimit { most, .. }| most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Permission;
    use crate::route::Routes;

    fn personal(scopes: &str, routes: &[&str]) -> Grant {
        let routes = (!routes.is_empty()).then(|| Routes::from_texts(routes.iter().copied()).unwrap());
        Grant::Personal { scopes: scopes.parse().unwrap(), routes }
    }

    fn repo(permission: Permission, repos: &[&str]) -> Grant {
        let repos = repos.iter().map(|name| name.parse().unwrap()).collect();
        Grant::Repo { workspace: "acme".parse().unwrap(), permission, repos }
    }

    #[test]
    fn less_is_within_more_and_not_the_other_way_round() {
        let workspace = |permission| Grant::Workspace { workspace: "acme".parse().unwrap(), permission };
        for (less, more) in [
            (personal("repo:read", &[]), personal("repo:write", &[])),
            (personal("repo:read", &["acme/app:r"]), personal("repo:read", &[])),
            (personal("repo:read", &["acme/app:r"]), personal("repo:read", &["acme/*:rw"])),
            // To take a rule away may widen what is left.
            (personal("all", &["acme/**:rw", "acme/app:r"]), personal("all", &["acme/**:rw"])),
            (workspace(Permission::Read), workspace(Permission::Write)),
            (repo(Permission::Read, &["app"]), repo(Permission::Write, &["app"])),
            (repo(Permission::Write, &["app"]), repo(Permission::Write, &["app", "lib"])),
        ] {
            assert!(less.within(&more) && less.within(&less) && more.within(&more), "{less:?} in {more:?}");
            assert!(!more.within(&less), "{more:?} in {less:?}");
        }
        assert!(!repo(Permission::Read, &["app"]).within(&workspace(Permission::Write)), "kinds do not change");
    }

    #[test]
    fn each_limit_counts_on_its_own() {
        let at = |seconds| Some(Timestamp::from_timestamp(seconds, 0).unwrap());
        let block = |text: &str| text.parse::<Cidr>().unwrap();
        let reach = |expires_at, allow_from: &[Cidr], max_uses| Reach {
            grant: personal("all", &[]),
            expires_at,
            allow_from: allow_from.to_vec(),
            max_uses,
        };
        let whole = reach(None, &[], None);
        let (net, host) = (block("10.0.0.0/8"), block("10.0.0.1"));
        for less in [reach(at(5), &[], None), reach(None, &[net], None), reach(None, &[], Some(3))] {
            assert!(less.within(&whole) && !whole.within(&less), "{less:?}");
        }
        assert!(reach(at(4), &[host], Some(2)).within(&reach(at(5), &[net], Some(3))));
        for more in [
            reach(at(6), &[net], Some(3)),
            reach(at(5), &[block("11.0.0.0/8"), host], Some(3)),
            reach(at(5), &[net], Some(4)),
        ] {
            assert!(!more.within(&reach(at(5), &[net], Some(3))), "{more:?}");
        }
    }
}
