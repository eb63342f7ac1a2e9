//! For the gateway's tests: a server that lets everybody do everything, and real git clients.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::http::{HeaderMap, Request, Response, StatusCode, header};
use tempfile::TempDir;
use tok_model::name::RepoPath;
use tokio_util::sync::CancellationToken;

use super::backend::{GatewayLimits, GitBackend};
use super::call::{GitCall, GitRequest, NotServed};
use super::program::GitProgram;
use super::repositories::Repositories;
use crate::door::http::limits::HttpLimits;
use crate::door::http::listener::HttpListener;

/// Longer than anything should take, on a busy machine.
pub(crate) const NEVER: Duration = Duration::from_secs(60);

/// The gits of this machine: the one on PATH and the distribution's, if they differ.
pub(crate) fn gits() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).map(|directory| directory.join("git")).collect();
    found.push("/usr/bin/git".into());
    found.retain(|git| git.is_file());
    found.dedup_by_key(|git| git.canonicalize().unwrap());
    let mut distinct: Vec<PathBuf> = Vec::new();
    for git in found {
        if !distinct.iter().any(|known| version(known) == version(&git)) {
            distinct.push(git);
        }
    }
    assert!(!distinct.is_empty(), "these tests need git");
    distinct
}

fn version(git: &Path) -> Vec<u8> {
    Command::new(git).arg("--version").output().unwrap().stdout
}

/// A server on a free port, in a runtime of its own, so that tests can run git as plain blocking code.
pub(crate) struct Server {
    pub(crate) backend: GitBackend,
    pub(crate) address: SocketAddr,
    /// The headers of every request so far.
    pub(crate) seen: Arc<Mutex<Vec<HeaderMap>>>,
    runtime: tokio::runtime::Runtime,
    stop: CancellationToken,
    directory: TempDir,
}

impl Server {
    pub(crate) fn start(git: &Path, limits: GatewayLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("git");
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (backend, address) = runtime.block_on(async {
            let program = GitProgram::find(Some(git)).await.unwrap();
            let backend = GitBackend::new(Repositories::open(&root, program).await.unwrap(), limits);
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let listener = HttpListener::new(socket, HttpLimits::default()).unwrap();
            let (serving, seen) = (backend.clone(), Arc::clone(&seen));
            let service = Arc::new(hyper::service::service_fn(move |request: Request<Incoming>| {
                seen.lock().unwrap().push(request.headers().clone());
                let backend = serving.clone();
                async move { Ok::<_, Infallible>(answer(&backend, request).await) }
            }));
            tokio::spawn(listener.serve(move |_| Arc::clone(&service), stop.clone(), NEVER));
            (backend, address)
        });
        Self { backend, address, seen, runtime, stop, directory }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Makes an empty repository; gives its directory.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        let repo: RepoPath = name.parse().unwrap();
        self.block_on(self.backend.repositories().create(&repo)).unwrap();
        self.backend.repositories().root().join(format!("{name}.git"))
    }

    pub(crate) fn url(&self, name: &str) -> String {
        url(self.address, name)
    }

    /// A client with a home of its own.
    pub(crate) fn client(&self, git: &Path) -> Client {
        let number = self.seen.lock().unwrap().len();
        let home =
            tempfile::Builder::new().prefix(&format!("home-{number}-")).tempdir_in(self.directory.path()).unwrap();
        Client { git: git.to_owned(), home: home.keep() }
    }

    /// Waits until no git runs any more.
    pub(crate) fn idle(&self) {
        self.block_on(async { tokio::time::timeout(NEVER, self.backend.idle()).await }).expect("git children end");
    }

    pub(crate) fn saw(&self, name: &header::HeaderName, value: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|headers| headers.get(name).is_some_and(|found| found == value))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn url(address: SocketAddr, name: &str) -> String {
    format!("http://{address}/{name}.git")
}

async fn answer(backend: &GitBackend, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let read = path.strip_prefix('/').and_then(|path| path.split_once(".git/"));
    let Some((name, tail)) = read else { return status(StatusCode::NOT_FOUND) };
    let call = match GitCall::parse(request.method(), tail, request.uri().query()) {
        Ok(call) => call,
        Err(NotServed::Dumb) => return status(StatusCode::FORBIDDEN),
        Err(_) => return status(StatusCode::NOT_FOUND),
    };
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = GitRequest::new(name.parse().unwrap(), call, request, "alice".to_owned(), from);
    backend.serve(request).await.unwrap_or_else(|fault| {
        let mut response = status(fault.status());
        *response.body_mut() = fault.client_text().into();
        response
    })
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A person with a git.
pub(crate) struct Client {
    git: PathBuf,
    pub(crate) home: PathBuf,
}

impl Client {
    /// A command in a directory of this client's home.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, directory: &str, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.git);
        command
            .args(arguments)
            .current_dir(self.home.join(directory))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@x")
            .env("GIT_COMMITTER_NAME", "A")
            .env("GIT_COMMITTER_EMAIL", "a@x")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn try_run<A: AsRef<OsStr>>(&self, directory: &str, arguments: impl IntoIterator<Item = A>) -> Output {
        self.command(directory, arguments).output().unwrap()
    }

    /// Runs git, which must succeed; gives what it printed.
    pub(crate) fn run(&self, directory: &str, arguments: &[&str]) -> String {
        let output = self.try_run(directory, arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A work tree with one commit on a branch.
    pub(crate) fn work_tree(&self, name: &str, branch: &str) {
        self.run(".", &["init", "--quiet", "-b", branch, name]);
        self.commit(name, "a", b"first");
    }

    pub(crate) fn commit(&self, tree: &str, file: &str, content: &[u8]) {
        std::fs::write(self.home.join(tree).join(file), content).unwrap();
        self.run(tree, &["add", "."]);
        self.run(tree, &["commit", "--quiet", "-m", file]);
    }
}

pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open("/dev/urandom").unwrap().take(length as u64).read_to_end(&mut bytes).unwrap();
    bytes
}
