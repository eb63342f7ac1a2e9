//! The kit's own promises: a scanner that finds nothing is worth nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use tok_tests::environment::Environment;
use tok_tests::normalise::invented_token;
use tok_tests::postgres::{Database, psql};
use tok_tests::proxy::Proxy;
use tok_tests::secrets::Canaries;
use tok_tests::wait;

#[test]
fn every_file_here_is_a_module_of_the_one_binary() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let main = fs::read_to_string(directory.join("main.rs")).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name != "main" {
            assert!(
                main.contains(&format!("\nmod {name};\n")),
                "{} is not in it/main.rs, so nobody runs it",
                path.display()
            );
        }
    }
}

#[test]
fn the_scanner_finds_a_planted_secret_in_every_sink() {
    let directory = tempfile::tempdir().unwrap();
    let canaries = Canaries::new(directory.path());
    let token = invented_token();
    let found = |canaries: &Canaries, needle: &str| {
        let leaks = canaries.take_leaks();
        assert!(leaks.iter().any(|leak| leak.contains(needle)), "not found in {needle}: {leaks:?}");
        assert!(!leaks.iter().any(|leak| leak.contains(&token)), "the scanner leaks: {leaks:?}");
    };

    // In a file, in the middle of binary data.
    fs::create_dir(directory.path().join("deep")).unwrap();
    let mut bytes = vec![0; 5_000];
    bytes.extend_from_slice(token.as_bytes());
    bytes.extend(vec![0xff; 5_000]);
    fs::write(directory.path().join("deep/file"), &bytes).unwrap();
    canaries.inspect_files();
    found(&canaries, "deep/file");

    // What was registered, in base64 as a header carries it; but not where it may be.
    fs::remove_file(directory.path().join("deep/file")).unwrap();
    canaries.register("the password", "correct horse battery");
    fs::write(directory.path().join("log"), "Authorization: Basic dXNlcjpjb3JyZWN0IGhvcnNlIGJhdHRlcnk=").unwrap();
    fs::write(canaries.exempt().join("mine"), &token).unwrap();
    canaries.inspect_files();
    found(&canaries, "/log");
    fs::remove_file(directory.path().join("log")).unwrap();
    canaries.inspect_files();
    assert!(canaries.take_leaks().is_empty());

    // In the arguments and the variables of a process.
    for (name, script) in [("arguments", ": \"$2\""), ("variables", ":")] {
        let mut child = std::process::Command::new("sh")
            .args(["-c", &format!("{script}; read line"), "sh"])
            .args((name == "arguments").then_some(&token))
            .envs((name == "variables").then_some(("CANARY", &token)))
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Until the shell is running, /proc shows this process's own arguments.
        let pid = child.id().cast_signed();
        wait::until_true("sh runs", || {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sh\0"))
        });
        canaries.inspect_processes(pid);
        drop(child.stdin.take());
        child.wait().unwrap();
        found(&canaries, name);
    }
}

#[test]
fn an_environment_that_holds_a_secret_fails_its_test() {
    let leaky = || {
        let environment = Environment::new();
        fs::write(environment.path("home/notes"), invented_token()).unwrap();
    };
    let failed = std::panic::catch_unwind(leaky).unwrap_err();
    let words = failed.downcast_ref::<String>().unwrap();
    assert!(words.contains("a secret leaked: the token tokgit_") && words.contains("home/notes"), "{words}");
}

#[test]
fn the_scanner_sees_what_is_in_tables_and_in_the_write_ahead_log() {
    let fresh = Environment::new();
    fresh.start();
    // That of most tests has the files of a template, most of which need not be looked at.
    for environment in [fresh, Environment::dev()] {
        let token = invented_token();
        let url = tok_tests::postgres::embedded_url(environment.data());
        psql(&url, &format!("CREATE TABLE planted (it text); INSERT INTO planted VALUES ('{token}'); CHECKPOINT"));
        environment.canaries().inspect_files();
        let leaks = environment.canaries().take_leaks();
        assert!(leaks.iter().any(|leak| leak.contains("/pg/base/")), "{leaks:?}");
        assert!(leaks.iter().any(|leak| leak.contains("/pg/pg_wal/")), "{leaks:?}");
        // What this test planted it takes away again, with all of the cluster.
        environment.stop();
        fs::remove_dir_all(environment.data()).unwrap();
    }
}

#[test]
fn a_cloned_database_has_the_schema_and_an_empty_one_has_none() {
    let (one, other) = (Database::migrated(), Database::migrated());
    one.execute(
        "INSERT INTO workspaces (id, name, created_at) VALUES ('1b4e28ba-2fa1-4d2e-883f-0016d3cca427', 'acme', now())",
    );
    assert_eq!(one.rows("SELECT name FROM workspaces")[0]["name"], "acme");
    assert!(other.rows("SELECT name FROM workspaces").is_empty());
    assert!(Database::empty().rows("SELECT 1 FROM pg_tables WHERE schemaname = 'public'").is_empty());
}

#[test]
fn the_proxy_passes_holds_and_cuts() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = server.local_addr().unwrap();
    // Echoes until its client has said everything.
    std::thread::spawn(move || {
        for stream in server.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    let proxy = Proxy::start(target);
    let talk = |bytes: &'static [u8]| {
        std::thread::spawn({
            let address = proxy.address();
            move || {
                use std::io::{Read, Write};
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                answer
            }
        })
    };
    assert_eq!(talk(b"hello").join().unwrap(), b"hello");
    proxy.hold_after(3);
    let held = talk(b"hello");
    proxy.wait_until_held();
    assert!(!held.is_finished());
    proxy.pass();
    assert_eq!(held.join().unwrap(), b"hello");
    proxy.cut_after(2);
    assert!(talk(b"hello").join().unwrap().len() <= 2);
    assert_eq!(proxy.cuts(), 1);
    proxy.pass();
}
