//! A server whose clock is wrong: a stand-in that ends TLS in front of a real `tokd`, passes every call on to it, and
//! changes nothing but the `Date` of the answers (RFC 9110, section 6.6.1).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tok_model::clock::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::environment::Environment;
use crate::tls::configuration;

/// The stand-in, until it is dropped. It speaks HTTP/2, as whoever calls by gRPC does.
pub struct WrongClock {
    address: SocketAddr,
    /// By how many seconds it is ahead.
    ahead: Arc<AtomicI64>,
    _runtime: Runtime,
}

impl WrongClock {
    /// In front of the daemon of this environment, with its certificate, under an address that stands in it.
    pub fn start(environment: &Environment) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let authority = environment.authority();
        let acceptor = acceptor(&authority.certificate(), &authority.key());
        let connector = TlsConnector::from(configuration(&authority.trust(), &["h2"]));
        let (target, ahead) = (environment.address(), Arc::new(AtomicI64::new(0)));
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::new(127, 0, 0, 4), 0))).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let skew = Arc::clone(&ahead);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, connector, skew) = (acceptor.clone(), connector.clone(), Arc::clone(&skew));
                tokio::spawn(serve(stream, acceptor, target, connector, skew));
            }
        });
        Self { address, ahead, _runtime: runtime }
    }

    /// Its address, as people log in to it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Sets its clock ahead by so many seconds, or back.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }
}

fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).expect("the file is PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("the file is PEM");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// One connection. Whoever breaks it off, or is not believed, knows why.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    target: SocketAddr,
    connector: TlsConnector,
    ahead: Arc<AtomicI64>,
) -> Option<()> {
    let near = acceptor.accept(stream).await.ok()?;
    let name = "localhost".try_into().ok()?;
    let far = connector.connect(name, TcpStream::connect(target).await.ok()?).await.ok()?;
    let (sender, connection) = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(far)).await.ok()?;
    tokio::spawn(connection);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (mut sender, ahead) = (sender.clone(), Arc::clone(&ahead));
        async move {
            let mut response = sender.send_request(request).await?;
            dated(&mut response, ahead.load(Ordering::SeqCst));
            Ok::<_, hyper::Error>(response)
        }
    });
    server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(near), answer).await.ok()
}

#[expect(clippy::disallowed_methods, reason = "a server's answer has the time of its answer")]
fn dated(response: &mut Response<Incoming>, ahead: i64) {
    let shift = Duration::from_secs(ahead.unsigned_abs());
    let now = SystemTime::now();
    let shown: Timestamp = if ahead < 0 { now - shift } else { now + shift }.into();
    let text = shown.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    response.headers_mut().insert(DATE, HeaderValue::from_str(&text).expect("a date is plain"));
}
