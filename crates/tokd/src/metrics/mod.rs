//! The daemon's figures, as Prometheus reads them at `/metrics`.
//!
//! Counting costs an atomic addition or two and never waits. No label holds a name, an address or a token: each has a few
//! values that are known beforehand, so nobody who calls can make the list longer.

mod parts;
mod process;
mod requests;

use std::sync::{Mutex, PoisonError};

use prometheus::core::{AtomicI64, AtomicU64, Collector, GenericCounter, GenericGauge};
use prometheus::{Encoder as _, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tok_store::Connections;
use tok_store::audit::Tally;

pub use parts::{CacheFigures, FailureFigures, QueueFigures, SlowFigures, TrustFigures, UseFigures};
pub use requests::{Door, OTHER, Outcome, Requests};

use process::ProcessFigures;

type IntCounter = GenericCounter<AtomicU64>;

/// What is read from elsewhere when somebody asks.
pub struct Now<'a> {
    /// Jobs, look-ups and mints that wait for a thread of the store.
    pub queue_waiting: usize,
    /// Tokens and local users whose facts are remembered.
    pub cached: (u64, u64),
    /// Lines that wait to be written to the trail.
    pub lines_waiting: usize,
    /// Slow hashes that wait for a thread, and how many were made.
    pub slow: (usize, u64),
    /// The database's connections.
    pub connections: Connections,
    /// What was written to the trail.
    pub tally: Option<&'a Tally>,
}

/// All figures. One for the daemon.
pub struct Metrics {
    registry: Registry,
    /// What was asked for at each door.
    pub requests: Requests,
    pulled: Pulled,
    process: ProcessFigures,
    /// Who asks at once gets figures of one moment each.
    gathering: Mutex<()>,
}

/// The figures of the parts that count by themselves.
pub struct Parts<'a> {
    /// The doorway to the store.
    pub queue: &'a QueueFigures,
    /// The cache of verdicts' facts.
    pub cache: &'a CacheFigures,
    /// Failures of sources.
    pub failures: &'a FailureFigures,
    /// Uses on their way to the trail.
    pub uses: &'a UseFigures,
    /// Slow hashes.
    pub slow: &'a SlowFigures,
    /// Trust rules.
    pub trust: &'a TrustFigures,
}

/// Figures that are set when somebody asks.
struct Pulled {
    queue_waiting: IntGauge,
    cached_tokens: IntGauge,
    cached_peers: IntGauge,
    lines_waiting: IntGauge,
    slow_waiting: IntGauge,
    slow_made: IntCounter,
    open: IntGauge,
    idle: IntGauge,
    acts: IntCounterVec,
}

impl Metrics {
    /// The figures of these parts, and those that belong to no part.
    pub fn new(parts: &Parts<'_>) -> Self {
        let metrics = Self {
            registry: Registry::new(),
            requests: Requests::default(),
            pulled: Pulled::default(),
            process: ProcessFigures::default(),
            gathering: Mutex::default(),
        };
        let requests = metrics.requests.collectors();
        // What never happened is 0, and not missing.
        metrics.pulled.count_acts(&Tally::default());
        let pulled = metrics.pulled.collectors();
        let process = metrics.process.collectors();
        let of_parts = [
            parts.queue.collectors(),
            parts.cache.collectors(),
            parts.failures.collectors(),
            parts.uses.collectors(),
            parts.slow.collectors(),
            parts.trust.collectors(),
        ];
        for collector in requests.into_iter().chain(of_parts.into_iter().flatten()).chain(pulled).chain(process) {
            metrics.register(collector);
        }
        metrics.register(Box::new(build_info()));
        metrics
    }

    fn register(&self, collector: Box<dyn Collector>) {
        if let Err(error) = self.registry.register(collector) {
            tracing::error!(%error, "A figure could not be registered, and is missing in /metrics");
        }
    }

    /// The figures in Prometheus' text format, version 0.0.4.
    pub fn text(&self, now: &Now<'_>) -> String {
        let _one_at_a_time = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        self.pulled.set(now);
        self.process.read();
        let mut text = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "The figures could not be written out");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Default for Pulled {
    fn default() -> Self {
        Self {
            queue_waiting: gauge(
                "tok_store_queue_waiting",
                "Jobs, look-ups and mints that wait for a database connection.",
            ),
            cached_tokens: gauge("tok_verdict_cache_tokens", "Tokens whose facts are remembered."),
            cached_peers: gauge("tok_verdict_cache_peers", "Local users whose facts are remembered."),
            lines_waiting: gauge(
                "tok_audit_lines_waiting",
                "Lines of uses and refusals that wait to be written to the audit trail.",
            ),
            slow_waiting: gauge(
                "tok_slow_hashes_waiting",
                "Slow hashes (argon2id, bcrypt) that wait for one of the two threads that make them.",
            ),
            slow_made: counter(
                "tok_slow_hashes_total",
                "Slow hashes that were made, to keep a secret or to verify one.",
            ),
            open: gauge("tok_database_connections", "Open connections to PostgreSQL."),
            idle: gauge("tok_database_connections_idle", "Open connections to PostgreSQL that nobody uses now."),
            acts: counters(
                "tok_acts_total",
                "Acts written to the audit trail by this daemon: token.mint is a token minted for git, token.create one made by somebody, token.revoke one ended, token.use a use.",
                &["action", "outcome"],
            ),
        }
    }
}

impl Pulled {
    fn collectors(&self) -> Collectors {
        let gauges = [
            &self.queue_waiting,
            &self.cached_tokens,
            &self.cached_peers,
            &self.lines_waiting,
            &self.slow_waiting,
            &self.open,
            &self.idle,
        ];
        let mut all: Collectors = gauges.map(kept).into();
        all.push(kept(&self.slow_made));
        all.push(kept(&self.acts));
        all
    }

    fn set(&self, now: &Now<'_>) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.queue_waiting.set(number(now.queue_waiting));
        self.cached_tokens.set(i64::try_from(now.cached.0).unwrap_or(i64::MAX));
        self.cached_peers.set(i64::try_from(now.cached.1).unwrap_or(i64::MAX));
        self.lines_waiting.set(number(now.lines_waiting));
        self.slow_waiting.set(number(now.slow.0));
        raise(&self.slow_made, now.slow.1);
        self.open.set(now.connections.open.into());
        self.idle.set(now.connections.idle.into());
        if let Some(tally) = now.tally {
            self.count_acts(tally);
        }
    }

    fn count_acts(&self, tally: &Tally) {
        for (action, outcome, count) in tally.so_far() {
            raise(&self.acts.with_label_values(&[action.as_str(), outcome.as_str()]), count);
        }
    }
}

/// Brings a counter up to what was counted elsewhere.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// What is registered.
type Collectors = Vec<Box<dyn Collector>>;

/// A figure as the registry keeps it, beside whoever counts it up.
fn kept<C: Collector + Clone + 'static>(figure: &C) -> Box<dyn Collector> {
    Box::new(figure.clone())
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("a name of a figure")
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("a name of a figure")
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn gauge(name: &str, help: &str) -> IntGauge {
    GenericGauge::<AtomicI64>::new(name, help).expect("a name of a figure")
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn real_gauge(name: &str, help: &str) -> Gauge {
    Gauge::new(name, help).expect("a name of a figure")
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn histogram(name: &str, help: &str, buckets: &[f64], label: Option<(&str, &str)>) -> Histogram {
    let mut options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    if let Some((label, value)) = label {
        options = options.const_label(label, value);
    }
    Histogram::with_opts(options).expect("a name of a figure")
}

#[expect(clippy::expect_used, reason = "the names are constants, and a test makes each of them")]
fn build_info() -> IntGauge {
    let options = Opts::new("tok_build_info", "Always 1; its labels say which tokd runs.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("protocol", tok_api::wire::PROTOCOL.to_string());
    let info = GenericGauge::<AtomicI64>::with_opts(options).expect("a name of a figure");
    info.set(1);
    info
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    fn metrics() -> Metrics {
        let (queue, cache, failures) = (QueueFigures::default(), CacheFigures::default(), FailureFigures::default());
        let (uses, slow) = (UseFigures::default(), SlowFigures::default());
        Metrics::new(&Parts {
            queue: &queue,
            cache: &cache,
            failures: &failures,
            uses: &uses,
            slow: &slow,
            trust: &TrustFigures::default(),
        })
    }

    fn now() -> Now<'static> {
        Now {
            queue_waiting: 3,
            cached: (2, 1),
            lines_waiting: 4,
            slow: (1, 9),
            connections: Connections { open: 8, idle: 7 },
            tally: None,
        }
    }

    fn documented() -> String {
        let mut text = include_str!("metrics.md").to_owned();
        for family in metrics().registry.gather() {
            let (name, kind) = (family.name(), format!("{:?}", family.get_field_type()).to_lowercase());
            let labels: BTreeSet<&str> = family
                .get_metric()
                .iter()
                .flat_map(|one| one.get_label().iter().map(prometheus::proto::LabelPair::name))
                .collect();
            let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(text, "| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help());
        }
        text
    }

    /// `just generate` writes it anew.
    #[test]
    fn the_committed_list_of_metrics_is_what_the_code_has() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let text = documented();
        if std::env::var_os("TOK_UPDATE").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap();
        assert!(committed == text, "docs/metrics.md is stale: `just generate` writes it anew");
    }

    #[test]
    fn figures_read_as_prometheus_wants_them() {
        let metrics = metrics();
        metrics.requests.count(Door::Http, "GET /v1/tokens", Outcome::Done);
        let text = metrics.text(&now());
        for line in [
            "# TYPE tok_requests_total counter",
            "tok_requests_total{door=\"http\",operation=\"GET /v1/tokens\",outcome=\"done\"} 1",
            "tok_store_queue_waiting 3",
            "tok_verdict_cache_tokens 2",
            "tok_slow_hashes_total 9",
            "tok_database_connections 8",
            "# TYPE tok_verdict_seconds histogram",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}: {text}");
        }
        assert!(text.contains("tok_build_info{") && text.contains("process_open_fds "), "{text}");
        // Asked twice, what was counted elsewhere is not counted twice.
        assert!(metrics.text(&now()).contains("tok_slow_hashes_total 9\n"));
    }

    #[test]
    fn every_figure_is_registered_and_explained() {
        let metrics = metrics();
        let families = metrics.registry.gather();
        assert!(families.len() >= 25, "{}", families.len());
        for family in families {
            let (name, help) = (family.name(), family.help());
            assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
            assert!(name.starts_with("tok_") || name.starts_with("process_"), "{name}");
            let counts = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
            assert_eq!(name.ends_with("_total"), counts, "{name}");
        }
    }
}
