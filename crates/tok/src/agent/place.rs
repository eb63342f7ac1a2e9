//! The directory of the agent's socket: this user's, and nobody else's.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tok_api::endpoint::Surroundings;

use crate::exit::Failure;
use crate::output::quoted;

/// Where this user's agent listens.
pub(crate) fn socket() -> Result<PathBuf, Failure> {
    Surroundings::of_process(None).agent_socket().ok_or_else(|| {
        Failure::local("there is no place for the agent's socket")
            .hint("set XDG_RUNTIME_DIR or HOME to a directory of yours")
    })
}

/// Makes sure that nobody else can put anything there.
pub(super) fn private_directory(socket: &Path) -> Result<(), Failure> {
    let Some(directory) = socket.parent() else { return Ok(()) };
    let shown = quoted(&directory.display().to_string());
    let cannot = |why: &io::Error| {
        Failure::local(format!("the directory of the agent's socket {shown} cannot be had: {why}"))
            .hint("name another with XDG_RUNTIME_DIR")
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let found = std::fs::symlink_metadata(directory).map_err(|why| cannot(made.as_ref().err().unwrap_or(&why)))?;
    let (mode, own) = (found.mode() & 0o777, rustix::process::geteuid().as_raw());
    if !found.is_dir() {
        return Err(Failure::local(format!("{shown} is no directory, and the agent's socket would be in it"))
            .hint(format!("rm {shown}")));
    }
    if found.uid() != own {
        return Err(Failure::local(format!("{shown} belongs to user ID {}, not to you", found.uid()))
            .hint("name a directory of yours with XDG_RUNTIME_DIR"));
    }
    if mode & 0o077 != 0 {
        return Err(Failure::local(format!("{shown} can be entered by others (mode {mode:04o})"))
            .hint(format!("chmod 700 {shown}")));
    }
    Ok(())
}
