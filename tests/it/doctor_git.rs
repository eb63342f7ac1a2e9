//! `tok doctor` on git: what is configured against tok, where credentials lie about, and who else is asked; with the command
//! that mends it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tok_tests::laptop::Laptop;

use crate::doctor::{doctor, environment, findings, healthy, well};

/// Spoils something, sees it found, runs the command that is named, and sees that all is well again.
#[track_caller]
fn mends(laptop: &Laptop<'_>, spoil: &str, check: &str, words: &[&str]) {
    let app = laptop.work().join("app");
    laptop.call("sh").arguments(["-ec", spoil]).directory(&app).ok();
    let finished = doctor(laptop);
    let found = findings(&finished);
    let finding = found.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("{spoil}: nothing found by {check}\n{}", finished.describe()));
    assert_ne!(finished.code, Some(0), "{}", finished.describe());
    let said = finding.to_string();
    for word in words {
        assert!(said.contains(word), "{spoil}: {word:?} is not in {said}");
    }
    assert!(finding["why"].as_str().is_some_and(|why| why.len() > 10), "{said}");
    let fix = finding["fix"].as_str().unwrap_or_else(|| panic!("no command mends {said}"));
    laptop.call("sh").arguments(["-ec", fix]).directory(&app).ok();
    let after = doctor(laptop);
    assert!(after.code == Some(0), "{spoil}: after `{fix}`\n{}", after.describe());
}

#[test]
fn what_is_wrong_with_git_is_found_and_mended_by_the_command_that_is_named() {
    let environment = environment();
    let laptop = healthy(&environment);
    well(&laptop);
    let (url, host) = (environment.url(), environment.host());
    let helper = format!("credential.{url}.helper");
    for (spoil, check, words) in [
        (
            format!("git config --global --replace-all {helper} store && git config --global --add {helper} tok"),
            "helper-chain",
            &["store", "before tok", "plain text"][..],
        ),
        (format!("git config --global --unset-all {helper}"), "helper-chain", &["does not ask tok", "nobody"]),
        (
            "git config --global --add credential.helper 'store --file /tmp/x'".to_owned(),
            "helper-chain",
            &["store", "is told, too", ".gitconfig"],
        ),
        ("git config credential.helper store".to_owned(), "helper-chain", &["store", ".git/config"]),
        (
            format!("git config --global --replace-all {helper} '/nonexistent/git-credential-tok'"),
            "helper",
            &["cannot run", "/nonexistent"],
        ),
        (format!("git config --global credential.{url}.useHttpPath false"), "use-http-path", &["useHttpPath"]),
        (format!("git config --local credential.{url}.useHttpPath false"), "use-http-path", &["off", ".git/config"]),
        (
            format!("git remote set-url origin https://alice:hunter2hunter2@{host}/acme/app.git"),
            "remote-passwords",
            &["origin", "password", "revoke"],
        ),
        (
            format!("git remote set-url --add origin https://x:hunter2hunter2@{host}/acme/lib.git"),
            "remote-passwords",
            &["origin", "password"],
        ),
        ("git remote add clear http://git.example.com/a/b.git; git remote set-url clear https://git.example.com/a/b.git; git remote set-url --push clear http://git.example.com/a/b.git".to_owned(), "remote-http", &["clear", "in the clear"]),
        (format!("git config --replace-all remote.origin.url https://carol@{host}/acme/app.git"), "session", &["another user", "alice"]),
        (
            format!("git config http.{url}/.extraHeader 'Authorization: Basic eDp5'"),
            "git-settings",
            &["Authorization", "never asked"],
        ),
        (format!("git config --global http.{url}/.sslVerify false"), "git-settings", &["sslVerify"]),
        (
            format!("git config --global url.https://elsewhere.example/.insteadOf {url}/"),
            "git-settings",
            &["elsewhere.example", "insteadOf"],
        ),
        (
            "git config --global url.https://me:hunter2hunter2@b.example/.insteadOf https://c.example/".to_owned(),
            "url-passwords",
            &["password", "b.example"],
        ),
        ("chmod 644 \"$XDG_CONFIG_HOME/tok/logins.toml\"".to_owned(), "logins-file", &["0644"]),
        ("mkdir -p \"$XDG_RUNTIME_DIR/tok\"; chmod 755 \"$XDG_RUNTIME_DIR/tok\"".to_owned(), "sockets", &["0755"]),
    ] {
        mends(&laptop, &spoil, check, words);
        let said = doctor(&laptop);
        assert!(!said.text().contains("hunter2"), "a password is never repeated\n{}", said.describe());
    }
    // An older git is named, as is the reason; there is no command for everybody's system.
    let old = laptop.home().join("old");
    fs::create_dir(&old).unwrap();
    let fake = "#!/bin/sh\n[ \"$1\" = version ] && { echo git version 2.39.5; exit; }\nexec /usr/bin/git \"$@\"\n";
    fs::write(old.join("git"), fake).unwrap();
    for directory in [laptop.home().to_owned(), old.clone(), old.join("git")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}:/usr/bin:/bin", old.display(), environment.path("bin").display());
    let said = laptop.tok(&["doctor"]).variable("PATH", path).fails(1);
    assert!(said.text().contains("2.39") && said.text().contains("before 2.46"), "{}", said.describe());
}

/// Git goes by what it reads last of all that fits, however closely it fits.
#[test]
fn what_takes_back_what_setup_wrote_is_named_and_mended_where_it_is() {
    let environment = environment();
    let laptop = healthy(&environment);
    well(&laptop);
    let (url, host) = (environment.url(), environment.host());
    let app = laptop.work().join("app");
    let sh = |script: &str| laptop.call("sh").arguments(["-ec", script]).directory(&app).ok();
    sh("cp .git/config ../own; cp \"$HOME/.gitconfig\" ../global");
    for (spoil, check, words) in [
        ("git config --global credential.useHttpPath false".to_owned(), "use-http-path", &["off", ".gitconfig"][..]),
        ("git config credential.useHttpPath false".to_owned(), "use-http-path", &["off", ".git/config"]),
        (
            format!("git config credential.{url}.helper ''; git config --add credential.{url}.helper store"),
            "helper-chain",
            &["does not ask tok", "asks store", ".git/config", "--local"],
        ),
        (
            "git config credential.helper ''; git config --add credential.helper store".to_owned(),
            "helper-chain",
            &["does not ask tok", "asks store", "--local"],
        ),
        (
            format!(
                "git config credential.{url}/acme/app.git.helper ''; git config --add credential.{url}/acme/app.git.helper store"
            ),
            "helper-chain",
            &["does not ask tok", "asks store", "--local"],
        ),
        (
            format!(
                "git config credential.{url}.helper ''; git config --add credential.{url}.helper tok; git config credential.helper ''"
            ),
            "helper-chain",
            &["does not ask tok", "asks nobody", "--local"],
        ),
        (
            format!("git config credential.{host}.helper ''; git config --add credential.{host}.helper store"),
            "helper-chain",
            &["does not ask tok", "asks store", "--local"],
        ),
        (
            "git config --global credential.helper ''; git config --global --add credential.helper cache".to_owned(),
            "helper-chain",
            &["does not ask tok", "asks cache"],
        ),
        (format!("git config --global credential.{url}.username joe"), "session", &["the user joe", ".gitconfig"]),
        ("git config --global credential.username joe".to_owned(), "session", &["the user joe", "credential.username"]),
    ] {
        mends(&laptop, &spoil, check, words);
        laptop.git(&["fetch"]).directory(&app).ok();
        sh("cp ../own .git/config; cp ../global \"$HOME/.gitconfig\"");
    }
    // From the environment there is nothing that setup could write.
    let given = |call: tok_tests::call::Call| {
        call.directory(&app)
            .variable("GIT_CONFIG_COUNT", "1")
            .variable("GIT_CONFIG_KEY_0", "credential.helper")
            .variable("GIT_CONFIG_VALUE_0", "")
    };
    let said = given(laptop.tok(&["doctor"])).fails(1);
    assert!(said.text().contains("mend: unset GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT"), "{}", said.describe());
    // What setup says is true where it is said.
    let said = given(laptop.tok(&["git", "setup", &url])).ok();
    assert!(said.text().contains("But not here: git does not ask tok"), "{}", said.describe());
    sh(&format!("git config credential.{url}.helper ''; git config --add credential.{url}.helper store"));
    let said = laptop.tok(&["git", "setup", &url]).directory(&app).ok();
    assert!(
        said.text().contains("But not here") && said.text().contains(&format!("mend: tok git setup {url} --local")),
        "{}",
        said.describe()
    );
    let said = laptop.tok(&["git", "setup", &url, "--local", "--output", "json"]).directory(&app).ok().json();
    let said = &said["servers"][0];
    assert_eq!(
        (&said["replaced"], &said["in_the_way"]),
        (&serde_json::json!(["store"]), &serde_json::json!([])),
        "{said}"
    );
    well(&laptop);
}

#[test]
fn credentials_are_found_wherever_git_has_urls() {
    let environment = environment();
    let laptop = healthy(&environment);
    let host = environment.host();
    let secret = "https://me:hunter2hunter2@b.example/lib/core.git";
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    for (spoil, check, words) in [
        (
            format!("git remote set-url origin https://{token}@{host}/acme/app.git"),
            "remote-passwords",
            &["origin", "token", "revoke"][..],
        ),
        (
            format!("git remote set-url origin https://{token}:x-oauth-basic@{host}/acme/app.git"),
            "remote-passwords",
            &["origin", "token", "revoke"],
        ),
        (
            "git remote add deep https://me:hunter2hunter2@b.example/core.git".to_owned(),
            "url-passwords",
            &["remote.deep.url"],
        ),
        (format!("git config submodule.core.url {secret}"), "url-passwords", &["submodule.core.url", "revoke"]),
        (
            format!(
                "git config --file .gitmodules submodule.core.path core; git config --file .gitmodules submodule.core.url {secret}"
            ),
            "url-passwords",
            &["submodule.core.url", ".gitmodules", "each commit"],
        ),
        (
            format!(
                "mkdir -p .git/modules/libs/core; cp .git/HEAD .git/config .git/modules/libs/core; git config --file .git/modules/libs/core/config remote.origin.url {secret}"
            ),
            "url-passwords",
            &["remote.origin.url", "modules/libs/core/config"],
        ),
        (format!("git config branch.main.remote {secret}"), "url-passwords", &["branch.main.remote"]),
        (format!("git config lfs.url {secret}"), "url-passwords", &["lfs.url"]),
        (
            "git config --global url.http://h.example/.insteadOf https://h.example/".to_owned(),
            "remote-http",
            &["http://h.example", "in the clear", "https://h.example"],
        ),
    ] {
        mends(&laptop, &spoil, check, words);
        let said = doctor(&laptop);
        assert!(!said.text().contains("hunter2") && !said.text().contains(&token), "{}", said.describe());
    }
}

#[test]
fn what_somebody_put_into_the_helpers_line_stays_there() {
    let environment = environment();
    let laptop = healthy(&environment);
    let (url, app) = (environment.url(), laptop.work().join("app"));
    let key = format!("credential.{url}.helper");
    let line = || laptop.git(&["config", "--global", "--get-all", &key]).ok().text().trim().to_owned();
    laptop.git(&["config", "--global", "--replace-all", &key, "tok --push --profile=work", "^tok"]).ok();
    let setup = |words: &[&str]| laptop.tok(&["git", "setup", &url]).arguments(words.iter().copied()).ok();
    let said = setup(&[]);
    assert!(said.text().contains("Nothing was changed"), "{}", said.describe());
    said.says(&["`--profile work --push` stays"]);
    assert_eq!(line(), "tok --push --profile=work");
    assert_eq!(
        setup(&["--profile", "two", "--output", "json"]).json()["servers"][0]["kept"],
        serde_json::json!(["--push"])
    );
    assert_eq!(line(), "tok --profile two --push");
    // What mends something else does not take it away either.
    laptop.git(&["config", "--global", "--replace-all", &key, "/nonexistent/git-credential-tok --push", "^tok"]).ok();
    setup(&[]);
    assert_eq!(line(), "tok --push");
    laptop.tok(&["git", "unset", &url]).ok();
    setup(&[]);
    assert_eq!(line(), "tok");

    // A repository of one's own, by its remotes.
    let password = laptop.password_of("bob");
    let login = laptop.tok(&["login", &url, "--profile", "work", "--user", "bob", "--password-stdin"]);
    login.input(format!("{password}\n")).ok();
    laptop.tok(&["git", "setup", "--profile", "work", "--local"]).directory(&app).ok();
    let why = laptop.tok(&["git", "why", "origin", "--output", "json"]).directory(&app).ok().json();
    assert_eq!(why["login"]["user"], "bob", "{why}");
    laptop.tok(&["git", "unset", "--local"]).directory(&app).ok();
    laptop.git(&["init", "--quiet", "other"]).ok();
    let other = laptop.work().join("other");
    laptop.tok(&["git", "setup", "--local"]).directory(&other).fails(2).says(&["no remote of this repository"]);
    laptop.tok(&["git", "setup"]).fails(2).says(&["<URL>"]);
    let both = laptop.tok(&["git", "setup", &url, "https://b.example", "--output", "json"]).ok().json();
    assert_eq!(both["servers"].as_array().unwrap().len(), 2, "{both}");
}

/// Every finding about whom git asks, as severity, words and whether a command mends it.
fn chain(laptop: &Laptop<'_>) -> Vec<(String, String, bool)> {
    let report = doctor(laptop).json();
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "helper-chain");
    let findings = checks.flat_map(|check| check["findings"].as_array().unwrap().clone());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .map(|finding| {
            let said = format!("{}; {}", text(&finding["what"]), text(&finding["why"]));
            (text(&finding["severity"]), said, finding["fix"].is_string())
        })
        .collect()
}

#[test]
fn each_neighbour_is_judged_by_where_it_is_asked_and_what_it_writes() {
    let environment = environment();
    let laptop = healthy(&environment);
    let key = format!("credential.{}.helper", environment.url());
    let set = |chain: &[&str]| {
        let lines = chain.iter().map(|value| format!("git config --global --add {key} '{value}'\n"));
        let script = lines.collect::<Vec<_>>().concat();
        let script = format!("git config --global --unset-all {key}\n{script}");
        laptop.call("sh").arguments(["-ec", &script]).ok();
    };
    let libsecret = "/usr/share/git-core/credential/libsecret/git-credential-libsecret";
    for neighbour in ["cache --timeout 900", "store", libsecret, "manager", "!gh auth git-credential"] {
        set(&["", neighbour, "tok"]);
        let found = chain(&laptop);
        let [(severity, said, mended)] = found.as_slice() else { panic!("{neighbour}: {found:?}") };
        assert_eq!((severity.as_str(), *mended), ("error", true), "{said}");
        assert!(said.contains(&format!("`{neighbour}` is asked before tok")) && said.contains("revoked"), "{said}");
        assert_eq!(said.contains("plain text"), neighbour == "store", "{said}");

        set(&["", "tok", neighbour]);
        let found = chain(&laptop);
        let [(severity, said, mended)] = found.as_slice() else { panic!("{neighbour}: {found:?}") };
        let writes = neighbour == "store";
        assert_eq!((severity.as_str(), *mended), (if writes { "warning" } else { "note" }, writes), "{said}");
        assert!(said.contains(&format!("`{neighbour}` is told, too")), "{said}");

        // What was asked before the empty line is asked no more.
        set(&[neighbour, "", "tok"]);
        assert!(chain(&laptop).is_empty(), "{neighbour}: {:?}", chain(&laptop));
        well(&laptop);
    }
    // Twice ours is ours, with an option or without.
    set(&["", "tok --push", "tok"]);
    assert!(chain(&laptop).is_empty(), "{:?}", chain(&laptop));
}
