//! Everything that people do with git over HTTP works as it does elsewhere.

use std::collections::BTreeSet;
use std::fs;

use tok_tests::environment::Environment;
use tok_tests::git::noise;
use tok_tests::http::Request;

/// A workspace with one writer.
fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    environment
}

#[test]
fn an_empty_repository_is_cloned_and_then_filled() {
    let environment = acme();
    // Made by a push of nothing but a branch that is deleted again.
    let work = environment.pushed("alice", "acme/app");
    fs::remove_dir_all(environment.on_server("acme/app")).unwrap();
    let url = environment.repository("acme/app");
    let gone = environment.git(&environment.work(""), &["clone", &url, "gone"]).acting_as("alice").fails();
    gone.says(&["not found"]);
    let status = std::process::Command::new("git")
        .args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(environment.on_server("acme/app"))
        .status();
    assert!(status.unwrap().success());

    let clone = environment.git(&environment.work(""), &["clone", &url, "empty"]).acting_as("alice").ok();
    clone.says(&["empty repository"]);
    let empty = environment.work("empty");
    environment.commit(&empty, "file", "content");
    environment.git(&empty, &["push", "origin", "HEAD"]).acting_as("alice").ok();
    assert_ne!(environment.revision(&empty, "HEAD"), environment.revision(&work, "HEAD"));
}

#[test]
fn a_thousand_references_are_pushed_and_cloned_with_a_compressed_request() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    // Each its own commit: so that a clone has to name a thousand of them.
    let commit = |number: u32| {
        let at = 1_800_000_000 + number;
        format!(
            "commit refs/heads/topic/{number}\ncommitter Test <test@example.com> {at} +0000\ndata 1\nx\nfrom refs/heads/main^0\n\n"
        )
    };
    let stream: String = (0..1000).map(commit).collect();
    environment.call("git").directory(&work).argument("fast-import").argument("--quiet").input(stream).ok();
    environment.git(&work, &["push", "--quiet", "origin", "refs/heads/*:refs/heads/*"]).acting_as("alice").ok();
    let url = environment.repository("acme/app");
    let clone = environment
        .git(&environment.work(""), &["clone", "--quiet", "--mirror", &url, "mirror"])
        .acting_as("alice")
        .ok();
    let references = environment.git(&environment.work("mirror"), &["for-each-ref", "--format=%(refname)"]).ok();
    assert_eq!(references.text().lines().count(), 1001);
    assert!(clone.sent_header("content-encoding", "gzip"), "a request for a thousand commits is compressed");
}

#[test]
fn a_large_repository_comes_back_whole() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    // 200 for the full measure.
    let megabytes: usize = std::env::var("TOK_TEST_LARGE_MB").map_or(48, |text| text.parse().unwrap());
    for part in 0..4 {
        environment.commit(&work, &format!("part-{part}"), noise((megabytes << 20) / 4, part));
    }
    environment.git(&work, &["-c", "core.compression=0", "push", "--quiet"]).acting_as("alice").ok();
    let url = environment.repository("acme/app");
    environment.git(&environment.work(""), &["clone", "--quiet", &url, "copy"]).acting_as("alice").ok();
    for part in 0..4 {
        let name = format!("part-{part}");
        assert!(fs::read(work.join(&name)).unwrap() == fs::read(environment.work("copy").join(&name)).unwrap());
    }
}

#[test]
fn shallow_and_partial_clones_take_less_and_can_take_the_rest() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    for number in 0..5 {
        environment.commit(&work, "file", format!("{number}"));
    }
    environment.git(&work, &["push", "--quiet"]).acting_as("alice").ok();
    let url = environment.repository("acme/app");
    let count = |directory: &str| {
        let counted = environment.git(&environment.work(directory), &["rev-list", "--count", "HEAD"]).ok();
        counted.line().parse::<u32>().unwrap()
    };

    environment.git(&environment.work(""), &["clone", "--quiet", "--depth=1", &url, "shallow"]).acting_as("alice").ok();
    assert_eq!(count("shallow"), 1);
    environment.git(&environment.work("shallow"), &["fetch", "--quiet", "--deepen=2"]).acting_as("alice").ok();
    assert_eq!(count("shallow"), 3);
    environment.git(&environment.work("shallow"), &["fetch", "--quiet", "--unshallow"]).acting_as("alice").ok();
    assert_eq!(count("shallow"), 6);
    environment.commit(&environment.work("shallow"), "file", "from the shallow one");
    environment.git(&environment.work("shallow"), &["push", "--quiet"]).acting_as("alice").ok();

    let arguments = ["clone", "--quiet", "--filter=blob:none", "--no-checkout", &url, "partial"];
    environment.git(&environment.work(""), &arguments).acting_as("alice").ok();
    let partial = environment.work("partial");
    let missing = || {
        let listed = environment.git(&partial, &["rev-list", "--objects", "--missing=print", "HEAD"]).ok();
        listed.text().lines().filter(|line| line.starts_with('?')).count()
    };
    assert_eq!(missing(), 7, "no blob was taken");
    // The checkout asks for what it needs, with the helper again.
    environment.git(&partial, &["checkout", "--quiet", "main"]).acting_as("alice").ok();
    assert_eq!(fs::read_to_string(partial.join("file")).unwrap(), "from the shallow one");
    assert_eq!(missing(), 5);
}

#[test]
fn a_submodule_on_the_same_server_gets_a_token_of_its_own() {
    let environment = acme();
    environment.pushed("alice", "acme/library");
    let work = environment.pushed("alice", "acme/app");
    let library = environment.repository("acme/library");
    environment.git(&work, &["submodule", "--quiet", "add", &library, "library"]).acting_as("alice").ok();
    environment.git(&work, &["commit", "--quiet", "--message", "library"]).ok();
    environment.git(&work, &["push", "--quiet"]).acting_as("alice").ok();

    // Somebody who has no token yet.
    environment.users(&["bob"]).tok(&["workspace", "member", "add", "acme", "bob", "--role", "reader"]).ok();
    let url = environment.repository("acme/app");
    let arguments = ["clone", "--quiet", "--recurse-submodules", &url, "copy"];
    environment.git(&environment.work(""), &arguments).acting_as("bob").ok();
    assert!(environment.work("copy").join("library/README").is_file());
    let minted = environment.rows(
        "SELECT t.permission || ' ' || t.within_workspace || '/' || t.repos[1] AS what FROM tokens t \
         JOIN users u ON u.id = t.user_id WHERE t.kind = 'git' AND u.name = 'bob' AND cardinality(t.repos) = 1",
    );
    let minted: BTreeSet<&str> = minted.iter().map(|row| row["what"].as_str().unwrap()).collect();
    assert_eq!(minted, BTreeSet::from(["read acme/app", "read acme/library"]));
}

#[test]
fn git_archive_reads_a_remote_repository() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let remote = format!("--remote={}", environment.repository("acme/app"));
    let archive =
        environment.git(&environment.work(""), &["archive", &remote, "--format=tar", "main"]).acting_as("alice").ok();
    let listed = environment.call("tar").argument("-t").input(archive.stdout.clone()).ok();
    assert_eq!(listed.text(), "README\n");
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git' AND permission = 'read'"), 1);
}

#[test]
fn bare_repositories_work_trees_tags_and_deletions_are_pushed() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let url = environment.repository("acme/app");
    environment.git(&environment.work(""), &["clone", "--quiet", "--bare", &url, "bare.git"]).acting_as("alice").ok();
    let bare = environment.work("bare.git");
    environment.git(&bare, &["branch", "from-bare", "main"]).ok();
    environment.git(&bare, &["push", "--quiet", &url, "from-bare"]).acting_as("alice").ok();

    let tree = environment.work("tree");
    environment.git(&work, &["worktree", "add", "--quiet", "-b", "from-tree", tree.to_str().unwrap()]).ok();
    environment.commit(&tree, "tree", "content");
    environment.git(&tree, &["push", "--quiet", "origin", "from-tree"]).acting_as("alice").ok();

    environment.git(&work, &["tag", "--annotate", "--message", "one", "v1"]).ok();
    environment.git(&work, &["push", "--quiet", "origin", "v1", ":from-bare"]).acting_as("alice").ok();
    environment.git(&work, &["commit", "--quiet", "--amend", "--message", "another"]).ok();
    environment.git(&work, &["push", "--quiet", "--force", "origin", "main"]).acting_as("alice").ok();
    let listed = environment.git(&work, &["ls-remote", "origin"]).acting_as("alice").ok();
    let names: Vec<&str> =
        listed.text().lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name).collect();
    assert_eq!(names, ["HEAD", "refs/heads/from-tree", "refs/heads/main", "refs/tags/v1", "refs/tags/v1^{}"]);
}

#[test]
fn every_protocol_version_of_git_works() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    for version in ["0", "1", "2"] {
        let name = format!("copy-{version}");
        let clone =
            environment.git(&environment.work(""), &["clone", "--quiet", &environment.repository("acme/app"), &name]);
        clone.setting("protocol.version", version).acting_as("alice").ok();
        environment.commit(&environment.work(&name), &name, "content");
        let push = environment.git(&environment.work(&name), &["push", "--quiet", "origin", &format!("HEAD:{name}")]);
        push.setting("protocol.version", version).acting_as("alice").ok();
    }
    let listed = environment.git(&work, &["ls-remote", "--heads", "origin"]).acting_as("alice").ok();
    assert_eq!(listed.text().lines().count(), 4);
}

#[test]
fn a_url_without_the_ending_and_with_a_slash_is_the_same_repository() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let expected = environment.revision(&work, "HEAD");
    for url in [format!("{}/acme/app", environment.url()), format!("{}/acme/app.git/", environment.url())] {
        let listed = environment.git(&work, &["ls-remote", &url, "HEAD"]).acting_as("alice").ok();
        assert!(listed.text().starts_with(&expected), "{url}: {}", listed.describe());
    }
    assert_eq!(
        environment.count("SELECT count(*) FROM tokens WHERE kind = 'git' AND permission = 'read'"),
        1,
        "one token serves all forms"
    );
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let token = environment.token("alice", &[]);
    let refs = "info/refs?service=git-upload-pack";
    assert_eq!(environment.send(&Request::refs("acme/app", "git-upload-pack").bearer(&token)).status, 200);
    for target in [
        format!("/acme//app.git/{refs}"),
        format!("//acme/app.git/{refs}"),
        format!("/acme/../acme/app.git/{refs}"),
        format!("/acme/%2e%2e/acme/app.git/{refs}"),
        format!("/acme%2Fapp.git/{refs}"),
        format!("/acme\\app.git/{refs}"),
        format!("/acme/app.git/./{refs}"),
        format!("/acme/app.git%00/{refs}"),
        "/acme/app.git/info/refs?service=git-upload-pack&service=git-receive-pack".to_owned(),
        "/acme/app.git/info/refs?service=git-shell".to_owned(),
        "/acme/app.git/objects/info/packs".to_owned(),
        "/acme/app.git/config".to_owned(),
        "/acme/app.git/hooks/update".to_owned(),
    ] {
        let reply = environment.send(&Request::get(target.clone()).bearer(&token));
        assert!((400..500).contains(&reply.status), "{target}: {reply:?}");
        assert!(!reply.text().contains("refs/heads"), "{target}: {reply:?}");
    }
}

#[test]
fn incident_15_a_hostile_name_creates_nothing_and_breaks_nothing() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let before = environment.count("SELECT count(*) FROM tokens");
    let long = "x".repeat(300);
    for name in
        ["..", ".git", "a..b", "-rf", "app.lock", "a'; DROP TABLE tokens; --", "a%00b", "a%0ab", "\u{202e}gpj", &long]
    {
        let push = environment
            .git(&work, &["push", &format!("{}/acme/{name}", environment.url()), "main"])
            .acting_as("alice")
            .fails();
        assert!(!push.complaint().contains("panicked"), "{}", push.describe());
    }
    assert_eq!(
        environment.count("SELECT count(*) FROM tokens"),
        before,
        "nothing was minted for a name that cannot be one"
    );
    let kept: Vec<_> =
        fs::read_dir(environment.data().join("git/acme")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["app.git"]);
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
}
