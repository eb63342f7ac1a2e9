//! What the process takes of the machine, under the names that every exporter gives it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntGauge};

use super::{Collectors, gauge, kept, real_gauge};
use crate::clock::Behind;

/// The process.
pub(super) struct ProcessFigures {
    started: Gauge,
    resident: IntGauge,
    open: IntGauge,
    most: IntGauge,
    threads: IntGauge,
    behind: IntGauge,
}

impl Default for ProcessFigures {
    fn default() -> Self {
        let started = real_gauge("process_start_time_seconds", "When tokd was started, in seconds since 1970.");
        #[expect(clippy::disallowed_methods, reason = "a figure for people; nothing is decided by it")]
        let now = SystemTime::now();
        started.set(now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        Self {
            started,
            resident: gauge("process_resident_memory_bytes", "Memory of tokd that is in RAM, in bytes."),
            open: gauge("process_open_fds", "Files, sockets and pipes that tokd has open."),
            most: gauge("process_max_fds", "The most files, sockets and pipes that tokd may have open."),
            threads: gauge("process_threads", "Threads that tokd runs on."),
            behind: gauge(
                "tok_clock_behind_seconds",
                "By how many seconds this machine's clock is behind the time that tokd knows: it was set back, or the audit trail is ahead of it.",
            ),
        }
    }
}

impl ProcessFigures {
    pub(super) fn collectors(&self) -> Collectors {
        let mut all: Collectors = vec![kept(&self.started)];
        all.extend([&self.resident, &self.open, &self.most, &self.threads, &self.behind].map(kept));
        all
    }

    /// Reads what the kernel says now. What it does not say keeps its last value.
    pub(super) fn read(&self) {
        self.behind.set(Behind::seconds());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<i64>().ok()
        };
        if let Some(kib) = field("VmRSS:") {
            self.resident.set(kib.saturating_mul(1024));
        }
        if let Some(threads) = field("Threads:") {
            self.threads.set(threads);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is this directory.
            self.open.set(i64::try_from(open.count().saturating_sub(1)).unwrap_or(i64::MAX));
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.most.set(limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let figures = ProcessFigures::default();
        figures.read();
        assert!(figures.resident.get() > 1 << 20 && figures.open.get() >= 3 && figures.threads.get() >= 1);
        assert!(figures.most.get() >= figures.open.get() && figures.started.get() > 1.7e9);
    }
}
