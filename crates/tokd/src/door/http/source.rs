//! Where an HTTP request came from.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::USER_AGENT;
use tok_model::audit::Source;
use tok_model::grant::Cidr;

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
    /// not one. What stands further left was written by the client.
    pub fn source(&self, headers: &HeaderMap, peer: SocketAddr) -> Source {
        Source { address: Some(self.address(headers, peer.ip().to_canonical())), uid: None, agent: agent(headers) }
    }

    fn address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let trusted = |address: IpAddr| self.trusted.iter().any(|block| block.contains(address));
        if !trusted(peer) {
            return peer;
        }
        let mut nearest = peer;
        let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { return nearest };
            nearest = address.to_canonical();
            if !trusted(nearest) {
                return nearest;
            }
        }
        nearest
    }
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?;
    Some(text.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect())
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
            proxies.source(headers, peer.parse().unwrap()).address.unwrap().to_string()
        };
        assert_eq!(from(&proxies, &headers, "127.0.0.1:9"), "203.0.113.7");
        assert_eq!(from(&proxies, &headers, "192.0.2.5:9"), "192.0.2.5");
        assert_eq!(from(&Proxies::default(), &headers, "127.0.0.1:9"), "127.0.0.1");
        assert_eq!(from(&proxies, &HeaderMap::new(), "127.0.0.1:9"), "127.0.0.1");
    }
}
