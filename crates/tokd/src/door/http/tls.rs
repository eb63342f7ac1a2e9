//! TLS on the remote address: the certificate and its key, and how they are exchanged without losing a connection.
//!
//! TLS 1.2 and 1.3 as rustls has them by default, with ring. Clients are known by their tokens, never by a certificate.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::zeroize::Zeroizing;
use tok_model::clock::Clock as _;
use tok_model::url::Origin;
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::certificate::{Objection, objections};
use crate::clock::SystemClock;
use crate::config::{ConfigError, TlsFiles};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// What can be spoken inside, the better first (RFC 7301). gRPC offers HTTP/2 alone. Whoever offers both is git, curl or a
/// browser; and over HTTP/2 one of git's large pushes in some dozens stands still (seen with libcurl 7.88, of Debian 12): its
/// processes wait for each other, with the server's answer unread.
const LANGUAGES: [&[u8]; 2] = [b"http/1.1", b"h2"];
/// The keys of the configuration that a complaint names.
const CERTIFICATE: &str = "server.tls.certificate";
const KEY: &str = "server.tls.key";

/// The certificate in use. Connections keep the one that they began with.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    /// Where clients go, and so what the certificate has to name.
    urls: Vec<Origin>,
    /// Whole configurations, not certificates alone: what a client remembers of a session with one does not let it pass
    /// by the next.
    current: RwLock<Arc<ServerConfig>>,
    /// The files just before they were opened.
    opened: Stamps,
}

impl Certificates {
    /// Reads the files and sees whether they belong together, and what clients who know the server by these URLs will not
    /// take of the certificate.
    ///
    /// # Errors
    /// The key of the configuration at fault, and what is wrong with what it names.
    pub fn open(files: &TlsFiles, urls: Vec<Origin>) -> Result<(Self, Vec<Objection>), ConfigError> {
        let opened = [&files.certificate, &files.key].map(|path| std::fs::metadata(path).ok().as_ref().map(Stamp::of));
        let chain =
            std::fs::read(&files.certificate).map_err(|why| unreadable(CERTIFICATE, &files.certificate, &why))?;
        let status = std::fs::metadata(&files.key).map_err(|why| unreadable(KEY, &files.key, &why))?;
        let key = std::fs::read(&files.key).map_err(|why| unreadable(KEY, &files.key, &why))?;
        let config = configuration(files, &chain, &status, &Zeroizing::new(key))?;
        let objections = objections(&chain, &urls, SystemClock.now());
        Ok((Self { files: files.clone(), urls, current: RwLock::new(Arc::new(config)), opened }, objections))
    }

    /// For the next handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files again; what they hold counts from the next handshake on. After an error everything stays. What
    /// clients will not take of it is returned.
    ///
    /// # Errors
    /// As with [`open`](Self::open).
    pub async fn reload(&self) -> Result<Vec<Objection>, ConfigError> {
        let TlsFiles { certificate, key } = &self.files;
        let chain = tokio::fs::read(certificate).await.map_err(|why| unreadable(CERTIFICATE, certificate, &why))?;
        let status = tokio::fs::metadata(key).await.map_err(|why| unreadable(KEY, key, &why))?;
        let text = Zeroizing::new(tokio::fs::read(key).await.map_err(|why| unreadable(KEY, key, &why))?);
        let config = configuration(&self.files, &chain, &status, &text)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(objections(&chain, &self.urls, SystemClock.now()))
    }

    /// Reloads whenever the files change, and when SIGHUP asks for it, until `stop`.
    pub async fn keep_current(&self, mut hangup: Signal, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut known = self.opened;
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => true,
                _ = look.tick() => false,
            };
            // Before the files are read: what changes while they are is seen next time.
            let stamps = self.stamps().await;
            if !asked && stamps == known {
                continue;
            }
            known = stamps;
            match self.reload().await {
                Ok(objections) => {
                    let file = self.files.certificate.display();
                    tracing::info!("New connections get the certificate as it is now in {file}");
                    for Objection { words, .. } in objections {
                        tracing::warn!("New connections get the certificate in {file}, but {words}");
                    }
                }
                Err(why) => tracing::error!(%why, "The certificate stays as it was: {why}"),
            }
        }
    }

    async fn stamps(&self) -> Stamps {
        let stamp = async |path| tokio::fs::metadata(path).await.ok().map(|status| Stamp::of(&status));
        [stamp(&self.files.certificate).await, stamp(&self.files.key).await]
    }
}

/// Of the certificate and of the key; nothing for a file that is not there.
type Stamps = [Option<Stamp>; 2];

/// What changes when a file does, also if its successor is moved into its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(status: &Metadata) -> Self {
        Self {
            modified: (status.mtime(), status.mtime_nsec()),
            changed: (status.ctime(), status.ctime_nsec()),
            length: status.len(),
            inode: status.ino(),
        }
    }
}

fn configuration(files: &TlsFiles, chain: &[u8], status: &Metadata, key: &[u8]) -> Result<ServerConfig, ConfigError> {
    let wrong = |name, path: &Path, why: &str| ConfigError::value(name, format!("names {}, {why}", path.display()));
    // Group-readable is how distributions share keys (ssl-cert); everybody is too many.
    if status.mode() & 0o007 != 0 {
        let why = format!("which everybody on this machine may open: `chmod o= {}`", files.key.display());
        return Err(wrong(KEY, &files.key, &why));
    }
    let certificates = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, pem::Error>>();
    let certificates = certificates.map_err(|_| wrong(CERTIFICATE, &files.certificate, "which is not whole PEM"))?;
    if certificates.is_empty() {
        let why = "which has no certificate in it: the server's own comes first, then those that signed it, as PEM";
        return Err(wrong(CERTIFICATE, &files.certificate, why));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| wrong(KEY, &files.key, "which has no private key in PEM form without a passphrase"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| ConfigError::value("server.tls", why.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|why| match why {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let why = format!("which is not the key of the certificate in {}", files.certificate.display());
                wrong(KEY, &files.key, &why)
            }
            rustls::Error::InvalidCertificate(why) => {
                wrong(CERTIFICATE, &files.certificate, &format!("whose first certificate cannot be used: {why}"))
            }
            why => wrong(KEY, &files.key, &format!("which cannot be used: {why}")),
        })?;
    config.alpn_protocols = LANGUAGES.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn unreadable(key: &str, path: &Path, why: &std::io::Error) -> ConfigError {
    ConfigError::value(key, format!("names {}, which tokd cannot read: {why}", path.display()))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
