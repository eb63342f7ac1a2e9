//! Each limit is judged by what a client sees at it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::get;
use futures_util::stream;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

const SOON: Duration = Duration::from_millis(150);
/// Longer than anything here should take, on a busy machine.
const NEVER: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    in_flight: InFlight,
    stop: CancellationToken,
    done: JoinHandle<Drained>,
    /// Lets `/held` finish its answer.
    release: Arc<Notify>,
}

fn start(limits: HttpLimits, drain: Duration) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = HttpListener::new(socket, limits).unwrap();
    let in_flight = listener.in_flight();
    let (stop, release) = (CancellationToken::new(), Arc::new(Notify::new()));
    let held = Arc::clone(&release);
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route(
            "/late-panic",
            get(async || {
                AxumBody::from_stream(stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, Error>>> {
                    panic!("on purpose")
                }))
            }),
        )
        .route("/large", get(async || AxumBody::from(vec![b'x'; 64 << 20])))
        .route(
            "/held",
            get(async move || {
                let last = async move {
                    held.notified().await;
                    Ok::<_, Error>("last")
                };
                let first = stream::iter([Ok("first, ")]);
                AxumBody::from_stream(stream::StreamExt::chain(first, stream::once(last)))
            }),
        );
    let router = Arc::new(router);
    let stopping = stop.clone();
    let service_for = move |_| {
        let service = TowerToHyperService::new(Router::clone(&router));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            assert!(request.uri().path() != "/early-panic", "on purpose");
            service.call(request)
        })
    };
    let done = tokio::spawn(listener.serve(service_for, stopping, drain));
    Server { address, in_flight, stop, done, release }
}

impl Server {
    async fn connect(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn exchange(&self, sent: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(sent).await.unwrap();
        rest(&mut stream).await
    }

    async fn ask(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    async fn stop(self) -> Drained {
        self.stop.cancel();
        timeout(NEVER, self.done).await.unwrap().unwrap()
    }
}

/// What comes until the connection is closed (or reset, which a client cannot tell from a close that came early).
async fn rest(stream: &mut tokio::net::TcpStream) -> String {
    let mut all = Vec::new();
    let reading = async { while let Ok(1..) = stream.read_buf(&mut all).await {} };
    timeout(NEVER, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&all).into_owned()
}

fn impatient() -> HttpLimits {
    HttpLimits { first_bytes: SOON, head: SOON, idle: SOON, unread: SOON, ..HttpLimits::default() }
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let server = start(HttpLimits::default(), NEVER);
    assert!(server.ask("/").await.ends_with("hello"));

    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", server.address)).body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    // The client stays; stopping does not wait for it to leave.
    assert_eq!(server.stop().await, Drained { cut: 0 });
    let _ = connection.await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_or_dribbles_is_closed_at_every_stage() {
    let server = start(impatient(), NEVER);
    for dribble in [
        &b""[..],
        // Still undecided between the versions.
        b"PRI * HTTP/2",
        // HTTP/1, in the middle of a head.
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        // HTTP/2 that never goes on: empty settings, then the start of a HEADERS frame without END_HEADERS.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\0\0\0\0\x01\x82",
    ] {
        let began = Instant::now();
        server.exchange(dribble).await;
        assert!(began.elapsed() >= SOON, "{dribble:?} was closed before its time");
    }
    // Idle after an answer.
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("hello"));
    assert!(server.ask("/").await.ends_with("hello"));
}

#[tokio::test]
async fn an_answer_nobody_reads_is_given_up() {
    let server = start(impatient(), NEVER);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(server.in_flight.count(), 1);
    timeout(NEVER, server.in_flight.none()).await.expect("the request is given up");
}

#[tokio::test]
async fn a_slow_reader_gets_everything_even_while_stopping() {
    let limits = HttpLimits { unread: NEVER, ..impatient() };
    let server = start(limits, NEVER);
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    server.stop.cancel();
    // Longer than an idle connection may stay, and longer than a goodbye takes.
    sleep(Duration::from_millis(1500)).await;
    let all = rest(&mut stream).await;
    assert_eq!(all.matches('x').count(), 64 << 20);
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let server = start(HttpLimits::default(), NEVER);
    let lines = "a: b\r\n".repeat(65);
    let many = server.exchange(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let long = server.exchange(format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(33 << 10)).as_bytes()).await;
    assert!(long.starts_with("HTTP/1.1 431"), "{long}");
    let fits = server
        .exchange(
            format!("GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\na: {}\r\n\r\n", "b".repeat(30 << 10)).as_bytes(),
        )
        .await;
    assert!(fits.ends_with("hello"), "{fits}");
}

#[tokio::test]
async fn a_panic_ends_its_own_request_only() {
    let server = start(HttpLimits::default(), NEVER);
    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut ask = |path: &str| {
        let request = Request::get(format!("http://x{path}")).body(Empty::<Bytes>::new()).unwrap();
        client.send_request(request)
    };
    let held = ask("/held").await.unwrap();
    assert_eq!(ask("/panic").await.unwrap().status(), 500);
    let late = ask("/late-panic").await.unwrap();
    assert!(late.into_body().collect().await.is_err());
    // Neither the neighbour on the same connection nor a new connection noticed.
    server.release.notify_one();
    assert_eq!(held.into_body().collect().await.unwrap().to_bytes(), "first, last");
    assert!(server.ask("/").await.ends_with("hello"));
    assert!(server.ask("/panic").await.contains("tokd failed here"));
    assert!(server.ask("/early-panic").await.contains("tokd failed here"));
    timeout(NEVER, server.in_flight.none()).await.unwrap();
}

#[tokio::test]
async fn at_the_cap_new_connections_wait_and_are_served_when_one_ends() {
    let server = start(HttpLimits { connections: 2, ..HttpLimits::default() }, NEVER);
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    second.read_u8().await.unwrap();
    let mut third = server.connect().await;
    third.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(timeout(SOON, third.read_u8()).await.is_err(), "the third is served beside two others");
    drop(first);
    assert!(rest(&mut third).await.ends_with("hello"));
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_refuses_new_ones() {
    let server = start(HttpLimits::default(), NEVER);
    let idle = server.connect().await;
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    held.read_u8().await.unwrap();
    server.stop.cancel();
    // The listening socket goes at once, idle connections with it.
    while tokio::net::TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    drop(idle);
    assert!(!server.done.is_finished());
    server.release.notify_one();
    assert!(rest(&mut held).await.contains("last"));
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_cut_and_counted() {
    let server = start(HttpLimits::default(), SOON);
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    held.read_u8().await.unwrap();
    let in_flight = server.in_flight.clone();
    assert_eq!(server.stop().await, Drained { cut: 1 });
    in_flight.none().await;
    assert!(!rest(&mut held).await.contains("last"));
}

/// Runs alone in a process of its own, because it takes all file descriptors.
#[test]
fn out_of_descriptors_nothing_spins_and_what_exists_is_served() {
    crate::door::testing::alone(
        "door::http::listener::tests::out_of_descriptors_nothing_spins_and_what_exists_is_served",
        || {
            use rustix::process::{Resource, Rlimit, setrlimit};
            let limit = Rlimit { current: Some(64), maximum: Some(64) };
            setrlimit(Resource::Nofile, limit).unwrap();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let server = runtime.block_on(async { start(HttpLimits::default(), NEVER) });
            let ask = |stream: &mut TcpStream| {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"hello") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    answer.push(byte[0]);
                }
            };
            let mut early = TcpStream::connect(server.address).unwrap();
            ask(&mut early);
            let stat = std::fs::File::open("/proc/self/stat").unwrap();
            let mut crowd = Vec::new();
            while let Ok(stream) = TcpStream::connect(server.address) {
                crowd.push(stream);
            }
            let before = cpu_ticks(&stat);
            let watched = Duration::from_secs(1);
            std::thread::sleep(watched);
            // 100 ticks a second: 5 % of one CPU.
            assert!(cpu_ticks(&stat) - before <= 5, "accepting spins");
            ask(&mut early);
            drop(crowd);
            let mut late = TcpStream::connect(server.address).unwrap();
            ask(&mut late);
            runtime.shutdown_timeout(Duration::ZERO);
        },
    );
}

/// User and system time of this process, in ticks of 10 ms (proc(5)). Takes no new descriptor.
fn cpu_ticks(stat: &std::fs::File) -> u64 {
    let mut text = [0; 1024];
    let length = std::os::unix::fs::FileExt::read_at(stat, &mut text, 0).unwrap();
    let text = std::str::from_utf8(&text[..length]).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
