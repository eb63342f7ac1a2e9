//! One conversation with git's credential helper: a request, an answer, the end.

use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tok_model::credential::{Answer, LARGEST_REQUEST, RelayRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::listener::{LocalStream, PeerCredentials};

/// How long the rest of a request may take to arrive, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a helper waits for its answer unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(2);
/// And how long before that it must have been told why there is none.
const MARGIN: Duration = Duration::from_millis(300);

/// How long the answer to this request may take: the helper gives up a moment later.
pub fn patience(request: &RelayRequest) -> Duration {
    let deadline = request.deadline().unwrap_or(DEADLINE);
    deadline.saturating_sub(MARGIN).max(deadline / 2)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use tok_model::credential::{CredentialRequest, Operation};

    #[test]
    fn an_answer_comes_before_the_helper_gives_up() {
        let credential = CredentialRequest::parse(b"protocol=https\nhost=h\n").unwrap();
        let request = RelayRequest::new(Operation::Get, credential);
        let of = |milliseconds| patience(&request.clone().with_deadline(Some(Duration::from_millis(milliseconds))));
        assert_eq!(patience(&request), Duration::from_millis(1_700));
        assert_eq!(
            (of(60_000), of(400), of(1)),
            (Duration::from_millis(59_700), Duration::from_millis(200), Duration::from_micros(500))
        );
    }
}
