//! Real proxies in front, each run from the recipe that docs/proxies.md shows: its text, with this test's addresses and files
//! in the place of those that stand there.

mod apache;
mod caddy;
mod nginx;
mod traefik;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::Uid;

use crate::binaries;
use crate::tls::{Authority, Connection};
use crate::wait;

/// A recipe of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// nginx, which asks tokd about each request to another git server.
    Nginx,
    /// nginx in front of tokd's own gateway.
    NginxGateway,
    /// Caddy, which asks tokd about each request to another git server.
    Caddy,
    /// Caddy in front of tokd's own gateway.
    CaddyGateway,
    /// Traefik, which asks tokd about each request to another git server.
    Traefik,
    /// Traefik in front of tokd's own gateway.
    TraefikGateway,
    /// Apache in front of tokd's own gateway.
    Apache,
}

/// Where a proxy stands, and between whom.
pub struct Site<'a> {
    /// A directory of its own.
    pub directory: &'a Path,
    /// Where it listens, on 127.0.0.1; clients call it `localhost`.
    pub address: SocketAddr,
    /// Who signed its certificate.
    pub authority: &'a Authority,
    /// Where tokd listens.
    pub tokd: SocketAddr,
    /// Where the other git server listens.
    pub backend: SocketAddr,
}

/// A running proxy with TLS. Dropping it ends it.
pub struct Front {
    child: Child,
    logs: [PathBuf; 2],
}

impl Front {
    /// Starts it and waits until it listens.
    pub fn start(recipe: Recipe, site: &Site<'_>) -> Self {
        fs::create_dir_all(site.directory).expect("the directory is ours");
        let mut command = match recipe {
            Recipe::Nginx => nginx::command(site, &page("proxies/nginx.conf")),
            Recipe::NginxGateway => nginx::command(site, &block("nginx", "listen 443")),
            Recipe::Caddy => caddy::command(site, &block("caddyfile", "forward_auth")),
            Recipe::CaddyGateway => caddy::command(site, &block("caddyfile", "h2c://")),
            Recipe::Traefik => traefik::command(site, &block("yaml", "forwardAuth")),
            Recipe::TraefikGateway => traefik::command(site, &block("yaml", "h2c://")),
            Recipe::Apache => apache::command(site, &block("apache", "VirtualHost")),
        };
        let log = site.directory.join("log");
        let output = File::create(&log).expect("the directory is ours");
        let errors = output.try_clone().expect("a file can be had twice");
        let child = command
            .current_dir(site.directory)
            .env("HOME", site.directory)
            .env("PATH", binaries::search_path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{recipe:?} does not start ({error}): ./dev installs what it takes"));
        let mut front = Self { child, logs: [log, site.directory.join("error.log")] };
        wait::until_true("the proxy listens", || {
            let ended = front.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{recipe:?} ended at once, with {ended:?}");
            // One that loads its configuration by and by shows another certificate before.
            Connection::open(site.address, &site.authority.trust()).is_ok()
        });
        front
    }
}

impl Drop for Front {
    #[expect(clippy::print_stderr, reason = "the test runner captures it, and shows it if the test fails")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for log in &self.logs {
                eprintln!("--- the proxy said\n{}", fs::read_to_string(log).unwrap_or_default());
            }
        }
    }
}

/// A port that is free, and stays so with luck.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address")
}

impl Site<'_> {
    /// The recipe with what is here in the place of what it names. Whatever is named here must be in it.
    fn adapted(&self, recipe: &str, named: &[(&str, String)]) -> String {
        let usual = [
            ("127.0.0.1:7650", self.tokd.to_string()),
            ("127.0.0.1:8080", self.backend.to_string()),
            ("git.example.com", "localhost".to_owned()),
        ];
        let mut text = recipe.to_owned();
        for (there, here) in named {
            assert!(text.contains(there), "the recipe has no {there}:\n{recipe}");
            text = text.replace(there, here);
        }
        for (there, here) in usual {
            text = text.replace(there, &here);
        }
        text
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    }
}

/// A page of the documentation.
fn page(name: &str) -> String {
    fs::read_to_string(binaries::workspace().join("docs").join(name)).expect("it is in the repository")
}

/// The one block of docs/proxies.md in this language that has these words in it.
fn block(language: &str, words: &str) -> String {
    let page = page("proxies.md");
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1).filter_map(|rest| rest.split("```").next());
    let mut found = blocks.filter(|block| block.contains(words));
    let one = found.next().unwrap_or_else(|| panic!("docs/proxies.md has no {language} with {words}"));
    assert!(found.next().is_none(), "docs/proxies.md has more than one {language} with {words}");
    one.to_owned()
}

/// The first of these programs that is on `PATH`, or where daemons live.
fn program(names: &[&str]) -> Command {
    let path = binaries::search_path();
    let directories = std::env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = directories.flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    let found = found.into_iter().find(|path| path.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{} is not installed: ./dev sees to it", names[0])))
}

fn is_root() -> bool {
    Uid::effective().is_root()
}
