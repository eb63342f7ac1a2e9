//! Everything that one test has for itself, and what must hold when it is over.

mod callers;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, Ready, Recipe, Refused};
use crate::postgres;
use crate::secrets::Canaries;
use crate::tls::Authority;
use crate::{processes, scratch, template};

pub use callers::challenged;

/// A temporary directory, a home, a data directory, perhaps a running daemon.
pub struct Environment {
    root: TempDir,
    canaries: Arc<Canaries>,
    daemon: Mutex<Option<Daemon>>,
    /// The address of the first start; later starts take it again, so that remotes stay right.
    address: OnceLock<SocketAddr>,
    traces: AtomicUsize,
    data: PathBuf,
    /// Who signs the daemon's certificates, if it speaks TLS, and what else its configuration says.
    authority: Option<Authority>,
    configuration: String,
    /// The agent that the helper asks, if it is not the daemon.
    agent: OnceLock<PathBuf>,
}

impl Environment {
    /// Directories, and nothing that runs.
    pub fn new() -> Self {
        let root = scratch::directory();
        // PostgreSQL runs as another user when root starts it, but needs no way here: it inherits its directory.
        for name in ["home", "home/run", "traces", "work"] {
            fs::create_dir(root.path().join(name)).expect("the directory is ours");
        }
        let settings = "[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[advice]\n\tdetachedHead = false\n";
        fs::write(root.path().join("home/.gitconfig"), settings).expect("the directory is ours");
        let canaries = Arc::new(Canaries::new(root.path()));
        let data = root.path().join("data");
        Self {
            canaries,
            data,
            root,
            daemon: Mutex::default(),
            address: OnceLock::new(),
            traces: AtomicUsize::new(0),
            authority: None,
            configuration: String::new(),
            agent: OnceLock::new(),
        }
    }

    /// The same with a data directory that saves the first start the making of its database.
    pub fn migrated() -> Self {
        let environment = Self::new();
        template::adopt(environment.data());
        environment.canaries.leave_out(environment.data());
        environment
    }

    /// With a running `tokd serve` that speaks TLS on its remote address and makes repositories at their first push, and
    /// git set up for it. Everything that runs here trusts its certificate.
    pub fn tls() -> Self {
        Self::tls_with("")
    }

    /// The same, with this in its configuration.
    pub fn tls_with(configuration: &str) -> Self {
        let mut environment = Self::migrated();
        let authority = Authority::new(&environment.path("tls"));
        // Those behind the first are where a proxy of a test stands.
        authority.issue(&["localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]);
        environment.configuration = format!("{}[git]\ncreate_on_push = true\n{configuration}", authority.section());
        environment.authority = Some(authority);
        environment.start();
        environment.tok(&["git", "setup", &environment.url()]).ok();
        environment
    }

    /// Whether the daemon speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.authority.is_some()
    }

    /// Who signs the daemon's certificates.
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("the environment was made with TLS")
    }

    /// With a running `tokd dev`, and git set up for it.
    pub fn dev() -> Self {
        let environment = Self::migrated();
        environment.start();
        environment.tok(&["git", "setup", &environment.url()]).ok();
        environment
    }

    /// The directory of this test.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where work trees go.
    pub fn work(&self, name: &str) -> PathBuf {
        self.root.path().join("work").join(name)
    }

    /// The data directory of the daemon.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The home of everything that runs here.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The secrets of this test.
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    // ---- the daemon ------------------------------------------------------------------------------------------------

    /// `tokd dev` on this data directory, and on the same address as before.
    pub fn recipe(&self) -> Recipe {
        let address = self.address.get().map_or_else(|| "127.0.0.1:0".to_owned(), ToString::to_string);
        let data = self.data.to_string_lossy().into_owned();
        let arguments = ["dev", "--data", &data, "--listen", &address].map(str::to_owned).to_vec();
        Recipe { arguments, variables: Vec::new(), log: self.path("tokd.log"), home: self.home(), silent: None }
    }

    /// `tokd serve` with this configuration; data directory, address, socket and git root are this environment's.
    pub fn serve_recipe(&self, configuration: &str) -> Recipe {
        let path = self.path("tokd.toml");
        fs::write(&path, configuration).expect("the directory is ours");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        // serve prints nothing, so the port is chosen here: a free one, which nobody takes in the meantime, with luck.
        let free =
            || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
        let address = *self.address.get_or_init(free);
        let socket = self.path("tokd.sock");
        let variables = [
            ("TOKD_DATA_DIR", text(&self.data)),
            ("TOKD_SERVER_LISTEN", address.to_string()),
            ("TOKD_IPC_SOCKET", text(&socket)),
            ("TOKD_GIT_ROOT", text(&self.data.join("git"))),
        ];
        Recipe {
            arguments: vec!["serve".to_owned(), "--config".to_owned(), text(&path)],
            variables: variables.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            log: self.path("tokd.log"),
            home: self.home(),
            silent: Some(Ready { url: self.url(), socket, trust: self.authority.as_ref().map(Authority::trust) }),
        }
    }

    /// Starts `tokd dev`, or the daemon that speaks TLS.
    pub fn start(&self) {
        self.start_with(&self.usual_recipe());
    }

    /// What [`start`](Self::start) starts.
    pub fn usual_recipe(&self) -> Recipe {
        match &self.authority {
            Some(_) => self.serve_recipe(&self.configuration),
            None => self.recipe(),
        }
    }

    /// Starts a daemon in some other way.
    pub fn start_with(&self, recipe: &Recipe) {
        let daemon = recipe.start().unwrap_or_else(|refused| panic!("tokd did not start: {}", refused.said));
        let address = *self.address.get_or_init(|| daemon.address());
        assert_eq!(daemon.address(), address, "tokd listens where it was told to");
        let pepper = self.data.join("pepper");
        let text = fs::read_to_string(&pepper).unwrap_or_default();
        for key in text.lines().filter_map(|line| line.split_once(':').map(|(_, key)| key.trim())) {
            self.canaries.register_file("the pepper", key, &pepper);
        }
        let mut running = self.running();
        assert!(running.is_none(), "one environment has one daemon");
        *running = Some(daemon);
    }

    /// Starts `tokd dev` and expects that it refuses.
    pub fn start_fails(&self) -> Refused {
        match self.recipe().start() {
            Ok(_) => panic!("tokd should have refused to start"),
            Err(refused) => refused,
        }
    }

    /// Stops the daemon as systemd does; it must end with 0 and leave nothing running.
    pub fn stop(&self) {
        self.take_daemon().stop();
    }

    /// Kills the daemon.
    pub fn kill(&self) {
        self.take_daemon().kill();
    }

    /// Takes the daemon out of the environment.
    pub fn take_daemon(&self) -> Daemon {
        self.running().take().expect("a daemon runs")
    }

    /// The daemon's process number.
    pub fn pid(&self) -> i32 {
        self.running().as_ref().expect("a daemon runs").pid()
    }

    /// What the daemon said so far, in all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("tokd.log")).unwrap_or_default()
    }

    fn running(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- where things are ------------------------------------------------------------------------------------------

    /// The address of the remote listener.
    pub fn address(&self) -> SocketAddr {
        *self.address.get().expect("a daemon was started")
    }

    /// `http://127.0.0.1:<port>`, or `https://…` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// `127.0.0.1:<port>`, as git's `host` line has it.
    pub fn host(&self) -> String {
        self.address().to_string()
    }

    /// The URL of a repository.
    pub fn repository(&self, repo: &str) -> String {
        format!("{}/{repo}.git", self.url())
    }

    /// The URL of a repository with a user name in it.
    pub fn repository_as(&self, user: &str, repo: &str) -> String {
        format!("http://{user}@{}/{repo}.git", self.address())
    }

    /// Where the server keeps a repository.
    pub fn on_server(&self, repo: &str) -> PathBuf {
        self.data.join("git").join(format!("{repo}.git"))
    }

    /// The daemon's local socket.
    pub fn socket(&self) -> PathBuf {
        self.running().as_ref().map_or_else(|| self.data.join("tokd.sock"), |daemon| daemon.socket().to_owned())
    }

    /// The rows of a query on the daemon's own database.
    #[track_caller]
    pub fn rows(&self, query: &str) -> Vec<Value> {
        postgres::rows(&postgres::embedded_url(&self.data), query)
    }

    /// The number in the only row of a query such as `SELECT count(*) AS count FROM tokens`.
    #[track_caller]
    pub fn count(&self, query: &str) -> i64 {
        let rows = self.rows(query);
        rows.first().and_then(|row| row["count"].as_i64()).unwrap_or_else(|| panic!("no count: {rows:?}"))
    }

    /// Runs statements on the daemon's own database: to make happen what would otherwise take time.
    #[track_caller]
    pub fn execute(&self, statements: &str) {
        postgres::psql(&postgres::embedded_url(&self.data), statements);
    }

    fn verdict(&self, panicking: bool) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.agent.get().is_some() {
            let stopped = self.with_logins(self.tok(&["agent", "stop"])).run();
            if stopped.code != Some(0) {
                complaints.push(stopped.describe());
            }
        }
        if let Some(daemon) = self.running().take() {
            self.canaries.inspect_processes(daemon.pid());
            if panicking {
                drop(daemon);
            } else {
                daemon.stop();
            }
        }
        let cluster = self.data.join("pg");
        let left = processes::working_in(&cluster);
        if !left.is_empty() {
            complaints.push(format!("still runs in {}: {left:?}", cluster.display()));
        }
        self.canaries.inspect_files();
        complaints.extend(self.canaries.take_leaks().into_iter().map(|leak| format!("a secret leaked: {leak}")));
        let log = self.log();
        complaints.extend(log.lines().filter(|line| line.contains("panicked at")).map(|line| format!("tokd: {line}")));
        complaints
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let panicking = thread::panicking();
        let complaints = self.verdict(panicking);
        if panicking {
            show(&format!("--- tokd said\n{}", self.log()));
            for complaint in complaints {
                show(&complaint);
            }
        } else {
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        }
    }
}

/// For a test that fails anyway; the test runner shows it then.
#[expect(clippy::print_stderr, reason = "the test runner captures it, and shows it if the test fails")]
fn show(text: &str) {
    eprintln!("{text}");
}
