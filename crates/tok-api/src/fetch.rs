//! One small document over HTTPS: what an OpenID Connect issuer publishes, and the identity token that a CI runner is given.
//!
//! No redirect is followed, since whoever answers it would choose where to ask next. Size and time are bounded, whatever the
//! other side does.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use tok_model::url::{Origin, Scheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{certificate_trouble, trusting, words};
use crate::fault::Fault;

/// The most bytes of a document that are read.
pub const MOST_BYTES: usize = 256 * 1024;
/// How long a document may take, from the first packet to its last byte.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Fetches documents.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
    in_the_clear: bool,
    deadline: Duration,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is none, or not https.
    #[error("{0} is no https URL")]
    Url(String),
    /// Nobody answers there, or nobody to be trusted.
    #[error("{host} cannot be asked: {why}")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What happened.
        why: String,
    },
    /// It took too long.
    #[error("{host} took longer than {seconds} s to answer")]
    Late {
        /// Who was asked.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It names another place, which is not asked.
    #[error("{host} answered with a redirect ({status}), which is not followed")]
    Redirect {
        /// Who was asked.
        host: String,
        /// With which status.
        status: u16,
    },
    /// It has no document.
    #[error("{host} answered with {status} instead of the document")]
    Status {
        /// Who was asked.
        host: String,
        /// With which status.
        status: u16,
    },
    /// More than anybody needs.
    #[error("{host} sent more than {MOST_BYTES} bytes")]
    TooLarge {
        /// Who was asked.
        host: String,
    },
}

impl Fetcher {
    /// One that trusts what this machine trusts, and certificates in PEM beside it.
    ///
    /// # Errors
    /// `invalid_argument` if there is no certificate in the PEM, `unavailable` if this machine trusts nobody.
    pub fn new(ca: Option<&str>) -> Result<Self, Fault> {
        let given = match ca {
            None => Vec::new(),
            Some(pem) => certificates(pem)?,
        };
        let tls = TlsConnector::from(Arc::new(trusting(given, b"http/1.1")?));
        Ok(Self { tls, in_the_clear: false, deadline: DEADLINE })
    }

    /// The same, asking over plain HTTP as well: where whoever named the URL is trusted to know.
    #[must_use]
    pub fn in_the_clear_too(self) -> Self {
        Self { in_the_clear: true, ..self }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The document at a URL; with a token, as somebody.
    pub async fn get(&self, url: &str, token: Option<&SecretString>) -> Result<Zeroizing<Vec<u8>>, FetchError> {
        let (origin, target) = split(url).ok_or_else(|| FetchError::Url(shown(url)))?;
        if origin.scheme() == Scheme::Http && !self.in_the_clear {
            return Err(FetchError::Url(shown(url)));
        }
        let host = origin.to_string();
        match tokio::time::timeout(self.deadline, self.ask(&origin, target, token)).await {
            Ok(done) => done,
            Err(_) => Err(FetchError::Late { host, seconds: self.deadline.as_secs() }),
        }
    }

    async fn ask(
        &self,
        origin: &Origin,
        target: &str,
        token: Option<&SecretString>,
    ) -> Result<Zeroizing<Vec<u8>>, FetchError> {
        let name = origin.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let unreachable = |why: String| FetchError::Unreachable { host: origin.to_string(), why };
        let stream =
            TcpStream::connect((name.as_str(), origin.port())).await.map_err(|why| unreachable(words(&why)))?;
        if origin.scheme() == Scheme::Http {
            return converse(stream, origin, target, token).await;
        }
        let name = ServerName::try_from(name).map_err(|_| unreachable("no certificate can name it".to_owned()))?;
        let stream = self.tls.connect(name, stream).await.map_err(|why| {
            let cause = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            unreachable(match cause {
                Some(rustls::Error::InvalidCertificate(why)) => certificate_trouble(why, origin.host()).0,
                Some(other) => format!("the TLS handshake failed ({other})"),
                None => format!("the TLS handshake failed ({})", words(&why)),
            })
        })?;
        converse(stream, origin, target, token).await
    }
}

/// The certificates in a PEM text; at least one that can be trusted.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let broken = || Fault::field("ca", "there is no certificate in it").hint("it takes certificates in PEM");
    let given = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|_| broken())?;
    match rustls::RootCertStore::empty().add_parsable_certificates(given.clone()) {
        (0, _) => Err(broken()),
        _ => Ok(given),
    }
}

async fn converse<S>(
    stream: S,
    origin: &Origin,
    target: &str,
    token: Option<&SecretString>,
) -> Result<Zeroizing<Vec<u8>>, FetchError>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
    S: Send + 'static,
{
    let host = origin.to_string();
    let broken = |why: &dyn std::fmt::Display| FetchError::Unreachable { host: host.clone(), why: why.to_string() };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake::<_, Empty<&[u8]>>(TokioIo::new(stream))
        .await
        .map_err(|why| broken(&why))?;
    // Ends with this call, whatever the other side does.
    let connection = Ended(tokio::spawn(connection));
    let authority = host.split_once("://").map_or(host.as_str(), |(_, authority)| authority);
    let mut request = Request::get(target)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("tok/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = token {
        let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| broken(&"the token is no token"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::new()).map_err(|why| broken(&why))?;
    let mut response = sender.send_request(request).await.map_err(|why| broken(&why))?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect { host, status: status.as_u16() }),
        status => return Err(FetchError::Status { host, status: status.as_u16() }),
    }
    let mut document = Zeroizing::new(Vec::new());
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(|why| broken(&why))?;
        let Some(data) = frame.data_ref() else { continue };
        if document.len() + data.len() > MOST_BYTES {
            return Err(FetchError::TooLarge { host });
        }
        document.extend_from_slice(data);
    }
    drop(connection);
    Ok(document)
}

/// A task that does not outlive whoever waits for it.
struct Ended(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Server and path, with its query.
fn split(url: &str) -> Option<(Origin, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let origin = Origin::parse(&format!("{scheme}://{authority}")).ok()?;
    let plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let target = if target.is_empty() { "/" } else { target };
    (plain && target.starts_with('/')).then_some((origin, target))
}

/// Without its query, which may say more than is anybody's business.
fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    plain.chars().take(200).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn answering(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x?a=b", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut some = [0; 1024];
                let _ = stream.read(&mut some).await;
                let _ = stream.write_all(&answer).await;
                if answer.is_empty() {
                    // Says nothing, and holds on.
                    let _ = stream.read(&mut some).await;
                }
            }
        });
        (url, serving)
    }

    async fn fetched(answer: &str) -> Result<Vec<u8>, FetchError> {
        let (url, serving) = answering(answer.as_bytes().to_vec()).await;
        let fetcher = Fetcher::new(None).unwrap().in_the_clear_too().within(Duration::from_millis(500));
        let done = fetcher.get(&url, None).await.map(|document| document.to_vec());
        serving.abort();
        done
    }

    #[tokio::test]
    async fn a_document_is_read_and_nothing_else_is() {
        assert_eq!(fetched("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap(), b"{}");
        let redirect =
            fetched("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(redirect, Err(FetchError::Redirect { status: 302, .. })));
        let missing = fetched("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(missing, Err(FetchError::Status { status: 404, .. })));
        let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {0}\r\n\r\n{1}", 1 << 20, " ".repeat(1 << 20));
        assert!(matches!(fetched(&huge).await, Err(FetchError::TooLarge { .. })));
        assert!(matches!(fetched("").await, Err(FetchError::Late { .. })));
        assert!(matches!(fetched("SSH-2.0-x\r\n").await, Err(FetchError::Unreachable { .. })));
    }

    #[tokio::test]
    async fn nothing_is_fetched_in_the_clear_unless_somebody_says_so() {
        let fetcher = Fetcher::new(None).unwrap();
        for url in ["http://127.0.0.1:1/", "ftp://x/", "https://user@x/", "https://", "https://x/a b", "x"] {
            assert!(matches!(fetcher.get(url, None).await, Err(FetchError::Url(_))), "{url}");
        }
        assert!(certificates("nothing").is_err());
    }
}
