//! A data directory that `tokd dev` has made once in this process; each test starts from a copy and saves an initdb.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::environment::Environment;
use crate::processes::Process;

/// Puts a copy of the template at `data`.
pub(crate) fn adopt(data: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let environment = Environment::new();
        environment.start();
        environment.stop();
        let template = claim_template();
        copy(environment.data(), &template);
        template
    });
    copy(template, data);
}

/// With owners and modes, which std cannot copy.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--reflink=auto").arg("--").args([from, to]).status();
    assert!(status.expect("cp can be started").success(), "cannot copy {}", from.display());
}

/// Picks the path of this process's template, and removes those that dead processes of this user left.
fn claim_template() -> PathBuf {
    let prefix = format!("tokt-template-{}-", nix::unistd::Uid::effective());
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| Process::read(pid).is_none()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Path::new("/tmp").join(format!("{prefix}{}", std::process::id()))
}
