//! The way to a server, one step after the other, for whoever wants to know where it ends.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;
use rustls::pki_types::CertificateDer;
use tok_model::clock::Timestamp;
use tok_model::url::Origin;
use tonic::metadata::MetadataMap;

use super::remote::Dialler;
use super::{Client, DialFault, RemoteOptions};
use crate::fault::{Fault, FaultCode};
use crate::wire::v1;

/// What was found on the way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What its name stands for.
    pub addresses: Vec<SocketAddr>,
    /// When its certificate ends, if it speaks TLS and the certificate says it readably (RFC 5280, section 4.1.2.5).
    pub certificate_ends: Option<Timestamp>,
}

/// Where the way to a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The server's address cannot be spoken to at all.
    Address,
    /// Nobody knows its name.
    Name,
    /// Nobody listens there, or nothing gets there.
    Connection,
    /// The TLS handshake fails, or the certificate is not to be trusted.
    Tls,
}

impl Probe {
    /// Looks the name up, connects, and shakes hands; each has as long as [`RemoteOptions::connect_deadline`].
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn run(server: &Origin, options: &RemoteOptions) -> Result<Self, (Stage, Fault)> {
        let dialler = Dialler::new(server, options).map_err(|fault| (Stage::Address, fault))?;
        let host = server.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let looked_up = within(options.connect_deadline, tokio::net::lookup_host((host.as_str(), server.port()))).await;
        let addresses: Vec<_> = match looked_up {
            Ok(found) => found.collect(),
            Err(why) => return Err((Stage::Name, unavailable(&format!("the name {host} cannot be looked up: {why}")))),
        };
        let connected = within(options.connect_deadline, tokio::net::TcpStream::connect(addresses.as_slice())).await;
        let stream = connected.map_err(|why| {
            let what = format!("no connection to port {} of {host}: {why}", server.port());
            (Stage::Connection, unavailable(&what))
        })?;
        let handshake = within(options.connect_deadline, async { Ok(dialler.secure(stream).await) }).await;
        let wire = match handshake {
            Ok(Ok(wire)) => wire,
            Ok(Err(DialFault(fault))) => return Err((Stage::Tls, fault)),
            Err(why) => return Err((Stage::Tls, unavailable(&format!("no TLS handshake with {server}: {why}")))),
        };
        Ok(Self { addresses, certificate_ends: wire.certificate().and_then(not_after) })
    }
}

impl Client {
    /// The server's clock, in whole seconds (the `Date` of an answer, RFC 9110, section 6.6.1). `None` if it does not say.
    ///
    /// # Errors
    /// `unavailable` if nobody answers; what else the call may fail with says the time all the same.
    pub async fn server_time(&mut self) -> Result<Option<Timestamp>, Fault> {
        match self.identity.whoami(v1::WhoamiRequest {}).await {
            Ok(reply) => Ok(date(reply.metadata())),
            Err(status) => match (date(status.metadata()), Fault::from(status)) {
                (None, fault) if fault.code == FaultCode::Unavailable => Err(fault),
                (date, _) => Ok(date),
            },
        }
    }
}

/// When an answer was made, as it says itself.
pub(super) fn date(metadata: &MetadataMap) -> Option<Timestamp> {
    let text = metadata.get("date")?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

async fn within<T>(deadline: Duration, step: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(deadline, step).await {
        Ok(outcome) => outcome.map_err(|why| super::remote::words(&why)),
        Err(_) => Err(format!("nothing within {deadline:?}")),
    }
}

fn unavailable(what: &str) -> Fault {
    Fault::new(FaultCode::Unavailable, what)
}

/// The end of a certificate's validity: the second time in the fourth or fifth field of what is signed.
fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    // Version (if it is there), serial number, algorithm, issuer.
    let version = usize::from(fields.first() == Some(&0xa0));
    for _ in 0..version + 3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    let text = std::str::from_utf8(time).ok()?;
    let century = match tag {
        // UTCTime has two digits for the year, and means 1950 to 2049.
        0x17 => {
            if text.get(..2)?.parse::<u8>().ok()? < 50 {
                "20"
            } else {
                "19"
            }
        }
        0x18 => "",
        _ => return None,
    };
    let time = chrono::NaiveDateTime::parse_from_str(&format!("{century}{text}"), "%Y%m%d%H%M%SZ").ok()?;
    Some(time.and_utc())
}

/// The tag and the content of the first element of some DER (X.690), and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate in outline: what is signed, with or without a version, and nothing behind it.
    fn outline(version: bool, time: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let validity = wrap(0x30, &[wrap(0x17, b"200101000000Z"), time.to_vec()].concat());
        let fields = [wrap(0x02, &[1]), wrap(0x30, &[]), wrap(0x30, &[]), validity].concat();
        let version = if version { wrap(0xa0, &[2, 1, 2]) } else { Vec::new() };
        wrap(0x30, &wrap(0x30, &[version, fields].concat()))
    }

    #[test]
    fn a_certificate_says_when_it_ends() {
        let ends = |der: &[u8]| not_after(&CertificateDer::from(der)).map(|end| end.to_rfc3339());
        let short = b"\x17\x0d261231235959Z";
        let long = b"\x18\x0f20510203040506Z";
        for version in [true, false] {
            assert_eq!(ends(&outline(version, short)).unwrap(), "2026-12-31T23:59:59+00:00");
            assert_eq!(ends(&outline(version, long)).unwrap(), "2051-02-03T04:05:06+00:00");
        }
        let whole = outline(true, short);
        for end in 0..whole.len() {
            assert_eq!(ends(&whole[..end]), None, "half of one says nothing");
        }
        assert_eq!(ends(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[tokio::test]
    async fn the_step_that_fails_is_named() {
        let soon = Duration::from_secs(2);
        let options = RemoteOptions { connect_deadline: soon, call_deadline: soon, ..RemoteOptions::default() };
        let stage = async |url: &str| Probe::run(&url.parse().unwrap(), &options).await.map_err(|(stage, _)| stage);
        assert_eq!(stage("https://nobody.invalid").await.unwrap_err(), Stage::Name);
        assert_eq!(stage("http://git.example.com").await.unwrap_err(), Stage::Address);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(stage(&format!("http://{address}")).await.unwrap().addresses, [address]);
        drop(listener);
        assert_eq!(stage(&format!("http://{address}")).await.unwrap_err(), Stage::Connection);
    }
}
