//! What the doors' tests share.

use std::process::Command;

/// Set in the process that [`alone`] starts.
const ALONE: &str = "TOKD_TEST_ALONE";

/// Runs a test's body in a process of its own: for tests that measure or change the whole process. `name` is the full
/// name of the test that calls.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        body();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
