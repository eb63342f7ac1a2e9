//! What can go wrong, each as the one line that a person sees on stderr.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use tok_model::credential::Malformed;
use tok_model::url::Origin;

/// Why there is no answer although there should have been one. Says what to do next, never a value of the request.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The deadline passed.
    Late {
        /// The whole time there was.
        whole: Duration,
    },
    /// The socket that was chosen by name does not let us in.
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The socket that was chosen by name cannot be one.
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// Nobody listens at the socket that git's configuration names.
    Gone {
        /// The socket.
        path: PathBuf,
        /// The server that git asks about.
        server: Option<Origin>,
    },
    /// Nobody listens at the socket that `TOK_SOCKET` names.
    GoneByVariable {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody else listens there.
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Whose process it is.
        uid: u32,
    },
    /// The connection broke.
    Broken(Errno),
    /// The answer is not one that git could read.
    BadAnswer(Malformed),
    /// The agent could not be started.
    NoAgent,
    /// The name of a login cannot be one.
    Profile,
    /// A variable has a value it cannot have.
    Variable {
        /// Its name.
        name: &'static str,
        /// What it should be.
        should: &'static str,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late { whole } => {
                let whole = whole.as_millis();
                write!(f, "no answer within {whole} ms; see `tok status`, or allow more with TOK_TIMEOUT_MS")
            }
            Self::NotAllowed { path } => {
                write!(f, "not allowed to connect to {}; ask who runs tokd for access to its socket", path.display())
            }
            Self::NoSocket { path } => write!(f, "{} cannot be a socket's path: at most 107 bytes", path.display()),
            Self::Gone { path, server } => {
                write!(f, "nobody answers at {}, which git is set up to ask; start tokd", path.display())?;
                match server {
                    Some(server) => write!(f, ", or run `tok git setup {server}` again"),
                    None => Ok(()),
                }
            }
            Self::GoneByVariable { path } => {
                let path = path.display();
                write!(f, "nobody answers at {path}, which TOK_SOCKET names; start tokd there, or unset TOK_SOCKET")
            }
            Self::Stranger { path, uid } => write!(
                f,
                "nothing was sent to {}: uid {uid} listens there, which is neither you, root nor the user tokd",
                path.display()
            ),
            Self::Broken(error) => write!(f, "the connection to tokd broke ({error}); see `tok status`"),
            Self::BadAnswer(malformed) => write!(f, "tokd's answer was not used: {malformed}; see `tok status`"),
            Self::NoAgent => f.write_str("the agent could not be started; `tok agent start` says why"),
            Self::Profile => f.write_str("the profile is no name of a login; see --profile and TOK_PROFILE"),
            Self::Variable { name, should } => write!(f, "{name} {should}"),
        }
    }
}
