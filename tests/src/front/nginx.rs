//! nginx.

use std::process::Command;

use super::{Site, is_root, program};

/// nginx with this recipe in its `http { }`.
pub(super) fn command(site: &Site<'_>, recipe: &str) -> Command {
    let listen = if recipe.contains("listen 443 ssl http2;") { "listen 443 ssl http2;" } else { "listen 443 ssl;" };
    let servers = site.adapted(
        recipe,
        &[
            (listen, listen.replace("443", &site.address.to_string())),
            ("/etc/nginx/tls/fullchain.pem", site.authority.certificate().display().to_string()),
            ("/etc/nginx/tls/privkey.pem", site.authority.key().display().to_string()),
        ],
    );
    let here = site.directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .concat();
    let user = if is_root() { "user root;\n" } else { "" };
    let file = site.file(
        "nginx.conf",
        &format!(
            "{user}daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/error.log;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}{servers}}}\n"
        ),
    );
    let mut command = program(&["nginx"]);
    command.arg("-c").arg(file).arg("-p").arg(site.directory);
    command
}
