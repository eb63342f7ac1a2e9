//! The servers that are known here: by logins, by git's configuration, by the remotes of the repository one is in.

use tok_model::url::Origin;

use super::helper::is_ours;
use super::settings::Settings;
use super::target::Target;
use crate::exit::Failure;
use crate::logins::Logins;

/// What the remotes of this repository say, to fetch and to push. Those that are no http are left out.
pub(in crate::commands) fn remotes(settings: &Settings) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    let lines = settings.section("remote", "url").chain(settings.section("remote", "pushurl"));
    for entry in lines.filter(|entry| matches!(entry.scope.as_str(), "local" | "worktree")) {
        if let Ok(target) = Target::parse(&entry.value)
            && found.iter().all(|other| other.url() != target.url() || other.password != target.password)
        {
            found.push(Target { remote: entry.parts().1.map(str::to_owned), ..target });
        }
    }
    found
}

/// The servers that git asks tok about, and those of logins.
pub(in crate::commands) fn known(settings: &Settings) -> Vec<Target> {
    let of_settings = settings
        .section("credential", "helper")
        .filter(|entry| is_ours(&entry.value))
        .filter_map(|entry| entry.parts().1)
        .filter_map(|url| Target::parse(url).ok());
    // A file of logins that cannot be read is another's finding.
    let logins = Logins::load().unwrap_or_default();
    let of_logins = logins.all().iter().filter_map(|login| Target::parse(&login.server.to_string()).ok());
    of_settings.chain(of_logins).collect()
}

/// The servers of this repository's remotes that are known to be tok's.
pub(super) fn servers(settings: &Settings) -> Result<Vec<Origin>, Failure> {
    let known = known(settings);
    let mut servers: Vec<Origin> = Vec::new();
    for remote in remotes(settings) {
        if known.iter().any(|known| known.server == remote.server) && !servers.contains(&remote.server) {
            servers.push(remote.server);
        }
    }
    if servers.is_empty() {
        return Err(Failure::usage("no remote of this repository is at a server that you are logged in to")
            .hint("name the server, as in `tok git setup https://git.example.com --local`"));
    }
    Ok(servers)
}
