//! The load generator: one thread, a few connections that are kept, one request at a time on each, as fast as the
//! answers come. Every answer is looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Connections, as in `wrk -t1 -c16`.
pub(crate) const CONNECTIONS: usize = 16;
/// A server that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer that is expected here is longer.
const LARGEST_ANSWER: usize = 4096;

/// How an answer looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// How it begins.
    pub(crate) begin: &'static [u8],
    /// How it ends, and nowhere else.
    pub(crate) end: &'static [u8],
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Answers that came before the time was up.
    pub(crate) answers: u32,
    /// How long it was, to the last of them.
    pub(crate) time: Duration,
}

impl Load {
    /// Answers in a second.
    pub(crate) fn per_second(&self) -> f64 {
        f64::from(self.answers) / self.time.as_secs_f64()
    }
}

/// Asks for `time`, on so many new connections, each time with every byte of the `next` request.
pub(crate) fn round<'r>(
    address: SocketAddr,
    connections: usize,
    expected: Answer,
    mut next: impl FnMut() -> &'r [u8],
    time: Duration,
) -> Load {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors");
    let mut connections: Vec<Connection> = (0..connections).map(|_| Connection::open(address)).collect();
    // The first answer on each connection is not counted: the server has just met it.
    for connection in &mut connections {
        connection.send(next());
        connection.meet(expected);
    }
    for (number, connection) in (0..).zip(&connections) {
        epoll::add(&queue, &connection.stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)
            .expect("a socket can be waited for");
    }
    let begin = Instant::now();
    for connection in &mut connections {
        connection.send(next());
    }
    let mut answers = 0;
    loop {
        for number in ready(&queue) {
            let connection = &mut connections[number];
            if connection.receive(expected) {
                answers += 1;
                connection.send(next());
            }
        }
        let passed = begin.elapsed();
        if passed >= time {
            return Load { answers, time: passed };
        }
    }
}

/// The numbers of the connections on which something came.
fn ready(queue: &OwnedFd) -> impl Iterator<Item = usize> {
    let mut events = Vec::with_capacity(64);
    let patience = Timespec::try_from(PATIENCE).expect("it is short");
    let count = epoll::wait(queue, spare_capacity(&mut events), Some(&patience)).expect("epoll works");
    assert!(count > 0, "the server has not answered for {} s", PATIENCE.as_secs());
    events.into_iter().map(|event: epoll::Event| usize::try_from(event.data.u64()).expect("we numbered them"))
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("TCP has this option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, answer: Vec::with_capacity(LARGEST_ANSWER) }
    }

    /// A request is far smaller than the socket's buffer, which is empty: it goes out whole.
    fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("the server listens");
    }

    /// Waits for the first answer; from then on nothing here blocks.
    fn meet(&mut self, expected: Answer) {
        while !self.receive(expected) {}
        self.stream.set_nonblocking(true).expect("a socket can be told");
    }

    /// Takes what came, and says whether that ended an answer.
    fn receive(&mut self, expected: Answer) -> bool {
        let mut chunk = [0; LARGEST_ANSWER];
        match self.stream.read(&mut chunk) {
            Ok(0) => panic!("the server hung up after {:?}", String::from_utf8_lossy(&self.answer)),
            Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the connection broke: {error}"),
        }
        let known = self.answer.len().min(expected.begin.len());
        assert!(
            self.answer[..known] == expected.begin[..known],
            "this is not what was expected: {}",
            String::from_utf8_lossy(&self.answer)
        );
        let whole = self.answer.ends_with(expected.end);
        if whole {
            self.answer.clear();
        }
        whole
    }
}
