//! What is looked at.

use super::finding::{Check, Class, Finding};
use crate::commands::git::here;
use crate::commands::git::settings::Settings;
use crate::commands::git::target::Target;
use crate::exit::Failure;

/// What was named; else every server that is known here, by the remotes of this repository first.
pub(super) fn find(settings: &Settings, named: Option<&str>) -> Result<Vec<Target>, Failure> {
    if let Some(named) = named {
        let whole =
            if named.contains("://") || !named.contains('.') { named.to_owned() } else { format!("https://{named}") };
        return Ok(vec![Target::read(settings.git(), &whole)?]);
    }
    let known = here::known(settings);
    let mut targets: Vec<Target> = here::remotes(settings);
    targets.retain(|target| known.iter().any(|known| known.server == target.server));
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
