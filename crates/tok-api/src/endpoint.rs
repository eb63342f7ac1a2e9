//! Where the daemon may be, and whether what answers there may be spoken to.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use interprocess::local_socket::GenericFilePath;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use tok_model::agent_socket::AgentPlaces;

/// How long a daemon may take to accept a connection.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// The system user that an installed daemon runs as.
const SYSTEM_USER: &str = "tokd";

/// What decides where to look for a socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `--socket` or `TOK_SOCKET`: the only place to look, if it is given.
    pub explicit: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, or without one `/run/user/UID`, if it is this user's own.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Whether this process is root.
    pub root: bool,
    /// Whether the agent is left aside: it has nothing to say to whoever is logged in nowhere.
    pub without_agent: bool,
}

impl Surroundings {
    /// What this process finds around itself. XDG directories that are empty or relative count as absent.
    pub fn of_process(explicit: Option<PathBuf>) -> Self {
        let uid = rustix::process::geteuid();
        let owned = |path: &Path| {
            std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == uid.as_raw())
        };
        let AgentPlaces { runtime_directory, usual_runtime_directory, state_home, home } =
            AgentPlaces::find(|name| std::env::var_os(name), uid.as_raw(), owned);
        Self {
            explicit,
            runtime_dir: runtime_directory.or(usual_runtime_directory),
            state_home,
            home,
            root: uid.is_root(),
            without_agent: false,
        }
    }

    /// The sockets that git's helper looks at when nothing names one, in order.
    pub fn known_to_helper(&self) -> Vec<PathBuf> {
        self.agent_socket().into_iter().chain([PathBuf::from("/run/tok/tokd.sock")]).collect()
    }

    /// Where this user's agent listens, whether or not one does.
    pub fn agent_socket(&self) -> Option<PathBuf> {
        let places = AgentPlaces {
            runtime_directory: self.runtime_dir.clone(),
            usual_runtime_directory: None,
            state_home: self.state_home.clone(),
            home: self.home.clone(),
        };
        places.socket()
    }

    /// The sockets to try, in order. After those of the helper come the places where `tokd dev` puts its own.
    pub fn candidates(&self) -> Vec<PathBuf> {
        if let Some(explicit) = &self.explicit {
            return vec![explicit.clone()];
        }
        let state = self.state_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".local/state")));
        let mut sockets = self.known_to_helper();
        if self.without_agent {
            let agent = self.agent_socket();
            sockets.retain(|socket| Some(socket) != agent.as_ref());
        }
        sockets.extend(state.map(|directory| directory.join("tok/tokd.sock")));
        if self.root {
            sockets.push(PathBuf::from("/var/lib/tok/tokd.sock"));
        }
        sockets
    }

    /// The socket that git's helper has to be told of, because it would not look there by itself: the one that was
    /// named, made absolute, or else the first that answers. `None` if the helper finds it, or if there is none.
    pub async fn unknown_to_helper(&self) -> Option<PathBuf> {
        let socket = match &self.explicit {
            Some(explicit) => std::path::absolute(explicit).ok()?,
            None => self.first_that_answers().await?,
        };
        (!self.known_to_helper().contains(&socket)).then_some(socket)
    }

    async fn first_that_answers(&self) -> Option<PathBuf> {
        for socket in self.candidates() {
            if dial(&socket).await.is_ok() {
                return Some(socket);
            }
        }
        None
    }
}

/// Why a socket could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nothing there, nobody listening, or no right to open it.
    Closed(#[source] io::Error),
    /// Nobody accepted in time.
    Late,
    /// Somebody else's process answers there.
    Stranger {
        /// Its effective user ID.
        uid: u32,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(error) => match error.kind() {
                io::ErrorKind::NotFound => f.write_str("no such socket"),
                io::ErrorKind::ConnectionRefused => f.write_str("nobody listens there any more"),
                io::ErrorKind::PermissionDenied => f.write_str("you may not open it"),
                // The system's own words, without the "(os error 13)".
                _ => {
                    let text = error.to_string();
                    f.write_str(text.split(" (os error").next().unwrap_or(&text))
                }
            },
            Self::Late => write!(f, "nobody accepted within {} s", CONNECT_DEADLINE.as_secs()),
            Self::Stranger { uid } => write!(f, "what answers there runs as user ID {uid}"),
        }
    }
}

/// Connects, and makes sure before the first byte that the other side is one's own process, root's, or the installed
/// daemon's: whoever listens there is about to be told secrets.
pub(crate) async fn dial(socket: &Path) -> Result<Stream, DialError> {
    let connecting = async {
        let name = socket.to_fs_name::<GenericFilePath>()?;
        Stream::connect(name).await
    };
    let stream = tokio::time::timeout(CONNECT_DEADLINE, connecting)
        .await
        .map_err(|_| DialError::Late)?
        .map_err(DialError::Closed)?;
    let peer = stream.peer_creds().map_err(DialError::Closed)?;
    let uid = peer.euid().ok_or_else(|| DialError::Closed(io::Error::other("the system does not say who listens")))?;
    if is_trusted(uid, rustix::process::geteuid().as_raw(), system_user) {
        Ok(stream)
    } else {
        Err(DialError::Stranger { uid })
    }
}

fn is_trusted(peer: u32, own: u32, system: impl FnOnce() -> Option<u32>) -> bool {
    peer == own || peer == 0 || system() == Some(peer)
}

fn system_user() -> Option<u32> {
    nix::unistd::User::from_name(SYSTEM_USER).ok().flatten().map(|user| user.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(surroundings: &Surroundings) -> Vec<String> {
        surroundings.candidates().iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn sockets_are_tried_in_the_documented_order() {
        let user = Surroundings {
            runtime_dir: Some("/run/user/1000".into()),
            home: Some("/home/alice".into()),
            ..Surroundings::default()
        };
        assert_eq!(
            paths(&user),
            ["/run/user/1000/tok/agent.sock", "/run/tok/tokd.sock", "/home/alice/.local/state/tok/tokd.sock"]
        );
        let moved = Surroundings { state_home: Some("/state".into()), ..user.clone() };
        assert_eq!(paths(&moved)[2], "/state/tok/tokd.sock");
        let root = Surroundings { root: true, ..Surroundings::default() };
        assert_eq!(paths(&root), ["/run/tok/tokd.sock", "/var/lib/tok/tokd.sock"]);
        let alone = Surroundings { without_agent: true, ..user.clone() };
        assert_eq!(paths(&alone), ["/run/tok/tokd.sock", "/home/alice/.local/state/tok/tokd.sock"]);
        let explicit = Surroundings { explicit: Some("/tmp/x.sock".into()), ..user };
        assert_eq!(paths(&explicit), ["/tmp/x.sock"]);
    }

    #[test]
    fn only_oneself_root_and_the_installed_daemon_are_trusted() {
        let installed = || Some(990);
        for (peer, trusted) in [(1000, true), (0, true), (990, true), (1001, false)] {
            assert_eq!(is_trusted(peer, 1000, installed), trusted, "{peer}");
        }
        assert!(!is_trusted(990, 1000, || None));
        assert!(!is_trusted(1000, 0, installed), "root does not tell its secrets to a user's process");
    }
}
