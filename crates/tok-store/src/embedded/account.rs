//! Which system user runs the cluster. `PostgreSQL` refuses root, so root picks somebody else.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User};

use super::EmbeddedError;

/// Whom root gives the cluster to when nobody was named and there is no cluster yet: tok's own system user, the
/// one that the distribution's packages make, the one that is always there.
const UNPRIVILEGED: [&str; 3] = ["tokd", "postgres", "nobody"];

/// The system user that owns the cluster's files and runs its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether this process has to switch to it.
    switch: bool,
}

impl Account {
    /// Decides for a cluster at `path` that belongs to `owner`, or does not exist yet.
    pub(super) fn choose(wanted: Option<&str>, path: &Path, owner: Option<u32>) -> Result<Self, EmbeddedError> {
        let account = if Uid::effective().is_root() { for_root(wanted, path, owner)? } else { own(wanted)? };
        match owner {
            Some(owner) if owner != account.uid => {
                Err(EmbeddedError::OwnedByOther { path: path.to_owned(), owner: name_of(owner), wanted: account.name })
            }
            _ => Ok(account),
        }
    }

    /// Has `command` run as this user, without supplementary groups.
    pub(super) fn apply(&self, command: &mut Command) {
        if self.switch {
            // The standard library also clears the supplementary groups when root sets a uid.
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Makes this user the owner of a file or directory that this process made.
    pub(super) fn give(&self, file: &impl AsFd) -> rustix::io::Result<()> {
        if !self.switch {
            return Ok(());
        }
        rustix::fs::fchown(file, Some(rustix::fs::Uid::from_raw(self.uid)), Some(rustix::fs::Gid::from_raw(self.gid)))
    }
}

/// The name of the user this process acts as; its number if it has none.
pub(super) fn own_name() -> String {
    name_of(Uid::effective().as_raw())
}

fn own(wanted: Option<&str>) -> Result<Account, EmbeddedError> {
    let uid = Uid::effective();
    let user = by_uid(uid.as_raw()).ok_or(EmbeddedError::UnnamedUser { uid: uid.as_raw() })?;
    match wanted {
        Some(name) if name != user.name => Err(EmbeddedError::UserNeedsRoot { name: name.to_owned(), own: user.name }),
        _ => Ok(account(user, false)),
    }
}

fn for_root(wanted: Option<&str>, path: &Path, owner: Option<u32>) -> Result<Account, EmbeddedError> {
    if let Some(name) = wanted {
        let user = by_name(name).ok_or_else(|| EmbeddedError::NoSuchUser { name: name.to_owned() })?;
        return if user.uid.is_root() { Err(EmbeddedError::RootRefused) } else { Ok(account(user, true)) };
    }
    if let Some(uid) = owner.filter(|uid| *uid != 0) {
        let user = by_uid(uid).ok_or(EmbeddedError::UnnamedUser { uid })?;
        return Ok(account(user, true));
    }
    let user = UNPRIVILEGED.into_iter().find_map(by_name);
    let user = user.ok_or_else(|| EmbeddedError::NoUnprivilegedUser { tried: UNPRIVILEGED.join(", ") })?;
    let account = account(user, true);
    tracing::debug!(user = account.name, path = %path.display(), "root gives the cluster to {}", account.name);
    Ok(account)
}

fn account(user: User, switch: bool) -> Account {
    Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), switch }
}

/// A directory service that cannot be asked counts as "no such user": the error names the user either way.
fn by_name(name: &str) -> Option<User> {
    User::from_name(name).ok().flatten()
}

fn by_uid(uid: u32) -> Option<User> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten()
}

fn name_of(uid: u32) -> String {
    by_uid(uid).map_or_else(|| format!("uid {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "/data/pg";

    fn choose(wanted: Option<&str>, owner: Option<u32>) -> Result<Account, EmbeddedError> {
        Account::choose(wanted, Path::new(CLUSTER), owner)
    }

    #[test]
    fn root_switches_and_a_user_stays_itself() {
        let account = choose(None, None).unwrap();
        assert_ne!(account.uid, 0);
        assert_eq!(account.switch, Uid::effective().is_root());
        if !Uid::effective().is_root() {
            assert_eq!(account.uid, Uid::effective().as_raw());
        }
    }

    #[test]
    fn the_owner_of_an_existing_cluster_runs_it() {
        let nobody = by_name("nobody").unwrap().uid.as_raw();
        let result = choose(None, Some(nobody));
        if Uid::effective().is_root() {
            assert_eq!(result.unwrap().name, "nobody");
        } else {
            assert!(matches!(result.unwrap_err(), EmbeddedError::OwnedByOther { owner, .. } if owner == "nobody"));
        }
    }

    #[test]
    fn a_user_that_cannot_be_used_is_refused_with_its_reason() {
        assert!(matches!(
            choose(Some("root"), Some(0)),
            Err(EmbeddedError::RootRefused | EmbeddedError::UserNeedsRoot { .. })
        ));
        assert!(matches!(
            choose(Some("no-such-user-here"), None),
            Err(EmbeddedError::NoSuchUser { .. } | EmbeddedError::UserNeedsRoot { .. })
        ));
        // A cluster that root owns can be run by nobody.
        assert!(matches!(choose(None, Some(0)), Err(EmbeddedError::OwnedByOther { owner, .. }) if owner == "root"));
    }
}
