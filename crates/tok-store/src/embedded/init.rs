//! Making the cluster, whole or not at all, and the files in it that are tok's own.

use std::fs;
use std::path::Path;

use super::EmbeddedError;
use super::account::{Account, own_name};
use super::binaries::Binaries;
use super::directory::ClusterDirectory;
use super::layout::{Layout, free_mib};
use super::log::Tail;
use super::settings::program;

/// The database role that owns everything, and the database.
pub(super) const ROLE: &str = "tok";

/// The file that says that tok made this cluster, and how.
const MARKER: &str = "tok.cluster";
const MARKER_FORMAT: &str = "1";

/// `pg_ident.conf`'s name for "these system users are the role".
const IDENT_MAP: &str = "tok";

/// What a data directory holds.
pub(super) enum Found {
    /// No cluster yet.
    Nothing,
    /// A cluster that tok made.
    Cluster {
        /// The major version that made it.
        major: u32,
        /// The uid it belongs to.
        owner: u32,
        /// Whether it may hold real data.
        durable: bool,
    },
}

/// Looks at the cluster directory and refuses what is not a cluster of ours.
pub(super) fn examine(path: &Path) -> Result<Found, EmbeddedError> {
    let directory = match ClusterDirectory::open(path) {
        Ok(directory) => directory,
        Err(EmbeddedError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Found::Nothing);
        }
        Err(other) => return Err(other),
    };
    let Some(version) = directory.read(path, "PG_VERSION")? else {
        let entries = fs::read_dir(path).map_err(|error| EmbeddedError::io("list", path, error))?;
        return match entries.count() {
            0 => Ok(Found::Nothing),
            _ => Err(EmbeddedError::NotOurs { path: path.to_owned(), missing: "no PG_VERSION" }),
        };
    };
    let Some(marker) = directory.read(path, MARKER)? else {
        return Err(EmbeddedError::NotOurs { path: path.to_owned(), missing: "no tok.cluster" });
    };
    let unknown = |reason| EmbeddedError::UnknownMarker { path: path.join(MARKER), reason };
    let major = version.trim().parse().map_err(|_| EmbeddedError::UnknownMarker {
        path: path.join("PG_VERSION"),
        reason: format!("{:?} is not a major version", version.trim()),
    })?;
    let value = |key: &str| marker.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    match (value("format"), value("durable")) {
        (Some(MARKER_FORMAT), Some(durable @ ("yes" | "no"))) => {
            Ok(Found::Cluster { major, owner: directory.owner(path)?, durable: durable == "yes" })
        }
        (Some(MARKER_FORMAT), durable) => Err(unknown(format!("durable is {durable:?}"))),
        (format, _) => Err(unknown(format!("its format is {format:?}, and this version knows {MARKER_FORMAT}"))),
    }
}

/// Makes a new cluster beside its place and moves it there when it is complete.
pub(super) fn create(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
    durable: bool,
) -> Result<(), EmbeddedError> {
    layout.clear_unfinished()?;
    let result = fill(layout, binaries, account, durable).and_then(|()| layout.finish(durable));
    if result.is_err() {
        // On a full disk this room is needed. If it fails, too, the next start does it.
        let cleared = layout.clear_unfinished();
        cleared.unwrap_or_else(|error| tracing::warn!("an unfinished cluster stays until the next start: {error}"));
    }
    result
}

/// Lets the cluster's user and the daemon's user in as [`ROLE`], each by its kernel-attested uid, and nobody else.
pub(super) fn write_access(directory: &ClusterDirectory, path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    let header = "# Written by tokd at each start: changes are lost.\n";
    let access = format!("{header}local all {ROLE} peer map={IDENT_MAP}\n");
    let line = |name: &str| format!("{IDENT_MAP} \"{name}\" {ROLE}\n");
    // The same line twice does no harm.
    let users = format!("{header}{}{}", line(&account.name), line(&own_name()));
    directory.write(path, "pg_hba.conf", &access, account)?;
    directory.write(path, "pg_ident.conf", &users, account)
}

fn fill(layout: &Layout, binaries: &Binaries, account: &Account, durable: bool) -> Result<(), EmbeddedError> {
    let path = layout.unfinished();
    let directory = layout.create_unfinished(account)?;
    let mut command = program(&binaries.program("initdb"), account, &directory, durable);
    command.args(["-A", "peer", "-U", ROLE, "--no-locale", "-E", "UTF8", "--data-checksums", "--no-instructions"]);
    if !durable {
        command.arg("--no-sync");
    }
    // This thread waits for the end, so initdb's life is tied to it as it should be.
    let output = command.output().map_err(|source| EmbeddedError::Spawn {
        program: binaries.program("initdb"),
        user: account.name.clone(),
        source,
    })?;
    if !output.status.success() {
        let (path, log) = (layout.cluster(), Tail::of(&output.stderr, &directory.alias(&path)));
        return Err(if log.tells_of_full_disk() {
            EmbeddedError::NoSpace { free_mib: free_mib(&path), path, log }
        } else {
            EmbeddedError::InitFailed { path, status: output.status, log }
        });
    }
    let durable = if durable { "yes" } else { "no" };
    let marker = format!("# tokd made this cluster.\nformat {MARKER_FORMAT}\ndurable {durable}\n");
    directory.write(&path, MARKER, &marker, account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(files: &[(&str, &str)]) -> EmbeddedError {
        let parent = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(parent.path().join(name), text).unwrap();
        }
        examine(parent.path()).err().unwrap()
    }

    #[test]
    fn what_tok_did_not_make_is_refused() {
        assert!(matches!(refusal(&[("notes.txt", "x")]), EmbeddedError::NotOurs { missing: "no PG_VERSION", .. }));
        assert!(matches!(refusal(&[("PG_VERSION", "15\n")]), EmbeddedError::NotOurs { missing: "no tok.cluster", .. }));
        let error = refusal(&[("PG_VERSION", "15\n"), (MARKER, "format 2\ndurable yes\n")]);
        assert!(error.to_string().contains("another version of tok"), "{error}");
        let error = refusal(&[("PG_VERSION", "15\n"), (MARKER, "format 1\ndurable maybe\n")]);
        assert!(matches!(error, EmbeddedError::UnknownMarker { .. }), "{error}");
        let error = refusal(&[("PG_VERSION", "x\n"), (MARKER, "format 1\ndurable yes\n")]);
        assert!(error.to_string().contains("not a major version"), "{error}");
    }

    #[test]
    fn an_empty_or_missing_directory_is_room_for_a_cluster() {
        let parent = tempfile::tempdir().unwrap();
        assert!(matches!(examine(parent.path()), Ok(Found::Nothing)));
        assert!(matches!(examine(&parent.path().join("pg")), Ok(Found::Nothing)));
    }
}
