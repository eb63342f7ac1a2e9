//! The mark of a locked agent, beside its socket: a lock outlives the process that was locked. Whoever starts the next one,
//! as git's helper does by itself, finds it locked.
//!
//! The mark is an empty file. There is no secret in it, and nothing that could be tried out: what it keeps shut opens for
//! `tok agent unlock`, as before, and whoever may remove it may say that, too. It goes with its directory, which is that of
//! the login session, as a rule.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::logins::Trouble;
use crate::output::quoted;

/// The mark of one agent.
pub(crate) struct Latch(PathBuf);

impl Latch {
    /// Of the agent with this socket.
    pub(crate) fn beside(socket: &Path) -> Self {
        Self(socket.with_extension("locked"))
    }

    /// Whether the agent is locked. What cannot be known is: a mark that nobody can look at is one.
    pub(crate) fn is_on(&self) -> bool {
        !matches!(fs::symlink_metadata(&self.0), Err(why) if why.kind() == io::ErrorKind::NotFound)
    }

    /// Marks it as locked.
    pub(super) fn put_on(&self) -> Result<(), Trouble> {
        if self.is_on() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(0o600);
        let made = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&self.0);
        made.and_then(|file| file.sync_all()).map_err(|why| {
            Trouble::new(format!(
                "the agent is locked, but the next one would not be: {} cannot be written: {why}",
                quoted(&self.0.display().to_string())
            ))
            .hint("`tok agent lock` again when that is mended, and until then do not end this one")
        })
    }

    /// Takes the mark away.
    pub(super) fn take_off(&self) -> Result<(), Trouble> {
        match fs::remove_file(&self.0) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                let shown = quoted(&self.0.display().to_string());
                Err(Trouble::new(format!("the agent stays locked: {shown} cannot be removed: {why}"))
                    .hint(format!("remove {shown}, then `tok agent unlock`")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_marked_stays_so_until_the_mark_is_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let latch = Latch::beside(&directory.path().join("agent.sock"));
        assert!(!latch.is_on());
        latch.take_off().unwrap();
        for _ in 0..2 {
            latch.put_on().unwrap();
            assert!(latch.is_on());
        }
        let file = fs::metadata(directory.path().join("agent.locked")).unwrap();
        assert_eq!((file.len(), file.permissions().mode() & 0o777), (0, 0o600));
        latch.take_off().unwrap();
        assert!(!latch.is_on());
    }

    #[test]
    fn what_cannot_be_known_is_locked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let nowhere = Latch::beside(&file.join("agent.sock"));
        assert!(nowhere.is_on());
        // What is no file of ours is no reason to open, and is not removed.
        let odd = Latch::beside(&directory.path().join("agent.sock"));
        fs::create_dir(directory.path().join("agent.locked")).unwrap();
        assert!(odd.is_on() && odd.take_off().is_err() && odd.is_on());
    }
}
