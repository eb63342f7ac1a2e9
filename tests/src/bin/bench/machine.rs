//! Where the numbers come from: they mean nothing without.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tok_tests::binaries;
use tok_tests::environment::Environment;

/// What was measured, on what, and when.
pub(crate) fn describe(environment: &Environment) -> Value {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let server = environment.rows("SELECT current_setting('server_version') AS version");
    json!({
        "date": output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "commit": output("git", &["describe", "--always", "--dirty"]),
        "processor": model.map(|(_, model)| model),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": file("/proc/sys/kernel/osrelease").trim(),
        "load_average_at_start": file("/proc/loadavg").split(' ').next(),
        "git": output("git", &["--version"]),
        "postgresql": server.first().map(|row| row["version"].clone()),
        "rustc": output("rustc", &["--version"]),
    })
}

/// The first line that a program prints; nothing if it does not run.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(binaries::workspace()).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned())
}
