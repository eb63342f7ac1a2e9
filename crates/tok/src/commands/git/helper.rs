//! What git is told to run: the value of `credential.<url>.helper`.
//!
//! git passes it to a shell: a plain word `x` runs `git credential-x`, a value that begins with `/` or `!` runs as it is.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::Git;
use crate::exit::Failure;
use crate::logins::Profile;
use crate::output::quoted;

/// The program that git runs.
pub(in crate::commands) const PROGRAM: &str = "git-credential-tok";

/// How git finds the helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Helper {
    /// On PATH, by its name.
    Named,
    /// At this absolute path.
    At(PathBuf),
}

impl Helper {
    /// The helper that was asked for; else the one on PATH; else the one beside this program.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = asked {
            let absolute = std::path::absolute(path).map_err(|error| Failure::usage(format!("--helper: {error}")))?;
            return if is_executable(&absolute) {
                Ok(Self::At(absolute))
            } else {
                Err(Failure::usage(format!("--helper: there is no program at {}", absolute.display())))
            };
        }
        if is_on_path(env::var_os("PATH").as_deref()) {
            return Ok(Self::Named);
        }
        let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.join(PROGRAM)));
        match beside.filter(|path| is_executable(path)) {
            Some(path) => Ok(Self::At(path)),
            None => Err(Failure::local(format!("{PROGRAM} is neither on PATH nor beside this program"))
                .hint("install it, or say where it is with `--helper PATH`")),
        }
    }

    /// The value for git's configuration. A socket is named when the helper would not look there by itself.
    pub(crate) fn value(&self, socket: Option<&Path>, profile: Option<&Profile>) -> Result<String, Failure> {
        let mut value = match self {
            Self::Named => "tok".to_owned(),
            Self::At(path) => {
                let path = text(path)?;
                let quoted = quoted(path);
                // In quotes it no longer begins with a slash, which is how git would have known it for a path.
                if quoted == path { quoted } else { format!("!{quoted}") }
            }
        };
        if let Some(socket) = socket {
            value.push_str(" --socket ");
            value.push_str(&quoted(text(socket)?));
        }
        if let Some(profile) = profile {
            value.push_str(" --profile ");
            value.push_str(&profile.to_string());
        }
        Ok(value)
    }
}

/// The version that a helper of ours says it is, run as git runs it. None if git cannot run it.
pub(in crate::commands) fn version(git: &Git, value: &str) -> Option<String> {
    let own = env::var("PATH").unwrap_or_default();
    // git looks among its own programs first.
    let path = match git.says(&["--exec-path"]).ok().flatten() {
        Some(programs) => format!("{programs}:{own}"),
        None => own,
    };
    let output = Command::new("sh")
        .args(["-c", &format!("exec {} --version", super::command(value))])
        .env("PATH", path)
        .env_remove("TOK_TOKEN")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    said.strip_prefix(PROGRAM).map(|version| version.trim().to_owned())
}

/// Whether a value in git's configuration runs our helper.
pub(in crate::commands) fn is_ours(value: &str) -> bool {
    value == "tok" || value.starts_with("tok ") || value.contains(PROGRAM)
}

fn text(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.ok_or_else(|| Failure::usage(format!("git's configuration cannot hold the path {}", path.display())))
}

fn is_on_path(path: Option<&OsStr>) -> bool {
    path.is_some_and(|path| env::split_paths(path).any(|directory| is_executable(&directory.join(PROGRAM))))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn program(directory: &Path) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(PROGRAM);
        fs::write(&path, "#!/bin/sh\nprintf '<%s>' \"$@\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn values_are_what_git_understands() {
        let value = |helper: Helper, socket: Option<&str>| helper.value(socket.map(Path::new), None).unwrap();
        assert_eq!(value(Helper::Named, None), "tok");
        assert_eq!(value(Helper::Named, Some("/a b/x.sock")), "tok --socket '/a b/x.sock'");
        let work = "work".parse().unwrap();
        assert_eq!(Helper::Named.value(None, Some(&work)).unwrap(), "tok --profile work");
        assert_eq!(value(Helper::At("/opt/g".into()), Some("/x.sock")), "/opt/g --socket /x.sock");
        assert_eq!(value(Helper::At("/o p/it's".into()), None), r"!'/o p/it'\''s'");
        assert!(Helper::At("/a\nb".into()).value(None, None).is_err());
    }

    #[test]
    fn our_values_are_known_again() {
        for ours in ["tok", "tok --socket /x", "/usr/bin/git-credential-tok", "!'/a b/git-credential-tok' --socket /x"]
        {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["", "store", "token", "cache --timeout 5", "/usr/bin/git-credential-store"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn a_helper_must_be_there_and_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = program(&directory.path().join("a b"));
        assert_eq!(Helper::find(Some(&path)).unwrap(), Helper::At(path.clone()));
        assert!(is_on_path(Some(path.parent().unwrap().as_os_str())) && !is_on_path(None));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Helper::find(Some(&path)).unwrap_err().exit(), 2);
        assert!(!is_on_path(Some(path.parent().unwrap().as_os_str())));
    }

    /// The proof that matters: git runs the value, and the arguments arrive whole.
    #[test]
    fn git_runs_what_the_value_says() {
        let directory = tempfile::tempdir().unwrap();
        for place in ["plain", "with space", "it's $HOME"] {
            let path = program(&directory.path().join(place));
            let socket = directory.path().join("s o'cket");
            for helper in [Helper::At(path.clone()), Helper::Named] {
                let value = helper.value(Some(&socket), None).unwrap();
                // Such a helper answers nonsense, so that git complains and names what it read.
                let search = format!("{}:{}", path.parent().unwrap().display(), env::var("PATH").unwrap());
                let output = Command::new("git")
                    .args(["-c", &format!("credential.helper={value}"), "credential", "fill"])
                    .env("PATH", search)
                    .env("HOME", directory.path())
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("GIT_TERMINAL_PROMPT", "0")
                    .env("GIT_TRACE", "1")
                    .stdin(request(directory.path()))
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let expected = format!("<--socket><{}><get>", socket.display());
                assert!(said.contains(&expected), "{value}: {said}");
            }
        }
    }

    fn request(directory: &Path) -> fs::File {
        let path = directory.join("request");
        fs::write(&path, "protocol=https\nhost=git.example.com\n\n").unwrap();
        fs::File::open(path).unwrap()
    }
}
