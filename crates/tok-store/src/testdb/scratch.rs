//! Where tests keep what they throw away.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Access, StatVfs, StatVfsMountFlags, access, statvfs};

/// What must be free, in bytes, of memory and of what of it may hold files: several times what all tests need at once.
const ROOM: u64 = 4 << 30;

static IN_MEMORY: OnceLock<bool> = OnceLock::new();

/// A directory in memory, if this machine has one with room enough.
///
/// A cluster is some thousand small files, and tests make and remove hundreds of clusters. Disks are at their slowest
/// there: ext4 does not use the inode of a removed file again for a minute or more, and looks at each of those in vain
/// before it finds another. Nothing is lost with memory, since what a process wrote is there after its death, and no test
/// cuts the power. With the variable `TOK_TEST_ON_DISK` everything is on disk all the same.
pub fn in_memory() -> Option<&'static Path> {
    let path = Path::new("/dev/shm");
    let suits = || std::env::var_os("TOK_TEST_ON_DISK").is_none() && statvfs(path).is_ok_and(|it| suits(&it, path));
    IN_MEMORY.get_or_init(suits).then_some(path)
}

/// Has this process keep everything on disk: it measures what disks cost. To be said before anything is kept.
///
/// # Panics
/// If something is in memory already.
pub fn on_disk() {
    assert!(!*IN_MEMORY.get_or_init(|| false), "something is in memory already");
}

fn suits(status: &StatVfs, path: &Path) -> bool {
    // Tests put programs there, too.
    let no_use = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOEXEC;
    !status.f_flag.intersects(no_use)
        && status.f_bavail.saturating_mul(status.f_frsize) >= ROOM
        && fs::read_to_string("/proc/meminfo").is_ok_and(|text| available(&text) >= ROOM)
        && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The memory that can be had without swapping, in bytes, as the kernel sees it (proc(5), meminfo).
fn available(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default().saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_memory_is_read_and_no_word_is_no_memory() {
        assert_eq!(
            available("MemTotal:  24684100 kB\nMemFree: 1 kB\nMemAvailable:   21589972 kB\n"),
            21_589_972 * 1024
        );
        for text in ["", "MemTotal: 8 kB\n", "MemAvailable: much kB\n"] {
            assert_eq!(available(text), 0, "{text:?}");
        }
        assert!(available(&fs::read_to_string("/proc/meminfo").unwrap()) > 0);
    }
}
