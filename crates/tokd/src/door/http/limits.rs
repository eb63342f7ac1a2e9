//! What one connection, and all of them together, may cost.
//!
//! Each limit here is tested by what happens at it, not by its being set: hyper's timeouts, for one, are silently off
//! unless a timer is installed.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// File descriptors that are left for everything that is no connection: the store, logs, listeners, looking at
/// repositories.
const RESERVED_DESCRIPTORS: u64 = 128;
/// Descriptors one git child takes: its three pipes, and a directory being looked at.
const DESCRIPTORS_PER_CHILD: u64 = 4;

/// Limits of the remote listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time; at the limit new ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to show whether it speaks HTTP/1 or HTTP/2.
    pub first_bytes: Duration,
    /// How long an HTTP/1 request's head may take, counted from when the connection became idle; so it also ends idle
    /// connections.
    pub head: Duration,
    /// How long an HTTP/2 connection may stay without a request.
    pub idle: Duration,
    /// How long a client may leave an answer unread.
    pub unread: Duration,
    /// Header lines of a request.
    pub header_lines: usize,
    /// Bytes of a request's head.
    pub header_bytes: u32,
    /// HTTP/2 requests at a time on one connection.
    pub streams: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            first_bytes: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            unread: Duration::from_secs(120),
            header_lines: 64,
            header_bytes: 32 * 1024,
            streams: 128,
        }
    }
}

impl HttpLimits {
    /// Lowers the number of connections to what the process's descriptors (`RLIMIT_NOFILE`) can bear beside
    /// `children` git processes, so that a flood of clients never takes the descriptors that serve them.
    #[must_use]
    pub fn within_descriptors(mut self, descriptors: u64, children: usize) -> Self {
        let taken = RESERVED_DESCRIPTORS + DESCRIPTORS_PER_CHILD * children as u64;
        let bearable = descriptors.saturating_sub(taken).max(16);
        self.connections = self.connections.min(usize::try_from(bearable).unwrap_or(usize::MAX));
        self
    }

    pub(super) fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // The connection counts its requests and ends when there was none for `head`. hyper's own timeout would make
            // and drop a timer for each request.
            .header_read_timeout(None)
            .max_headers(self.header_lines)
            .max_header_size(self.header_bytes as usize)
            // Also the largest piece of a body that waits in memory, either way.
            .max_buf_size(BUFFER.max(self.header_bytes as usize));
        builder
    }

    pub(super) fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.streams)
            .max_header_list_size(self.header_bytes)
            // Requests opened and reset at once (CVE-2023-44487) end the connection soon.
            .max_pending_accept_reset_streams(32)
            .max_local_error_reset_streams(64)
            .max_frame_size(16 * 1024)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(BUFFER)
            // A peer that vanished without a word is noticed even while a request of its runs.
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        builder
    }
}

/// Bytes of a body that wait in memory for one connection, each way.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_serving_them() {
        let limits = HttpLimits::default();
        assert_eq!(limits.within_descriptors(1 << 20, 64).connections, 4096);
        assert_eq!(limits.within_descriptors(1024, 64).connections, 1024 - 128 - 256);
        assert_eq!(limits.within_descriptors(64, 64).connections, 16);
    }
}
