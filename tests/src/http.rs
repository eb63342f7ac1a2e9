//! HTTP/1.1 as little as possible: one request, one connection, every byte of the answer.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::tls::Connection;

const DEADLINE: Duration = Duration::from_secs(60);

/// The type of a form's body.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Fields as the body of a form.
pub fn form_of<'t>(fields: impl IntoIterator<Item = (&'t str, &'t str)>) -> String {
    let fields = fields.into_iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// Text as it stands in a form or an address (percent-encoding).
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// One request.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        let (method, target) = ("GET".to_owned(), target.into());
        Self { method, target, host: None, headers: Vec::new(), body: Vec::new() }
    }

    /// A `POST` with this body.
    pub fn post(target: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { method: "POST".to_owned(), body, ..Self::get(target) }.header("Content-Type", content_type)
    }

    /// A form with these fields.
    pub fn form(target: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        Self::post(target, FORM, form_of(fields.iter().copied()))
    }

    /// What git asks first: which references there are.
    pub fn refs(repo: &str, service: &str) -> Self {
        Self::get(format!("/{repo}.git/info/refs?service={service}"))
    }

    /// A request with this JSON as its body.
    pub fn json(method: &str, target: impl Into<String>, body: &Value) -> Self {
        Self::post(target, "application/json", body.to_string()).method(method)
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// To a server of this name, and not to one that is called as its address is.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a token as RFC 6750 says.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a user name and a password as RFC 7617 says.
    #[must_use]
    pub fn basic(self, user: &str, password: &str) -> Self {
        self.header("Authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// The bytes of the request.
    fn to_bytes(&self, address: SocketAddr) -> Vec<u8> {
        let host = self.host.clone().unwrap_or_else(|| address.to_string());
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() || self.method == "POST" {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it to somebody who may not be there yet, or any more.
    pub fn attempt(&self, address: SocketAddr) -> Option<Reply> {
        Reply::parse(&converse(address, &self.to_bytes(address)).ok()?)
    }

    /// Sends it to somebody who keeps the connection open whatever one asks for, and reads as much as the answer says it is
    /// long.
    pub fn attempt_measured(&self, address: SocketAddr) -> Option<Reply> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(&self.to_bytes(address)).ok()?;
        let (mut answer, mut chunk) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let count = stream.read(&mut chunk).ok()?;
            answer.extend_from_slice(&chunk[..count]);
            let Some(reply) = Reply::parse(&answer) else {
                if count == 0 {
                    return None;
                }
                continue;
            };
            let length = reply.header("content-length").and_then(|length| length.parse().ok());
            if count == 0 || length == Some(reply.body.len()) {
                return Some(reply);
            }
        }
    }

    /// The same over TLS, trusting what is in this file.
    pub fn attempt_securely(&self, address: SocketAddr, trust: &Path) -> Option<Reply> {
        let connection = Connection::open(address, trust).ok()?;
        Reply::parse(&converse_over(connection, &self.to_bytes(address)).ok()?)
    }

    /// Sends it over TLS and reads the whole answer.
    pub fn send_securely(&self, address: SocketAddr, trust: &Path) -> Reply {
        self.attempt_securely(address, trust).unwrap_or_else(|| panic!("no HTTPS answer from {address}"))
    }

    /// Sends it and reads the whole answer.
    pub fn send(&self, address: SocketAddr) -> Reply {
        let raw = exchange(address, &self.to_bytes(address));
        Reply::parse(&raw).unwrap_or_else(|| panic!("no HTTP answer: {}", String::from_utf8_lossy(&raw)))
    }
}

/// Sends bytes and reads until the other side closes.
pub fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    converse(address, bytes).unwrap_or_else(|error| panic!("no answer from {address}: {error}"))
}

fn converse(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    converse_over(stream, bytes)
}

fn converse_over(mut stream: impl Read + Write, bytes: &[u8]) -> io::Result<Vec<u8>> {
    // A server may refuse before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if answer.is_empty() => return Err(error),
            // The answer was whole before the connection broke, or its reader will notice.
            Err(_) => return Ok(answer),
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub body: Vec<u8>,
}

impl Reply {
    fn parse(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = str::from_utf8(&raw[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
            .collect::<Option<_>>()?;
        let body = &raw[end + 4..];
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if chunked { unchunk(body)? } else { body.to_owned() };
        Some(Self { status, headers, body })
    }

    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "the header {name} is there more than once: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Everything that a stranger could compare: the answer without its date.
    #[must_use]
    pub fn comparable(&self) -> Self {
        let mut reply = self.clone();
        reply.headers.retain(|(name, _)| name != "date");
        reply
    }
}

fn unchunk(mut raw: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(str::from_utf8(&raw[..end]).ok()?.split(';').next()?.trim(), 16).ok()?;
        raw = raw.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(raw.get(..size)?);
        raw = raw.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let raw = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let reply = Reply::parse(raw).unwrap();
        assert_eq!(
            (reply.status, reply.header("www-authenticate"), reply.text().as_str()),
            (401, Some("Basic"), "abcde")
        );
        assert!(Reply::parse(b"garbage").is_none());
    }
}
