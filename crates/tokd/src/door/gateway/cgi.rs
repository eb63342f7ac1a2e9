//! The Common Gateway Interface (RFC 3875) as far as git-http-backend speaks it.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::call::GitRequest;

/// More header bytes than this are no answer of git's.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;

/// Why an answer's head could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It goes on and on.
    #[error("its header is longer than {LONGEST_HEAD} bytes")]
    TooLong,
    /// A line that is no header.
    #[error("one of its header lines is not a header")]
    Line,
    /// `Status:` without a number from 200 to 599.
    #[error("its Status line has no HTTP status")]
    Status,
}

/// The head of an answer, and the part of the body that arrived with it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) rest: Bytes,
}

/// Adds the request to a command whose environment is otherwise empty (RFC 3875 section 4.1).
///
/// Not `CONTENT_LENGTH`: without it http-backend reads to the end of its input, as of a chunked body. With it it waits for
/// so many bytes, and if the input ends before them, because tokd was killed, turns round and round for ever. Nor
/// `HTTP_CONTENT_ENCODING`: what reaches it is [unpacked](super::packed).
pub(super) fn describe<B>(command: &mut Command, root: &Path, request: &GitRequest<B>) {
    command
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.call.method())
        .env("PATH_INFO", request.call.path_info(&request.repo))
        .env("QUERY_STRING", request.call.query())
        .env("REMOTE_ADDR", request.remote_addr.to_string())
        .env("REMOTE_USER", printable(&request.remote_user));
    let headers = &request.headers;
    let optional = [("CONTENT_TYPE", headers.content_type.clone()), ("GIT_PROTOCOL", headers.git_protocol.clone())];
    for (name, value) in optional {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
}

/// Reads the head of an answer.
///
/// # Errors
/// [`BadHead`] for what is no CGI answer; `Ok(None)` if the output ended (or failed) before the head did.
pub(super) async fn read_head<R: AsyncRead + Unpin>(output: &mut R) -> Result<Option<Head>, BadHead> {
    let mut read = BytesMut::with_capacity(LONGEST_HEAD);
    loop {
        if let Some((head_ends, body_starts)) = blank_line(&read) {
            let rest = read.split_off(body_starts).freeze();
            let (status, headers) = parse(&read[..head_ends])?;
            return Ok(Some(Head { status, headers, rest }));
        }
        if read.len() >= LONGEST_HEAD {
            return Err(BadHead::TooLong);
        }
        match output.read_buf(&mut read).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// A name may end up in a commit's or reflog's identity line, where `<`, `>` and line ends mean something.
fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).take(128).collect()
}

/// Where the head ends and where the body starts.
fn blank_line(read: &[u8]) -> Option<(usize, usize)> {
    let crlf = read.windows(4).position(|w| w == b"\r\n\r\n").map(|at| (at, at + 4));
    let lf = read.windows(2).position(|w| w == b"\n\n").map(|at| (at, at + 2));
    match (crlf, lf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn parse(head: &[u8]) -> Result<(StatusCode, HeaderMap), BadHead> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BadHead::Line)?;
        let value = line[colon + 1..].trim_ascii();
        if line[..colon].eq_ignore_ascii_case(b"status") {
            let code = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            status = StatusCode::from_bytes(code).map_err(|_| BadHead::Status)?;
            if !(200..600).contains(&status.as_u16()) {
                return Err(BadHead::Status);
            }
            continue;
        }
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| BadHead::Line)?;
        // How the answer is framed is the listener's business.
        if [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(&name) {
            continue;
        }
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| BadHead::Line)?);
    }
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &[u8]) -> Result<Option<Head>, BadHead> {
        read_head(&mut std::io::Cursor::new(text.to_vec())).await
    }

    #[tokio::test]
    async fn a_head_is_read_and_the_body_kept() {
        let head = read(b"Status: 404 Not Found\r\nExpires: never\r\nContent-Length: 9\r\n\r\nbody\n\nmore")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(head.headers.get("expires").unwrap(), "never");
        assert!(!head.headers.contains_key("content-length"));
        assert_eq!(&head.rest[..], b"body\n\nmore");

        let head = read(b"Content-Type: text/plain\n\nbody\r\n\r\n").await.unwrap().unwrap();
        assert_eq!((head.status, &head.rest[..]), (StatusCode::OK, &b"body\r\n\r\n"[..]));
    }

    #[tokio::test]
    async fn an_answer_that_is_none_is_refused() {
        assert!(read(b"").await.unwrap().is_none());
        assert!(read(b"Status: 200 OK\r\nExpires").await.unwrap().is_none());
        assert_eq!(read(b"hello world\r\n\r\n").await.unwrap_err(), BadHead::Line);
        assert_eq!(read(b"a b: c\r\n\r\n").await.unwrap_err(), BadHead::Line);
        assert_eq!(read(b"Status: fine\r\n\r\n").await.unwrap_err(), BadHead::Status);
        assert_eq!(read(b"Status: 101 Switching\r\n\r\n").await.unwrap_err(), BadHead::Status);
        assert_eq!(read(&vec![b'x'; LONGEST_HEAD + 1]).await.unwrap_err(), BadHead::TooLong);
    }

    #[test]
    fn a_user_name_cannot_break_an_identity_line() {
        assert_eq!(printable("mallory <root@x>\n0 +0000"), "malloryroot@x0+0000");
        assert_eq!(printable(&"a".repeat(300)).len(), 128);
    }
}
