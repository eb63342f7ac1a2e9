//! What runs, as /proc shows it.

use std::fs;
use std::path::Path;

/// A process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// When it started, in clock ticks since boot: tells it from a later process with the same number.
    pub start: u64,
    /// Its command line, each argument ended by NUL.
    pub arguments: Vec<u8>,
    /// Its environment as it was given, each variable ended by NUL; empty if we may not look.
    pub variables: Vec<u8>,
}

impl Process {
    /// The process with this number, unless it has ended.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, ')' and spaces too.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
        // A zombie has ended; only its parent has not looked.
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
            arguments: read("cmdline"),
            variables: read("environ"),
        })
    }

    /// The program, for messages.
    pub fn name(&self) -> String {
        let program = self.arguments.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(program);
        format!("process {} ({})", self.pid, name.rsplit('/').next().unwrap_or_default())
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.start == self.start)
    }
}

/// A process and all that it started, directly or not.
pub fn tree(pid: i32) -> Vec<Process> {
    let everything = all();
    let mut found: Vec<Process> = everything.iter().filter(|process| process.pid == pid).cloned().collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).map(|process| process.pid) {
        found.extend(everything.iter().filter(|process| process.parent == parent && process.pid != parent).cloned());
        at += 1;
    }
    found
}

/// The processes whose working directory this is, as a PostgreSQL server's is its cluster.
pub fn working_in(directory: &Path) -> Vec<String> {
    let Ok(directory) = fs::canonicalize(directory) else { return Vec::new() };
    let there =
        |process: &Process| fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|cwd| cwd == directory);
    all().iter().filter(|process| there(process)).map(Process::name).collect()
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Process::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_arguments() {
        let own = Process::read(std::process::id().cast_signed()).unwrap();
        assert!(own.runs() && !own.arguments.is_empty() && !own.variables.is_empty());
        assert!(tree(own.parent).contains(&own));
    }
}
