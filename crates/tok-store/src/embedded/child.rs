//! The one place between fork and exec.
#![expect(
    unsafe_code,
    reason = "CommandExt::pre_exec: only code between fork and exec can tie the child's life to ours"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets `directory` (open in this process) stay open in the program, and has the kernel send `signal` to the
/// program when the *thread* that spawns it ends, however that happens: `prctl(2)`, `PR_SET_PDEATHSIG`.
///
/// `directory` keeps its number, so `/proc/self/fd/<number>` names it in the program; it must stay open here
/// until the program has been spawned.
pub(super) fn tie_to_this_thread(command: &mut Command, directory: BorrowedFd<'_>, signal: Signal) {
    let number: RawFd = directory.as_raw_fd();
    let parent: Pid = getpid();
    let prepare = move || -> io::Result<()> {
        set_parent_process_death_signal(Some(signal))?;
        // The parent may have died before the line above: then no signal will ever come.
        if getppid() != Some(parent) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        // SAFETY: the caller keeps `directory` open until after the spawn, and fork copied it.
        fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: `prepare` runs in the forked child of a process with threads. It makes three plain system calls
    // (prctl, getppid, fcntl), allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}
