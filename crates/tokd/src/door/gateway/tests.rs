//! The gateway with real git on both sides: every git of this machine as a client of every git as a server.

mod packed;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use hyper::http::header;

use super::backend::GatewayLimits;
use super::kit::{NEVER, Server, complaint, gits, noise, url};
use crate::door::testing::{alone, script};

const MIB: usize = 1024 * 1024;

/// Every pair of a server's git and a client's.
fn pairs() -> Vec<(PathBuf, PathBuf)> {
    let gits = gits();
    gits.iter().flat_map(|server| gits.iter().map(|client| (server.clone(), client.clone()))).collect()
}

fn newest() -> PathBuf {
    gits().remove(0)
}

fn server() -> Server {
    Server::start(&newest(), GatewayLimits::default())
}

/// What is left of pushes that did not end well.
fn leftovers(repository: &Path) -> Vec<String> {
    let names = |directory: &Path| -> Vec<String> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut left = names(&repository.join("objects"));
    left.retain(|name| name.len() > 2 && name != "info" && name != "pack");
    left.extend(names(&repository.join("objects/pack")).into_iter().filter(|name| name.starts_with("tmp_")));
    left.extend(names(&repository.join("refs/heads")).into_iter().filter(|name| Path::new(name).extension().is_some()));
    left
}

fn wait_until(what: &str, mut met: impl FnMut() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < NEVER, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn push_clone_and_fetch_work_between_every_two_gits() {
    for (serving, asking) in pairs() {
        let server = Server::start(&serving, GatewayLimits::default());
        server.repository("acme/app");
        let (url, client) = (server.url("acme/app"), server.client(&asking));
        client.work_tree("one", "main");
        client.run("one", &["push", "--quiet", &url, "main"]);
        client.run(".", &["clone", "--quiet", &url, "two"]);
        assert_eq!(std::fs::read(client.home.join("two/a")).unwrap(), b"first");
        client.commit("one", "b", b"second");
        client.run("one", &["push", "--quiet", &url, "main", "main:refs/heads/other", "HEAD:refs/tags/v1"]);
        client.run("two", &["pull", "--quiet", "--tags"]);
        assert_eq!(std::fs::read(client.home.join("two/b")).unwrap(), b"second");
        let refs = client.run(".", &["ls-remote", &url]);
        assert_eq!(refs.lines().count(), 4, "{refs}");
        client.run("one", &["push", "--quiet", &url, ":refs/heads/other"]);
        // The old protocol, too.
        let refs = client.run(".", &["-c", "protocol.version=0", "ls-remote", &url]);
        assert_eq!(refs.lines().count(), 3, "{refs}");
        assert!(server.saw(&header::HeaderName::from_static("git-protocol"), "version=2"));
    }
}

#[test]
fn shallow_and_partial_clones_work_between_every_two_gits() {
    for (serving, asking) in pairs() {
        let server = Server::start(&serving, GatewayLimits::default());
        server.repository("acme/app");
        let (url, client) = (server.url("acme/app"), server.client(&asking));
        client.work_tree("one", "main");
        client.commit("one", "b", b"second");
        client.commit("one", "b", b"third");
        client.run("one", &["push", "--quiet", &url, "main"]);

        client.run(".", &["clone", "--quiet", "--depth=1", &url, "shallow"]);
        assert_eq!(client.run("shallow", &["rev-list", "--count", "HEAD"]), "1\n");
        client.run("shallow", &["fetch", "--quiet", "--unshallow"]);
        assert_eq!(client.run("shallow", &["rev-list", "--count", "HEAD"]), "3\n");

        client.run(".", &["clone", "--quiet", "--no-checkout", "--filter=blob:none", &url, "partial"]);
        let missing = client.run("partial", &["rev-list", "--objects", "--missing=print", "HEAD"]);
        assert_eq!(missing.lines().filter(|line| line.starts_with('?')).count(), 3, "{missing}");
        // The blob of the first commit is fetched now.
        assert_eq!(client.run("partial", &["show", "HEAD~1:b"]), "second");
        client.run("partial", &["checkout", "--quiet", "main"]);

        // A commit that no branch names, in the old protocol, as build systems fetch.
        let first = client.run("one", &["rev-parse", "HEAD~2"]);
        client.run(".", &["init", "--quiet", "by-id"]);
        client.run("by-id", &["-c", "protocol.version=0", "fetch", "--quiet", &url, first.trim()]);
    }
}

#[test]
fn compressed_requests_are_understood() {
    let server = server();
    server.repository("acme/app");
    let (url, client) = (server.url("acme/app"), server.client(&newest()));
    client.work_tree("one", "main");
    client.run("one", &["push", "--quiet", &url, "main"]);
    // Commits the server does not have are named in the request; from a kilobyte on, git's old protocol compresses it.
    client.run(".", &["init", "--quiet", "two"]);
    for number in 0..100 {
        client.run("two", &["commit", "--quiet", "--allow-empty", "-m", &number.to_string()]);
    }
    client.run("two", &["-c", "protocol.version=0", "fetch", "--quiet", &url, "main"]);
    assert!(server.saw(&header::CONTENT_ENCODING, "gzip"));
    assert_eq!(client.run("two", &["show", "FETCH_HEAD:a"]), "first");
}

/// Peak memory of this process, in KiB (proc(5)).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_push_and_its_clone_pass_through_in_flat_memory() {
    alone("door::gateway::tests::a_large_push_and_its_clone_pass_through_in_flat_memory", || {
        let server = server();
        server.repository("acme/app");
        let (url, client) = (server.url("acme/app"), server.client(&newest()));
        client.work_tree("one", "main");
        client.run("one", &["push", "--quiet", &url, "main"]);
        let file = client.home.join("one/large");
        // Not through this process's memory.
        let made = std::process::Command::new("head")
            .args(["-c", "60M", "/dev/urandom"])
            .stdout(std::fs::File::create(&file).unwrap())
            .status();
        assert!(made.unwrap().success());
        client.run("one", &["add", "."]);
        client.run("one", &["commit", "--quiet", "-m", "large"]);
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak();
        client.run("one", &["push", "--quiet", &url, "main"]);
        client.run(".", &["clone", "--quiet", &url, "two"]);
        let grown = peak() - before;
        assert!(grown < 10 * 1024, "{grown} KiB more for 60 MiB each way");
        assert!(server.saw(&header::TRANSFER_ENCODING, "chunked"));
        assert_eq!(std::fs::metadata(client.home.join("two/large")).unwrap().len(), 60 * MIB as u64);
    });
}

/// A proxy that passes on so many bytes of one connection's upload and then drops both sides. Gives its address.
fn cutting_proxy(target: std::net::SocketAddr, after: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(target).unwrap());
            let (mut down_from, mut down_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut down_from, &mut down_to));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut (&mut client).take(after as u64), &mut server);
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_push_that_is_cut_leaves_nothing_and_the_next_one_works() {
    for serving in gits() {
        let server = Server::start(&serving, GatewayLimits::default());
        let repository = server.repository("acme/app");
        let client = server.client(&newest());
        client.work_tree("one", "main");
        client.run("one", &["push", "--quiet", &server.url("acme/app"), "main"]);
        let before = client.run(".", &["ls-remote", &server.url("acme/app")]);
        client.commit("one", "large", &noise(20 * MIB));

        let cut = url(cutting_proxy(server.address, 5 * MIB), "acme/app");
        let output = client.try_run("one", ["push", &cut, "main"]);
        assert!(!output.status.success(), "{}", complaint(&output));
        server.idle();
        assert_eq!(leftovers(&repository), Vec::<String>::new());
        assert_eq!(client.run(".", &["ls-remote", &server.url("acme/app")]), before);

        client.run("one", &["push", "--quiet", &server.url("acme/app"), "main"]);
        client.run("one", &["fsck", "--strict"]);
        assert_ne!(client.run(".", &["ls-remote", &server.url("acme/app")]), before);
    }
}

#[test]
fn a_client_that_is_killed_takes_its_git_processes_with_it() {
    let server = server();
    let repository = server.repository("acme/app");
    let client = server.client(&newest());
    client.work_tree("one", "main");
    client.commit("one", "large", &noise(30 * MIB));
    let mut pushing = client.command("one", ["push", &server.url("acme/app"), "main"]);
    let mut pushing = pushing.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Some of the pack has arrived.
    wait_until("the push arrives", || {
        let quarantine = leftovers(&repository);
        quarantine.iter().any(|name| name.starts_with("tmp_objdir-"))
    });
    assert_eq!(server.backend.running(), 1);
    pushing.kill().unwrap();
    pushing.wait().unwrap();
    server.idle();
    wait_until("nothing is left", || leftovers(&repository).is_empty());
    client.run("one", &["push", "--quiet", &server.url("acme/app"), "main"]);
}

#[test]
fn a_pack_over_the_limit_is_refused_with_a_sentence_git_prints() {
    for (serving, asking) in pairs() {
        let limits = GatewayLimits { largest_push: MIB as u64, ..GatewayLimits::default() };
        let server = Server::start(&serving, limits);
        let repository = server.repository("acme/app");
        let (url, client) = (server.url("acme/app"), server.client(&asking));
        client.work_tree("one", "main");
        client.commit("one", "large", &noise(8 * MIB));
        let output = client.try_run("one", ["push", &url, "main"]);
        let said = complaint(&output);
        assert!(!output.status.success() && said.contains("pack exceeds maximum allowed size"), "{said}");
        server.idle();
        assert_eq!(leftovers(&repository), Vec::<String>::new());
        // What fits still goes in.
        client.work_tree("small", "main");
        client.run("small", &["push", "--quiet", &url, "main"]);
    }
}

#[test]
fn a_malformed_object_is_refused_with_its_name() {
    let server = server();
    server.repository("acme/app");
    let client = server.client(&newest());
    client.work_tree("one", "main");
    let blob = client.run("one", &["rev-parse", "HEAD:a"]);
    // A tree that would write into a clone's .git directory.
    let mut tree = b"100644 .git\0".to_vec();
    let digits: Vec<char> = blob.trim().chars().collect();
    tree.extend(digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()));
    std::fs::write(client.home.join("tree"), tree).unwrap();
    let tree = client.run("one", &["hash-object", "-t", "tree", "-w", "--literally", "../tree"]);
    let commit = client.run("one", &["commit-tree", "-m", "evil", tree.trim()]);
    let refspec = format!("{}:refs/heads/evil", commit.trim());
    let output = client.try_run("one", ["push", &server.url("acme/app"), &refspec]);
    let said = complaint(&output);
    assert!(!output.status.success() && said.contains("hasDotgit"), "{said}");
}

#[test]
fn archives_work_or_are_clearly_refused() {
    let archive_over_http = |git: &Path| {
        let printed = std::process::Command::new(git).arg("--version").output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let minor: u32 = printed.split('.').nth(1).unwrap().parse().unwrap();
        minor >= 44
    };
    for (serving, asking) in pairs() {
        let server = Server::start(&serving, GatewayLimits::default());
        server.repository("acme/app");
        let (url, client) = (server.url("acme/app"), server.client(&asking));
        client.work_tree("one", "main");
        client.run("one", &["push", "--quiet", &url, "main"]);
        let remote = format!("--remote={url}");
        let output = client.try_run(".", ["archive", "--format=tar", &remote, "main"]);
        if archive_over_http(&serving) && archive_over_http(&asking) {
            assert!(output.status.success(), "{}", complaint(&output));
            assert!(String::from_utf8_lossy(&output.stdout).contains("first"));
        } else {
            assert!(!output.status.success() && !complaint(&output).is_empty());
        }
    }
}

#[test]
fn the_first_branch_becomes_the_default_one() {
    let server = server();
    let client = server.client(&newest());
    for (branches, default) in [(vec!["trunk"], "trunk"), (vec!["a", "master"], "master"), (vec!["a", "main"], "main")]
    {
        let name = format!("acme/{}", branches.join("-"));
        server.repository(&name);
        let tree = branches.join("-");
        client.work_tree(&tree, default);
        let url = server.url(&name);
        for branch in branches.iter().filter(|branch| **branch != default) {
            client.run(&tree, &["branch", branch]);
        }
        client.run(&tree, &[&["push", "--quiet", &url][..], &branches].concat());
        let head = client.run(".", &["ls-remote", "--symref", &url, "HEAD"]);
        assert!(head.starts_with(&format!("ref: refs/heads/{default}\t")), "{head}");
    }
}

#[test]
fn nothing_of_the_daemons_environment_reaches_a_hook() {
    let server = server();
    let repository = server.repository("acme/app");
    let hooks = repository.join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let hook = "#!/bin/sh\nenv >seen\ngit config core.fsync >fsync\necho hello from the hook >&2\n";
    script(&hooks.join("pre-receive"), hook);
    let client = server.client(&newest());
    client.work_tree("one", "main");
    let output = client.try_run("one", ["push", &server.url("acme/app"), "main"]);
    assert!(output.status.success() && complaint(&output).contains("remote: hello from the hook"));
    let seen = std::fs::read_to_string(repository.join("seen")).unwrap();
    for line in seen.lines() {
        let name = line.split('=').next().unwrap();
        let known = [
            "PATH",
            "HOME",
            "LC_ALL",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
            "GATEWAY_INTERFACE",
            "SERVER_PROTOCOL",
            "CONTENT_TYPE",
            "QUERY_STRING",
            "PATH_INFO",
        ];
        let expected = known.contains(&name)
            || name.starts_with("GIT_")
            || name.starts_with("REMOTE_")
            || name.starts_with("REQUEST_");
        assert!(expected, "{line}");
    }
    assert!(seen.contains("REMOTE_USER=alice\n") && seen.contains("REMOTE_ADDR=127.0.0.1\n"), "{seen}");
    assert_eq!(std::fs::read_to_string(repository.join("fsync")).unwrap(), "committed,derived-metadata\n");
}

/// Opens a push that sends its head and a little of its body, and then nothing.
fn stalled_push(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = "POST /acme/app.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-receive-pack-request\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n00a0\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn who_stalls_is_ended_and_who_waits_too_long_is_told_to_come_back() {
    let limits = GatewayLimits {
        children: 1,
        queue: Duration::from_millis(200),
        idle: Duration::from_secs(5),
        ..GatewayLimits::default()
    };
    let server = Server::start(&newest(), limits);
    let repository = server.repository("acme/app");
    let client = server.client(&newest());
    let mut stalled = stalled_push(&server);
    wait_until("the stalled push runs", || server.backend.running() == 1);
    let output = client.try_run(".", ["ls-remote", &server.url("acme/app")]);
    assert!(complaint(&output).contains("503"), "{}", complaint(&output));
    // It is ended by itself, its connection broken off, and its place free.
    let mut answer = String::new();
    let _ = stalled.read_to_string(&mut answer);
    server.idle();
    assert!(!answer.ends_with("0\r\n\r\n"), "the answer looks complete: {answer}");
    assert_eq!(leftovers(&repository), Vec::<String>::new());
    client.run(".", &["ls-remote", &server.url("acme/app")]);
}

#[test]
fn what_is_no_repository_is_not_found() {
    let server = server();
    let elsewhere = tempfile::tempdir().unwrap();
    let root = server.backend.repositories().root().to_owned();
    let real = server.repository("acme/app");
    std::os::unix::fs::symlink(&real, root.join("acme/linked.git")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("outside")).unwrap();
    std::fs::rename(server.repository("acme/moved"), elsewhere.path().join("moved.git")).unwrap();
    let client = server.client(&newest());
    for name in ["acme/none", "none/none", "acme/linked", "outside/moved"] {
        let output = client.try_run(".", ["ls-remote", &server.url(name)]);
        assert!(complaint(&output).contains("not found"), "{name}: {}", complaint(&output));
    }
    let listed = server.block_on(server.backend.repositories().list(None)).unwrap();
    assert_eq!(listed, ["acme/app".parse().unwrap()]);
    assert_eq!(server.backend.running(), 0);
}
