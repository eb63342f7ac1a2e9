//! The connection to a server elsewhere: TLS by rustls with the roots that this machine trusts, HTTP/2 inside.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tok_model::url::{Origin, Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::CALL_DEADLINE;
use crate::fault::{Fault, FaultCode, SPEAKS_TLS};

/// How long a remote server may take from the first packet to the end of the TLS handshake.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// The only protocol that gRPC is spoken over (RFC 7301, RFC 9113).
const HTTP2: &[u8] = b"h2";

/// How to speak to a server elsewhere. The default is right for a server with a certificate that this machine trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// A file of certificates in PEM that are trusted beside those of this machine: a private authority's, or the
    /// server's own. None by default.
    ///
    /// Without it the variables `SSL_CERT_FILE` and `SSL_CERT_DIR`, if set, take the place of the machine's roots, as
    /// they do for OpenSSL.
    pub trust: Option<PathBuf>,
    /// How long the other machine may take to accept the connection, before TLS; as long as the whole by default.
    pub reach_deadline: Duration,
    /// How long connecting may take; [`CONNECT_DEADLINE`] by default.
    pub connect_deadline: Duration,
    /// How long a call may take; [`CALL_DEADLINE`] by default. The server is told, and stops then, too.
    pub call_deadline: Duration,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            trust: None,
            reach_deadline: CONNECT_DEADLINE,
            connect_deadline: CONNECT_DEADLINE,
            call_deadline: CALL_DEADLINE,
        }
    }
}

/// Connects to one server, again and again if need be.
#[derive(Clone)]
pub(super) struct Dialler {
    server: Origin,
    /// None: in the clear, to this machine.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    reach: Duration,
    deadline: Duration,
}

impl Dialler {
    pub(super) fn new(server: &Origin, options: &RemoteOptions) -> Result<Self, Fault> {
        if !server.acceptable() {
            let why = format!("{server} would be spoken to in the clear, token and all");
            return Err(Fault::field("server", why).hint("use its https address; http is for this machine only"));
        }
        let tls = match server.scheme() {
            Scheme::Http => None,
            Scheme::Https => {
                let name = server.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name)
                    .map_err(|_: InvalidDnsNameError| Fault::field("server", "no certificate can name this host"))?;
                Some((TlsConnector::from(Arc::new(configuration(options.trust.as_deref())?)), name))
            }
        };
        Ok(Self { server: server.clone(), tls, reach: options.reach_deadline, deadline: options.connect_deadline })
    }

    pub(super) async fn dial(&self) -> Result<Wire, DialFault> {
        match tokio::time::timeout(self.deadline, self.connect()).await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(&format!("no connection within {:?}", self.deadline))),
        }
    }

    async fn connect(&self) -> Result<Wire, DialFault> {
        let host = self.server.host().trim_start_matches('[').trim_end_matches(']');
        let reaching = TcpStream::connect((host, self.server.port()));
        let stream = match tokio::time::timeout(self.reach, reaching).await {
            Ok(reached) => reached.map_err(|why| self.unreachable(&words(&why)))?,
            Err(_) => return Err(self.unreachable(&format!("nobody accepted within {:?}", self.reach))),
        };
        self.secure(stream).await
    }

    /// Shakes hands, where that is to be done.
    pub(super) async fn secure(&self, stream: TcpStream) -> Result<Wire, DialFault> {
        // Calls are small and waited for.
        stream.set_nodelay(true).map_err(|why| self.unreachable(&words(&why)))?;
        let Some((connector, name)) = &self.tls else { return Ok(Wire::Plain(Greeted::new(stream, &self.server))) };
        let stream = connector.connect(name.clone(), stream).await.map_err(|why| self.untrusted(&why))?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            let what = format!("{} speaks TLS, but not HTTP/2, over which gRPC goes", self.server);
            let hint = "is it tokd? A proxy in front has to speak HTTP/2 and to pass gRPC on (nginx: `http2 on` and `grpc_pass`)";
            return Err(DialFault(Fault::new(FaultCode::Unavailable, what).hint(hint)));
        }
        Ok(Wire::Tls(Box::new(stream)))
    }

    fn unreachable(&self, why: &str) -> DialFault {
        let fault = Fault::new(FaultCode::Unavailable, format!("no tokd answers at {}: {why}", self.server));
        DialFault(
            fault.hint(format!(
                "is the address right, and does the server run? `curl {}/healthz` shows it",
                self.server
            )),
        )
    }

    /// Why the handshake failed; trouble with the certificate says which, and what helps.
    fn untrusted(&self, why: &io::Error) -> DialFault {
        let Some(cause) = why.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return self.unreachable(&format!("it ended the TLS handshake ({})", words(why)));
        };
        let server = &self.server;
        let (what, hint) = match cause {
            rustls::Error::InvalidCertificate(why) => certificate_trouble(why, server.host()),
            rustls::Error::InvalidMessage(_) => (
                "it does not speak TLS".to_owned(),
                format!(
                    "is it a plain http server, for this machine only? Then its address is http://{}:{}",
                    server.host(),
                    server.port()
                ),
            ),
            other => (
                format!("the TLS handshake failed ({other})"),
                "the server's log says more; tok speaks TLS 1.2 and 1.3".to_owned(),
            ),
        };
        DialFault(Fault::new(FaultCode::Unavailable, format!("not speaking to {server}: {what}")).hint(hint))
    }
}

/// What is wrong with a certificate, and what to do about it.
pub(crate) fn certificate_trouble(why: &CertificateError, host: &str) -> (String, String) {
    let trust = "name the certificate of the authority that signed it in SSL_CERT_FILE, if you trust it";
    match why {
        // A bad signature is what an authority of the same name makes.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ("its certificate is signed by nobody that this machine trusts".to_owned(), trust.to_owned())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is for another name than {host}"),
            "use the name that the certificate has; `tok status` on the server shows its address".to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            "tell whoever runs it; and is this machine's clock right?".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "its certificate is not valid yet".to_owned(),
            "is this machine's clock right? If so, tell whoever runs the server".to_owned(),
        ),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "its certificate is that of an authority, not of a server".to_owned(),
            "the server needs one without CA:TRUE (`openssl req -x509 -addext basicConstraints=critical,CA:FALSE …`)"
                .to_owned(),
        ),
        other => (format!("its certificate is no good ({other})"), trust.to_owned()),
    }
}

fn configuration(trust: Option<&Path>) -> Result<ClientConfig, Fault> {
    let given = trust.map(|path| {
        let unusable = |why: &dyn fmt::Display| {
            Fault::field("trust", format!("no certificate can be read from {}: {why}", path.display()))
                .hint("it takes certificates in PEM")
        };
        let given = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let given = given.map_err(|why| unusable(&why))?;
        if RootCertStore::empty().add_parsable_certificates(given.clone()).0 == 0 {
            return Err(unusable(&"there is none in it"));
        }
        Ok(given)
    });
    trusting(given.transpose()?.unwrap_or_default(), HTTP2)
}

/// A client that trusts these beside what this machine trusts, and speaks one protocol.
pub(crate) fn trusting(given: Vec<CertificateDer<'static>>, protocol: &[u8]) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(given);
    if roots.is_empty() {
        // Mostly a SSL_CERT_FILE that does not exist, or a machine without ca-certificates.
        let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let fault = Fault::new(
            FaultCode::Unavailable,
            format!("no server can be trusted: this machine has no root certificates{why}"),
        );
        return Err(fault.hint("install ca-certificates, or name a file of certificates in SSL_CERT_FILE"));
    }
    let provider = Arc::new(ring::default_provider());
    let broken = |why: &dyn fmt::Display| Fault::new(FaultCode::Internal, format!("TLS cannot be set up: {why}"));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|why| broken(&why))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| broken(&why))?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// The system's own words, without the "(os error 13)".
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Why there is no connection, in the shape that everything else has.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DialFault(pub(crate) Fault);

/// A connection.
pub(super) enum Wire {
    Plain(Greeted),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// The certificate that the server showed.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }
}

/// A connection in the clear, whose first bytes may say that it should not be: whoever speaks TLS answers plain HTTP/2, as
/// any other plain HTTP, with a status 400 in HTTP/1.
pub(super) struct Greeted {
    stream: TcpStream,
    /// What to use instead, until the first bytes were seen.
    instead: Option<String>,
}

/// What stands in an answer of who speaks TLS: tokd, nginx, Apache and Go say so in these words.
const TLS_WORDS: [&[u8]; 3] = [b"TLS", b"HTTPS", b"SSL"];

impl Greeted {
    fn new(stream: TcpStream, server: &Origin) -> Self {
        Self { stream, instead: Some(server.over_tls().to_string()) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready()
            && let Some(instead) = self.instead.take()
        {
            let first = buffer.filled().get(before..).unwrap_or_default();
            let says = |word: &&[u8]| first.windows(word.len()).any(|part| part == *word);
            if first.starts_with(b"HTTP/1.") && TLS_WORDS.iter().any(says) {
                return Poll::Ready(Err(io::Error::other(format!("{SPEAKS_TLS}{instead}"))));
            }
        }
        read
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => plain.poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, options: &RemoteOptions) -> Fault {
        Dialler::new(&url.parse().unwrap(), options).map(drop).unwrap_err()
    }

    #[test]
    fn a_token_never_travels_in_the_clear() {
        let refused = refusal("http://git.example.com", &RemoteOptions::default());
        assert_eq!((refused.code, refused.field.as_deref()), (FaultCode::InvalidArgument, Some("server")));
        assert!(refused.hint.unwrap().contains("https"));
        assert!(Dialler::new(&"http://127.0.0.1:7650".parse().unwrap(), &RemoteOptions::default()).is_ok());
    }

    #[test]
    fn a_file_to_trust_that_holds_nothing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").unwrap();
        for path in [empty, directory.path().join("missing.pem")] {
            let options = RemoteOptions { trust: Some(path.clone()), ..RemoteOptions::default() };
            let refused = refusal("https://git.example.com", &options);
            assert_eq!(refused.code, FaultCode::InvalidArgument);
            assert!(refused.message.contains(path.to_str().unwrap()), "{refused}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_unavailable_and_says_where() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server: Origin = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
        drop(socket);
        let dialler = Dialler::new(&server, &RemoteOptions::default()).unwrap();
        let DialFault(fault) = dialler.dial().await.map(drop).unwrap_err();
        assert_eq!(fault.code, FaultCode::Unavailable);
        assert!(fault.message.contains(&server.to_string()) && fault.message.contains("refused"), "{fault}");
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_unavailable_in_time() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let soon = Duration::from_millis(200);
        let options = RemoteOptions { connect_deadline: soon, call_deadline: soon, ..RemoteOptions::default() };
        let server: Origin = format!("http://{address}").parse().unwrap();
        let mut client =
            super::super::Client::remote(&server, &super::super::Caller::default(), &options).await.unwrap();
        let fault = client.whoami().await.unwrap_err();
        assert_eq!(fault.code, FaultCode::Unavailable);
        assert!(fault.hint.is_some(), "{fault:?}");
        // With TLS it is the handshake that never comes.
        let connector = TlsConnector::from(Arc::new(
            ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        ));
        let name = ServerName::try_from("localhost").unwrap();
        let server = format!("https://{address}").parse().unwrap();
        let dialler = Dialler { server, tls: Some((connector, name)), reach: soon, deadline: soon };
        let DialFault(fault) = dialler.dial().await.map(drop).unwrap_err();
        assert_eq!(fault.code, FaultCode::Unavailable);
        assert!(fault.message.contains("200ms"), "{fault}");
        drop(silent);
    }
}
