//! Caddy.

use std::process::Command;

use super::{Site, program};

/// Caddy with this recipe.
///
/// Its own certificates would come from an authority on the internet: those of the test are loaded by a site beside the
/// recipe's, and Caddy takes what it has for a name.
pub(super) fn command(site: &Site<'_>, recipe: &str) -> Command {
    let port = site.address.port();
    let sites = site.adapted(recipe, &[("git.example.com {", format!("https://localhost:{port} {{"))]);
    let (certificate, key) = (site.authority.certificate(), site.authority.key());
    let file = site.file(
        "Caddyfile",
        &format!(
            "{{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n\
             \tstorage file_system {}\n}}\nhttps://127.0.0.1:{port} {{\n\ttls {} {}\n}}\n{sites}",
            site.directory.join("storage").display(),
            certificate.display(),
            key.display()
        ),
    );
    let mut command = program(&["caddy"]);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command
}
