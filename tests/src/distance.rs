//! A server that is far away: a TCP proxy through which every byte takes its time, both ways, and that counts how often
//! somebody waited for an answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A proxy in front of a server, on another loopback address with the same port.
pub struct Distance {
    address: SocketAddr,
    questions: Arc<AtomicU64>,
}

impl Distance {
    /// Each way takes so long.
    pub fn start(target: SocketAddr, way: Duration) -> Self {
        let listener = (2..=254)
            .find_map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), target.port())).ok())
            .expect("one of the loopback addresses has this port free");
        let address = listener.local_addr().expect("a listener has an address");
        let questions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&questions);
        // Lives until the process ends: an idle thread costs nothing.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else { continue };
                serve(client, server, way, &counted);
            }
        });
        Self { address, questions }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often a client began to say something after it had heard something, or at the beginning: as many round trips
    /// as were waited for, whatever the clock says.
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::SeqCst)
    }
}

fn serve(client: TcpStream, server: TcpStream, way: Duration, questions: &Arc<AtomicU64>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("TCP has this option");
    }
    let share = |stream: &TcpStream| stream.try_clone().expect("a descriptor can be shared");
    let (to_client, from_server) = (share(&client), share(&server));
    // Whether the server spoke last.
    let answered = Arc::new(AtomicBool::new(true));
    let (asks, questions) = (Arc::clone(&answered), Arc::clone(questions));
    carry(client, server, way, move || {
        if asks.swap(false, Ordering::SeqCst) {
            questions.fetch_add(1, Ordering::SeqCst);
        }
    });
    carry(from_server, to_client, way, move || answered.store(true, Ordering::SeqCst));
}

/// Takes what comes, and lets it arrive when its time has come.
fn carry(mut from: TcpStream, to: TcpStream, way: Duration, noted: impl Fn() + Send + 'static) {
    let (sender, due) = mpsc::channel();
    thread::spawn(move || deliver(to, &due));
    thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            noted();
            if sender.send((Instant::now() + way, chunk[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

fn deliver(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>) {
    for (when, bytes) in due {
        // It is what this is for.
        thread::sleep(when.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
