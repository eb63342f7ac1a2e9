//! What a request asks of git, read once and then only as these types.
//!
//! The child's path and query are printed from them, never copied from the client, so what was authorised and what git
//! runs cannot differ.

use std::net::IpAddr;

use hyper::http::{HeaderMap, HeaderName, Method, Request, header};
use tok_model::name::RepoPath;

/// The three programs git offers over smart HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GitService {
    /// `git-upload-pack`: clone, fetch, ls-remote. Reads.
    UploadPack,
    /// `git-receive-pack`: push. Writes.
    ReceivePack,
    /// `git-upload-archive`: `git archive --remote`. Reads; a server's git before 2.44 refuses it over HTTP.
    UploadArchive,
}

impl GitService {
    /// As git spells it in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
            Self::UploadArchive => "git-upload-archive",
        }
    }

    /// Whether it may change the repository.
    pub fn writes(self) -> bool {
        self == Self::ReceivePack
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::UploadPack, Self::ReceivePack, Self::UploadArchive].into_iter().find(|s| s.as_str() == text)
    }
}

/// One smart-HTTP call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GitCall {
    /// `GET info/refs?service=…`: what is there.
    Advertise(GitService),
    /// `POST git-…`: the exchange itself.
    Exchange(GitService),
}

/// A path below a repository that is no smart-HTTP call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// The dumb protocol (`HEAD`, `objects/…`, `info/refs` without a service): it hands out files without knowing
    /// what is reachable.
    #[error("only git's smart HTTP protocol is served here: use git 1.6.6 or newer")]
    Dumb,
    /// A right path with a wrong method.
    #[error("this address of a repository is asked with another method")]
    Method {
        /// Those that it takes.
        allow: &'static str,
    },
    /// Nothing git ever asks for.
    #[error("a repository has no such address")]
    Unknown,
}

impl GitCall {
    /// Reads method, the path below `workspace/repo.git/` (no leading slash) and the query.
    ///
    /// # Errors
    /// [`NotServed`]; the caller answers 403, 405 or 404.
    pub fn parse(method: &Method, tail: &str, query: Option<&str>) -> Result<Self, NotServed> {
        if tail == "info/refs" {
            let mut services = query.unwrap_or("").split('&').filter_map(|pair| pair.strip_prefix("service="));
            let service = services.next().ok_or(NotServed::Dumb)?;
            // Two services in one query: git would take the last, a careless gate the first.
            if services.next().is_some() {
                return Err(NotServed::Unknown);
            }
            let service = GitService::parse(service).ok_or(NotServed::Unknown)?;
            // Of an answer to HEAD the connection sends the head alone (RFC 9110 section 9.3.2).
            return match *method {
                Method::GET | Method::HEAD => Ok(Self::Advertise(service)),
                _ => Err(NotServed::Method { allow: "GET, HEAD" }),
            };
        }
        if let Some(service) = GitService::parse(tail) {
            return if method == Method::POST {
                Ok(Self::Exchange(service))
            } else {
                Err(NotServed::Method { allow: "POST" })
            };
        }
        if tail == "HEAD" || tail.starts_with("objects/") {
            return Err(NotServed::Dumb);
        }
        Err(NotServed::Unknown)
    }

    /// The program it runs.
    pub fn service(self) -> GitService {
        match self {
            Self::Advertise(service) | Self::Exchange(service) => service,
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Advertise(_) => "GET",
            Self::Exchange(_) => "POST",
        }
    }

    pub(super) fn path_info(self, repo: &RepoPath) -> String {
        match self {
            Self::Advertise(_) => format!("/{repo}.git/info/refs"),
            Self::Exchange(service) => format!("/{repo}.git/{}", service.as_str()),
        }
    }

    pub(super) fn query(self) -> String {
        match self {
            Self::Advertise(service) => format!("service={}", service.as_str()),
            Self::Exchange(_) => String::new(),
        }
    }
}

/// One request that somebody was allowed to make.
#[derive(Debug)]
pub struct GitRequest<B> {
    /// The repository.
    pub repo: RepoPath,
    /// What is asked.
    pub call: GitCall,
    /// What git needs to know of the request's headers; never `Authorization`.
    pub headers: GitHeaders,
    /// What the client sends.
    pub body: B,
    /// Who asks, as hooks and the reflog shall name them.
    pub remote_user: String,
    /// From where.
    pub remote_addr: IpAddr,
}

impl<B> GitRequest<B> {
    /// Takes an HTTP request apart after it was authorised.
    pub fn new(repo: RepoPath, call: GitCall, request: Request<B>, remote_user: String, remote_addr: IpAddr) -> Self {
        let (parts, body) = request.into_parts();
        Self { repo, call, headers: GitHeaders::read(&parts.headers), body, remote_user, remote_addr }
    }

    /// The same with another body.
    pub fn map_body<C>(self, map: impl FnOnce(B) -> C) -> GitRequest<C> {
        let Self { repo, call, headers, body, remote_user, remote_addr } = self;
        GitRequest { repo, call, headers, body: map(body), remote_user, remote_addr }
    }
}

/// The request headers that git-http-backend reads, checked for what may stand in an environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`: git compresses requests above a kilobyte.
    pub content_encoding: Option<String>,
    /// `Git-Protocol`: `version=2` and further `key[=value]`, joined by colons.
    pub git_protocol: Option<String>,
}

impl GitHeaders {
    /// Picks them out of a request's headers; anything that git never sends is left out.
    pub fn read(headers: &HeaderMap) -> Self {
        Self {
            content_type: text(headers, &header::CONTENT_TYPE),
            content_encoding: text(headers, &header::CONTENT_ENCODING).map(|encoding| encoding.to_ascii_lowercase()),
            git_protocol: text(headers, &HeaderName::from_static("git-protocol")).filter(|value| is_protocol(value)),
        }
    }
}

/// Longer header values than any git sends are not passed on, in bytes.
const LONGEST_VALUE: usize = 256;

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (!value.is_empty() && value.len() <= LONGEST_VALUE).then(|| value.to_owned())
}

fn is_protocol(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b':' | b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_of_a_git_client_is_read_and_nothing_else() {
        use GitCall::{Advertise, Exchange};
        use GitService::{ReceivePack, UploadArchive, UploadPack};
        let get = |tail, query| GitCall::parse(&Method::GET, tail, query);
        let post = |tail| GitCall::parse(&Method::POST, tail, None);
        assert_eq!(get("info/refs", Some("service=git-upload-pack")), Ok(Advertise(UploadPack)));
        assert_eq!(get("info/refs", Some("service=git-receive-pack")), Ok(Advertise(ReceivePack)));
        assert_eq!(post("git-upload-pack"), Ok(Exchange(UploadPack)));
        assert_eq!(post("git-receive-pack"), Ok(Exchange(ReceivePack)));
        assert_eq!(post("git-upload-archive"), Ok(Exchange(UploadArchive)));

        assert_eq!(get("info/refs", None), Err(NotServed::Dumb));
        assert_eq!(get("HEAD", None), Err(NotServed::Dumb));
        assert_eq!(get("objects/info/packs", None), Err(NotServed::Dumb));
        assert_eq!(get("git-receive-pack", None), Err(NotServed::Method { allow: "POST" }));
        let refs = |method| GitCall::parse(&method, "info/refs", Some("service=git-upload-pack"));
        assert_eq!(refs(Method::HEAD), Ok(Advertise(UploadPack)));
        assert_eq!(refs(Method::POST), Err(NotServed::Method { allow: "GET, HEAD" }));
        for unknown in ["", "config", "hooks/post-receive", "info/refs/", "git-upload-pack/", "git-shell"] {
            assert_eq!(post(unknown), Err(NotServed::Unknown), "{unknown}");
        }
    }

    #[test]
    fn a_query_that_two_readers_could_read_differently_is_refused() {
        for query in [
            "service=git-upload-pack&service=git-receive-pack",
            "service=git-shell",
            "service=git%2Dreceive-pack",
            "service=",
        ] {
            assert_eq!(GitCall::parse(&Method::GET, "info/refs", Some(query)), Err(NotServed::Unknown), "{query}");
        }
    }

    #[test]
    fn headers_that_git_never_sends_do_not_reach_the_child() {
        let mut headers = HeaderMap::new();
        headers.insert("git-protocol", "version=2:x=$(id)".parse().unwrap());
        headers.insert("content-type", "x".repeat(300).parse().unwrap());
        headers.insert("content-encoding", "GZip".parse().unwrap());
        headers.insert("authorization", "Bearer secret".parse().unwrap());
        let read = GitHeaders::read(&headers);
        assert_eq!(read, GitHeaders { content_type: None, content_encoding: Some("gzip".into()), git_protocol: None });
        headers.insert("git-protocol", "version=2:key=value".parse().unwrap());
        assert_eq!(GitHeaders::read(&headers).git_protocol.as_deref(), Some("version=2:key=value"));
    }
}
