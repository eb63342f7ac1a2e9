//! Who may do what, and what everybody else learns: nothing.

use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};
use tok_tests::normalise::invented_token;

pub(crate) const READ: &str = "git-upload-pack";
pub(crate) const WRITE: &str = "git-receive-pack";

/// A reader, a writer, a maintainer and a stranger, and one repository.
pub(crate) fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["rita", "will", "mona", "sten"]);
    environment.workspace("acme", &[("rita", "reader"), ("will", "writer"), ("mona", "maintainer")]);
    environment.pushed("will", "acme/app");
    environment
}

pub(crate) fn asked(environment: &Environment, repo: &str, service: &str, token: &str) -> Reply {
    environment.send(&Request::refs(repo, service).bearer(token))
}

#[test]
fn each_role_may_what_its_name_says() {
    let environment = acme();
    for (user, read, write) in [("rita", 200, 403), ("will", 200, 200), ("mona", 200, 200), ("sten", 404, 404)] {
        let token = environment.token(user, &[]);
        assert_eq!(asked(&environment, "acme/app", READ, &token).status, read, "{user}");
        assert_eq!(asked(&environment, "acme/app", WRITE, &token).status, write, "{user}");
    }
}

#[test]
fn a_readers_push_through_the_helper_ends_with_a_sentence() {
    let environment = acme();
    let url = environment.repository("acme/app");
    environment.git(&environment.work(""), &["clone", "--quiet", &url, "ritas"]).acting_as("rita").ok();
    let work = environment.work("ritas");
    environment.commit(&work, "mine", "content");
    let before = environment.count("SELECT count(*) FROM tokens");
    let push = environment.git(&work, &["push"]).acting_as("rita").fails();
    push.says(&[
        "tok: rita has the role reader in acme, and to push to acme/app takes the role writer",
        "tok workspace member add acme rita --role writer",
    ]);
    assert!(!push.complaint().contains("could not read"), "nobody was asked for a password: {}", push.describe());
    assert_eq!(push.statuses(), [401]);
    assert_eq!(environment.count("SELECT count(*) FROM tokens"), before, "nothing was minted for it");
    // And it takes effect at once when somebody does what the sentence says.
    environment.tok(&["workspace", "member", "add", "acme", "rita", "--role", "writer"]).ok();
    environment.git(&work, &["push"]).acting_as("rita").ok();
}

#[test]
fn a_readers_push_with_a_personal_token_ends_with_a_sentence_of_the_server() {
    let environment = acme();
    let token = environment.token("rita", &[]);
    let url = environment.repository("acme/app");
    let exempt = environment.canaries().exempt().to_owned();
    let git = |directory: &str, arguments: &[&str]| {
        environment.git(&environment.work(directory), arguments).with_password(
            &environment.url(),
            "rita",
            &token,
            &exempt,
        )
    };
    git("", &["clone", "--quiet", &url, "ritas"]).ok();
    environment.commit(&environment.work("ritas"), "mine", "content");
    let push = git("ritas", &["push"]).fails();
    push.says(&["remote: rita has the role reader in acme, and to push to acme/app takes the role writer", "403"]);
    assert_eq!(push.statuses().last(), Some(&403), "and git did not try again: {:?}", push.requests());
}

#[test]
fn a_stranger_learns_nothing_at_all() {
    let environment = Environment::dev();
    environment.users(&["sten", "will"]);
    let token = environment.token("sten", &["--scopes", "all"]);
    let refs = |service| Request::refs("acme/secret", service);
    let requests = [
        refs(READ).bearer(&token),
        refs(WRITE).bearer(&token),
        refs(READ).basic("sten", &token),
        Request::post("/acme/secret.git/git-upload-pack", "application/x-git-upload-pack-request", "0000")
            .bearer(&token),
        Request::post("/acme/secret.git/git-receive-pack", "application/x-git-receive-pack-request", "0000")
            .bearer(&token),
        Request::get("/acme/secret.git/HEAD").bearer(&token),
        Request::get("/acme/secret.git/").bearer(&token),
        refs(READ),
        refs(WRITE),
        refs(READ).bearer(&invented_token()),
        refs("git-upload-archive").bearer(&token),
    ];
    let answers = || requests.iter().map(|request| environment.send(request).comparable()).collect::<Vec<_>>();
    let helper = || {
        ["read", "write"].map(|right| {
            let call = environment
                .helper()
                .acting_as("sten")
                .argument("get")
                .input(environment.challenged("acme/secret", right) + "\n");
            let finished = call.ok();
            (finished.text().to_owned(), finished.complaint())
        })
    };

    let nothing_there = (answers(), helper());
    environment.workspace("acme", &[("will", "writer")]);
    let a_workspace = (answers(), helper());
    environment.pushed("will", "acme/secret");
    let a_repository = (answers(), helper());

    assert_eq!(nothing_there.0, a_workspace.0);
    assert_eq!(nothing_there.0, a_repository.0);
    assert_eq!(nothing_there.1, a_workspace.1);
    assert_eq!(nothing_there.1, a_repository.1);
    assert!(nothing_there.0[..5].iter().all(|reply| reply.status == 404), "{:?}", nothing_there.0);
    assert!(nothing_there.0[7..10].iter().all(|reply| reply.status == 401), "{:?}", nothing_there.0);
    let clone = environment
        .git(&environment.work(""), &["clone", &environment.repository("acme/secret")])
        .acting_as("sten")
        .fails();
    clone.says(&["not found, or you may not see it"]);
}

#[test]
fn what_a_user_may_not_see_is_in_no_list() {
    let environment = acme();
    let lists = |user: &str| {
        let rows = |arguments: &[&str], key: &str| {
            let found = environment.tok(arguments).arguments(["--output", "json"]).acting_as(user).ok().json();
            found[key].as_array().unwrap().len()
        };
        (rows(&["repo", "list"], "repositories"), rows(&["workspace", "list"], "workspaces"))
    };
    assert_eq!(lists("rita"), (1, 2));
    assert_eq!(lists("sten"), (0, 1));
    for arguments in [&["workspace", "member", "list", "acme"][..], &["repo", "list", "--workspace", "acme"]] {
        let hidden = environment.tok(arguments).arguments(["--output", "json"]).acting_as("sten").run();
        let words = format!("{}{}", hidden.text(), hidden.complaint());
        assert!(!words.contains("rita") && !words.contains("app"), "{}", hidden.describe());
    }
}

#[test]
fn a_token_to_fetch_cannot_push_and_one_for_a_repository_opens_no_other() {
    let environment = acme();
    environment.pushed("will", "acme/sibling");
    let read = environment.git_token("will", "acme/app", "read");
    let write = environment.git_token("will", "acme/app", "write");
    assert_eq!(asked(&environment, "acme/app", READ, &read).status, 200);
    for (token, repo, service) in [
        (&read, "acme/app", WRITE),
        (&read, "acme/sibling", READ),
        (&write, "acme/sibling", READ),
        (&write, "acme/sibling", WRITE),
        (&write, "acme/missing", READ),
        (&write, "sten/private", READ),
    ] {
        let reply = asked(&environment, repo, service, token);
        assert_eq!(reply.status, 401, "{repo} {service}");
        // The step-up of RFC 6750: the helper gets a better token, if there is one to be had.
        let challenge = reply.header("www-authenticate").unwrap();
        let right = if service == READ { "repo:read" } else { "repo:write" };
        assert_eq!(
            challenge,
            format!(
                "Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"{right}\", resource=\"{repo}\", error=\"insufficient_scope\""
            )
        );
    }
    // The POST is judged as well, not only the question before it.
    let body = "0000";
    let push =
        Request::post("/acme/app.git/git-receive-pack", "application/x-git-receive-pack-request", body).bearer(&read);
    assert_eq!(environment.send(&push).status, 401);
}

#[test]
fn a_git_token_reaches_no_control_plane() {
    let environment = acme();
    let token = environment.git_token("mona", "acme/app", "write");
    for arguments in [
        &["token", "create", "more"][..],
        &["token", "list"],
        &["user", "list"],
        &["user", "create", "eve"],
        &["workspace", "create", "eves"],
        &["workspace", "member", "add", "acme", "sten", "--role", "reader"],
        &["audit"],
    ] {
        let call = environment.tok(arguments).variable("TOK_TOKEN", token.clone()).run();
        assert_eq!(call.code, Some(4), "{}", call.describe());
    }
}

#[test]
fn incident_22_nothing_mints_more_than_it_has() {
    let environment = acme();
    let narrow = environment.token("will", &["--scopes", "repo:read,token:write", "--expires", "30"]);
    let create = |arguments: &[&str]| {
        let call = environment.tok(&["token", "create", "more"]).arguments(arguments.iter().copied());
        call.variable("TOK_TOKEN", narrow.clone()).run()
    };
    for (arguments, words) in [
        (&["--scopes", "repo:write"][..], "repo:write"),
        (&["--scopes", "all"], "all"),
        (&["--scopes", "manager"], "manager"),
        (&["--scopes", "repo:read", "--expires", "never"], "ends at"),
        (&["--scopes", "repo:read", "--expires", "31"], "ends at"),
    ] {
        let refused = create(arguments);
        assert_eq!(refused.code, Some(4), "{}", refused.describe());
        refused.says(&[words]);
    }
    let inner = create(&["--scopes", "repo:read", "--expires", "29"]);
    assert_eq!(inner.code, Some(0), "{}", inner.describe());
    assert_eq!(asked(&environment, "acme/app", WRITE, inner.line()).status, 403);
    // Without token:write none is made at all.
    let silent = environment.token("will", &["--scopes", "repo:write"]);
    environment
        .tok(&["token", "create", "more"])
        .variable("TOK_TOKEN", silent)
        .run()
        .expect_code(4)
        .says(&["token:write"]);
}

#[test]
fn incident_12_a_call_that_fails_leaves_no_token_behind() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read"]);
    let before = environment.count("SELECT count(*) FROM tokens");
    for arguments in [
        &["token", "create", ""][..],
        &["token", "create", "x", "--scopes", "repo:wrote"],
        &["token", "create", "x", "--expires", "yesterday"],
        &["token", "create", "x", "--expires", "2001-01-01"],
        &["token", "create", "x", "--route", "acme/../x:r"],
        &["token", "create", "x", "--kind", "git"],
        &["token", "create", "x", "--kind", "workspace", "--workspace", "acme"],
        &["token", "create", "x", "--kind", "repo", "--repo", "acme/app,other/app"],
        &["token", "create", "x", "--allow-cidr", "10.0.0.0/99"],
        &["token", "create", &"x".repeat(300)],
        &["token", "create", "a\u{1b}[31m"],
    ] {
        let failed = environment.tok(arguments).acting_as("will").run();
        assert!(matches!(failed.code, Some(2 | 4)), "{}", failed.describe());
        assert_eq!(failed.text(), "", "{}", failed.describe());
    }
    for repo in ["acme/app", "sten/private"] {
        environment.helper().acting_as("rita").argument("get").input(environment.challenged(repo, "write") + "\n").ok();
        asked(&environment, repo, WRITE, &token);
    }
    environment
        .helper()
        .acting_as("nobody-known")
        .argument("get")
        .input(environment.challenged("acme/app", "read") + "\n")
        .ok();
    assert_eq!(environment.count("SELECT count(*) FROM tokens"), before);
}

#[test]
fn incident_13_an_anonymous_caller_changes_nothing() {
    let environment = acme();
    let before = environment.rows("SELECT (SELECT count(*) FROM tokens) AS tokens, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit WHERE action <> 'token.use') AS audit");
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
        for target in [
            "/",
            "/acme",
            "/acme/app.git",
            "/acme/app.git/git-receive-pack",
            "/v1/tokens",
            "/v1/users",
            "/oauth2/token",
            "/tok.v1.TokenService/Create",
            "/tok.v1.IdentityService/CreateUser",
        ] {
            let reply = environment.send(&Request::get(target).method(method).header("Content-Length", "0"));
            assert!(reply.status >= 400 || (target == "/" && method == "GET"), "{method} {target}: {reply:?}");
            assert_ne!(reply.status, 500, "{method} {target}: {reply:?}");
        }
    }
    assert_eq!(environment.rows("SELECT (SELECT count(*) FROM tokens) AS tokens, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit WHERE action <> 'token.use') AS audit"), before);
}

#[test]
fn the_doors_of_health_answer_without_a_token() {
    let environment = Environment::dev();
    for target in ["/healthz", "/readyz"] {
        assert_eq!(environment.send(&Request::get(target)).status, 200, "{target}");
    }
}
