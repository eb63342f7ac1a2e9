//! The listening side of a local socket, which the daemon and a user's agent share: its place in the file system, who
//! connects, which of the two languages they speak, and how each is served.
//!
//! Only with the feature `listen`: a client of the API has no use for it.

pub mod gate;
pub mod grpc;
pub mod helper;
pub mod listener;
pub mod place;
pub mod prefixed;

/// Closes every descriptor from this one on, as far as there are any: for the very beginning of a process that was
/// started by somebody who left something open.
pub fn close_from(first: i32) {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number >= first) {
        // The descriptor that read the directory is among them, and closed already.
        let _ = nix::unistd::close(number);
    }
}
