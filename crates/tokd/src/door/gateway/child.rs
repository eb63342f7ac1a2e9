//! The life of a git child and everything it started: one process group, ended as a whole.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep_until, timeout};

/// How long git may clean up (its quarantine, its locks) before it is killed.
const CLEANING: Duration = Duration::from_secs(2);
/// How long the kernel may take to end what was killed.
const DYING: Duration = Duration::from_secs(5);
/// How much of what git says on its error output is kept, in bytes.
const LONGEST_COMPLAINT: usize = 4 * 1024;

/// A running git and its descendants. Dropping it kills them all.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    id: Option<Pid>,
}

/// The child's three pipes, as they come.
pub(super) struct Pipes {
    pub(super) input: Option<ChildStdin>,
    pub(super) output: ChildStdout,
    pub(super) complaints: ChildStderr,
}

impl Group {
    /// Starts a command as the leader of a new process group.
    pub(super) fn start(mut command: Command) -> Result<(Self, Pipes), std::io::Error> {
        let mut leader = command.process_group(0).spawn()?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let missing = || std::io::Error::other("the child has no pipe");
        let pipes = Pipes {
            input: leader.stdin.take(),
            output: leader.stdout.take().ok_or_else(missing)?,
            complaints: leader.stderr.take().ok_or_else(missing)?,
        };
        Ok((Self { leader, id }, pipes))
    }

    /// Waits for the leader, whose outputs are closed: it is about to end, or it is killed.
    pub(super) async fn finish(mut self) -> Option<ExitStatus> {
        let status = match timeout(DYING, self.leader.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.signal(Signal::SIGKILL);
                timeout(DYING, self.leader.wait()).await.ok()?.ok()
            }
        };
        // From here on the id may be anybody's.
        self.id = None;
        status
    }

    /// Asks the whole group to stop, and kills it if it does not; with `by_itself`, it is first given the time to end
    /// on its own. `all_gone` completes when no process holds the group's error output any more: that is how the end
    /// of descendants is seen that are not our children.
    ///
    /// The leader is not waited for before that, so its process id, and with it the group's, cannot be anyone else's.
    pub(super) async fn end(self, by_itself: bool, all_gone: impl Future<Output = ()>) {
        let mut all_gone = pin!(all_gone);
        if by_itself && timeout(CLEANING, all_gone.as_mut()).await.is_ok() {
            self.finish().await;
            return;
        }
        self.signal(Signal::SIGTERM);
        if timeout(CLEANING, all_gone.as_mut()).await.is_err() {
            self.signal(Signal::SIGKILL);
            if timeout(DYING, all_gone).await.is_err() {
                tracing::warn!(group = self.id.map(Pid::as_raw), "A killed git is still there: is its disk answering?");
            }
        }
        // What ignores SIGTERM with its error output closed is caught by this.
        self.signal(Signal::SIGKILL);
        self.finish().await;
    }

    /// Where git collects a push until it accepts it, if it is at that. (git's children are told by
    /// `GIT_QUARANTINE_PATH`; the kernel shows it to us as their owner.)
    pub(super) fn quarantine(&self) -> Option<PathBuf> {
        let mut waiting = vec![self.id?.to_string()];
        while let Some(id) = waiting.pop() {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let quarantine = environment.split(|byte| *byte == 0).find_map(|v| v.strip_prefix(b"GIT_QUARANTINE_PATH="));
            if let Some(path) = quarantine {
                return Some(PathBuf::from(OsStr::from_bytes(path)));
            }
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            waiting.extend(children.split_whitespace().map(str::to_owned));
        }
        None
    }

    fn signal(&self, signal: Signal) {
        let Some(id) = self.id else { return };
        match killpg(id, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                tracing::warn!(group = id.as_raw(), %signal, %error, "A git process group cannot be signalled");
            }
        }
    }
}

impl Drop for Group {
    /// Reached with a living group only when the runtime itself is stopped.
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Collects what git complains about, bounded and printable. Completes when the last process of the group closed it.
pub(super) async fn collect<R: AsyncRead + Unpin>(mut complaints: R, into: &mut String) {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = complaints.read(&mut buffer).await {
        let room = LONGEST_COMPLAINT - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
        // What was said so far counts even if the end is never reached.
        *into = printable(&kept);
    }
}

/// One line for the log, in which nothing is a control character.
fn printable(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<String> = said.lines().map(|line| line.trim().escape_debug().to_string()).collect();
    lines.join(" | ")
}

/// When a byte last moved, in either direction.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Activity {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(super) fn touch(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Completes when nothing moved for `limit`.
    pub(super) async fn quiet_for(&self, limit: Duration) {
        loop {
            let last = self.began + Duration::from_millis(self.last.load(Ordering::Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            sleep_until(last + limit).await;
        }
    }

    /// How long it took altogether.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn shell(script: &str) -> (Group, Pipes) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Group::start(command).unwrap()
    }

    fn alive(id: i32) -> bool {
        // A zombie that init has not collected yet is as dead as can be.
        std::fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with(['Z', 'X']))
    }

    /// A dying process closes its pipes a moment before it is dead.
    async fn dead(id: i32) {
        let dying = async {
            while alive(id) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DYING, dying).await.unwrap();
    }

    async fn line(output: &mut ChildStdout) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(output.read_u8().await.unwrap());
        }
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    #[tokio::test]
    async fn descendants_end_with_their_leader() {
        let (group, mut pipes) = shell("sleep 1000 & echo $!; wait");
        let grandchild: i32 = line(&mut pipes.output).await.parse().unwrap();
        assert!(alive(grandchild));
        let mut said = String::new();
        group.end(false, collect(pipes.complaints, &mut said)).await;
        dead(grandchild).await;
    }

    #[tokio::test]
    async fn who_ignores_the_request_is_killed_and_who_heeds_it_may_clean_up() {
        let (group, mut pipes) = shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
        let leader = group.id.unwrap().as_raw();
        line(&mut pipes.output).await;
        let began = Instant::now();
        group.end(false, collect(pipes.complaints, &mut String::new())).await;
        assert!(began.elapsed() >= CLEANING);
        dead(leader).await;

        let (group, mut pipes) = shell("trap 'echo cleaned >&2; exit 1' TERM; sleep 1000 & echo ready; wait");
        line(&mut pipes.output).await;
        let mut said = String::new();
        group.end(false, collect(pipes.complaints, &mut said)).await;
        assert!(said.contains("cleaned"), "{said}");
    }

    #[tokio::test]
    async fn dropping_the_group_kills_it() {
        let (group, mut pipes) = shell("sleep 1000 & echo $!; wait");
        let grandchild: i32 = line(&mut pipes.output).await.parse().unwrap();
        drop(group);
        // Its end is seen by the pipe it held.
        collect(pipes.complaints, &mut String::new()).await;
        dead(grandchild).await;
    }

    #[tokio::test]
    async fn complaints_are_bounded_and_cannot_forge_log_lines() {
        let mut said = String::new();
        collect(&b"fatal: a\x1b[31m\nb\r\n"[..], &mut said).await;
        assert_eq!(said, "fatal: a\\u{1b}[31m | b");
        let flood = vec![b'x'; 100_000];
        collect(&flood[..], &mut said).await;
        assert_eq!(said.len(), LONGEST_COMPLAINT);
    }

    #[tokio::test]
    async fn quiet_is_counted_from_the_last_byte() {
        let activity = Activity::begin();
        let limit = Duration::from_millis(200);
        let half = limit / 2;
        // Nothing but the passing of time can be waited for here.
        tokio::time::sleep(half).await;
        activity.touch();
        activity.quiet_for(limit).await;
        assert!(activity.elapsed() >= half + limit);
    }
}
