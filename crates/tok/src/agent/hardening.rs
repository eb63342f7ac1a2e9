//! What keeps the secrets of a process that runs for days inside it.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// No core dump, no debugger of the same user, files for nobody else, and no way into a directory that might be
/// unmounted. Whether memory stays out of the swap space is the answer.
///
/// It is all of it or nothing: the texts of tokens pass through TLS, HTTP/2 and the allocator, so that the pages with secrets
/// in them are not known. And the kernel counts what is mapped, not what is used: hundreds of megabytes, so that only who may
/// lock as much as they like can, or root. systemd's usual limit of 8 MiB is not enough.
pub(super) fn apply() -> bool {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("Core dumps could not be switched off for this process");
    }
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let _ = std::env::set_current_dir("/");
    // With a limit, memory that is asked for later could not be had any more.
    if getrlimit(Resource::Memlock).maximum.is_none() {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
    let unlimited = getrlimit(Resource::Memlock).current.is_none() || rustix::process::geteuid().is_root();
    unlimited && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}

/// Closes what whoever started this process left open, so that a pipe of theirs does not stay open for hours. For the
/// very beginning: nothing of our own is open then but what systemd passed.
pub(crate) fn close_inherited() {
    let passed: i32 = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    tok_api::local::close_from(3_i32.saturating_add(passed.max(0)));
}
