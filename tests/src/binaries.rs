//! Where the three binaries are: next to the test's own, built before it by `./dev test`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names another directory to take the binaries from, such as an installed `/usr/bin`.
pub const OVERRIDE: &str = "TOK_TEST_BIN_DIR";

/// The directory of `tokd`, `tok` and `git-credential-tok`.
pub fn directory() -> PathBuf {
    if let Some(directory) = env::var_os(OVERRIDE) {
        return PathBuf::from(directory);
    }
    // target/debug/deps/it-0123 or target/debug/bench
    let own = env::current_exe().expect("this process has a path");
    let directory = own.parent().expect("a file is in a directory");
    let directory =
        if directory.ends_with("deps") { directory.parent().expect("deps is in a directory") } else { directory };
    directory.to_owned()
}

/// The path of one of the three.
pub fn path(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.is_file(), "{} is missing: run `just build` first, or set {OVERRIDE}", path.display());
    path
}

/// The path of an example of the client library, which no package installs.
pub fn example(name: &str) -> PathBuf {
    let own = env::current_exe().expect("this process has a path");
    let target = own.parent().and_then(Path::parent).expect("it is in target/debug/deps");
    let path = target.join("examples").join(name);
    assert!(path.is_file(), "{} is missing: run `just build` first", path.display());
    path
}

/// The repository that the tests were built from.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the workspace").to_owned()
}

/// What processes of a test find on `PATH`: our binaries first, then the system's.
pub fn search_path() -> OsString {
    let mut path = directory().into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()));
    path
}
