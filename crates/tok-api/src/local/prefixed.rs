//! Which language a connection speaks, by its first bytes, without losing them.

use std::io::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// How every HTTP/2 connection starts when nothing negotiated it (RFC 9113 section 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes were read already and are read again.
#[derive(Debug)]
pub struct PrefixedStream<S> {
    prefix: Bytes,
    inner: S,
}

impl<S> PrefixedStream<S> {
    /// What was read so far and not read again.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }
}

/// Reads until the stream is known to start with one of `languages` (its index is returned) or with none of them.
/// The caller sets the deadline.
///
/// # Errors
/// What reading the stream gave.
pub async fn recognise<S>(mut stream: S, languages: &[&[u8]]) -> Result<(Option<usize>, PrefixedStream<S>), Error>
where
    S: AsyncRead + Unpin,
{
    let longest = languages.iter().map(|language| language.len()).max().unwrap_or(0);
    let mut read = BytesMut::with_capacity(longest);
    let spoken = loop {
        if let Some(spoken) = languages.iter().position(|language| read.starts_with(language)) {
            break Some(spoken);
        }
        if !languages.iter().any(|language| language.starts_with(&read)) {
            break None;
        }
        let missing = longest - read.len();
        if (&mut stream).take(missing as u64).read_buf(&mut read).await? == 0 {
            break None;
        }
    };
    Ok((spoken, PrefixedStream { prefix: read.freeze(), inner: stream }))
}

impl<S: AsyncRead + Unpin> AsyncRead for PrefixedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..length]);
        self.prefix.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PrefixedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const LANGUAGES: &[&[u8]] = &[HTTP2_PREFACE, b"tok/1 "];

    #[tokio::test]
    async fn a_language_is_known_as_soon_as_it_can_be_and_no_byte_is_lost() {
        for (sent, spoken) in [
            (&b"tok/1 get\nhost=x\n\n"[..], Some(1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Some(0)),
            (b"PRI * HTTP/1.1\r\n", None),
            (b"tok/2 get\n", None),
            (b"GET / HTTP/1.1\r\n\r\n", None),
            (b"", None),
            (b"to", None),
        ] {
            // Byte by byte, as a hostile or a slow network delivers it.
            let (mut client, server) = tokio::io::duplex(1);
            let bytes = sent.to_vec();
            let sending = tokio::spawn(async move { client.write_all(&bytes).await.unwrap() });
            let (found, mut stream) = recognise(server, LANGUAGES).await.unwrap();
            assert_eq!(found, spoken, "{sent:?}");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent);
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_foreign_language_is_refused_at_its_first_wrong_byte() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"GE").await.unwrap();
        // The client keeps the connection open and sends nothing more; the verdict does not wait for it.
        let (found, stream) = recognise(server, LANGUAGES).await.unwrap();
        assert_eq!((found, stream.prefix()), (None, &b"GE"[..]));
        drop(client);
    }
}
