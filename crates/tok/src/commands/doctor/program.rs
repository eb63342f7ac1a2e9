//! git itself.

use super::finding::{Check, Finding};
use crate::commands::git::process::Git;

/// The oldest git whose configuration is read here.
const OLDEST: (u32, u32) = (2, 31);
/// The first git that passes a server's challenge on to its helpers.
const CHALLENGE: (u32, u32) = (2, 41);
/// The first git that takes a token as it is, and asks again instead of failing.
const BEARER: (u32, u32) = (2, 46);

/// Whether git is there and new enough.
pub(super) fn git(git: &Git) -> Check {
    let said = git.says(&["version"]).ok().flatten();
    let finding = match said.as_deref().and_then(version_of) {
        None => Some(
            Finding::error("git is not installed, or not on PATH", "without it there is nobody to answer")
                .fix("sudo apt-get install git"),
        ),
        Some(version) => judge(version),
    };
    Check::new("git-version", None, said, finding.into_iter().collect())
}

fn judge(version: (u32, u32)) -> Option<Finding> {
    let (major, minor) = version;
    let what = format!("git is {major}.{minor}");
    let upgrade = "sudo apt-get install -t \"$(. /etc/os-release; echo $VERSION_CODENAME)-backports\" git";
    if version < OLDEST {
        Some(Finding::error(format!("{what}, older than 2.31"), "tok is not tried with it").fix(upgrade))
    } else if version < CHALLENGE {
        let why = "before 2.41 it keeps the server's challenge to itself, so that a push gets a token to read unless it is known to be a push; before 2.46 a token is a password, which other helpers may write to disk";
        Some(Finding::warning(what, why).fix(upgrade))
    } else if version < BEARER {
        let why = "before 2.46 a token is a password, which other helpers may write to disk, and a token that has ended fails one command before the next works";
        Some(Finding::warning(what, why).fix(upgrade))
    } else {
        None
    }
}

/// Major and minor version, of `git version 2.47.3` and what vendors make of it.
pub(in crate::commands) fn version_of(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(2)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity;

    #[test]
    fn old_ones_are_named() {
        assert_eq!(version_of("git version 2.39.5 (Apple Git-154)"), Some((2, 39)));
        assert_eq!(version_of("git version 2.47.3"), Some((2, 47)));
        assert_eq!(version_of("2.47.3"), None);
        let severity = |version| judge(version).map(|finding| finding.severity);
        assert_eq!(severity((2, 30)), Some(Severity::Error));
        assert_eq!(severity((2, 39)), Some(Severity::Warning));
        assert_eq!(severity((2, 45)), Some(Severity::Warning));
        assert_eq!((severity((2, 46)), severity((3, 0))), (None, None));
    }
}
