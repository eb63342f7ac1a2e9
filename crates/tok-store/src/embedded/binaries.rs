//! Where `PostgreSQL`'s server programs are. Distributions keep them off PATH, one directory per major version.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// The oldest major version tok works with.
pub const OLDEST_MAJOR: u32 = 14;

/// Directories whose children are named after a major version and hold a `bin`, and the prefix of those names.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// The variable that names the directory when no option does.
const VARIABLE: &str = "TOK_PG_BIN";

/// One installed `PostgreSQL`: a directory with `initdb` and `postgres`, and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    major: u32,
}

impl Binaries {
    /// The newest usable installation.
    ///
    /// `override_dir`, or else the variable `TOK_PG_BIN`, is the only place looked at when given. Without them:
    /// what `pg_config` names, `/usr/lib/postgresql/<N>/bin`, `/usr/pgsql-<N>/bin` and PATH.
    ///
    /// # Errors
    /// [`EmbeddedError::BinariesMissing`], or [`EmbeddedError::BinariesUnusable`] for a directory given by name.
    pub fn find(override_dir: Option<&Path>) -> Result<Self, EmbeddedError> {
        let mut found = Self::all(override_dir)?;
        // `all` never returns an empty list; the newest is first.
        Ok(found.swap_remove(0))
    }

    /// The installation that can run the cluster in `path`, made by `major`.
    pub(super) fn for_cluster(override_dir: Option<&Path>, path: &Path, major: u32) -> Result<Self, EmbeddedError> {
        let wrong = |installed: String| EmbeddedError::WrongMajor { path: path.to_owned(), cluster: major, installed };
        let found = match Self::all(override_dir) {
            Ok(found) => found,
            Err(EmbeddedError::BinariesMissing { .. }) => return Err(wrong("no usable PostgreSQL".to_owned())),
            Err(other) => return Err(other),
        };
        let installed = || found.iter().map(|one| format!("version {}", one.major)).collect::<Vec<_>>().join(", ");
        found.iter().find(|one| one.major == major).cloned().ok_or_else(|| wrong(installed()))
    }

    /// The major version, for example 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The directory that holds the programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Every usable installation, newest first, never empty.
    fn all(override_dir: Option<&Path>) -> Result<Vec<Self>, EmbeddedError> {
        let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(directory) = override_dir.map(Path::to_owned).or(variable) {
            return match Self::probe(&directory) {
                Ok(one) => Ok(vec![one]),
                Err(reason) => Err(EmbeddedError::BinariesUnusable { directory, reason }),
            };
        }
        let mut found: Vec<Self> = candidates().iter().filter_map(|directory| Self::probe(directory).ok()).collect();
        // Stable: of two with the same version the one found first stays first.
        found.sort_by_key(|one| std::cmp::Reverse(one.major));
        found.dedup_by_key(|one| one.major);
        if found.is_empty() {
            let mut looked_in: Vec<_> =
                VERSIONED.iter().map(|(parent, prefix)| format!("{parent}/{prefix}*/bin")).collect();
            looked_in.extend(["`pg_config --bindir`".to_owned(), "PATH".to_owned()]);
            return Err(EmbeddedError::BinariesMissing { oldest: OLDEST_MAJOR, looked_in: looked_in.join(", ") });
        }
        Ok(found)
    }

    /// Looks at one directory; the reason says what is wrong with it.
    fn probe(directory: &Path) -> Result<Self, String> {
        // The programs are started with "/" as their working directory.
        let directory = fs::canonicalize(directory).map_err(|error| error.to_string())?;
        if let Some(missing) = ["initdb", "postgres"].into_iter().find(|name| !directory.join(name).is_file()) {
            return Err(format!("there is no `{missing}` in it"));
        }
        let printed = output(&directory.join("postgres"), "--version")?;
        let major = major_of(&printed).ok_or_else(|| format!("`postgres --version` printed {printed:?}"))?;
        if major < OLDEST_MAJOR {
            return Err(format!("it is version {major}, and tok needs {OLDEST_MAJOR} or newer"));
        }
        Ok(Self { directory, major })
    }
}

/// The directories worth a look, in the order in which equal versions win.
fn candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    let mut add = |directory: PathBuf| {
        if directory.join("postgres").is_file() && !candidates.contains(&directory) {
            candidates.push(directory);
        }
    };
    if let Ok(directory) = output(Path::new("pg_config"), "--bindir") {
        add(PathBuf::from(directory));
    }
    for (parent, prefix) in VERSIONED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if is_version(&entry.file_name(), prefix) {
                add(entry.path().join("bin"));
            }
        }
    }
    env::var_os("PATH").iter().flat_map(env::split_paths).filter(|path| path.is_absolute()).for_each(add);
    candidates
}

fn is_version(name: &OsStr, prefix: &str) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Runs `program argument`; the first line it prints, or why there is none.
fn output(program: &Path, argument: &str) -> Result<String, String> {
    let result = Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = result.map_err(|error| format!("`{} {argument}`: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("`{} {argument}` failed ({})", program.display(), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}

/// 15 from "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", 18 from "… 18beta1".
fn major_of(printed: &str) -> Option<u32> {
    let version = printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 17devel"), Some(17));
        assert_eq!(major_of("something else"), None);
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn an_installed_version_is_found_and_can_be_named() {
        let newest = Binaries::find(None).unwrap();
        assert!(newest.major() >= OLDEST_MAJOR);
        assert!(newest.program("initdb").is_file());
        assert_eq!(Binaries::find(Some(newest.directory())).unwrap(), newest);
    }

    #[test]
    fn a_named_directory_is_never_replaced_by_another() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::find(Some(empty.path())).unwrap_err().to_string();
        assert!(error.contains("there is no `initdb`"), "{error}");
        let error = Binaries::find(Some(Path::new("/nonexistent"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn another_major_names_both_versions_and_the_package() {
        let directory = fake("postgres (PostgreSQL) 14.1");
        let error = Binaries::for_cluster(Some(directory.path()), Path::new("/data/pg"), 16).unwrap_err().to_string();
        for part in ["PostgreSQL 16", "version 14", "postgresql-16", "/data/pg"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_version_that_is_too_old_is_refused() {
        let directory = fake("postgres (PostgreSQL) 13.4");
        let error = Binaries::find(Some(directory.path())).unwrap_err().to_string();
        assert!(error.contains("version 13") && error.contains("needs 14"), "{error}");
    }

    /// The programs are written by another process: a file that this one has open for writing could leak into a
    /// child forked by a test next door, and would then be "busy" when executed.
    fn fake(version: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let script =
            r#"for name in postgres initdb; do printf '#!/bin/sh\necho "%s"\n' "$1" > $name; chmod +x $name; done"#;
        let status = Command::new("sh").args(["-c", script, "sh", version]).current_dir(&directory).status().unwrap();
        assert!(status.success());
        directory
    }
}
