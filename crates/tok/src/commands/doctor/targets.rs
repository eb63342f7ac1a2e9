//! What is looked at.

use super::finding::{Check, Class, Finding};
use crate::commands::git::helper::is_ours;
use crate::commands::git::settings::Settings;
use crate::commands::git::target::Target;
use crate::exit::Failure;
use crate::logins::Logins;

/// What was named; else every server that is known here, by the remotes of this repository first.
pub(super) fn find(settings: &Settings, named: Option<&str>) -> Result<Vec<Target>, Failure> {
    if let Some(named) = named {
        let whole =
            if named.contains("://") || !named.contains('.') { named.to_owned() } else { format!("https://{named}") };
        return Ok(vec![Target::read(settings.git(), &whole)?]);
    }
    let set_up = |entry: &&crate::commands::git::settings::Entry| is_ours(&entry.value);
    let of_settings = settings
        .section("credential", "helper")
        .filter(set_up)
        .filter_map(|entry| entry.parts().1)
        .filter_map(|url| Target::parse(url).ok());
    // A file of logins that cannot be read is another check's finding.
    let logins = Logins::load().unwrap_or_default();
    let of_logins = logins.all().iter().filter_map(|login| Target::parse(&login.server.to_string()).ok());
    let known: Vec<Target> = of_settings.chain(of_logins).collect();
    let mut targets: Vec<Target> = Vec::new();
    for entry in settings.section("remote", "url").filter(|entry| matches!(entry.scope.as_str(), "local" | "worktree"))
    {
        if let Ok(target) = Target::parse(&entry.value)
            && known.iter().any(|known| known.server == target.server)
        {
            let remote = entry.parts().1.map(str::to_owned);
            targets.push(Target { remote, ..target });
        }
    }
    for target in known {
        if targets.iter().all(|other| other.server != target.server) {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// There is nothing to look at.
pub(super) fn none() -> Check {
    let what = "no server is known here: nobody is logged in, and git asks tok about none";
    let finding = Finding::error(what, "git goes on without tok")
        .class(Class::NotLoggedIn)
        .fix("tok login https://git.example.com");
    Check::new("session", None, None, vec![finding])
}
