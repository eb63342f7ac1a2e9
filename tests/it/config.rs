//! The configuration, and `tokd serve` on a database that somebody else keeps.

use std::fs;

use tok_tests::binaries;
use tok_tests::environment::Environment;
use tok_tests::postgres::Database;

/// `tokd check-config` on this text.
fn check(environment: &Environment, text: &str) -> tok_tests::call::Finished {
    let path = environment.path("checked.toml");
    fs::write(&path, text).unwrap();
    environment.call(binaries::path("tokd")).arguments(["check-config", "--config"]).argument(path).run()
}

#[test]
fn the_shipped_file_is_good_and_documents_every_key() {
    let environment = Environment::new();
    let shipped = fs::read_to_string(binaries::workspace().join("config/tokd.toml")).unwrap();
    check(&environment, &shipped).expect_code(0);

    // Each key stands in it, set or commented out, directly below words about it; and set to what is shown, it is good.
    let keys = keys(&shipped);
    assert!(keys.len() > 20, "{keys:?}");
    let mut live = String::new();
    let mut section = String::new();
    for line in shipped.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            live.extend([line, "\n"]);
        } else if let Some(assignment) = assignment(line) {
            let key = assignment.split_once(" = ").unwrap().0;
            // These exclude each other, or name files that are not here.
            if !["database_url", "database_url_file", "store"].contains(&key) && section != "server.tls" {
                live.extend([assignment, "\n"]);
            }
        }
    }
    assert!(!section.is_empty());
    let checked = check(&environment, &live);
    assert_eq!(checked.code, Some(0), "{}\n{live}", checked.describe());

    // No key is known that is not documented: an unknown key is an error that lists the known ones.
    let sections =
        ["", "embedded", "server", "server.tls", "ipc", "git", "tokens", "tokens.personal", "tokens.session", "log"];
    for section in sections {
        let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let refused = check(&environment, &format!("{head}no_such_key = 1\n")).expect_code(2);
        let complaint = refused.complaint();
        let listed = complaint
            .lines()
            .next()
            .and_then(|line| line.split_once("expected"))
            .unwrap_or_else(|| panic!("{complaint}"))
            .1;
        let known: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert!(!known.is_empty(), "{complaint}");
        for key in known {
            let below = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            let is_section = shipped.contains(&format!("\n[{below}]"));
            let documented = keys.iter().any(|(found, name)| found == section && name == key);
            assert!(is_section || documented, "[{section}] {key} is not in config/tokd.toml");
        }
    }
}

#[test]
fn a_bad_value_is_named_with_its_key() {
    let environment = Environment::new();
    for (text, words) in [
        ("[server]\nlisten = \"0.0.0.0:80\"\n", &["server.listen", "in the clear"][..]),
        ("[server]\nlisten = 7\n", &["listen"]),
        ("[sever]\n", &["sever"]),
        ("store = \"mysql\"\n", &["store", "mysql"]),
        ("data_dir = \"here\"\n", &["data_dir", "absolute"]),
        ("[tokens]\ngit_lifetime = \"2h\"\n", &["tokens.git_lifetime", "1h"]),
        ("[git]\nroot = \"/g\"\nmax_push_size = \"much\"\n", &["git.max_push_size", "MiB"]),
        ("[log]\nlevel = \"info,tokd=loud\"\n", &["log.level"]),
        ("not toml", &["not valid"]),
    ] {
        check(&environment, text).expect_code(2).says(words);
    }
    let missing =
        environment.call(binaries::path("tokd")).arguments(["check-config", "--config", "/nonexistent.toml"]).fails(2);
    missing.says(&["/nonexistent.toml"]);
    let variable = environment
        .call(binaries::path("tokd"))
        .arguments(["check-config"])
        .variable("TOKD_SERVER_LISTN", "x")
        .fails(2);
    variable.says(&["TOKD_SERVER_LISTN"]);
}

#[test]
fn serve_runs_on_a_database_of_its_own_and_migrates_it() {
    let environment = Environment::new();
    let database = Database::empty();
    let recipe = environment.serve_recipe("[git]\ncreate_on_push = true\n").variable("DATABASE_URL", database.url());

    let mut migrate = recipe.clone();
    migrate.arguments[0] = "migrate".to_owned();
    let first = migrate.run();
    assert!(first.status.success() && first.said.contains("migrations"), "{}", first.said);
    let again = migrate.run();
    assert!(again.status.success() && again.said.contains("up to date"), "{}", again.said);
    assert_eq!(database.rows("SELECT count(*) AS count FROM users")[0]["count"], 0);

    environment.start_with(&recipe);
    environment.tok(&["git", "setup", &environment.url()]).ok();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/app");
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
    let status = environment.tok(&["status", "--output", "json"]).ok().json();
    assert_eq!(status["server"]["store"], "postgres");
    assert_eq!(database.rows("SELECT count(*) AS count FROM tokens WHERE kind = 'git'")[0]["count"], 2);
    assert!(!environment.data().join("pg").exists(), "no cluster of its own was made");
}

#[test]
fn serve_without_its_database_says_so() {
    let environment = Environment::new();
    let url = "postgresql://tok@/tok?host=/nonexistent";
    let recipe = environment.serve_recipe("").variable("DATABASE_URL", url);
    let Err(refused) = recipe.start() else { panic!("it serves without a database") };
    refused.because(&["PostgreSQL"]);
}

#[test]
fn a_password_in_the_database_url_is_never_shown() {
    let environment = Environment::new();
    let password = "database-password-canary";
    environment.canaries().register("the database's password", password);
    let url = format!("postgresql://tok:{password}@127.0.0.1:1/tok");
    let recipe = environment.serve_recipe("[log]\nlevel = \"trace\"\n").variable("DATABASE_URL", url);
    let Err(refused) = recipe.start() else { panic!("it serves without a database") };
    refused.because(&["PostgreSQL"]);
    assert!(!refused.said.contains(password), "{}", refused.said);
}

#[test]
fn incident_02_at_its_loudest_the_log_has_no_secret() {
    let environment = Environment::new();
    environment.start_with(
        &environment.serve_recipe("[git]\ncreate_on_push = true\n[log]\nlevel = \"trace\"\nformat = \"json\"\n"),
    );
    environment.tok(&["git", "setup", &environment.url()]).ok();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    let work = environment.pushed("alice", "acme/app");
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
    let personal = environment.token("alice", &["--scopes", "all"]);
    let workspace =
        environment.token("alice", &["--kind", "workspace", "--workspace", "acme", "--permission", "write"]);
    let repo = environment.token("alice", &["--kind", "repo", "--repo", "acme/app", "--permission", "read"]);
    for token in [&personal, &workspace, &repo] {
        environment.tok(&["token", "check"]).input(token.clone()).ok();
        environment.tok(&["whoami"]).variable("TOK_TOKEN", token.clone()).ok();
        let request = tok_tests::http::Request::refs("acme/app", "git-upload-pack");
        assert_eq!(environment.send(&request.clone().bearer(token)).status, 200);
        assert_eq!(environment.send(&request.basic("alice", token)).status, 200);
        environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("alice").ok();
    }
    environment.tok(&["audit"]).ok();
    environment.stop();
    let log = environment.log();
    assert!(log.lines().count() > 100, "the log is loud");
    assert!(log.lines().all(|line| line.starts_with('{')), "every line is a JSON object");
    // That none of it is a secret is looked at when the environment ends.
}

/// Every key with its section.
fn keys(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        } else if let Some(assignment) = assignment(line) {
            found.push((section.clone(), assignment.split_once(" = ").unwrap().0.to_owned()));
        }
    }
    found
}

/// `key = value`, also if it is commented out as `#key = value`.
fn assignment(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ").or_else(|| line.strip_prefix('#')).unwrap_or(line);
    let (key, _) = line.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(line)
}
