//! What the doors' tests share.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the process that [`alone`] starts.
const ALONE: &str = "TOKD_TEST_ALONE";

/// Runs a test's body in a process of its own: for tests that measure or change the whole process. `name` is the full
/// name of the test that calls.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        body();
        return;
    }
    // Not by its path: a build may have replaced the file meanwhile.
    let output = Command::new("/proc/self/exe")
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Writes a script that can be executed. Through a shell: a file that this process has open for writing, or that
/// another test's child inherited in that moment, could not be executed ("text file busy").
pub(crate) fn script(path: &Path, text: &str) {
    let mut writing = Command::new("/bin/sh")
        .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writing.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writing.wait().unwrap().success());
}
