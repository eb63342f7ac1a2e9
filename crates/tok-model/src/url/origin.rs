//! Scheme, host and port: what git's credential lines and a server's configured address are compared by.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name there is, with a final dot (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 254;

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear: for loopback only.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a text is no origin. It names the rule and not the value, which may be hostile or hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefusal {
    /// No `://`, or neither http nor https before it.
    #[error("a server's address starts with https:// or http://")]
    Scheme,
    /// `user@` or `user:password@`.
    #[error("a server's address has no user name or password in it")]
    UserInfo,
    /// Something follows host and port.
    #[error("a server's address ends after host and port, as in https://git.example.com:8443")]
    Tail,
    /// No host, or one that is no plain ASCII name or address.
    #[error(
        "a server's host is a plain ASCII name (an international one in its xn-- form), an IPv4 address or an IPv6 address in brackets"
    )]
    Host,
    /// The port is not 1 to 65535 in plain digits.
    #[error("a server's port is a number from 1 to 65535")]
    Port,
}

/// A server: scheme, host and port. Two are equal only if all three are, after lower-casing the host and making the
/// default port explicit; `git.example.com.` and `git.example.com` are two hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://host[:port]`, with or without one final slash.
    pub fn parse(url: &str) -> Result<Self, OriginRefusal> {
        let (scheme, rest) = url.split_once("://").ok_or(OriginRefusal::Scheme)?;
        Self::from_credential(scheme, rest.strip_suffix('/').unwrap_or(rest))
    }

    /// Reads git's `protocol` and `host` lines; the host carries the port, if the URL had one.
    pub fn from_credential(protocol: &str, host: &str) -> Result<Self, OriginRefusal> {
        let scheme = if protocol.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if protocol.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(OriginRefusal::Scheme);
        };
        if host.contains('@') {
            return Err(OriginRefusal::UserInfo);
        }
        if host.contains(['/', '?', '#']) {
            return Err(OriginRefusal::Tail);
        }
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(OriginRefusal::Host)?;
                let address: Ipv6Addr = address.parse().map_err(|_| OriginRefusal::Host)?;
                let port = match port.strip_prefix(':') {
                    None if port.is_empty() => None,
                    None => return Err(OriginRefusal::Host),
                    given => given,
                };
                (format!("[{address}]"), port)
            }
            None => match host.split_once(':') {
                Some((name, port)) => (plain_host(name)?, Some(port)),
                None => (plain_host(host)?, None),
            },
        };
        let port = port.map_or(Ok(scheme.default_port()), plain_port)?;
        Ok(Self { scheme, host: name, port })
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host in lower case; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port, never left out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is this machine by its very name: `localhost`, `127.0.0.0/8` or `[::1]`. Names that merely
    /// resolve there are not.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host == "[::1]"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// The same server over TLS, at the port that goes with it: the one that it has, unless that is where one speaks in the
    /// clear.
    #[must_use]
    pub fn over_tls(&self) -> Self {
        let usual = self.port == self.scheme.default_port();
        let port = if usual { Scheme::Https.default_port() } else { self.port };
        Self { scheme: Scheme::Https, host: self.host.clone(), port }
    }

    /// Whether a secret may be sent there: over TLS, or in the clear without leaving this machine.
    pub fn acceptable(&self) -> bool {
        self.scheme == Scheme::Https || self.is_loopback()
    }
}

impl FromStr for Origin {
    type Err = OriginRefusal;
    fn from_str(text: &str) -> Result<Self, OriginRefusal> {
        Self::parse(text)
    }
}

impl fmt::Display for Origin {
    /// As a URL without a final slash; the default port is left out, as git leaves it out of its config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if *port == scheme.default_port() {
            f.pad(&format!("{}://{host}", scheme.as_str()))
        } else {
            f.pad(&format!("{}://{host}:{port}", scheme.as_str()))
        }
    }
}

fn plain_host(name: &str) -> Result<String, OriginRefusal> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let plain = name.len() <= LONGEST_HOST
        && labels.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if plain { Ok(name.to_ascii_lowercase()) } else { Err(OriginRefusal::Host) }
}

fn plain_port(text: &str) -> Result<u16, OriginRefusal> {
    // One spelling only: `0443` and `+443` are other texts for the same port, and nobody types them by accident.
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().map_err(|_| OriginRefusal::Port) } else { Err(OriginRefusal::Port) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_server_is_equal_and_no_other() {
        let ours = Origin::parse("https://git.example.com").unwrap();
        for same in ["https://GIT.example.com", "HTTPS://git.example.com:443", "https://git.example.com/"] {
            assert_eq!(Origin::parse(same).unwrap(), ours, "{same}");
        }
        for other in [
            "http://git.example.com",
            "https://git.example.com.",
            "https://git.example.com:444",
            "https://xgit.example.com",
            "https://git.example.com.attacker.example",
            "https://example.com",
        ] {
            assert_ne!(Origin::parse(other).unwrap(), ours, "{other}");
        }
        assert_eq!(Origin::from_credential("https", "git.example.com:443").unwrap(), ours);
    }

    #[test]
    fn what_is_no_plain_server_is_refused() {
        for (url, why) in [
            ("git.example.com", OriginRefusal::Scheme),
            ("ssh://git.example.com", OriginRefusal::Scheme),
            ("https://user@git.example.com", OriginRefusal::UserInfo),
            ("https://git.example.com@evil.example", OriginRefusal::UserInfo),
            ("https://git.example.com/path", OriginRefusal::Tail),
            ("https://git.example.com//", OriginRefusal::Tail),
            ("https://git.example.com?x", OriginRefusal::Tail),
            ("https://", OriginRefusal::Host),
            ("https://.", OriginRefusal::Host),
            ("https://-oProxyCommand=x", OriginRefusal::Host),
            ("https://git%2eexample.com", OriginRefusal::Host),
            ("https://git.exämple.com", OriginRefusal::Host),
            ("https://git..example.com", OriginRefusal::Host),
            ("https://a\rb", OriginRefusal::Host),
            ("https://[::1", OriginRefusal::Host),
            ("https://[::1]x", OriginRefusal::Host),
            ("https://[fe80::1%25eth0]", OriginRefusal::Host),
            ("https://::1", OriginRefusal::Host),
            ("https://h:", OriginRefusal::Port),
            ("https://h:0", OriginRefusal::Port),
            ("https://h:0443", OriginRefusal::Port),
            ("https://h:+443", OriginRefusal::Port),
            ("https://h:65536", OriginRefusal::Port),
            ("https://h:443:443", OriginRefusal::Port),
        ] {
            assert_eq!(Origin::parse(url), Err(why), "{url}");
        }
    }

    #[test]
    fn the_same_server_over_tls_is_at_the_port_that_goes_with_it() {
        for (plain, secure) in [
            ("http://git.example.com", "https://git.example.com"),
            ("http://git.example.com:80", "https://git.example.com"),
            ("http://127.0.0.1:7650", "https://127.0.0.1:7650"),
            ("http://[::1]:443", "https://[::1]"),
            ("https://git.example.com", "https://git.example.com"),
            ("https://git.example.com:80", "https://git.example.com:80"),
        ] {
            assert_eq!(Origin::parse(plain).unwrap().over_tls().to_string(), secure, "{plain}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for yes in ["http://127.0.0.1:7650", "http://localhost", "http://[::1]:80", "https://git.example.com"] {
            assert!(Origin::parse(yes).unwrap().acceptable(), "{yes}");
        }
        for no in [
            "http://git.example.com",
            "http://localhost.",
            "http://localhost.evil.example",
            "http://127.1",
            "http://10.0.0.1",
        ] {
            assert!(!Origin::parse(no).unwrap().acceptable(), "{no}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_to_the_same_server(text in "(https?|ftp)://(\\PC{0,30}|[a-zA-Z0-9.:@/\\[\\]-]{0,40})") {
            if let Ok(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(&origin.to_string()), Ok(origin));
            }
        }
    }
}
