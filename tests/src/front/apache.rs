//! Apache.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{Site, is_root, page, program};

/// What Debian's Apache has loaded before anybody says `a2enmod`, as far as a proxy meets it.
const USUAL: &[&str] =
    &["mpm_event", "authz_core", "authz_host", "alias", "dir", "env", "reqtimeout", "setenvif", "filter"];

/// What `a2enmod` loads beside what it is asked for.
const BESIDE: &[(&str, &[&str])] =
    &[("ssl", &["socache_shmcb"]), ("proxy_http", &["proxy"]), ("proxy_http2", &["proxy", "http2"])];

/// Apache with this recipe, and the modules that the page says to enable.
pub(super) fn command(site: &Site<'_>, recipe: &str) -> Command {
    let hosts = site.adapted(
        recipe,
        &[
            ("*:443", site.address.to_string()),
            ("/etc/apache2/tls/fullchain.pem", site.authority.certificate().display().to_string()),
            ("/etc/apache2/tls/privkey.pem", site.authority.key().display().to_string()),
        ],
    );
    let here = site.directory.display();
    let mut configuration = format!("ServerRoot {here}\nDefaultRuntimeDir {here}\nPidFile {here}/pid\n");
    let home = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"];
    let home = home.into_iter().find(|path| Path::new(path).is_dir()).expect("Apache has modules: ./dev sees to it");
    for module in modules() {
        let file = format!("{home}/mod_{module}.so");
        // Some distributions have some of them built in.
        if Path::new(&file).exists() {
            let _ = writeln!(configuration, "LoadModule {module}_module {file}");
        }
    }
    if is_root() {
        configuration.push_str("User \"#65534\"\nGroup \"#65534\"\n");
    }
    let _ = write!(
        configuration,
        "Listen {}\nServerName localhost\nErrorLog {here}/error.log\nMutex pthread\n{hosts}",
        site.address
    );
    let mut command = program(&["apache2", "httpd"]);
    // One process, which ends when it is told to.
    command.args(["-X", "-f"]).arg(site.file("apache.conf", &configuration));
    command
}

/// Each once, those first that others need.
fn modules() -> Vec<String> {
    let page = page("proxies.md");
    let line =
        page.lines().find_map(|line| line.strip_prefix("$ sudo a2enmod ")).expect("the page says what to enable");
    let mut found: Vec<String> = Vec::new();
    let asked = line.split(' ').flat_map(|name| {
        let beside = BESIDE.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, beside)| beside);
        beside.iter().copied().chain([name])
    });
    for name in USUAL.iter().copied().chain(asked) {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}
