//! What is wrong with the machine is said in words, nothing is lost, and once it is put right the next start works.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tok_tests::environment::Environment;
use tok_tests::git::noise;
use tok_tests::postgres::{embedded_url, psql};

use crate::durability::acme;

#[test]
fn a_wrong_pepper_file_is_refused_in_words_and_the_right_one_works_again() {
    let environment = acme();
    let token = environment.token("alice", &[]);
    environment.stop();
    let pepper = environment.data().join("pepper");
    let right = fs::read_to_string(&pepper).unwrap();
    let number = right.split_once(':').unwrap().0.to_owned();
    let works = "the right pepper file";

    fs::write(&pepper, format!("{number}:{}\n", "ab".repeat(32))).unwrap();
    environment.start_fails().because(&[
        "pepper",
        "not the one this database was made with",
        "put the right file back",
    ]);
    fs::write(&pepper, "not a pepper\n").unwrap();
    environment.start_fails().because(&["pepper", "line 1"]);
    fs::write(&pepper, "").unwrap();
    environment.start_fails().because(&["pepper"]);
    // A missing one is not quietly replaced: no token could be verified any more.
    fs::remove_file(&pepper).unwrap();
    environment.start_fails().because(&["pepper"]);
    assert!(!pepper.exists(), "a new pepper was made for an old database");

    fs::write(&pepper, &right).unwrap();
    fs::set_permissions(&pepper, Permissions::from_mode(0o600)).unwrap();
    environment.start();
    let checked = environment.tok(&["token", "check"]).input(token).run();
    assert_eq!(checked.code, Some(0), "{works}: {}", checked.describe());
}

#[test]
fn the_pepper_file_is_for_its_owner_only() {
    let environment = Environment::new();
    environment.start();
    let mode = fs::metadata(environment.data().join("pepper")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn the_schema_of_a_later_version_is_refused_and_left_alone() {
    let environment = acme();
    environment.execute("INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('29991231000000', now())");
    environment.stop();
    environment.start_fails().because(&["29991231000000", "later tokd"]);
    // A cluster that a later tokd marked is refused as well, before it is touched.
    environment.start_fails().because(&["29991231000000"]);
    let version = with_cluster(&environment, |url| {
        psql(
            url,
            "SELECT max(version) FROM __diesel_schema_migrations; DELETE FROM __diesel_schema_migrations WHERE version = '29991231000000'",
        )
    });
    assert_eq!(version.trim(), "29991231000000");
    environment.start();
    environment.tok(&["user", "show", "alice"]).ok();
}

#[test]
fn without_postgres_it_says_what_to_install() {
    let environment = Environment::new();
    let empty = environment.path("empty");
    fs::create_dir(&empty).unwrap();
    let Err(refused) = environment.recipe().variable("TOK_PG_BIN", empty.to_string_lossy()).start() else {
        panic!("it started without PostgreSQL")
    };
    refused.because(&["PostgreSQL", &empty.to_string_lossy()]);
    assert!(!environment.data().join("pg").exists());
    environment.start();
}

#[test]
fn a_port_in_use_is_said_and_costs_nothing() {
    let environment = Environment::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut recipe = environment.recipe();
    *recipe.arguments.last_mut().unwrap() = address.clone();
    let Err(refused) = recipe.start() else { panic!("two programs listen on one port") };
    refused.because(&["cannot listen", &address, "--listen"]);
    drop(taken);
    let daemon = recipe.start().unwrap();
    daemon.stop();
}

#[test]
fn a_data_directory_that_cannot_be_made_is_said() {
    let environment = Environment::new();
    fs::write(environment.data(), "a file").unwrap();
    environment.start_fails().because(&[&environment.data().to_string_lossy()]);
    fs::remove_file(environment.data()).unwrap();
    environment.start();
}

#[test]
fn a_pack_over_the_limit_is_refused_with_a_sentence() {
    let environment = Environment::new();
    environment.start_with(&environment.serve_recipe("[git]\ncreate_on_push = true\nmax_push_size = \"1MiB\"\n"));
    environment.tok(&["git", "setup", &environment.url()]).ok();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    environment.commit(&work, "large", noise(3 << 20, 8));
    let push = environment.git(&work, &["-c", "core.compression=0", "push"]).acting_as("alice").fails();
    push.says(&["remote:", "maximum allowed size"]);
    environment.git(&work, &["reset", "--quiet", "--hard", "HEAD^"]).ok();
    environment.commit(&work, "small", "content");
    environment.git(&work, &["push"]).acting_as("alice").ok();
}

#[test]
fn a_full_disk_is_said_and_the_next_start_works() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can mount a file system of its own to fill.
        return;
    }
    let environment = Environment::new();
    let disk = SmallDisk::mount(&environment, "100m");
    fs::write(environment.data().join("ballast"), vec![0_u8; 80 << 20]).unwrap();
    environment.start_fails().because(&["full", &environment.data().to_string_lossy()]);
    fs::remove_file(environment.data().join("ballast")).unwrap();
    environment.start();
    environment.tok(&["git", "setup", &environment.url()]).ok();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");

    // Full while it runs: a push and a change are refused, nothing that was there is lost.
    environment.commit(&work, "large", noise(64 << 20, 9));
    environment.git(&work, &["-c", "core.compression=0", "push"]).acting_as("alice").fails();
    let head = environment.revision(&work, "HEAD^");
    let listed = environment.git(&work, &["ls-remote", "origin", "main"]).acting_as("alice").ok();
    assert!(listed.text().starts_with(&head), "{}", listed.describe());
    environment.git(&work, &["reset", "--quiet", "--hard", "HEAD^"]).ok();
    environment.commit(&work, "small", "content");
    environment.git(&work, &["push"]).acting_as("alice").ok();
    environment.stop();
    environment.start();
    environment.tok(&["user", "show", "alice"]).ok();
    environment.stop();
    drop(disk);
}

#[test]
fn it_runs_below_a_path_that_is_longer_than_a_socket_may_be() {
    let environment = Environment::new();
    let long = environment.path(&format!("{}/{}", "d".repeat(100), "e".repeat(100)));
    let mut recipe = environment.recipe();
    let socket = environment.path("s").to_string_lossy().into_owned();
    recipe.arguments = ["dev", "--data", &long.to_string_lossy(), "--listen", "127.0.0.1:0", "--socket", &socket]
        .map(str::to_owned)
        .to_vec();
    let daemon = recipe.start().unwrap();
    daemon.stop();
    // Its own socket would be there by default, and cannot be: that is said, with the number.
    recipe.arguments.truncate(5);
    let Err(refused) = recipe.start() else { panic!("a socket has a name that is too long for one") };
    refused.because(&["at most 107", "shorter"]);
}

/// Runs the cluster of a stopped environment without tokd.
fn with_cluster<T>(environment: &Environment, work: impl FnOnce(&str) -> T) -> T {
    let mut options = tok_store::embedded::ClusterOptions::new(environment.data());
    options.durable = true;
    let cluster = tok_store::embedded::Cluster::start(options).unwrap();
    let outcome = work(&embedded_url(environment.data()));
    cluster.stop();
    outcome
}

/// A file system of its own for the data directory.
struct SmallDisk(String);

impl SmallDisk {
    fn mount(environment: &Environment, size: &str) -> Self {
        let path = environment.data().to_string_lossy().into_owned();
        fs::create_dir(&path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0711"), "tmpfs", &path])
            .status();
        assert!(status.unwrap().success(), "cannot mount a tmpfs");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failing test may still have something open there.
        let _ = Command::new("umount").args(["--lazy", &self.0]).status();
    }
}
