//! Traefik.

use std::fs;
use std::process::Command;

use super::{Site, block, program};

/// Traefik with the static configuration that the page shows, and this recipe.
pub(super) fn command(site: &Site<'_>, recipe: &str) -> Command {
    let dynamic = site.directory.join("dynamic");
    fs::create_dir_all(&dynamic).expect("the directory is ours");
    site.file("dynamic/tok.yaml", &site.adapted(recipe, &[]));
    let certificate = format!(
        "tls:\n  certificates:\n    - certFile: {}\n      keyFile: {}\n",
        site.authority.certificate().display(),
        site.authority.key().display()
    );
    site.file("dynamic/certificate.yaml", &certificate);
    let (port, directory) = ("address: \":443\"", "directory: /etc/traefik/dynamic");
    let fixed = site.adapted(
        &block("yaml", "entryPoints"),
        &[(port, format!("address: \"{}\"", site.address)), (directory, format!("directory: {}", dynamic.display()))],
    );
    let fixed = format!("{fixed}global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\n");
    let mut command = program(&["traefik"]);
    command.arg(format!("--configFile={}", site.file("traefik.yaml", &fixed).display()));
    command
}
