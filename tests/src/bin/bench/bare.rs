//! The least that a server on hyper can do: 204 to everything. In a process of its own, on the runtime that tokd has.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Makes this program that server.
pub(crate) const ARGUMENT: &str = "--serve-204";

/// Serves until stdin ends, which it does with the process that started this one.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    writeln!(std::io::stdout(), "{address}").expect("somebody reads this");
    runtime.spawn(accept(listener));
    let _ = std::io::stdin().read(&mut [0]);
}

async fn accept(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("connections come in");
        stream.set_nodelay(true).expect("TCP has this option");
        tokio::spawn(
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(async |_| Ok::<_, Infallible>(answer()))),
        );
    }
}

fn answer() -> Response<String> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The server, as the one who started it sees it.
pub(crate) struct BareHyper {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl BareHyper {
    /// Starts this program again, as that server.
    pub(crate) fn start() -> Self {
        let own = std::env::current_exe().expect("this process has a path");
        let mut child = Command::new(own)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it says its address");
        let address = line.trim_end().parse().unwrap_or_else(|_| panic!("{line:?} is no address"));
        Self { stdin: child.stdin.take(), child, address }
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for BareHyper {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
