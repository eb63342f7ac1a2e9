//! One conversation with git's credential helper: a request, an answer, the end.

use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tok_model::credential::{Answer, LARGEST_REQUEST, RelayRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::listener::{LocalStream, PeerCredentials};

/// How long the rest of a request may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a token may take: the helper gives up after 2 s, and by then must have been told why.
pub const MINTING: Duration = Duration::from_millis(1700);

/// Answers one helper. Anything malformed gets an empty answer, upon which git goes on to its next helper.
pub async fn serve<F>(mut stream: LocalStream, peer: PeerCredentials, answer: impl FnOnce(RelayRequest) -> F)
where
    F: Future<Output = Bytes>,
{
    let Ok(Some(request)) = tokio::time::timeout(PATIENCE, read(&mut stream)).await else { return };
    let bytes = match RelayRequest::parse(&request) {
        Ok(request) => answer(request).await,
        Err(why) => {
            tracing::debug!(peer.uid, %why, "A helper's request was malformed and got no answer");
            Bytes::default()
        }
    };
    // One write, then the end: the helper prints all of it or nothing.
    let writing = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PATIENCE, writing).await;
}

/// What is sent to a helper; wiped when it was.
pub type Bytes = Zeroizing<Vec<u8>>;

/// The bytes of an answer; none for an empty one.
pub fn printed(answer: &Answer) -> Bytes {
    if answer.is_empty() { Bytes::default() } else { answer.to_bytes() }
}

async fn read(stream: &mut LocalStream) -> Option<Bytes> {
    // Somebody's password may be in it.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 * 1024));
    loop {
        if let Some(length) = RelayRequest::length(&bytes) {
            bytes.truncate(length);
            return Some(bytes);
        }
        if bytes.len() > LARGEST_REQUEST || stream.read_buf(&mut *bytes).await.ok()? == 0 {
            return None;
        }
    }
}
