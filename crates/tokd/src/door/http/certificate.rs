//! What clients will find wrong with the server's certificate, although it and its key belong together.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tok_model::clock::Timestamp;
use tok_model::url::{Origin, Scheme};

/// Something that clients will not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Whether it is out of its dates, which no client takes.
    pub out_of_dates: bool,
    /// What it is, as a sentence about the certificate's file.
    pub words: String,
}

/// What is wrong with this chain (PEM, the server's own certificate first) for clients that know the server by these
/// URLs, `now`. What cannot be read at all is said where the files are opened.
pub fn objections(chain: &[u8], urls: &[Origin], now: Timestamp) -> Vec<Objection> {
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain).filter_map(Result::ok).collect();
    let now = UnixTime::since_unix_epoch(SystemTime::from(now).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let mut found = Vec::new();
    for (place, certificate) in chain.iter().enumerate() {
        let Ok(parsed) = ParsedCertificate::try_from(certificate) else { continue };
        let which = if place == 0 { "its certificate" } else { "a certificate in it that signed the server's" };
        let why = properties(&parsed, now);
        if let Some(dates) = why.as_ref().and_then(|why| out_of_dates(why, now)) {
            found.push(Objection { out_of_dates: true, words: format!("{which} {dates}: no client takes it") });
        }
        if place == 0 {
            found.extend(why.filter(|why| out_of_dates(why, now).is_none()).map(|why| unfit(&why)));
            found.extend(urls.iter().filter_map(|url| unnamed(&parsed, url)));
        }
    }
    found
}

/// What is wrong with it by itself, whoever signed it. Trusting nobody, that is asked first, and then who signed it.
fn properties(certificate: &ParsedCertificate<'_>, now: UnixTime) -> Option<Error> {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(certificate, &RootCertStore::empty(), &[], now, algorithms) {
        Ok(()) | Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => None,
        Err(why) => Some(why),
    }
}

fn out_of_dates(why: &Error, now: UnixTime) -> Option<String> {
    match why {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(format!("expired at {}", moment(*not_after)))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(format!("is not valid before {}, and it is {} now", moment(*not_before), moment(now)))
        }
        Error::InvalidCertificate(CertificateError::Expired) => Some("has expired".to_owned()),
        Error::InvalidCertificate(CertificateError::NotValidYet) => Some("is not valid yet".to_owned()),
        _ => None,
    }
}

fn unfit(why: &Error) -> Objection {
    let why = why.to_string();
    let words = if why.contains("CaUsedAsEndEntity") {
        "its first certificate is an authority's (basicConstraints CA:TRUE), which git takes and tok refuses: let it sign one for the server"
            .to_owned()
    } else {
        format!("its first certificate is none that clients take for a server's: {why}")
    };
    Objection { out_of_dates: false, words }
}

/// Clients that go to this URL compare its host with the certificate's names.
fn unnamed(certificate: &ParsedCertificate<'_>, url: &Origin) -> Option<Objection> {
    let host = url.host().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host).ok().filter(|_| url.scheme() == Scheme::Https)?;
    let refused = verify_server_name(certificate, &name).is_err();
    refused.then(|| Objection {
        out_of_dates: false,
        words: format!("its first certificate does not name {host}, so clients refuse {url}"),
    })
}

fn moment(at: UnixTime) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(at.as_secs());
    DateTime::<Utc>::from(at).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;
    use crate::clock::SystemClock;
    use tok_model::clock::Clock as _;

    const DAY: Duration = Duration::from_hours(24);

    fn signed(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["git.example.com".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem().into_bytes()
    }

    fn said(chain: &[u8], url: &str) -> Vec<(bool, String)> {
        let url = Origin::parse(url).unwrap();
        objections(chain, &[url], SystemClock.now()).into_iter().map(|o| (o.out_of_dates, o.words)).collect()
    }

    #[test]
    fn what_clients_refuse_is_said_and_nothing_else() {
        let good = signed(|_| ());
        for url in ["https://git.example.com", "https://192.0.2.1:8443", "http://elsewhere.example.com"] {
            assert_eq!(said(&good, url), [], "{url}");
        }
        let one = |chain: &[u8], url: &str, dates: bool, words: &str| {
            let said = said(chain, url);
            assert!(said.len() == 1 && said[0].0 == dates && said[0].1.contains(words), "{words}: {said:?}");
        };
        one(&good, "https://tok.example.com", false, "does not name tok.example.com");
        let now = SystemTime::from(SystemClock.now());
        let expired = signed(|params| {
            (params.not_before, params.not_after) = ((now - 2 * DAY).into(), (now - DAY).into());
        });
        one(&expired, "https://git.example.com", true, "its certificate expired at");
        let early = signed(|params| {
            (params.not_before, params.not_after) = ((now + DAY).into(), (now + 2 * DAY).into());
        });
        one(&early, "https://git.example.com", true, "is not valid before");
        let authority = signed(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        one(&authority, "https://git.example.com", false, "is an authority's");
        // One that signed it has its dates, too, and may be an authority.
        one(&[good.clone(), expired].concat(), "https://git.example.com", true, "that signed the server's expired at");
        assert_eq!(said(&[good, authority].concat(), "https://git.example.com"), []);
    }
}
