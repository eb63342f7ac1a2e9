//! Starting the user's agent, when one is needed and none answers.
//!
//! Whether one is needed is read from the files of `tok` without a parser: they are written so that the lines that count
//! here stand by themselves, and what is not understood starts nothing.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tok_model::agent_socket::AgentPlaces;
use tok_model::credential::{CredentialRequest, Operation};
use tok_model::url::Origin;

use crate::environment::{path, variable};
use crate::trouble::Trouble;

/// As much of a file as is looked at, in bytes.
const LARGEST: usize = 1 << 20;
/// Between two looks whether it answers.
pub(crate) const PAUSE: Duration = Duration::from_millis(3);

/// Where this user's agent listens, whether or not one does.
pub(crate) fn socket() -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let owned = |directory: &Path| rustix::fs::lstat(directory).is_ok_and(|found| found.st_uid == uid);
    AgentPlaces::find(|name| std::env::var_os(name), uid, owned).socket()
}

/// Whether an agent would have something to say to this: there is a login at the server, or it remembers others'.
pub(crate) fn is_needed(operation: Operation, request: &CredentialRequest) -> bool {
    let at_ours = || request.origin().is_ok_and(|origin| origin.acceptable() && is_login_at(&origin));
    match operation {
        // What nobody keeps cannot be erased, and nobody keeps anything who does not run.
        Operation::Erase => false,
        Operation::Get => at_ours(),
        Operation::Store => remembers() && !at_ours(),
    }
}

/// Starts it, apart from git: with no input, no output, and nothing to wait for.
///
/// # Errors
/// If there is no `tok` that could be started.
pub(crate) fn start() -> Result<Child, Trouble> {
    let program = beside_us().unwrap_or_else(|| PathBuf::from("tok"));
    let mut command = Command::new(&program);
    command.args(["agent", "start"]).process_group(0).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for secret in ["TOK_TOKEN", "TOK_USER", "TOK_OUTPUT"] {
        command.env_remove(secret);
    }
    command.spawn().map_err(|_| Trouble::NoAgent)
}

/// The `tok` that was installed together with this program.
fn beside_us() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.join("tok")).filter(|program| program.exists())
}

/// Whether the file of logins names this server.
fn is_login_at(server: &Origin) -> bool {
    let file = configuration().and_then(|directory| read(&directory.join("logins.toml")));
    file.is_some_and(|text| values(&text, None, "server").any(|url| Origin::parse(url).as_ref() == Ok(server)))
}

/// `TOK_AGENT_REMEMBER`, else what the configuration file says.
fn remembers() -> bool {
    if let Some(said) = variable("TOK_AGENT_REMEMBER") {
        return said == "memory";
    }
    let file = path("TOK_CONFIG").or_else(|| Some(configuration()?.join("config.toml")));
    let text = file.and_then(|file| read(&file));
    text.is_some_and(|text| values(&text, Some("agent"), "remember").last() == Some("memory"))
}

fn configuration() -> Option<PathBuf> {
    let directory = |name| path(name).filter(|path: &PathBuf| path.is_absolute());
    let base = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some(base.join("tok"))
}

/// The values of a key, in a table if one is named and else in any: plain texts in quotes, one a line.
fn values<'a>(text: &'a str, table: Option<&'a str>, key: &'a str) -> impl Iterator<Item = &'a str> {
    let mut here = table.is_none();
    text.lines().map(str::trim).filter_map(move |line| {
        if let Some(header) = line.strip_prefix('[') {
            here = table.is_none_or(|table| header.strip_suffix(']').map(str::trim) == Some(table));
            return None;
        }
        let (_, value) = line.split_once('=').filter(|(name, _)| here && name.trim() == key)?;
        let value = value.trim();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value.get(1..)?.split_once(quote).map(|(value, _)| value)
    })
}

fn read(file: &Path) -> Option<String> {
    let descriptor = rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < LARGEST {
        bytes.reserve(16 * 1024);
        if rustix::io::read(&descriptor, rustix::buffer::spare_capacity(&mut bytes)).ok()? == 0 {
            return String::from_utf8(bytes).ok();
        }
    }
    None
}

/// A name that its user gave a login, from `--profile` or `TOK_PROFILE`.
pub(crate) fn profile(option: Option<String>) -> Option<String> {
    option.or_else(|| variable("TOK_PROFILE")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_count_are_found_and_others_start_nothing() {
        let logins = "[[login]]\nserver = \"https://a.example\"\nuser = \"server = x\"\n\n[[login]]\n server='https://b.example:8443' # mine\nserver = broken\n#server = \"https://c.example\"\n";
        let found: Vec<_> = values(logins, None, "server").collect();
        assert_eq!(found, ["https://a.example", "https://b.example:8443"]);
        let config =
            "remember = \"memory\"\n[agent]\nidle = \"1h\"\nremember = \"memory\"\n[agent.start]\nremember = \"off\"\n";
        assert_eq!(values(config, Some("agent"), "remember").collect::<Vec<_>>(), ["memory"]);
        assert_eq!(values("[agent]\n", Some("agent"), "remember").count(), 0);
    }
}
