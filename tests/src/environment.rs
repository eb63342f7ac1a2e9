//! Everything that one test has for itself, and what must hold when it is over.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::call::Call;
use crate::daemon::{Daemon, Ready, Recipe, Refused};
use crate::git::Git;
use crate::helper::{self, Answer, Conversation};
use crate::http::{Reply, Request};
use crate::postgres;
use crate::secrets::Canaries;
use crate::tls::Authority;
use crate::{binaries, processes, template};

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
        // The path is short: a socket's has 107 bytes at most.
        let root = tempfile::Builder::new().prefix("tokt-").tempdir_in("/tmp").expect("there is a /tmp");
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

    /// With a running `tokd serve` that speaks TLS on its remote address and makes repositories at their first push, and
    /// git set up for it. Everything that runs here trusts its certificate.
    pub fn tls() -> Self {
        Self::tls_with("")
    }

    /// The same, with this in its configuration.
    pub fn tls_with(configuration: &str) -> Self {
        let mut environment = Self::new();
        template::adopt(environment.data());
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
        let environment = Self::new();
        template::adopt(environment.data());
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
        match &self.authority {
            Some(_) => self.start_with(&self.serve_recipe(&self.configuration)),
            None => self.start_with(&self.recipe()),
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

    // ---- what runs here --------------------------------------------------------------------------------------------

    /// Any program, in this test's surroundings.
    pub fn call(&self, program: impl Into<PathBuf>) -> Call {
        let call =
            Call::new(program, &self.path("work"), &self.home(), &self.canaries).variable("TOK_SOCKET", self.socket());
        match &self.authority {
            Some(authority) => call.variable("SSL_CERT_FILE", authority.trust()),
            None => call,
        }
    }

    /// `tok`. What makes a token may show it; every other output is looked through for secrets.
    pub fn tok(&self, arguments: &[&str]) -> Call {
        let call = self.call(binaries::path("tok")).arguments(arguments.iter().copied());
        if arguments.windows(2).any(|pair| matches!(pair, ["token", "create" | "rotate"])) {
            call.shows_secret()
        } else {
            call
        }
    }

    /// Makes a personal token with `tok` and gives its text.
    #[track_caller]
    pub fn token(&self, user: &str, arguments: &[&str]) -> String {
        let call = self.tok(&["token", "create", "a test's"]).arguments(arguments.iter().copied()).acting_as(user);
        call.ok().line().to_owned()
    }

    /// git, in a directory.
    pub fn git(&self, directory: &Path, arguments: &[&str]) -> Git {
        let traces = self.path(&format!("traces/{}", self.traces.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&traces).expect("the directory is ours");
        let mut git = Git::new(self.call("git").directory(directory), traces);
        if let Some(authority) = &self.authority {
            git = git.setting("http.sslCAInfo", authority.trust().to_string_lossy());
        }
        for argument in arguments {
            git = git.argument(argument);
        }
        git
    }

    /// `git-credential-tok`, without its operation.
    pub fn helper(&self) -> Call {
        let helper = self.call(binaries::path("git-credential-tok"));
        match self.agent.get() {
            Some(socket) => helper.variable("TOK_SOCKET", socket),
            None => helper,
        }
    }

    /// Lets these users log in from here and the helper ask an agent from now on, instead of the daemon.
    pub fn through_agent(&self, users: &[&str]) {
        for user in users {
            self.log_in_at(&self.url(), user);
        }
        self.with_logins(self.tok(&["agent", "start"])).ok();
        // Whoever asks twice has the same agent.
        let _ = self.agent.set(self.home().join("run/tok/agent.sock"));
    }

    /// Logs a user in from here, at this address of the server, with a password that they have from now on.
    pub fn log_in_at(&self, url: &str, user: &str) -> String {
        let password = format!("a long and lucky password of {user}");
        self.tok(&["user", "passwd", user]).input(format!("{password}\n")).ok();
        let login = self.with_logins(self.tok(&["login", url, "--user", user, "--password-stdin"]));
        login.input(format!("{password}\n")).ok();
        password
    }

    /// Starts an agent that knows of no connection and no token, in the place of the one before.
    pub fn another_agent(&self) {
        self.with_logins(self.tok(&["agent", "stop"])).ok();
        self.through_agent(&[]);
    }

    /// In surroundings where logins are kept: where a secret may be.
    fn with_logins(&self, call: Call) -> Call {
        let configuration = self.canaries.exempt().join("configuration");
        call.without("TOK_SOCKET").variable("XDG_CONFIG_HOME", configuration).variable("TOK_STORAGE", "file")
    }

    /// A conversation with the helper.
    pub fn conversation(&self) -> Conversation {
        Conversation::new(self.helper())
    }

    /// What the helper answers to these lines, in a conversation of its own.
    #[track_caller]
    pub fn get(&self, lines: &str) -> Answer {
        self.conversation().get(lines)
    }

    /// The lines that a new git sends for a repository after the server's challenge, without the blank line.
    pub fn challenged(&self, repo: &str, right: &str) -> String {
        challenged(&self.host(), repo, right)
    }

    /// The text of a git token of this user for a repository, `read` or `write`, as the helper gets it.
    #[track_caller]
    pub fn git_token(&self, user: &str, repo: &str, right: &str) -> String {
        let call = self.helper().acting_as(user).argument("get").input(self.challenged(repo, right) + "\n");
        let finished = call.shows_secret().ok();
        helper::answer(&finished).token().to_owned()
    }

    /// Sends a request to the daemon.
    pub fn send(&self, request: &Request) -> Reply {
        match &self.authority {
            Some(authority) => request.send_securely(self.address(), &authority.trust()),
            None => request.send(self.address()),
        }
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

/// The lines of a new git for a repository at this `host:port`, without the blank line.
pub fn challenged(host: &str, repo: &str, right: &str) -> String {
    format!(
        "capability[]=authtype\ncapability[]=state\nprotocol=http\nhost={host}\npath={repo}.git\n\
         wwwauth[]=Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"repo:{right}\", resource=\"{repo}\"\n"
    )
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
