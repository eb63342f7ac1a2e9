//! A git server that believes whatever stands in front of it: `git http-backend`, and as little HTTP as that takes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::wait::PATIENCE;

type Headers = BTreeMap<String, String>;

#[derive(Default)]
struct State {
    seen: Vec<(String, Headers)>,
    /// Whether answers stop in their middle.
    held: bool,
}

/// A running server of bare repositories. It answers until the test ends.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Backend {
    /// Serves what is below this directory.
    pub fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (root, known) = (root.to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (root, shared) = (root.clone(), Arc::clone(&known));
                thread::spawn(move || serve(stream, &root, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that have reached it, as soon as their heads have: the first line, and the headers by their names in
    /// lower case.
    pub fn seen(&self) -> Vec<(String, Headers)> {
        locked(&self.shared.0).seen.clone()
    }

    /// From now on answers stop in their middle, until they are let go.
    pub fn hold_answers(&self) {
        locked(&self.shared.0).held = true;
    }

    /// Lets them go on.
    pub fn let_go(&self) {
        locked(&self.shared.0).held = false;
        self.shared.1.notify_all();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, root: &Path, (state, changed): &(Mutex<State>, Condvar)) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut headers = Headers::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    locked(state).seen.push((first.trim_end().to_owned(), headers.clone()));
    let body =
        if headers.contains_key("transfer-encoding") { chunked(&mut reader)? } else { whole(&mut reader, &headers)? };
    let (head, content) = run(root.to_owned(), &first, &headers, &body)?;
    let (begin, rest) = content.split_at(content.len() / 2);
    let mut stream = stream;
    stream.write_all(&head).ok()?;
    stream.write_all(begin).ok()?;
    let held = changed.wait_timeout_while(locked(state), PATIENCE, |state| state.held);
    drop(held.unwrap_or_else(PoisonError::into_inner));
    stream.write_all(rest).ok()
}

fn whole(reader: &mut BufReader<TcpStream>, headers: &Headers) -> Option<Vec<u8>> {
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn chunked(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        let begin = body.len();
        body.resize(begin + length + 2, 0);
        reader.read_exact(&mut body[begin..]).ok()?;
        // What stands behind a chunk is no part of it.
        body.truncate(begin + length);
        if length == 0 {
            return Some(body);
        }
    }
}

/// What the program answers, as HTTP: the head and the body.
fn run(root: PathBuf, first: &str, headers: &Headers, body: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        // Who pushes is what the proxy says; without it http-backend takes no push.
        .env("REMOTE_USER", header("remote-user"))
        .env("REMOTE_ADDR", header("x-forwarded-for"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let body = body.to_vec();
    let writing = thread::spawn(move || input.write_all(&body));
    let mut output = Vec::new();
    child.stdout.take()?.read_to_end(&mut output).ok()?;
    let _ = writing.join();
    child.wait().ok()?;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let fields: Vec<_> = head.lines().filter(|line| !line.starts_with("Status: ")).chain([""]).collect();
    let fields = fields.join("\r\n");
    let content = output.split_off(end + 4);
    let head = format!("HTTP/1.0 {status}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    Some((head.into_bytes(), content))
}
