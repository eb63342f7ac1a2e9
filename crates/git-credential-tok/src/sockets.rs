//! Which socket to ask, and whether the right one listens there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with};

use crate::deadline::Deadline;
use crate::environment::path;
use crate::output;
use crate::trouble::Trouble;

/// Where the packaged daemon listens.
const SYSTEM_SOCKET: &str = "/run/tok/tokd.sock";
/// The system user that the packaged daemon runs as.
const DAEMON_USER: &str = "tokd";
/// As much of /etc/passwd as is looked at, in bytes.
const LARGEST_PASSWD: usize = 1 << 20;

/// A socket that may be there.
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    /// Named by the user: others are not tried, and it is worth a word if it keeps us out.
    chosen: bool,
    /// Where the user's agent listens, once it runs.
    pub(crate) is_agent: bool,
}

/// The sockets to ask, in order: a chosen one alone, or else the user's agent and then the machine's daemon, unless it is
/// for the user's own ears.
pub(crate) fn candidates(option: Option<&Path>, agent: Option<&Path>, private_only: bool) -> Vec<Candidate> {
    let chosen = chosen(option);
    let is_agent = |path: &Path| Some(path) == agent;
    match chosen {
        Some(path) => vec![Candidate { is_agent: is_agent(&path), path, chosen: true }],
        None => {
            let system = (!private_only).then(|| PathBuf::from(SYSTEM_SOCKET));
            let paths = agent.map(Path::to_owned).into_iter().chain(system);
            paths.map(|path| Candidate { is_agent: is_agent(&path), path, chosen: false }).collect()
        }
    }
}

/// The socket that `TOK_SOCKET` names.
pub(crate) fn of_variable() -> Option<PathBuf> {
    path("TOK_SOCKET")
}

/// The one that the user named: what is behind it is their business, and nothing else is looked for.
fn chosen(option: Option<&Path>) -> Option<PathBuf> {
    option.map(Path::to_owned).or_else(of_variable)
}

/// Connects, and makes sure of who listens. Nothing if nobody does.
pub(crate) fn connect(candidate: &Candidate, deadline: &Deadline) -> Result<Option<OwnedFd>, Trouble> {
    let Candidate { path, chosen, .. } = candidate;
    let Ok(address) = SocketAddrUnix::new(path.as_path()) else {
        return if *chosen { Err(Trouble::NoSocket { path: path.clone() }) } else { Ok(None) };
    };
    match reach(&address, deadline) {
        Ok(connection) => {
            let uid = socket_peercred(&connection).map_err(Trouble::Broken)?.uid.as_raw();
            if !trusted(uid, rustix::process::geteuid().as_raw(), daemon_uid) {
                return Err(Trouble::Stranger { path: path.clone(), uid });
            }
            Ok(Some(connection))
        }
        Err(Errno::ACCESS | Errno::PERM) if *chosen => Err(Trouble::NotAllowed { path: path.clone() }),
        Err(Errno::AGAIN) => Err(deadline.passed()),
        Err(error) => {
            output::debug(|| format!("no connection to {}: {error}", path.display()));
            Ok(None)
        }
    }
}

/// A connected socket that does not block. `EAGAIN` means that the deadline passed while its queue was full.
fn reach(address: &SocketAddrUnix, deadline: &Deadline) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match connect_to(&socket, address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    // The daemon's queue is full. poll cannot wait for that, but a blocking connect under SO_SNDTIMEO can.
    rustix::io::ioctl_fionbio(&socket, false)?;
    loop {
        let left = deadline.remaining().map_err(|_| Errno::AGAIN)?;
        set_socket_timeout(&socket, Timeout::Send, Some(left))?;
        match connect_to(&socket, address) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Whether a process of `peer` may see what git says: ourselves, root, or the packaged daemon's user.
fn trusted(peer: u32, own: u32, daemon: impl FnOnce() -> Option<u32>) -> bool {
    peer == own || peer == 0 || daemon() == Some(peer)
}

/// The uid of the user `tokd`, read from /etc/passwd: name services may block, and a system user is always in the file.
fn daemon_uid() -> Option<u32> {
    let file = rustix::fs::open("/etc/passwd", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::with_capacity(8 * 1024);
    while bytes.len() < LARGEST_PASSWD {
        bytes.reserve(8 * 1024);
        if rustix::io::read(file.as_fd(), rustix::buffer::spare_capacity(&mut bytes)).ok()? == 0 {
            break;
        }
    }
    uid_in(&bytes, DAEMON_USER)
}

fn uid_in(passwd: &[u8], user: &str) -> Option<u32> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let uid = fields.next().filter(|name| *name == user.as_bytes()).and_then(|_| fields.nth(1))?;
        str::from_utf8(uid).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_other_servers_are_for_the_users_own_socket_only() {
        let paths = |chosen: Option<&str>, agent: Option<&str>, private_only| {
            let found = candidates(chosen.map(Path::new), agent.map(Path::new), private_only);
            found.into_iter().map(|c| (c.path.display().to_string(), c.is_agent)).collect::<Vec<_>>()
        };
        let (agent, system) = ("/run/user/7/tok/agent.sock", (SYSTEM_SOCKET.to_owned(), false));
        assert_eq!(paths(None, Some(agent), false), [(agent.to_owned(), true), system.clone()]);
        assert_eq!(paths(None, Some(agent), true), [(agent.to_owned(), true)]);
        assert_eq!(paths(None, None, false), [system]);
        assert!(paths(None, None, true).is_empty());
        assert_eq!(paths(Some("/x"), Some(agent), true), [("/x".to_owned(), false)]);
        assert_eq!(paths(Some(agent), Some(agent), true), [(agent.to_owned(), true)]);
    }

    #[test]
    fn only_ourselves_root_and_the_daemon_are_trusted() {
        assert!(trusted(1000, 1000, || panic!("no need to look")));
        assert!(trusted(0, 1000, || panic!("no need to look")));
        assert!(trusted(990, 1000, || Some(990)));
        assert!(!trusted(1001, 1000, || Some(990)));
        assert!(!trusted(1001, 1000, || None));
        assert!(!trusted(65534, 0, || None));
    }

    #[test]
    fn the_daemons_uid_is_read_from_its_own_line() {
        let passwd = b"root:x:0:0::/root:/bin/sh\nxtokd:x:7:7::/:/bin/false\ntokd:x:990:990::/:/bin/false\n";
        assert_eq!(uid_in(passwd, "tokd"), Some(990));
        assert_eq!(uid_in(passwd, "tok"), None);
        assert_eq!(uid_in(b"tokd:x:many:1\ntokd\n", "tokd"), None);
        assert_eq!(uid_in(b"", "tokd"), None);
    }
}
