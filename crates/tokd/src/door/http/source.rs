//! Where an HTTP request came from.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{HeaderValue, USER_AGENT};
use tok_model::audit::Source;
use tok_model::grant::Cidr;
use tok_model::secret::without_tokens;

/// The longest user agent that is kept, in characters.
const LONGEST_AGENT: usize = 200;

/// Which proxies in front are believed about addresses.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Empty: nobody is.
    pub trusted: Vec<Cidr>,
}

impl Proxies {
    /// The request's source: the peer, or, if the peer is a trusted proxy, the last address in `X-Forwarded-For` that is
    /// not one. What stands further left was written by the client. An entry that cannot be read leaves the address
    /// unknown, which no address limit of a token is met by; it never makes the proxy's own address the client's.
    pub fn source(&self, headers: &HeaderMap, peer: SocketAddr) -> Source {
        Source { address: self.address(headers, peer.ip().to_canonical()), agent: agent(headers), ..Source::default() }
    }

    fn address(&self, headers: &HeaderMap, peer: IpAddr) -> Option<IpAddr> {
        let trusted = |address: IpAddr| self.trusted.iter().any(|block| block.contains(address));
        let mut nearest = peer;
        if !trusted(peer) {
            return Some(peer);
        }
        let lines: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            nearest = std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok()?.to_canonical();
            if !trusted(nearest) {
                break;
            }
        }
        Some(nearest)
    }
}

/// What the client says it is, as far as that can be kept.
pub fn agent(headers: &HeaderMap) -> Option<String> {
    // ASCII, and of the control characters only the tab can be left in it.
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    // It is kept and shown, and some paste a token into it.
    Some(without_tokens(text).chars().filter(|character| *character != '\t').take(LONGEST_AGENT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_saw() {
        let proxies = Proxies { trusted: vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()] };
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "198.51.100.1, 203.0.113.7".parse().unwrap());
        headers.append("x-forwarded-for", "10.1.1.1".parse().unwrap());
        let from = |proxies: &Proxies, headers: &HeaderMap, peer: &str| {
            proxies.source(headers, peer.parse().unwrap()).address.map(|address| address.to_string())
        };
        let is = |address: &str| Some(address.to_owned());
        assert_eq!(from(&proxies, &headers, "127.0.0.1:9"), is("203.0.113.7"));
        assert_eq!(from(&proxies, &headers, "192.0.2.5:9"), is("192.0.2.5"));
        assert_eq!(from(&Proxies::default(), &headers, "127.0.0.1:9"), is("127.0.0.1"));
        assert_eq!(from(&proxies, &HeaderMap::new(), "127.0.0.1:9"), is("127.0.0.1"));

        // What a proxy appends to a client's rubbish: the client is known; rubbish nearer than that leaves it unknown.
        let line = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append("x-forwarded-for", HeaderValue::from_bytes(bytes).unwrap());
            headers
        };
        assert_eq!(from(&proxies, &line(b"\xff, 203.0.113.7"), "127.0.0.1:9"), is("203.0.113.7"));
        assert_eq!(from(&proxies, &line(b"203.0.113.7, \xff"), "127.0.0.1:9"), None);
        assert_eq!(from(&proxies, &line(b""), "127.0.0.1:9"), None);
    }
}
