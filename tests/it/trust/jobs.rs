//! What a job runs: git by `tok ci exec`, and the lines of the documented workflows.

use serde_json::json;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::issuer::Issuer;

use super::{add, job, place};

/// A job's `tok ci exec`: its CA file trusts the server and the runner.
fn ci(environment: &Environment, issuer: &Issuer, arguments: &[&str]) -> Call {
    let call = environment.tok(&["ci"]).arguments(arguments.iter().copied());
    as_job(environment, issuer, call)
}

/// Any program, where a job runs.
fn as_job(environment: &Environment, issuer: &Issuer, call: Call) -> Call {
    let both = environment.path("both.pem");
    let text = |path| std::fs::read_to_string(path).unwrap();
    std::fs::write(&both, text(environment.authority().trust()) + &text(issuer.trust())).unwrap();
    call.without("TOK_SOCKET")
        .variable("TOK_SERVER", environment.url())
        .variable("TOK_AUDIENCE", "tok")
        .variable("SSL_CERT_FILE", both)
        .variable("GIT_CONFIG_NOSYSTEM", "1")
        .variable("GIT_TERMINAL_PROMPT", "0")
        .variable("GIT_SSL_CAINFO", environment.authority().trust())
}

/// A work tree with a commit, and a remote.
fn tree(environment: &Environment, name: &str) -> std::path::PathBuf {
    let tree = environment.work(name);
    environment.git(&environment.path("work"), &["init", "--quiet", name]).ok();
    environment.git(&tree, &["commit", "--quiet", "--allow-empty", "-m", name]).ok();
    environment.git(&tree, &["remote", "add", "origin", &environment.repository("acme/app")]).ok();
    tree
}

#[test]
fn git_pushes_and_fetches_for_what_a_job_is() {
    let (environment, issuer) = place();
    let tree = tree(&environment, "github");
    let secret = "the-runners-own-secret-0123456789";
    environment.canaries().register("what the runner gave the job", secret);
    let mut call = ci(
        &environment,
        &issuer,
        &["exec", "--", "sh", "-c", "git push -q origin HEAD:main && git fetch -q && git ls-remote origin && env"],
    );
    for (name, value) in issuer.job(secret, job(&json!({}))) {
        call = call.variable(name, value);
    }
    let done = call.directory(&tree).ok();
    assert!(done.text().contains("refs/heads/main"), "{}", done.text());
    for name in ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "TOK_TOKEN", "TOK_ID_TOKEN"] {
        assert!(!done.text().contains(&format!("{name}=")), "{}", done.text());
    }
    assert_eq!(
        environment.count("SELECT count(*) AS count FROM tokens WHERE kind = 'git' AND permission = 'write'"),
        1
    );
    // The command's end is ours.
    let mut failing = ci(&environment, &issuer, &["exec", "--", "sh", "-c", "exit 7"]);
    for (name, value) in issuer.job(secret, job(&json!({}))) {
        failing = failing.variable(name, value);
    }
    failing.fails(7);
    // A job that no rule lets in is told why, by git's own helper.
    let mut stranger = ci(&environment, &issuer, &["exec", "--", "git", "push", "-q", "origin", "HEAD:other"]);
    for (name, value) in issuer.job(secret, job(&json!({"ref": "refs/tags/v1"}))) {
        stranger = stranger.variable(name, value);
    }
    let refused = stranger.directory(&tree).run();
    assert_ne!(refused.code, Some(0));
    assert!(refused.complaint().contains("expected refs/heads/*, saw refs/tags/v1"), "{}", refused.describe());
}

#[test]
fn a_job_with_one_identity_token_pushes_too_and_one_without_uses_its_stored_token() {
    let (environment, issuer) = place();
    let tree = tree(&environment, "gitlab");
    environment.tok(&["trust", "remove", "app", "--force"]).ok();
    add(
        &environment,
        &issuer,
        "docs",
        &["--system", "gitlab", "--algorithm", "ES256", "--claim", "project_path=acme/app"],
    );
    let claims = json!({"project_path": "acme/app", "project_id": "5", "namespace_path": "acme", "namespace_id": "3", "ref_protected": "true"});
    let token = issuer.token(&claims);
    environment.canaries().register("the job's identity token", &token);
    let script = "git push -q origin HEAD:main && git fetch -q && git push -q origin HEAD:again";
    ci(&environment, &issuer, &["exec", "--", "sh", "-c", script])
        .variable("TOK_ID_TOKEN", token.clone())
        .directory(&tree)
        .ok();
    assert_eq!(environment.count("SELECT count(*) AS count FROM tokens WHERE kind = 'git'"), 1);
    let spent = ci(&environment, &issuer, &["token", "--repo", "acme/app"]).variable("TOK_ID_TOKEN", token).fails(3);
    assert!(spent.complaint().contains("exchanged before"), "{}", spent.describe());

    let printed = ci(&environment, &issuer, &["token", "--repo", "acme/app", "--permission", "read"])
        .variable("TOK_ID_TOKEN", issuer.token(&claims))
        .shows_secret()
        .ok();
    assert!(printed.line().starts_with("tokgit_"), "{}", printed.describe());

    let stored = environment.token("alice", &["--scopes", "repo:write,repo:read"]);
    ci(&environment, &issuer, &["exec", "--", "git", "push", "-q", "origin", "HEAD:stored"])
        .variable("TOK_TOKEN", stored)
        .directory(&tree)
        .ok();
    let nothing =
        ci(&environment, &issuer, &["exec", "--", "git", "fetch"]).variable("GITHUB_ACTIONS", "true").fails(1);
    assert!(nothing.complaint().contains("id-token: write"), "{}", nothing.describe());
}

#[test]
fn who_looks_into_a_job_is_told_who_answers_there() {
    let (environment, issuer) = place();
    let tree = tree(&environment, "looked-at");
    let secret = "the-runners-own-secret-0123456789";
    environment.canaries().register("what the runner gave the job", secret);
    let run = |script: &str| {
        let mut call = ci(&environment, &issuer, &["exec", "--", "sh", "-c", script]);
        for (name, value) in issuer.job(secret, job(&json!({}))) {
            call = call.variable(name, value);
        }
        call.directory(&tree)
    };
    run("git push -q origin HEAD:main").ok();
    run("tok git why origin --push").fails(1).says(&["`tok ci exec`", "--mint"]);
    let minted = run("tok git why origin --push --mint --output json").ok().json();
    assert_eq!((&minted["answered_by"], &minted["allowed"]), (&json!("job"), &json!(true)), "{minted}");
    assert!(minted["answer"].to_string().contains("credential=tokgit_"), "{minted}");
    let said = run("tok git why https://127.0.0.1/x/y.git --mint").fails(3);
    said.says(&[&format!("answers for {} alone", environment.url())]);
    let doctor = run("tok doctor origin").run();
    assert!(
        doctor.text().contains("ok       session") && doctor.text().contains("`tok ci exec`"),
        "{}",
        doctor.describe()
    );
    run("tok --socket \"$TOK_SOCKET\" whoami").fails(6).says(&["the socket of `tok ci exec`"]);
}

#[test]
fn a_job_with_one_identity_token_uses_what_it_got_until_it_ends() {
    let (environment, issuer) = place();
    let tree = tree(&environment, "short");
    environment.tok(&["trust", "remove", "app", "--force"]).ok();
    let rule = ["--system", "gitlab", "--algorithm", "ES256", "--claim", "project_path=acme/app", "--lifetime", "1m"];
    add(&environment, &issuer, "short", &rule);
    let token = issuer.token(&json!({"project_path": "acme/app", "project_id": "5"}));
    environment.canaries().register("the job's identity token", &token);
    ci(
        &environment,
        &issuer,
        &["exec", "--", "sh", "-ec", "git push -q origin HEAD:main; git fetch -q; git ls-remote -q"],
    )
    .variable("TOK_ID_TOKEN", token)
    .directory(&tree)
    .ok();
    assert_eq!(environment.count("SELECT count(*) AS count FROM tokens WHERE kind = 'git'"), 1);
}

/// The lines of the workflows in docs/ci.md that run tok, with the heading that each stands under.
fn documented() -> Vec<(String, String)> {
    let document = std::fs::read_to_string(tok_tests::binaries::workspace().join("docs/ci.md")).unwrap();
    let (mut heading, mut found) = (String::new(), Vec::new());
    for line in document.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            title.clone_into(&mut heading);
        }
        let line = line.trim_start().trim_start_matches("- run: ").trim_start_matches("- ");
        if line.starts_with("tok ci exec -- ") {
            found.push((heading.clone(), line.to_owned()));
        }
    }
    found
}

#[test]
fn the_lines_of_the_documented_workflows_do_what_they_say() {
    let environment = Environment::tls();
    environment.users(&["alice"]).workspace("acme", &[("alice", "maintainer")]);
    for repo in ["acme/app", "acme/docs"] {
        environment.pushed("alice", repo);
    }
    let issuer = Issuer::new(&environment.path("issuer"));
    let secret = "the-runners-own-secret-0123456789";
    environment.canaries().register("what the runner gave the job", secret);
    add(&environment, &issuer, "app", &["--claim", "repository=acme/app", "--claim", "ref=refs/heads/main"]);
    let (url, ca) = (issuer.url(), issuer.trust());
    let docs =
        ["trust", "add", "docs", "--system", "gitlab", "--issuer", &url, "--algorithm", "ES256", "--audience", "tok"];
    let rule = ["--claim", "project_path=acme/docs", "--repo", "acme/docs", "--permission", "write", "--ca-file"];
    environment.tok(&docs).arguments(rule).argument(ca).ok();
    let lines = documented();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (number, (system, line)) in lines.iter().enumerate() {
        let repo = if line.contains("acme/docs") { "acme/docs" } else { "acme/app" };
        let tree = environment.work(&repo.replace('/', "-"));
        environment.commit(&tree, &format!("file{number}"), "by a job");
        let script = line.replace("https://git.example.com", &environment.url());
        let call = as_job(&environment, &issuer, environment.call("sh").arguments(["-ec", &script]));
        let call = match system.as_str() {
            "GitHub Actions" | "Forgejo Actions" => issuer
                .job(secret, job(&json!({})))
                .into_iter()
                .fold(call, |call, (name, value)| call.variable(name, value)),
            "GitLab CI/CD" => {
                let claims = json!({"project_path": "acme/docs", "project_id": "5", "namespace_path": "acme", "namespace_id": "3"});
                call.variable("TOK_ID_TOKEN", issuer.token(&claims))
            }
            _ => {
                let made = environment.tok(&[
                    "token",
                    "create",
                    "CI",
                    "--kind",
                    "repo",
                    "--repo",
                    repo,
                    "--permission",
                    "write",
                ]);
                call.variable("TOK_TOKEN", made.acting_as("alice").ok().line().to_owned())
            }
        };
        let done = call.directory(&tree).run();
        assert_eq!(done.code, Some(0), "{system}: {}", done.describe());
        let pushed = environment.git(&tree, &["ls-remote", "origin", "main"]).acting_as("alice").ok();
        assert!(pushed.text().starts_with(&environment.revision(&tree, "HEAD")), "{system}: {}", pushed.text());
    }
}

#[test]
fn git_that_asks_for_another_server_than_the_jobs_is_told_once() {
    let (environment, _issuer) = place();
    let laptop = environment.laptop("job");
    let other = "https://localhost:1";
    let job = laptop
        .tok(&["ci", "exec", "--", "git", "ls-remote", &environment.repository("acme/app")])
        .variable("TOK_SERVER", other)
        .variable("TOK_TOKEN", environment.token("alice", &["--scopes", "repo:read"]))
        .variable("GIT_TERMINAL_PROMPT", "0")
        .variable("GIT_SSL_CAINFO", environment.authority().trust())
        .fails(128);
    let told = format!("git asked for {}, TOK_SERVER (or --server) is {other}", environment.url());
    assert_eq!(job.complaint().matches(&told).count(), 1, "{}", job.describe());
}
