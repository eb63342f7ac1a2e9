//! The database that tokd serves from: one that is there, or a cluster of its own that it looks after.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use secrecy::SecretString;
use tok_store::embedded::{Cluster, ClusterOptions, DATABASE};

use crate::config::{Config, StoreChoice};
use crate::fault::chain;

/// An embedded cluster that ends by itself is started again, at most so often within [`RESTART_WINDOW`].
const MOST_RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// The database, and if it is ours, the cluster that must be stopped in the end.
pub(super) struct Database {
    pub(super) url: SecretString,
    cluster: Option<Arc<Supervised>>,
}

/// An embedded cluster that is started again if it ends by itself.
struct Supervised {
    cluster: Mutex<Option<Cluster>>,
    stopping: AtomicBool,
}

impl Database {
    pub(super) fn open(config: &Config) -> Result<Self> {
        match &config.store {
            StoreChoice::Postgres { url } => Ok(Self { url: url.clone(), cluster: None }),
            StoreChoice::Embedded { user, binaries } => {
                let mut options = ClusterOptions::new(&config.data);
                options.system_user.clone_from(user);
                options.binaries.clone_from(binaries);
                // Under systemd only its runtime directory can be written besides the data.
                options.sockets = std::env::var_os("RUNTIME_DIRECTORY").map(Into::into);
                let cluster = Cluster::start(options)?;
                let url = SecretString::from(cluster.url(DATABASE));
                let cluster =
                    Arc::new(Supervised { cluster: Mutex::new(Some(cluster)), stopping: AtomicBool::new(false) });
                let watched = Arc::clone(&cluster);
                std::thread::Builder::new().name("postgres-watch".to_owned()).spawn(move || watched.supervise())?;
                Ok(Self { url, cluster: Some(cluster) })
            }
        }
    }

    pub(super) fn close(self) {
        if let Some(supervised) = self.cluster {
            supervised.stop();
        }
    }
}

impl Supervised {
    fn held(&self) -> std::sync::MutexGuard<'_, Option<Cluster>> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let cluster = self.held().take();
        if let Some(cluster) = cluster {
            let exit = cluster.stop();
            tracing::debug!(?exit, "PostgreSQL stopped");
        }
    }

    fn supervise(&self) {
        let mut restarts: Vec<Instant> = Vec::new();
        loop {
            let Some(watch) = self.held().as_ref().map(Cluster::watch) else { return };
            let exit = watch.wait();
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            tracing::error!(?exit, "PostgreSQL ended by itself; starting it again");
            restarts.retain(|at| at.elapsed() < RESTART_WINDOW);
            restarts.push(Instant::now());
            let restarted = match &mut *self.held() {
                Some(cluster) if restarts.len() <= MOST_RESTARTS => cluster.restart(),
                _ => {
                    return tracing::error!(
                        "PostgreSQL keeps ending; tokd goes on without it and answers \"unavailable\""
                    );
                }
            };
            if let Err(error) = restarted {
                return tracing::error!(error = %chain(&error), "PostgreSQL did not start again");
            }
        }
    }
}
