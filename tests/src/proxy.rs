//! A TCP proxy that can stop a stream in its middle.
//!
//! It listens on another loopback address with the same port, so that URLs stay as they are: git is sent through it with
//! `http.curloptResolve` ([`Proxy::detour`]), and both git and tokd still see the server's own address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wait::PATIENCE;

/// What shall happen to what clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// It is passed on.
    Pass,
    /// No connection passes on more than this many bytes, until the plan changes.
    Hold(usize),
    /// A connection that has passed on this many bytes is cut.
    Cut(usize),
    /// It is passed on, and what is answered is not, until whoever waits for it is hung up on.
    Swallow,
    /// It is passed on, and what is answered comes later, when the plan changes.
    Delay,
    /// Connections before the one with this number are silent, both ways; later ones pass everything.
    Freeze(usize),
}

struct State {
    plan: Plan,
    /// Connections that were made.
    made: usize,
    /// Connections that wait at a `Hold`.
    held: usize,
    /// Connections that met a `Cut`.
    cut: usize,
    /// Both ends of each connection whose answers were swallowed.
    unanswered: Vec<[TcpStream; 2]>,
}

/// A proxy in front of one server.
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// In front of `target`, which listens on 127.0.0.1.
    pub fn start(target: SocketAddr) -> Self {
        let listener = (2..=254)
            .find_map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), target.port())).ok())
            .expect("one of the loopback addresses has this port free");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new((
            Mutex::new(State { plan: Plan::Pass, made: 0, held: 0, cut: 0, unanswered: Vec::new() }),
            Condvar::new(),
        ));
        let proxy = Self { address, target, shared: Arc::clone(&shared) };
        // Lives until the process ends: an idle thread costs nothing.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&client, target, &shared));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of git's `http.curloptResolve` that leads through it.
    pub fn detour(&self) -> String {
        format!("{}:{}:{}", self.target.ip(), self.target.port(), self.address.ip())
    }

    /// From now on no connection passes on more than `bytes` of what its client sends.
    pub fn hold_after(&self, bytes: usize) {
        self.plan(Plan::Hold(bytes));
    }

    /// From now on a connection is cut when its client has sent `bytes`.
    pub fn cut_after(&self, bytes: usize) {
        self.plan(Plan::Cut(bytes));
    }

    /// From now on the server gets what clients send, and no client gets an answer.
    pub fn swallow(&self) {
        self.plan(Plan::Swallow);
    }

    /// From now on nothing gets through the connections that there are, and new ones work: as after a night in a bag.
    pub fn freeze(&self) {
        let mut state = lock(&self.shared.0);
        state.plan = Plan::Freeze(state.made);
        drop(state);
        self.shared.1.notify_all();
    }

    /// Hangs up on everybody whose answer was swallowed, once there is somebody; from now on everything passes.
    pub fn hang_up(&self) {
        self.wait("an answer is swallowed", |state| !state.unanswered.is_empty());
        // In one go: an answer that came in between would be swallowed, and whoever waits for it left to wait.
        let mut state = lock(&self.shared.0);
        state.plan = Plan::Pass;
        let unanswered = std::mem::take(&mut state.unanswered);
        drop(state);
        self.shared.1.notify_all();
        for end in unanswered.iter().flatten() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// From now on everything passes, also what was held.
    pub fn pass(&self) {
        self.plan(Plan::Pass);
    }

    /// Waits until a connection has come to the point where it is held.
    pub fn wait_until_held(&self) {
        self.wait("a connection is held", |state| state.held > 0);
    }

    /// From now on the server gets what clients send, and its answers are on their way until the plan changes.
    pub fn delay(&self) {
        self.plan(Plan::Delay);
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        lock(&self.shared.0).made
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        lock(&self.shared.0).cut
    }

    fn plan(&self, plan: Plan) {
        lock(&self.shared.0).plan = plan;
        self.shared.1.notify_all();
    }

    fn wait(&self, what: &str, mut so: impl FnMut(&State) -> bool) {
        let (state, changed) = &*self.shared;
        let waited = changed.wait_timeout_while(lock(state), PATIENCE, |state| !so(state));
        let timed_out = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        assert!(!timed_out, "waited in vain: {what}");
    }
}

fn serve(client: &TcpStream, target: SocketAddr, shared: &Arc<(Mutex<State>, Condvar)>) {
    let Ok(server) = TcpStream::connect(target) else { return };
    let (Ok(from_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else { return };
    let mut state = lock(&shared.0);
    let number = state.made;
    state.made += 1;
    drop(state);
    let answered = Arc::clone(shared);
    let back = thread::spawn(move || relay(number, &from_server, &to_client, &answered));
    up(number, client, &server, shared);
    let _ = back.join();
}

/// What the client sends, under the plan.
fn up(number: usize, mut client: &TcpStream, mut server: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut passed = 0;
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = match client.read(&mut chunk) {
            Ok(0) | Err(_) => {
                let _ = server.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => count,
        };
        let mut rest = &chunk[..count];
        while !rest.is_empty() {
            thaw(number, shared);
            let Some(now) = allowed(client, server, shared, passed, rest.len()) else { return };
            if server.write_all(&rest[..now]).is_err() {
                let _ = client.shutdown(Shutdown::Both);
                return;
            }
            passed += now;
            rest = &rest[now..];
        }
    }
}

/// How much of `asked` may pass now; waits while nothing may. `None`: the connection is cut.
fn allowed(
    client: &TcpStream,
    server: &TcpStream,
    shared: &(Mutex<State>, Condvar),
    passed: usize,
    asked: usize,
) -> Option<usize> {
    let mut state = lock(&shared.0);
    loop {
        match state.plan {
            Plan::Pass | Plan::Swallow | Plan::Delay | Plan::Freeze(_) => return Some(asked),
            Plan::Hold(limit) | Plan::Cut(limit) if passed < limit => return Some(asked.min(limit - passed)),
            Plan::Cut(_) => {
                state.cut += 1;
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                return None;
            }
            Plan::Hold(_) => {
                state.held += 1;
                shared.1.notify_all();
                // The other side may be killed meanwhile, so look up now and then.
                let waited =
                    shared.1.wait_timeout(state, Duration::from_secs(60)).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                state.held -= 1;
            }
        }
    }
}

/// Waits for as long as an answer takes.
fn delay(shared: &(Mutex<State>, Condvar)) {
    drop(shared.1.wait_while(lock(&shared.0), |state| state.plan == Plan::Delay));
}

/// Waits for as long as this connection is frozen.
fn thaw(number: usize, shared: &(Mutex<State>, Condvar)) {
    let frozen = |state: &mut State| matches!(state.plan, Plan::Freeze(limit) if number < limit);
    drop(shared.1.wait_while(lock(&shared.0), frozen));
}

/// What the server answers, unless it is swallowed.
fn relay(number: usize, mut from: &TcpStream, mut to: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut chunk = [0; 16 * 1024];
    let mut swallowing = false;
    loop {
        match from.read(&mut chunk) {
            Ok(count) if count > 0 => {
                delay(shared);
                thaw(number, shared);
                let mut state = lock(&shared.0);
                if state.plan == Plan::Swallow && !swallowing {
                    swallowing = true;
                    state.unanswered.extend(from.try_clone().and_then(|from| Ok([from, to.try_clone()?])));
                    shared.1.notify_all();
                }
                drop(state);
                if !swallowing && to.write_all(&chunk[..count]).is_err() {
                    return;
                }
            }
            _ => {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
