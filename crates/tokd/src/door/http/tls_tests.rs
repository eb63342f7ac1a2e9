//! A real client on the other side of a real listener, with certificates made on the spot.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::door::http::limits::HttpLimits;
use crate::door::http::listener::HttpListener;
use tok_api::local::gate::Drained;

const SOON: Duration = Duration::from_millis(150);
/// Longer than anything here should take, on a busy machine.
const NEVER: Duration = Duration::from_secs(30);

/// An authority, and the files of the certificates that it signs.
struct Authority {
    directory: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), roots }
    }

    fn files(&self) -> TlsFiles {
        let path = |name| self.directory.path().join(name);
        TlsFiles { certificate: path("cert.pem"), key: path("key.pem") }
    }

    /// A certificate and its key, as PEM.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn write(&self, (certificate, key): &(String, String)) -> TlsFiles {
        let files = self.files();
        std::fs::write(&files.certificate, certificate).unwrap();
        write_key(&files.key, key);
        files
    }

    fn connector(&self, versions: &[&'static SupportedProtocolVersion], languages: &[&[u8]]) -> TlsConnector {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = languages.iter().map(|language| language.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

fn write_key(path: &PathBuf, key: &str) {
    std::fs::write(path, key).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

struct Server {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    stop: CancellationToken,
    done: JoinHandle<Drained>,
}

fn start(files: &TlsFiles, limits: HttpLimits) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let certificates = Arc::new(Certificates::open(files, Vec::new()).unwrap().0);
    let listener = HttpListener::new(socket, limits).unwrap().with_tls(Some(Arc::clone(&certificates)));
    let stop = CancellationToken::new();
    let service_for = |_| {
        hyper::service::service_fn(async |request: Request<Incoming>| {
            let answer = if request.uri().path() == "/large" { vec![b'x'; 16 << 20] } else { b"hello".to_vec() };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
        })
    };
    let done = tokio::spawn(listener.serve(service_for, stop.clone(), NEVER));
    Server { address, certificates, stop, done }
}

impl Server {
    async fn connect(&self, connector: &TlsConnector) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        timeout(NEVER, self.done).await.unwrap().unwrap()
    }
}

/// The certificate that a connection was made with.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert!(timeout(NEVER, stream.read_buf(&mut answer)).await.unwrap().unwrap() > 0);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_both_of_tls() {
    let authority = Authority::new();
    let server = start(&authority.write(&authority.sign()), HttpLimits::default());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // The server prefers HTTP/1.1, whatever the client names first.
        for languages in [&[b"http/1.1".as_slice()][..], &[], &[b"h2", b"http/1.1"]] {
            let mut stream = server.connect(&authority.connector(&[version], languages)).await;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
        let stream = server.connect(&authority.connector(&[version], &[b"h2"])).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("https://localhost/").body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_slow_handshake_gives_its_place_back() {
    let authority = Authority::new();
    let limits = HttpLimits { connections: 1, first_bytes: SOON, ..HttpLimits::default() };
    let server = start(&authority.write(&authority.sign()), limits);
    // Nothing, the start of a record, and a record that never ends: each takes the only place, and loses it.
    for dribble in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(dribble).await.unwrap();
        let mut rest = Vec::new();
        timeout(NEVER, stream.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
        assert!(began.elapsed() >= SOON, "{dribble:?} was closed before its time");
    }
    // So is one that shook hands and then says nothing.
    let idle = server.connect(&authority.connector(rustls::ALL_VERSIONS, &[])).await;
    let mut next = timeout(NEVER, server.connect(&authority.connector(rustls::ALL_VERSIONS, &[]))).await.unwrap();
    assert!(ask(&mut next).await.ends_with("hello"));
    drop(idle);
}

#[tokio::test]
async fn an_answer_nobody_reads_is_given_up_under_tls_too() {
    let authority = Authority::new();
    let limits = HttpLimits { unread: SOON, ..HttpLimits::default() };
    let server = start(&authority.write(&authority.sign()), limits);
    let mut stream = server.connect(&authority.connector(rustls::ALL_VERSIONS, &[])).await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    // Were it still being answered, stopping would wait for it.
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn who_speaks_plain_http_is_told() {
    let authority = Authority::new();
    let server = start(&authority.write(&authority.sign()), HttpLimits::default());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(NEVER, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("https"), "{answer}");
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_old_ones_go_on() {
    let authority = Authority::new();
    let files = authority.write(&authority.sign());
    let server = start(&files, HttpLimits::default());
    // One connector for all: it remembers sessions, and must not resume one past a change.
    let connector = authority.connector(rustls::ALL_VERSIONS, &[]);
    let mut old = server.connect(&connector).await;
    let before = shown(&old);
    ask(&mut old).await;

    // A certificate whose key has not come yet is refused, and nothing changes.
    let next = authority.sign();
    std::fs::write(&files.certificate, &next.0).unwrap();
    let why = server.certificates.reload().await.unwrap_err().to_string();
    assert!(why.contains("server.tls.key") && why.contains("not the key"), "{why}");
    assert_eq!(shown(&server.connect(&connector).await), before);

    write_key(&files.key, &next.1);
    server.certificates.reload().await.unwrap();
    let mut new = server.connect(&connector).await;
    assert_ne!(shown(&new), before);
    ask(&mut new).await;
    assert!(ask(&mut old).await.ends_with("hello"));
    assert_eq!(shown(&old), before);
}

#[tokio::test]
async fn a_change_of_the_files_is_noticed_by_itself() {
    let authority = Authority::new();
    let files = authority.write(&authority.sign());
    let server = start(&files, HttpLimits::default());
    let connector = authority.connector(rustls::ALL_VERSIONS, &[]);
    let before = shown(&server.connect(&connector).await);
    let (certificates, stop) = (Arc::clone(&server.certificates), server.stop.clone());
    // A signal that nobody sends.
    let hangup = signal(SignalKind::user_defined2()).unwrap();
    let watching = tokio::spawn(async move { certificates.keep_current(hangup, stop).await });
    authority.write(&authority.sign());
    let seen = async {
        while shown(&server.connect(&connector).await) == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(NEVER, seen).await.expect("the new certificate is taken");
    server.stop().await;
    timeout(NEVER, watching).await.unwrap().unwrap();
}

#[test]
fn each_bad_pair_is_refused_and_says_why() {
    let authority = Authority::new();
    let good = authority.sign();
    let other = authority.sign();
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    for (certificate, key, words) in [
        (&other.0, &good.1, "not the key of the certificate"),
        (&String::new(), &good.1, "no certificate in it"),
        (&good.1, &good.1, "no certificate in it"),
        (&cut(&good.0), &good.1, "not whole PEM"),
        (&good.0, &String::new(), "no private key"),
        (&good.0, &good.0, "no private key"),
        (&good.0, &cut(&good.1), "no private key"),
        (&"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), &good.1, "cannot be used"),
    ] {
        let files = authority.write(&(certificate.clone(), key.clone()));
        let why = Certificates::open(&files, Vec::new()).unwrap_err().to_string();
        assert!(why.contains(words) && why.contains("server.tls."), "{words}: {why}");
        assert!(!why.contains("BEGIN"), "{why}");
    }
    let files = authority.write(&good);
    Certificates::open(&files, Vec::new()).unwrap();
    // As distributions share keys with a group; but not with everybody.
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o640)).unwrap();
    Certificates::open(&files, Vec::new()).unwrap();
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let why = Certificates::open(&files, Vec::new()).unwrap_err().to_string();
    assert!(why.contains("server.tls.key") && why.contains("everybody"), "{why}");
    for missing in [
        TlsFiles { certificate: "/nonexistent.pem".into(), ..files.clone() },
        TlsFiles { key: "/nonexistent.pem".into(), ..files },
    ] {
        assert!(Certificates::open(&missing, Vec::new()).unwrap_err().to_string().contains("/nonexistent.pem"));
    }
}
