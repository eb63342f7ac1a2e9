//! TLS from outside: an authority that signs certificates on the spot, and a client that trusts nothing but it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const DEADLINE: Duration = Duration::from_secs(60);

/// An authority, and the files that a server is told of.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, which keeps its files in this directory.
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("the directory is ours");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Who signs has another name than who is signed, or OpenSSL takes what is signed for self-signed; and who trusts
        // several tells them apart by their names.
        params.distinguished_name.push(DnType::CommonName, format!("the authority of {}", directory.display()));
        let key = KeyPair::generate().expect("there is chance");
        let own = params.self_signed(&key).expect("the key signs");
        fs::write(directory.join("ca.pem"), own.pem()).expect("the directory is ours");
        Self { directory: directory.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// Its own certificate: what clients have to trust.
    pub fn trust(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// Makes a new pair for a server of these names, and puts it in the place of the old one.
    pub fn issue(&self, names: &[&str]) {
        self.sign(&named(names));
    }

    /// The same with a certificate that is good between these moments only.
    pub fn issue_between(&self, names: &[&str], from: SystemTime, until: SystemTime) {
        let mut params = named(names);
        (params.not_before, params.not_after) = (from.into(), until.into());
        self.sign(&params);
    }

    fn sign(&self, params: &CertificateParams) {
        let key = KeyPair::generate().expect("there is chance");
        let signed = params.signed_by(&key, &self.issuer).expect("the key signs");
        fs::write(self.certificate(), signed.pem()).expect("the directory is ours");
        fs::write(self.key(), key.serialize_pem()).expect("the directory is ours");
        fs::set_permissions(self.key(), fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }

    /// The section of tokd's configuration.
    pub fn section(&self) -> String {
        let (certificate, key) = (self.certificate(), self.key());
        format!("[server.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display())
    }
}

fn named(names: &[&str]) -> CertificateParams {
    let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    CertificateParams::new(names).expect("the names are good")
}

/// A client's settings: it trusts what is in this file, and speaks these protocols (RFC 7301).
pub fn configuration(trust: &Path, languages: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trust).expect("the file is there") {
        roots.add(certificate.expect("the file is PEM")).expect("the certificate can be trusted");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = languages.iter().map(|language| language.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A connection to a server that is called `localhost`.
pub struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    /// Connects and shakes hands.
    pub fn open(address: SocketAddr, trust: &Path) -> io::Result<Self> {
        let name = "localhost".try_into().expect("localhost is a name");
        let client = ClientConnection::new(configuration(trust, &["http/1.1"]), name).map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client = client;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(client, stream)))
    }

    /// The certificate that the server showed.
    pub fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().and_then(<[_]>::first).expect("it shook hands").to_vec()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
