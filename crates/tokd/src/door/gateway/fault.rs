//! Why git could not answer, and what the client may read of it.

use std::time::Duration;

use hyper::http::StatusCode;
use tok_model::name::RepoPath;

/// A request that git did not answer. Whether somebody *may* ask was decided before; nothing here means "no".
#[derive(Debug, thiserror::Error)]
pub enum GatewayFault {
    /// No such repository. The caller's business to make this look like one that may not be read.
    #[error("there is no repository {repo}")]
    NoRepository {
        /// What was asked for.
        repo: RepoPath,
    },
    /// The body is compressed in a way git does not know (the client's fault).
    #[error("git requests are sent plain or as gzip, not as {encoding:?}")]
    Encoding {
        /// What the client announced.
        encoding: String,
    },
    /// The body says that it is gzip, but cannot be unpacked to its end (the client's fault, or that of what lies between).
    #[error("{0}; nothing of it was taken, so send it again")]
    Packed(super::packed::NotWhole),
    /// All children were busy for as long as a request waits.
    #[error("{children} git processes are running, which is the limit, and none ended within {} s", waited.as_secs())]
    Busy {
        /// The limit.
        children: usize,
        /// How long this request waited.
        waited: Duration,
    },
    /// The operating system would not start git.
    #[error("git-http-backend did not start")]
    Start(#[source] std::io::Error),
    /// git ended, was killed or fell silent before it sent its headers.
    #[error("git-http-backend ended without an answer for {repo}")]
    NoAnswer {
        /// The repository.
        repo: RepoPath,
    },
    /// What git sent is not a CGI answer.
    #[error("git-http-backend's answer is not CGI: {0}")]
    Answer(#[from] super::cgi::BadHead),
    /// The file system, while looking for the repository.
    #[error("the repository's directory cannot be read")]
    Disk(#[source] std::io::Error),
}

impl GatewayFault {
    /// The HTTP status that tells git the right thing: never 401, on which it would erase a good credential.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoRepository { .. } => StatusCode::NOT_FOUND,
            Self::Encoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Packed(_) => StatusCode::BAD_REQUEST,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Start(_) | Self::NoAnswer { .. } | Self::Answer(_) => StatusCode::BAD_GATEWAY,
            Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client may read; never a path of this machine.
    pub fn client_text(&self) -> String {
        match self {
            Self::NoRepository { .. } | Self::Encoding { .. } | Self::Packed(_) => self.to_string(),
            Self::Busy { .. } => "too many git requests are running; try again in a moment".to_owned(),
            Self::Start(_) | Self::NoAnswer { .. } | Self::Answer(_) | Self::Disk(_) => {
                "git failed on the server; its log says why".to_owned()
            }
        }
    }

    /// When to come back (`Retry-After`), if that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { .. } => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
