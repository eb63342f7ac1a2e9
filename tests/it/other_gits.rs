//! Whoever calls git's helpers and is not git: each says something else, and each gets what it understands.

use std::fs;
use std::path::{Path, PathBuf};

use tok_tests::binaries;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::overheard::Asked;

use crate::helper_protocol::acme;

/// cargo, as it is: with libgit2, or with gitoxide in its place.
fn cargo(environment: &Environment, directory: &Path, gitoxide: bool) -> Call {
    // The one that runs the tests, else the one that built them, and its rustc.
    let cargo = PathBuf::from(std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned()));
    let path = binaries::search_path().into_string().unwrap();
    let path = format!("{}:{path}", cargo.parent().unwrap().display());
    let mut call = environment.call(&cargo).directory(directory).variable("PATH", path).acting_as("alice");
    if gitoxide {
        // This is how cargo is told to; the code is in every cargo.
        call = call.argument("-Zgitoxide=fetch").variable("RUSTC_BOOTSTRAP", "1");
        call = call.variable("CARGO_HTTP_CAINFO", environment.authority().trust());
    }
    call.variable("CARGO_HOME", directory.join("cargo"))
        .variable("CARGO_NET_GIT_FETCH_WITH_CLI", "false")
        .variable("CARGO_TARGET_DIR", directory.join("target"))
        .variable("CARGO_TERM_COLOR", "never")
}

/// A repository of a library, which only members of acme may read.
fn library(environment: &Environment) {
    let work = environment.pushed("alice", "acme/lib");
    environment.commit(&work, "Cargo.toml", "[package]\nname = \"lib\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    environment.commit(&work, "src/lib.rs", "pub fn answer() -> u8 {\n    42\n}\n");
    environment.git(&work, &["push", "--quiet"]).acting_as("alice").ok();
}

/// A program that needs it.
fn program(environment: &Environment, name: &str) -> PathBuf {
    let directory = environment.work(name);
    fs::create_dir_all(directory.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlib = {{ git = \"{}\" }}\n",
        named(&environment.repository("acme/lib"))
    );
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("src/main.rs"), "fn main() {\n    println!(\"{}\", lib::answer());\n}\n").unwrap();
    directory
}

/// The server by its name: libgit2's callers know no helper for a number.
fn named(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// cargo builds what needs a private repository; what it asked for on the way, once for the build and once when the token that
/// is kept has died.
fn cargo_fetches(gitoxide: bool) -> [Vec<String>; 2] {
    let environment = Environment::tls();
    environment.users(&["alice", "carol", "eve"]);
    environment.workspace("acme", &[("alice", "writer"), ("carol", "reader")]);
    library(&environment);
    let overheard = environment.overheard(&named(&environment.url()));
    // What libgit2's callers read for a server at another port than the usual one: without the port.
    for (key, value) in [("helper", ""), ("helper", overheard.program().to_str().unwrap()), ("useHttpPath", "true")] {
        let key = format!("credential.https://localhost.{key}");
        environment.call("git").arguments(["config", "--global", "--add", &key, value]).ok();
    }
    let directory = program(&environment, "program");
    let built = cargo(&environment, &directory, gitoxide).arguments(["run", "--quiet"]).ok();
    assert_eq!(built.text(), "42\n");
    let first = overheard.take();
    // One who may not read it is told no, and nobody is asked for a password.
    let other = program(&environment, "other");
    cargo(&environment, &other, gitoxide).argument("fetch").acting_as("eve").fails(101);
    // A token that died behind the server's back, and that nobody has shown yet.
    overheard.take();
    let lines = environment.challenged("acme/lib", "read").replace("=http\n", "=https\n");
    let get = environment.helper().acting_as("carol").argument("get").input(lines + "\n").shows_secret().ok();
    assert!(get.text().contains("credential=tokgit_"), "{}", get.describe());
    environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'git'");
    let third = program(&environment, "third");
    let again = || cargo(&environment, &third, gitoxide).argument("fetch").acting_as("carol").run();
    let failed = again();
    assert_eq!(failed.code, Some(101), "{}", failed.describe());
    again().expect_code(0);
    [first, overheard.take()].map(|asked| said(&asked))
}

#[test]
fn cargo_reads_the_index_of_a_private_registry() {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
    let work = environment.pushed("alice", "acme/index");
    environment.commit(&work, "config.json", "{\"dl\": \"https://localhost/nowhere\"}");
    let crate_line = format!(
        "{{\"name\":\"lib\",\"vers\":\"0.1.7\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":false}}\n",
        "0".repeat(64)
    );
    environment.commit(&work, "3/l/lib", crate_line);
    environment.git(&work, &["push", "--quiet"]).acting_as("alice").ok();
    let overheard = environment.overheard(&named(&environment.url()));
    for (key, value) in [("helper", overheard.program().to_str().unwrap()), ("useHttpPath", "true")] {
        let key = format!("credential.https://localhost.{key}");
        environment.call("git").arguments(["config", "--global", &key, value]).ok();
    }
    for gitoxide in [false, true] {
        let directory = program(&environment, if gitoxide { "one" } else { "other" });
        let manifest = "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlib = { version = \"0.1\", registry = \"acme\" }\n";
        fs::write(directory.join("Cargo.toml"), manifest).unwrap();
        let resolve = cargo(&environment, &directory, gitoxide).argument("generate-lockfile");
        resolve.variable("CARGO_REGISTRIES_ACME_INDEX", named(&environment.repository("acme/index"))).ok();
        let lock = fs::read_to_string(directory.join("Cargo.lock")).unwrap();
        assert!(lock.contains("version = \"0.1.7\"") && lock.contains("acme/index.git"), "{lock}");
        assert!(overheard.take().iter().all(|asked| asked.value("path") == Some("acme/index.git")));
    }
}

/// Operations, each with the keys and values that it came with.
fn said(asked: &[Asked]) -> Vec<String> {
    asked
        .iter()
        .map(|asked| {
            let operation = asked.arguments.rsplit(' ').next().unwrap_or_default();
            let lines = asked.lines.iter().filter(|line| !line.is_empty() && !line.starts_with("password_expiry_utc="));
            let lines: Vec<String> = lines.map(|line| line.replace(|c: char| c.is_ascii_digit(), "")).collect();
            format!("{operation}: {}", lines.join(" "))
        })
        .collect()
}

#[test]
fn cargo_with_libgit2_fetches_a_private_dependency() {
    // It says who and what, in its own order, and never how it ended.
    let get = "get: protocol=https host=localhost: path=acme/lib.git";
    let [first, died] = cargo_fetches(false);
    assert_eq!(first, [get]);
    assert_eq!(died, [get, get]);
}

#[test]
fn cargo_with_gitoxide_fetches_a_private_dependency() {
    // What it stores and erases has the URL, and all of its parts beside it.
    let get = "get: path=acme/lib.git protocol=https host=localhost:";
    let with = |operation: &str, user: &str| {
        let url = "url=https://localhost:/acme/lib.git path=acme/lib.git protocol=https host=localhost:";
        format!("{operation}: {url} username={user}")
    };
    let [first, died] = cargo_fetches(true);
    assert_eq!(first, [get.to_owned(), with("store", "alice")]);
    assert_eq!(died, [get.to_owned(), with("erase", "carol"), get.to_owned(), with("store", "carol")]);
}

/// The user name and the token that came, and what the token may.
#[track_caller]
fn login(environment: &Environment, said: &str) -> (String, String, &'static str) {
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let (user, token) = (value("username").unwrap(), value("password").unwrap_or_else(|| panic!("{said}")));
    environment.canaries().register("a git token", token);
    assert!(!said.contains("[]="), "{said}");
    let asked = |service: &str| environment.send(&Request::refs("acme/app", service).basic(user, token)).status;
    assert_eq!(asked("git-upload-pack"), 200);
    (user.to_owned(), token.to_owned(), if asked("git-receive-pack") == 200 { "write" } else { "read" })
}

#[test]
fn who_calls_the_helper_as_git_does_not_gets_a_user_name_and_a_password() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let [before, after] = direct(&environment);
    assert_ne!(before, after);
}

#[test]
fn who_calls_the_helper_as_git_does_not_gets_them_of_the_agent_too() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    environment.through_agent(&["alice"]);
    // With what git was refused it is not answered again, though the server still believes in it.
    let [before, after] = direct(&environment);
    assert_ne!(before, after);
}

/// Lines as Java, Python, Go and shell programs write them: in any order, with other line ends, with a URL in the place of
/// its parts or beside them, with a slash in front, without the blank line. Gives the token that came, and the one that came
/// after it was said to be refused.
fn direct(environment: &Environment) -> [String; 2] {
    let (host, url) = (environment.host(), environment.repository("acme/app"));
    let usual = format!("protocol=http\nhost={host}\npath=acme/app.git\n");
    let mut tokens = Vec::new();
    for lines in [
        usual.clone(),
        format!("{usual}\n"),
        format!("{usual}username=\n\n"),
        usual.replace('\n', "\r\n") + "\r\n",
        format!("path=/acme/app.git\nhost={host}\nprotocol=http\nquit=0\n\n"),
        format!("username=alice\nhost={host}\nfuture[]=x\npath=acme/app\nprotocol=http\n"),
        format!("url={url}\n"),
        format!("url={url}/\n\n"),
        format!("url={url}\n{usual}username=alice\n"),
        format!("url={}\n\n", url.replace("://", "://alice@")),
    ] {
        let call = environment.helper().acting_as("alice").argument("get").input(lines.clone()).shows_secret().ok();
        assert!(call.complaint().is_empty() && call.text().contains("\npassword_expiry_utc="), "{}", call.describe());
        let (user, token, right) = login(environment, call.text());
        assert_eq!((user.as_str(), right), ("alice", "read"), "{lines:?}");
        tokens.push(token);
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "one repository has one token");
    // Who pushes says so in the configuration or in the environment.
    let pushing = |call: Call| {
        let call = call.acting_as("alice").argument("get").input(format!("{usual}\n")).shows_secret();
        login(environment, call.ok().text()).2
    };
    assert_eq!(pushing(environment.helper().argument("--push")), "write");
    assert_eq!(pushing(environment.helper().variable("TOK_PUSH", "1")), "write");
    // The URL and its parts say two things: nobody knows which.
    let call = environment.helper().acting_as("alice").argument("get");
    assert_eq!(call.input(format!("url={url}\nhost=evil.example\n\n")).ok().text(), "");
    // What was refused is dropped, however it is said.
    let erase = format!("url={url}\n{usual}username=alice\npassword={}\n\n", tokens[0]);
    environment.helper().acting_as("alice").argument("erase").input(erase).ok();
    let call = environment.helper().acting_as("alice").argument("get").input(usual).shows_secret().ok();
    [tokens.remove(0), login(environment, call.text()).1]
}

#[test]
fn git_credential_is_a_way_for_everybody_whichever_git_it_is() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let url = environment.repository("acme/app");
    for git in ["/usr/bin/git", "git"] {
        let call = |operation: &str, input: &str| {
            let call = environment.call(git).arguments(["credential", operation]).acting_as("alice");
            call.variable("GIT_TERMINAL_PROMPT", "0").input(format!("{input}\n"))
        };
        let filled = call("fill", &format!("url={url}\n")).shows_secret().ok();
        let (user, token, right) = login(&environment, filled.text());
        assert_eq!((user.as_str(), right), ("alice", "read"), "{git}");
        call("approve", filled.text()).ok();
        assert_eq!(login(&environment, call("fill", &format!("url={url}\n")).shows_secret().ok().text()).1, token);
        call("reject", filled.text()).ok();
        let other = call("fill", &format!("url={url}\n")).shows_secret().ok();
        assert_ne!(login(&environment, other.text()).1, token, "{git}");
        // Whoever passes the challenge on gets what it asks for.
        let challenge = "Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/app\"";
        let asked = call("fill", &format!("url={url}\nwwwauth[]={challenge}\n")).shows_secret().ok();
        let knows = environment.call(git).argument("version").ok().text().trim() != "git version 2.39.5";
        assert_eq!(login(&environment, asked.text()).2, if knows { "write" } else { "read" }, "{git}");
        // And whoever knows of capabilities, and says so behind the URL, gets what cannot be kept by mistake, if this git knows of them.
        let new = call("fill", &format!("url={url}\ncapability[]=authtype\ncapability[]=state\n")).shows_secret().ok();
        assert_eq!(
            new.text().contains("ephemeral=1\n"),
            new.text().contains("authtype=Bearer\n"),
            "{}",
            new.describe()
        );
        assert_eq!(new.text().contains("authtype=Bearer\n"), knows, "{}", new.describe());
        let refused = call("fill", &format!("url={}\n", environment.repository("acme/../app"))).run();
        assert_ne!(refused.code, Some(0), "{}", refused.describe());
    }
}

#[test]
fn what_docs_git_md_has_people_run_does_what_it_says() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let page = fs::read_to_string(binaries::workspace().join("docs/git.md")).unwrap();
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let [push, helper, path] = commands.as_slice() else { panic!("{commands:?}") };
    let run = |command: &str, url: &str| {
        environment.call("sh").arguments(["-ec", &command.replace("https://git.example.com", url)]).ok();
    };
    let config = |arguments: &[&str]| {
        let said = environment.call("git").arguments(["config", "--global"]).arguments(arguments.iter().copied()).run();
        said.text().to_owned()
    };
    let key = format!("credential.{}.helper", environment.url());
    run(push, &environment.url());
    assert_eq!(config(&["--get-all", &key]), "\ntok --push\n", "the line that resets stays");
    let call = environment.call("git").arguments(["credential", "fill"]).acting_as("alice");
    let filled = call.input(format!("url={}\n\n", environment.repository("acme/app"))).shows_secret().ok();
    assert_eq!(login(&environment, filled.text()).2, "write");
    // git reads where it reads.
    let before = environment.count("SELECT count(*) FROM tokens WHERE kind = 'git' AND permission = 'read'");
    let work = environment.work("acme-app");
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
    assert_eq!(environment.count("SELECT count(*) FROM tokens WHERE kind = 'git' AND permission = 'read'"), before + 1);
    for command in [helper, path] {
        run(command, "http://127.0.0.1");
    }
    assert_eq!(config(&["--get-regexp", "^credential.http://127.0.0.1\\."]).lines().count(), 2);
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
}
