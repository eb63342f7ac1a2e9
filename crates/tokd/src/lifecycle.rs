//! From a configuration to a running daemon and back to nothing.

mod database;

use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, getrlimit, set_dumpable_behavior, setrlimit};
use tok_api::convert::NewUser;
use tok_model::audit::Source;
use tok_model::clock::Clock as _;
use tok_model::decide::{Bearer, Caller, OwnerNow};
use tok_model::name::UserName;
use tok_model::url::Origin;
use tok_store::Store;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use database::Database;

use crate::clock::{self, Behind, SystemClock};
use crate::config::{Config, Server, StoreChoice};
use crate::door::api::ApiDoor;
use crate::door::console::Console;
use crate::door::gateway::backend::{GatewayLimits, GitBackend};
use crate::door::gateway::gate::Gateway;
use crate::door::gateway::program::GitProgram;
use crate::door::gateway::repositories::Repositories;
use crate::door::gateway::sweep::LEFTOVER_AFTER;
use crate::door::grpc::GrpcDoor;
use crate::door::http::hearing::Hearing;
use crate::door::http::limits::HttpLimits;
use crate::door::http::listener::HttpListener;
use crate::door::http::router::{Router, Visit};
use crate::door::http::source::Proxies;
use crate::door::http::tls::Certificates;
use crate::door::socket::helper;
use crate::executor::Executor;
use crate::fault::chain;
use crate::service::{Place, Service};
use crate::temporary::TemporaryTokens;
use crate::verdicts::FRESH;
use tok_api::local::listener::{LocalConnection, LocalListener, PeerCredentials, SocketLimits};

/// How long a caller of the pool waits for a connection; the executor has one for each of its threads.
const POOL_WAIT: Duration = Duration::from_secs(1);
/// How often leftovers of killed pushes are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);

/// How the daemon was asked to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As configured.
    Serve,
    /// `tokd dev`.
    Dev,
}

/// The certificate that clients get; the log says what they will not take of it.
fn certificates(server: &Server) -> Result<Option<Arc<Certificates>>> {
    let Some(files) = &server.tls else { return Ok(None) };
    let (certificates, objections) = Certificates::open(files, server.certified_urls())?;
    for objection in objections {
        tracing::warn!("What server.tls.certificate names is served, but {}", objection.words);
    }
    Ok(Some(Arc::new(certificates)))
}

/// Brings the schema up to date and says what was done.
pub fn migrate(config: &Config) -> Result<tok_store::Migrated> {
    let database = Database::open(config)?;
    let migrated = migrate_schema(&database);
    database.close();
    migrated
}

/// Runs until SIGTERM or Ctrl-C.
pub fn run(config: &Config, mode: Mode) -> Result<()> {
    keep_secrets_in();
    let certificates = certificates(&config.server)?;
    private_directory(&config.data)?;
    // Before the database, so that a port in use is said at once, and a temporary token that is too weak.
    let (listener, inherited_socket) = sockets(config)?;
    let temporary = TemporaryTokens::accept(&config.temporary, reachable(config, listener.local_addr()?))?;
    let database = Database::open(config)?;
    let served = prepare(&database, config).and_then(|store| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config, mode, store, listener, certificates, (inherited_socket, temporary)))
    });
    database.close();
    served
}

fn prepare(database: &Database, config: &Config) -> Result<(Store, Arc<tok_model::secret::Peppers>)> {
    let migrated = migrate_schema(database)?;
    for name in &migrated.run {
        tracing::info!("Migrated the schema: {name}");
    }
    let store =
        Store::connect(&database.url, config.database_connections, POOL_WAIT).context("the database cannot be used")?;
    let (store, peppers) = crate::pepper::ready(store, &config.pepper_file, SystemClock.now())?;
    clock::begin_after(tok_store::audit::newest(&store).context("the audit trail cannot be read")?);
    // Before anything is served, so that nothing is let in that the policy ended.
    crate::service::policy::apply(&store, &config.tokens.kinds, SystemClock.now())
        .context("tokens cannot be brought under the lifetimes that are configured")?;
    Ok((store, peppers))
}

fn migrate_schema(database: &Database) -> Result<tok_store::Migrated> {
    use secrecy::ExposeSecret as _;
    Ok(tok_store::migrate(database.url.expose_secret())?)
}

/// No core dump, no debugger of the same user: secrets stay in this process.
fn keep_secrets_in() {
    let core = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let dump = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if core.is_err() || dump.is_err() {
        tracing::warn!("Core dumps could not be switched off for this process");
    }
}

fn private_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path).with_context(|| {
        format!("the data directory {} cannot be made: name another in data_dir or --data, or make it", path.display())
    })
}

/// The sockets that systemd passed, by kind, else our own TCP listener.
fn sockets(config: &Config) -> Result<(TcpListener, Option<std::os::unix::net::UnixListener>)> {
    let mut passed = listenfd::ListenFd::from_env();
    let (mut tcp, mut unix) = (None, None);
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            keep_from_children(&listener)?;
            tcp = Some(listener);
        } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            keep_from_children(&listener)?;
            unix = Some(listener);
        }
    }
    let tcp = match tcp {
        Some(listener) => listener,
        None => TcpListener::bind(config.server.listen).with_context(|| {
            format!("cannot listen on {}: is another program using that port? `ss -ltnp` shows it; --listen or server.listen chooses another", config.server.listen)
        })?,
    };
    Ok((tcp, unix))
}

/// git and PostgreSQL must not inherit a listening socket: they would keep the port after tokd is gone.
fn keep_from_children(socket: &impl std::os::fd::AsFd) -> Result<()> {
    Ok(rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?)
}

async fn serve(
    config: &Config,
    mode: Mode,
    (store, peppers): (Store, Arc<tok_model::secret::Peppers>),
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    (inherited_socket, temporary): (Option<std::os::unix::net::UnixListener>, TemporaryTokens),
) -> Result<()> {
    let stop = stop_signal()?;
    reload_signal(certificates.clone(), stop.clone())?;
    let address = listener.local_addr()?;
    let backend = gateway(config).await?;
    let executor = Executor::start(&store, config.database_connections)?;
    let place = place(config, address, backend.as_ref())?;
    let public_url = place.public_url.clone();
    let service = Service::new(executor, peppers, Box::new(SystemClock), config.tokens.clone(), place);
    let service = service.with_failures_limited_to(config.server.failed_logins_per_minute);
    let service = Arc::new(service.with_temporary(temporary));
    service.announce_temporary().await.context("the temporary tokens could not be written down")?;
    if mode == Mode::Dev {
        first_manager(&service).await?;
    }
    let local = match inherited_socket {
        Some(socket) => LocalListener::inherited(socket, SocketLimits::default())?,
        None => LocalListener::bind(&config.ipc.socket, config.ipc.mode, SocketLimits::default()).await?,
    };
    let http = HttpListener::new(listener, limits(config))?.with_tls(certificates);
    let trusted = if config.server.behind_proxy { config.server.trusted_proxies.clone() } else { Vec::new() };
    let proxies = Proxies { trusted };
    let grpc = GrpcDoor::new(Arc::clone(&service), proxies.clone(), stop.clone())
        .map_err(|error| anyhow!("gRPC reflection: {error}"))?;
    let hearing = Hearing::default();
    let router = Arc::new(Router {
        service: Arc::clone(&service),
        api: ApiDoor::new(Arc::clone(&service), proxies.clone()),
        console: Console::new(Arc::clone(&service), proxies.clone()),
        gateway: backend.clone().map(|backend| Gateway::new(backend, hearing.clone())),
        grpc: grpc.clone(),
        hearing,
        proxies,
        metrics: config.server.metrics,
    });

    let upkeep = tokio::spawn(upkeep(Arc::clone(&service), backend.clone(), stop.clone()));
    let sealer = tokio::spawn(crate::sealer::run(Arc::clone(&service), config.audit.retention, stop.clone()));
    let (local_service, local_stop) = (Arc::clone(&service), stop.clone());
    let handle = move |connection: LocalConnection, peer: PeerCredentials| {
        let (service, grpc, stop) = (Arc::clone(&local_service), grpc.clone(), local_stop.clone());
        async move {
            match connection {
                LocalConnection::Grpc(stream) => grpc.serve(stream, peer, stop).await,
                LocalConnection::Helper(stream) => helper::serve(service, stream, peer).await,
                LocalConnection::Unknown(mut stream) => {
                    tracing::debug!(peer.uid, "A local client spoke neither gRPC nor tok/1");
                    let _ =
                        stream.write_all(b"this socket speaks gRPC and tok/1; use `tok` or git-credential-tok\n").await;
                }
            }
        }
    };
    let local = tokio::spawn(local.serve(handle, stop.clone(), config.server.drain_timeout));
    let service_for = move |peer: std::net::SocketAddr| {
        let visit = Arc::new(Visit::new(Arc::clone(&router), peer));
        hyper::service::service_fn(move |request| Arc::clone(&visit).answer(request))
    };
    announce(config, mode, &public_url);
    let drained = http.serve(service_for, stop.clone(), config.server.drain_timeout).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if drained.cut > 0 {
        tracing::warn!("{} connections were cut: they were not done within the drain timeout", drained.cut);
    }
    let _ = local.await;
    let _ = upkeep.await;
    let _ = sealer.await;
    if let Some(backend) = backend {
        backend.idle().await;
    }
    // After the last request: nothing that was used goes unrecorded.
    crate::sealer::write(&service).await;
    tracing::info!("Stopped");
    Ok(())
}

/// Whether others than the users of this machine can try secrets here.
fn reachable(config: &Config, address: std::net::SocketAddr) -> bool {
    let public = |url: &Origin| !url.is_loopback();
    !address.ip().is_loopback() || config.server.behind_proxy || config.server.public_url.as_ref().is_some_and(public)
}

#[expect(clippy::print_stdout, reason = "the ready line is for whoever started `tokd dev`, and is its only output")]
fn announce(config: &Config, mode: Mode, url: &Origin) {
    let socket = config.ipc.socket.display();
    if mode == Mode::Dev {
        println!("ready {url} socket {socket}");
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(%url, socket = %socket, "Ready at {url}, local socket {socket}");
}

fn stop_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("Stopping: no new requests; those under way may finish");
        asked.cancel();
    });
    Ok(stop)
}

/// SIGHUP never ends tokd. It reads the certificate again, which also happens by itself when the files change.
fn reload_signal(certificates: Option<Arc<Certificates>>, stop: CancellationToken) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        if let Some(certificates) = certificates {
            return certificates.keep_current(hangup, stop).await;
        }
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP reloads the certificate, and there is none; other changes take a restart");
        }
    });
    Ok(())
}

async fn gateway(config: &Config) -> Result<Option<GitBackend>> {
    let Some(git) = &config.git else { return Ok(None) };
    let program = GitProgram::find(git.program.as_deref()).await?;
    let repositories = Repositories::open(&git.root, program).await?;
    let limits =
        GatewayLimits { children: git.max_processes, largest_push: git.max_push_size, ..GatewayLimits::default() };
    Ok(Some(GitBackend::new(repositories, limits)))
}

fn place(config: &Config, address: std::net::SocketAddr, backend: Option<&GitBackend>) -> Result<Place> {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let own =
        |host: &str| Origin::parse(&format!("{scheme}://{host}:{}", address.port())).map_err(|why| anyhow!("{why}"));
    let listen = if address.ip().is_unspecified() {
        own(&machine_name())?
    } else {
        own(&if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() })?
    };
    let public_url = config.server.public_url.clone().unwrap_or_else(|| listen.clone());
    let settings = config.told(&address.to_string(), &public_url.to_string());
    let mut origins = vec![public_url.clone()];
    origins.extend(config.server.aliases.iter().cloned());
    if config.server.public_url.is_none() {
        origins.push(listen);
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            origins.push(own("localhost")?);
        }
    }
    Ok(Place {
        public_url,
        origins,
        socket: config.ipc.socket.clone(),
        store: match config.store {
            StoreChoice::Embedded { .. } => "embedded",
            StoreChoice::Postgres { .. } => "postgres",
        },
        repositories: backend.map(|backend| backend.repositories().clone()),
        git_version: backend.map(|backend| backend.repositories().git_version()),
        create_on_push: config.git.as_ref().is_some_and(|git| git.create_on_push),
        map_system_users: config.ipc.map_system_users,
        own_uid: geteuid().as_raw(),
        settings,
        started: Instant::now(),
    })
}

/// What a server that listens on every address calls itself, as long as nobody gives it a better name.
fn machine_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| Origin::from_credential("https", name).is_ok()).unwrap_or_else(|| "localhost".to_owned())
}

/// Connections and git processes take descriptors: as many as the system lets us have, where a shell's default is 1024.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    now.current.unwrap_or(u64::MAX)
}

fn limits(config: &Config) -> HttpLimits {
    let children = config.git.as_ref().map_or(0, |git| git.max_processes);
    let limits = HttpLimits { connections: config.server.max_connections, ..HttpLimits::default() };
    limits.within_descriptors(descriptors(), children)
}

/// `tokd dev` on an empty store: whoever started it becomes the first manager.
async fn first_manager(service: &Service) -> Result<()> {
    let uid = geteuid().as_raw();
    let source = Source { uid: Some(uid), ..Source::default() };
    let caller = Caller { bearer: Bearer::LocalPeer { manager: true }, owner: OwnerNow::Nobody, source };
    let page = tok_api::convert::PageAsk::default();
    if !service.list_users(&caller, page).await?.rows.is_empty() {
        return Ok(());
    }
    let login =
        nix::unistd::User::from_uid(uid.into()).ok().flatten().and_then(|user| user.name.parse::<UserName>().ok());
    let name = match login {
        Some(name) => name,
        None => "manager".parse().map_err(|why| anyhow!("{why}"))?,
    };
    match service.create_user(&caller, NewUser { name: name.clone(), manager: true }).await {
        Ok(_) => tracing::info!("Made {name} the first manager"),
        // Root and whoever started tokd administer it all the same; no reason not to start.
        Err(fault) => tracing::warn!("There is no manager, and {name} could not be made one: {}", fault.message),
    }
    Ok(())
}

/// What goes on beside the requests.
async fn upkeep(service: Arc<Service>, backend: Option<GitBackend>, stop: CancellationToken) {
    let [mut sweep, mut stale] = [SWEEP_EVERY, FRESH].map(tokio::time::interval);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = stale.tick() => {
                service.give_back_room();
                Behind::say();
            }
            _ = sweep.tick() => {
                if let Err(fault) = service.keep_up().await {
                    tracing::warn!("Tokens that rested too long, and old git tokens, wait for the database: {fault}");
                }
                if let Some(backend) = &backend {
                    let now: std::time::SystemTime = SystemClock.now().into();
                    match backend.repositories().sweep(now, LEFTOVER_AFTER).await {
                        Ok(swept) => tracing::debug!(?swept, "Looked for leftovers of killed pushes"),
                        Err(error) => tracing::warn!(error = %chain(&error), "Leftovers of killed pushes could not be looked for"),
                    }
                }
            }
        }
    }
}
