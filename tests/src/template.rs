//! A data directory that `tokd dev` has made once in this process; each test starts from a copy and saves an initdb.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::environment::Environment;
use crate::scratch;

/// Puts a copy of the template at `data`.
pub(crate) fn adopt(data: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let environment = Environment::new();
        environment.start();
        environment.stop();
        let template = scratch::template();
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
