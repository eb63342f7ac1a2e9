//! git and HTTP/2, which libcurl speaks by itself wherever a server or a proxy prefers it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body, Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tok_tests::environment::Environment;
use tok_tests::git::noise;
use tok_tests::normalise::invented_token;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A body that comes when the test says so.
struct Late(Option<oneshot::Receiver<Bytes>>);

impl Body for Late {
    type Data = Bytes;
    type Error = oneshot::error::RecvError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(receiver) = self.0.as_mut() else { return Poll::Ready(None) };
        let bytes = ready!(Pin::new(receiver).poll(context));
        self.0 = None;
        Poll::Ready(Some(bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// libcurl fails where the answer is there before it has sent what it has to send, so that git would see neither a 200 nor a 401.
#[test]
fn no_answer_comes_before_the_question_is_whole() {
    let environment = Environment::dev();
    environment.users(&["alice", "rita"]).workspace("acme", &[("alice", "writer"), ("rita", "reader")]);
    environment.pushed("alice", "acme/app");
    let reader = environment.token("rita", &[]);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TokioIo::new(TcpStream::connect(environment.address()).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Late>(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        for (path, token, length, status) in [
            ("/acme/app.git/git-receive-pack", None, 4, 200),
            ("/no/such.git/git-upload-pack", None, 4, 200),
            ("/acme/app.git/git-receive-pack", None, 1000, 401),
            ("/acme/app.git/git-receive-pack", Some(invented_token()), 1000, 401),
            ("/acme/app.git/git-receive-pack", Some(reader.clone()), 1000, 403),
            ("/acme/app.git/git-no-such-thing", None, 1000, 404),
            ("/v1/tokens", None, 5 << 20, 401),
            ("/v1/tokens", Some(reader.clone()), 100_000, 413),
            ("/v1/no-such-thing", None, 5 << 20, 404),
            ("/login", None, 5 << 20, 415),
        ] {
            let request = |method: &str, path: &str| {
                Request::builder().method(method).uri(format!("{}{path}", environment.url()))
            };
            let mut head = request("POST", path).header("content-length", length);
            if path.starts_with("/v1") {
                head = head.header("content-type", "application/json");
            }
            if let Some(token) = token {
                head = head.header("authorization", format!("Bearer {token}"));
            }
            let (body, late) = oneshot::channel();
            let asked = tokio::spawn(sender.send_request(head.body(Late(Some(late))).unwrap()));
            // What is asked after it has its answer, time after time: so would this.
            for _ in 0..20 {
                let other = sender.send_request(request("GET", "/healthz").body(Late(None)).unwrap()).await.unwrap();
                assert_eq!(other.status(), 200);
                tokio::task::yield_now().await;
            }
            assert!(!asked.is_finished(), "{path} was answered before it was asked");
            body.send(vec![b'0'; length].into()).unwrap();
            assert_eq!(asked.await.unwrap().unwrap().status(), status, "{path}");
        }
    });
}

#[test]
fn git_pushes_small_and_large_over_tls_and_speaks_http1() {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    for seed in 1..3 {
        // Larger than http.postBuffer (1 MiB): git asks with four bytes first, without its token.
        let large = noise(2 << 20, seed);
        environment.commit(&work, "large", &large);
        let push = environment.git(&work, &["push", "--quiet", "origin", "HEAD"]).acting_as("alice").ok();
        let posts: Vec<_> = push.requests().into_iter().filter(|request| request.method == "POST").collect();
        assert_eq!(posts.len(), 2, "the probe and the push: {posts:?}");
        assert!(push.sent_header("Transfer-Encoding", "chunked"), "over HTTP/2, where libcurl 7.88 may stand still");
        let stored = environment.git(&environment.on_server("acme/app"), &["cat-file", "-s", "HEAD:large"]).ok();
        assert_eq!(stored.line(), (2 << 20).to_string());
    }
}
