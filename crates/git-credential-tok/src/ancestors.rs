//! A guess at what git is doing, from the command lines of the processes that started this one.
//!
//! Only a git that does not pass on the server's challenge (before 2.41) needs it. It is a hint of the caller about
//! itself: the daemon may choose by it between what the caller may have anyway.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::{geteuid, getppid};
use tok_model::credential::Hint;

/// helper <- sh <- git-remote-https <- git remote-https <- git push, and a few more for wrappers.
const MOST_ANCESTORS: usize = 8;
/// As much of a command line as is looked at, in bytes.
const LONGEST_LOOK: usize = 4096;

/// What the nearest ancestor that is a git command does, if it is one that fetches or pushes.
pub(crate) fn hint() -> Option<Hint> {
    let mut pid = getppid()?.as_raw_nonzero().get();
    for _ in 0..MOST_ANCESTORS {
        if pid <= 1 {
            return None;
        }
        if let Some(hint) = look(&format!("/proc/{pid}/cmdline")).and_then(|line| hint_of(&line)) {
            return Some(hint);
        }
        pid = parent_in(&look(&format!("/proc/{pid}/stat"))?)?;
    }
    None
}

/// The beginning of a file of one of our own processes.
fn look(path: &str) -> Option<Vec<u8>> {
    let file: OwnedFd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if fstat(&file).ok()?.st_uid != geteuid().as_raw() {
        return None;
    }
    let mut bytes = Vec::with_capacity(LONGEST_LOOK);
    rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)).ok()?;
    Some(bytes)
}

/// The parent's id in /proc/PID/stat. The second field is the program's name, which may hold anything, `)` too.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn hint_of(command_line: &[u8]) -> Option<Hint> {
    let mut words = command_line.split(|byte| *byte == 0);
    let program = words.next()?.rsplit(|byte| *byte == b'/').next()?;
    if program != b"git" {
        return None;
    }
    while let Some(word) = words.next() {
        match word {
            b"-C" | b"-c" | b"--git-dir" | b"--work-tree" | b"--namespace" | b"--super-prefix" | b"--config-env"
            | b"--attr-source" => {
                words.next();
            }
            b"push" | b"send-pack" => return Some(Hint::Push),
            b"fetch" | b"pull" | b"clone" | b"ls-remote" | b"fetch-pack" | b"archive" => return Some(Hint::Fetch),
            option if option.starts_with(b"-") => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_command_line_says_what_it_does() {
        for (line, hint) in [
            (&b"git\0push\0origin\0main\0"[..], Some(Hint::Push)),
            (b"/usr/lib/git-core/git\0send-pack\0--stateless-rpc\0", Some(Hint::Push)),
            (b"git\0-C\0push\0-c\0a.b=push\0--no-pager\0fetch\0", Some(Hint::Fetch)),
            (b"git\0clone\0https://h/push\0", Some(Hint::Fetch)),
            (b"git\0--git-dir=/push\0ls-remote\0", Some(Hint::Fetch)),
            (b"git\0remote-https\0origin\0push\0", None),
            (b"git-remote-https\0push\0", None),
            (b"/opt/notgit\0push\0", None),
            (b"git\0commit\0-m\0push\0", None),
            (b"git\0-c\0", None),
            (b"git\0", None),
            (b"", None),
        ] {
            assert_eq!(hint_of(line), hint, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_hostile_program_name_does_not_move_the_parent() {
        assert_eq!(parent_in(b"42 (git) S 41 42 42 0 -1"), Some(41));
        assert_eq!(parent_in(b"42 (x) S 1 (evil) ) R 7 42"), Some(7));
        assert_eq!(parent_in(b"42 (git"), None);
        assert_eq!(parent_in(b"42 (git) S"), None);
    }
}
