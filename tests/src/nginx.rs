//! Debian's nginx in front, from the file that the documentation shows.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::tls::Authority;
use crate::wait;

/// A running nginx with TLS. Dropping it ends it.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
}

/// A port that is free, and stays so with luck.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address")
}

impl Nginx {
    /// Starts it in this directory, on this address, with `docs/proxies/nginx.conf`: in front of this tokd and this backend.
    pub fn start(
        directory: &Path,
        address: SocketAddr,
        authority: &Authority,
        tokd: SocketAddr,
        backend: SocketAddr,
    ) -> Self {
        fs::create_dir_all(directory).expect("the directory is ours");
        let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/proxies/nginx.conf");
        let mut servers = fs::read_to_string(shown).expect("it is in the repository");
        for (there, here) in [
            ("127.0.0.1:7650", tokd.to_string()),
            ("127.0.0.1:8080", backend.to_string()),
            ("listen 443 ssl", format!("listen {address} ssl")),
            ("/etc/nginx/tls/fullchain.pem", authority.certificate().display().to_string()),
            ("/etc/nginx/tls/privkey.pem", authority.key().display().to_string()),
        ] {
            assert!(servers.contains(there), "docs/proxies/nginx.conf has no {there}");
            servers = servers.replace(there, &here);
        }
        let here = directory.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let user = if nix_root() { "user root;\n" } else { "" };
        let configuration = format!(
            "{user}daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/error.log;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}{servers}}}\n"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration).expect("the directory is ours");
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "nginx"];
        let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx");
        let child = Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx is installed: ./dev sees to it");
        wait::until_true("nginx answers", || TcpStream::connect(address).is_ok());
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn nix_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
