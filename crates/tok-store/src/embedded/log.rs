//! What the server prints: handed on line by line, the last lines kept for error messages.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

/// How many lines an error shows.
const TAIL_LINES: usize = 20;

/// Longer lines are cut: a log line must not be able to fill memory.
const LINE_BYTES: u64 = 16 * 1024;

/// Where the lines of the server's log go, each with its level.
#[derive(Clone)]
pub struct LogSink(Arc<WriteLine>);

type WriteLine = dyn Fn(Level, &str) + Send + Sync;

impl LogSink {
    /// A sink that calls `write` for each line, from a thread of its own.
    pub fn new(write: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(super) fn write(&self, level: Level, line: &str) {
        (self.0)(level, line);
    }
}

/// The daemon's own log, target `postgres`.
impl Default for LogSink {
    fn default() -> Self {
        Self::new(|level, line| match level {
            Level::ERROR => tracing::error!(target: "postgres", "{line}"),
            Level::WARN => tracing::warn!(target: "postgres", "{line}"),
            Level::INFO => tracing::info!(target: "postgres", "{line}"),
            _ => tracing::debug!(target: "postgres", "{line}"),
        })
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// The last lines of a log, as an error shows them: indented below the sentence, nothing if there are none.
#[derive(Clone, Debug, Default)]
pub struct Tail(Vec<String>);

impl Tail {
    /// The last lines of finished output.
    pub(super) fn of(output: &[u8], alias: &Alias) -> Self {
        let text = String::from_utf8_lossy(output);
        let lines: Vec<_> =
            text.lines().filter(|line| !line.trim().is_empty()).map(|line| alias.resolve(line)).collect();
        Self(lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec())
    }

    /// Whether the program ran out of disk. Its messages are English: it is started with `LC_ALL=C`.
    pub(super) fn tells_of_full_disk(&self) -> bool {
        let signs = ["No space left on device", "Disk quota exceeded", "Check free disk space."];
        // A full /dev/shm gives the same reason, but is not where the data goes.
        let about_disk = |line: &&String| !line.contains("shared memory segment");
        self.0.iter().filter(about_disk).any(|line| signs.iter().any(|sign| line.contains(sign)))
    }
}

/// The name under which a program knows the cluster directory, and the one that people know.
#[derive(Clone, Debug, Default)]
pub(super) struct Alias {
    pub(super) inherited: String,
    pub(super) path: String,
}

impl Alias {
    fn resolve(&self, line: &str) -> String {
        if self.inherited.is_empty() { line.to_owned() } else { line.replace(&self.inherited, &self.path) }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() {
            f.write_str("\nits last words:")?;
        }
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// A running program's log: passed on as it comes, the last lines kept.
pub(super) struct Log {
    sink: LogSink,
    alias: Alias,
    state: Mutex<LogState>,
    ended: Condvar,
}

struct LogState {
    lines: VecDeque<String>,
    last_news: Instant,
    ended: bool,
}

impl Log {
    pub(super) fn new(sink: LogSink, alias: Alias) -> Self {
        let state = LogState { lines: VecDeque::new(), last_news: Instant::now(), ended: false };
        Self { sink, alias, state: Mutex::new(state), ended: Condvar::new() }
    }

    /// Reads until every holder of the other end is gone. Meant for a thread of its own.
    pub(super) fn follow(&self, pipe: impl Read) {
        let mut reader = BufReader::new(pipe);
        let mut level = Level::DEBUG;
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if !text.is_empty() {
                level = level_of(text).unwrap_or(level);
                let text = self.alias.resolve(text);
                self.sink.write(level, &text);
                self.keep(text);
            }
        }
        self.state().ended = true;
        self.ended.notify_all();
    }

    /// When the program last printed something.
    pub(super) fn last_news(&self) -> Instant {
        self.state().last_news
    }

    /// The last lines. After the program's end this waits a moment for what is still in the pipe.
    pub(super) fn tail(&self, patience: Duration) -> Tail {
        let (state, _) = self
            .ended
            .wait_timeout_while(self.state(), patience, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        Tail(state.lines.iter().cloned().collect())
    }

    fn keep(&self, line: String) {
        let mut state = self.state();
        if state.lines.len() == TAIL_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
        state.last_news = Instant::now();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `postgres` puts before each line: the kind of process. [`level_of`] knows it.
pub(super) const LINE_PREFIX: &str = "[%b] ";

/// The level of a line with a severity; a continuation line (DETAIL, HINT, …) has none of its own.
///
/// `PostgreSQL`'s LOG is its chatter about starting and stopping: debug for us. An ERROR in a client's session
/// also reaches that client, who knows whether it matters; elsewhere nobody else hears of it.
fn level_of(line: &str) -> Option<Level> {
    let (process, message) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or(("", line));
    let (severity, text) = message.split_once(':')?;
    match severity {
        "PANIC" => Some(Level::ERROR),
        // What a shutdown tells each of our own connections.
        "FATAL" if text.ends_with("terminating connection due to administrator command") => Some(Level::DEBUG),
        "ERROR" if process == "client backend" => Some(Level::DEBUG),
        "FATAL" | "ERROR" | "WARNING" => Some(Level::WARN),
        "LOG" | "INFO" | "NOTICE" => Some(Level::DEBUG),
        severity if severity.starts_with("DEBUG") => Some(Level::TRACE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_a_level_and_the_last_ones_are_kept() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&seen);
        let sink = LogSink::new(move |level, line| copy.lock().unwrap().push((level, line.to_owned())));
        let log = Log::new(sink, Alias { inherited: "/proc/self/fd/7".to_owned(), path: "/data/pg".to_owned() });
        let more = (0..30).map(|n| format!("LOG:  line {n}")).collect::<Vec<_>>().join("\n");
        let text = format!(
            "[postmaster] LOG:  starting\nFATAL:  no /proc/self/fd/7\n[client backend] HINT:  because\n\n{more}\n"
        );
        log.follow(text.as_bytes());

        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], (Level::DEBUG, "[postmaster] LOG:  starting".to_owned()));
        assert_eq!(seen[1], (Level::WARN, "FATAL:  no /data/pg".to_owned()));
        assert_eq!(seen[2], (Level::WARN, "[client backend] HINT:  because".to_owned()));
        assert_eq!(seen.len(), 33);
        let tail = log.tail(Duration::ZERO).to_string();
        assert_eq!(tail.lines().filter(|line| line.contains("LOG:")).count(), TAIL_LINES);
        assert!(tail.ends_with("line 29"));
    }

    #[test]
    fn an_error_is_loud_only_where_nobody_else_hears_of_it() {
        let cases = [
            ("[client backend] ERROR:  duplicate key value", Some(Level::DEBUG)),
            ("[checkpointer] ERROR:  could not write", Some(Level::WARN)),
            ("[client backend] FATAL:  terminating connection due to administrator command", Some(Level::DEBUG)),
            ("[client backend] FATAL:  sorry, too many clients already", Some(Level::WARN)),
            ("[client backend] PANIC:  lost", Some(Level::ERROR)),
            ("[client backend] DETAIL:  Key (name)=(x) already exists.", None),
            ("words without a colon", None),
        ];
        for (line, level) in cases {
            assert_eq!(level_of(line), level, "{line}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_full_shared_memory() {
        let full = |output: &str| Tail::of(output.as_bytes(), &Alias::default()).tells_of_full_disk();
        assert!(full("FATAL:  could not write lock file \"postmaster.pid\": No space left on device\n"));
        assert!(full(
            "ERROR:  could not extend file \"base/1/2\": wrote only 4096 of 8192 bytes\nHINT:  Check free disk space.\n"
        ));
        assert!(!full("FATAL:  could not resize shared memory segment \"/x\" to 1 bytes: No space left on device\n"));
        assert!(!full("FATAL:  something else\n"));
    }

    #[test]
    fn an_endless_line_is_cut_not_collected() {
        let log = Log::new(LogSink::new(|_, _| {}), Alias::default());
        log.follow(std::io::repeat(b'x').take(LINE_BYTES * 3));
        assert_eq!(log.tail(Duration::ZERO).0.iter().map(String::len).max(), usize::try_from(LINE_BYTES).ok());
    }
}
