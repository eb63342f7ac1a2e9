//! Requests that come as gzip, whole and not.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::door::gateway::kit::Client;

/// A server with a repository, and a client that has one commit more than it.
struct Ahead {
    server: Server,
    repository: PathBuf,
    client: Client,
    /// The request that pushes that commit.
    push: Vec<u8>,
}

impl Ahead {
    fn by(serving: &Path, large: usize) -> Self {
        let server = Server::start(serving, GatewayLimits::default());
        let repository = server.repository("acme/app");
        let client = server.client(&newest());
        client.work_tree("one", "main");
        client.run("one", &["push", "--quiet", &server.url("acme/app"), "main"]);
        client.commit("one", "large", &noise(large));
        let push = push(&client);
        Self { server, repository, client, push }
    }

    /// What a request is answered that brings this as gzip.
    fn answer(&self, service: &str, packed: &[u8]) -> String {
        let mut stream = self.asked(service, packed.len());
        stream.write_all(packed).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The head of such a request, sent.
    fn asked(&self, service: &str, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.server.address).unwrap();
        let head = format!(
            "POST /acme/app.git/{service} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\n\
             Content-Type: application/x-{service}-request\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn references(&self) -> String {
        self.client.run(".", &["ls-remote", &self.server.url("acme/app")])
    }

    fn is_clean(&self) {
        assert_eq!(leftovers(&self.repository), Vec::<String>::new());
        self.client.run(self.repository.to_str().unwrap(), &["fsck", "--strict"]);
    }
}

/// As git sends it (gitprotocol-pack(5)), with git's own pack.
fn push(client: &Client) -> Vec<u8> {
    let id = |name| client.run("one", &["rev-parse", name]).trim().to_owned();
    let (old, new) = (id("HEAD~1"), id("HEAD"));
    let command = format!("{old} {new} refs/heads/main\0report-status");
    let mut request = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    let mut packing = client.command("one", ["pack-objects", "--quiet", "--revs", "--stdout"]);
    let mut packing = packing.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    write!(packing.stdin.take().unwrap(), "{new}\n^{old}\n").unwrap();
    request.extend(packing.wait_with_output().unwrap().stdout);
    request
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_packed_push_that_is_cut_or_broken_leaves_nothing_and_is_no_success() {
    for serving in gits() {
        let ahead = Ahead::by(&serving, 3 * MIB);
        let (before, whole) = (ahead.references(), gzip(&ahead.push));
        let mut bad: Vec<Vec<u8>> = [0, 5, 40, 200, 1000, MIB, whole.len() / 2, whole.len() - 9, whole.len() - 1]
            .into_iter()
            .map(|length| whole[..length].to_vec())
            .collect();
        for at in [1, whole.len() / 2, whole.len() - 6] {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            bad.push(broken);
        }
        for bad in bad {
            let answer = ahead.answer("git-receive-pack", &bad);
            let what = format!("{} of {} bytes: {}", bad.len(), whole.len(), answer);
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no whole gzip"), "{what}");
            // At once: it is gone by the time of the answer.
            assert_eq!(leftovers(&ahead.repository), Vec::<String>::new(), "{what}");
        }
        assert_eq!(ahead.references(), before);
        ahead.is_clean();

        let answer = ahead.answer("git-receive-pack", &whole);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("unpack ok"), "{answer}");
        assert_ne!(ahead.references(), before);
        ahead.server.idle();
        ahead.is_clean();
    }
}

#[test]
fn who_goes_away_in_the_middle_of_a_packed_push_leaves_nothing() {
    let ahead = Ahead::by(&newest(), 3 * MIB);
    let (before, whole) = (ahead.references(), gzip(&ahead.push));
    for sent in [30, 1000, whole.len() / 2, whole.len() - 1] {
        let mut stream = ahead.asked("git-receive-pack", whole.len());
        stream.write_all(&whole[..sent]).unwrap();
        wait_until("git waits for the rest", || ahead.server.backend.running() == 1);
        stream.shutdown(Shutdown::Both).unwrap();
        ahead.server.idle();
        assert_eq!(ahead.references(), before);
        ahead.is_clean();
    }
    ahead.client.run("one", &["push", "--quiet", &ahead.server.url("acme/app"), "main"]);
    assert_ne!(ahead.references(), before);
}

#[test]
fn a_packed_fetch_that_is_cut_is_the_clients_mistake() {
    let ahead = Ahead::by(&newest(), 1000);
    let tip = ahead.references()[..40].to_owned();
    let want = format!("0032want {tip}\n00000009done\n");
    let whole = gzip(want.as_bytes());
    let answer = ahead.answer("git-upload-pack", &whole);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("PACK"), "{answer}");
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        let answer = ahead.answer("git-upload-pack", &whole[..cut]);
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("no whole gzip"), "{cut}: {answer}");
    }
    ahead.server.idle();
}

#[test]
fn a_push_whose_git_is_killed_leaves_nothing_and_is_no_success() {
    let ahead = Ahead::by(&newest(), 3 * MIB);
    let before = ahead.references();
    let hooks = ahead.repository.join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    // What a machine without memory does to whoever it picks.
    script(&hooks.join("pre-receive"), "#!/bin/sh\nkill -9 $PPID\n");
    let output = ahead.client.try_run("one", ["push", &ahead.server.url("acme/app"), "main"]);
    assert!(!output.status.success(), "{}", complaint(&output));
    let answer = ahead.answer("git-receive-pack", &gzip(&ahead.push));
    assert!(!answer.ends_with("0\r\n\r\n"), "the answer looks complete: {answer}");
    ahead.server.idle();
    assert_eq!(ahead.references(), before);
    ahead.is_clean();
    std::fs::remove_file(hooks.join("pre-receive")).unwrap();
    ahead.client.run("one", &["push", "--quiet", &ahead.server.url("acme/app"), "main"]);
}
