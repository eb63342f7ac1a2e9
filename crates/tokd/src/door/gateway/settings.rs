//! What git is told, whatever the machine's or a user's configuration says.
//!
//! Everything goes through `GIT_CONFIG_COUNT` in the child's environment: nothing to write, nothing to tamper with, and
//! the children git starts itself (index-pack, gc) inherit it.

use tokio::process::Command;

use super::call::GitService;
use super::program::GitVersion;

/// `core.fsync` exists from here on; before, one switch covered loose objects only.
const HAS_FSYNC_COMPONENTS: GitVersion = GitVersion { major: 2, minor: 36 };

/// Puts the settings of one call into a git command's environment. `largest_push` is in bytes, 0 for no limit.
pub(super) fn apply(command: &mut Command, version: GitVersion, service: GitService, largest_push: u64) {
    let mut settings = common(version);
    settings.extend(for_service(service, largest_push));
    write(command, &settings);
}

/// The settings of a command that tokd runs itself, without a client.
pub(super) fn apply_common(command: &mut Command, version: GitVersion) {
    write(command, &common(version));
}

fn write(command: &mut Command, settings: &[(&str, String)]) {
    command.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (key, value)) in settings.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

fn common(version: GitVersion) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        // The repositories are tokd's; under which uid an admin restored them from a backup does not matter.
        ("safe.directory", "*".to_owned()),
    ];
    // What a push was told is stored stays stored when the power goes: by default git syncs packs, but neither loose
    // objects nor references.
    if version >= HAS_FSYNC_COMPONENTS {
        settings.push(("core.fsync", "committed,derived-metadata".to_owned()));
    } else {
        settings.push(("core.fsyncObjectFiles", "true".to_owned()));
    }
    settings
}

fn for_service(service: GitService, largest_push: u64) -> Vec<(&'static str, String)> {
    // Only the service that was authorised is switched on: should http-backend ever read a request differently from
    // `GitCall`, it refuses.
    let mut settings = vec![
        ("http.getanyfile", "false".to_owned()),
        ("http.uploadpack", (service == GitService::UploadPack).to_string()),
        ("http.receivepack", (service == GitService::ReceivePack).to_string()),
        ("http.uploadarchive", (service == GitService::UploadArchive).to_string()),
    ];
    match service {
        GitService::UploadPack => settings.extend([
            ("uploadpack.allowFilter", "true".to_owned()),
            // Protocol v2 gives every object to whoever may read the repository; v0 shall not differ (CI systems
            // fetch by commit id).
            ("uploadpack.allowAnySHA1InWant", "true".to_owned()),
        ]),
        GitService::ReceivePack => settings.extend([
            ("receive.maxInputSize", largest_push.to_string()),
            // Malformed objects stop here instead of in every clone. The ones demoted are harmless and common in
            // histories that old tools wrote; refusing them would refuse the whole import.
            ("receive.fsckObjects", "true".to_owned()),
            ("receive.fsck.zeroPaddedFilemode", "ignore".to_owned()),
            ("receive.fsck.missingSpaceBeforeDate", "ignore".to_owned()),
            ("receive.fsck.badTimezone", "ignore".to_owned()),
        ]),
        GitService::UploadArchive => {}
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(settings: &'a [(&str, String)], key: &str) -> Option<&'a str> {
        settings.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn only_the_service_that_was_authorised_is_switched_on() {
        for service in [GitService::UploadPack, GitService::ReceivePack, GitService::UploadArchive] {
            let settings = for_service(service, 0);
            let on: Vec<&str> = ["http.uploadpack", "http.receivepack", "http.uploadarchive", "http.getanyfile"]
                .into_iter()
                .filter(|key| value(&settings, key) == Some("true"))
                .collect();
            assert_eq!(on, [format!("http.{}", service.as_str().replace("git-", "").replace('-', ""))]);
        }
    }

    #[test]
    fn an_older_git_is_not_asked_for_what_it_does_not_know() {
        let old = common(GitVersion { major: 2, minor: 35 });
        assert_eq!(value(&old, "core.fsyncObjectFiles"), Some("true"));
        assert_eq!(value(&old, "core.fsync"), None);
        let new = common(GitVersion { major: 3, minor: 0 });
        assert_eq!(value(&new, "core.fsyncObjectFiles"), None);
    }
}
