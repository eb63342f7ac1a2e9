//! Who may do what, and what everybody else learns: nothing.

use tok_tests::environment::Environment;
use tok_tests::http::{Reply, Request};
use tok_tests::normalise::invented_token;
use tok_tests::secrets::contains;

const READ: &str = "git-upload-pack";
const WRITE: &str = "git-receive-pack";

/// A reader, a writer, a maintainer and a stranger, and one repository.
fn acme() -> Environment {
    let environment = Environment::dev();
    environment.users(&["rita", "will", "mona", "sten"]);
    environment.workspace("acme", &[("rita", "reader"), ("will", "writer"), ("mona", "maintainer")]);
    environment.pushed("will", "acme/app");
    environment
}

fn asked(environment: &Environment, repo: &str, service: &str, token: &str) -> Reply {
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
fn incident_20_and_21_a_token_is_judged_alike_however_it_is_presented() {
    let environment = acme();
    let whole = environment.token("will", &[]);
    let narrow = environment.token("will", &["--scopes", "repo:read"]);
    let routed = environment.token("will", &["--route", "acme/app:r"]);
    let elsewhere = environment.token("will", &["--route", "other/*:rw"]);
    let powerless = environment.token("will", &["--scopes", "user:read"]);
    let reader = environment.token("rita", &[]);
    let stranger = environment.token("sten", &[]);
    let revoked = environment.token("will", &[]);
    environment.tok(&["token", "revoke", "--force", &revoked[..11]]).acting_as("will").ok();
    let expired = environment.token("will", &[]);
    expire(&environment, &expired);
    let git_read = environment.git_token("will", "acme/app", "read");
    let git_write = environment.git_token("will", "acme/app", "write");

    for (name, token, read, write) in [
        ("whole", whole.as_str(), 200, 200),
        ("narrow", &narrow, 200, 403),
        ("routed", &routed, 200, 403),
        ("elsewhere", &elsewhere, 404, 404),
        ("powerless", &powerless, 403, 403),
        ("reader's", &reader, 200, 403),
        ("stranger's", &stranger, 404, 404),
        ("revoked", &revoked, 401, 401),
        ("expired", &expired, 401, 401),
        ("read for git", &git_read, 200, 401),
        ("write for git", &git_write, 200, 200),
        ("unknown", &invented_token(), 401, 401),
        ("mistyped", &format!("{}x", &whole[..whole.len() - 1]), 401, 401),
        ("not ours", "hunter2-hunter2", 401, 401),
    ] {
        for (service, expected) in [(READ, read), (WRITE, write)] {
            let request = || Request::refs("acme/app", service);
            let bearer = environment.send(&request().bearer(token));
            assert_eq!(bearer.status, expected, "{name} for {service}: {}", bearer.text());
            for (how, other) in [
                ("password of its owner", request().basic("will", token)),
                ("password of anybody", request().basic("somebody-else", token)),
                ("password of nobody", request().basic("", token)),
                ("user name before x-oauth-basic", request().basic(token, "x-oauth-basic")),
                ("lower case", request().header("authorization", &format!("bearer {token}"))),
            ] {
                assert_eq!(environment.send(&other).comparable(), bearer.comparable(), "{name} for {service} as {how}");
            }
            // With an empty password something that is no token is a user name, as libcurl sends it first.
            if !matches!(name, "mistyped" | "not ours") {
                assert_eq!(
                    environment.send(&request().basic(token, "")).comparable(),
                    bearer.comparable(),
                    "{name} as user name"
                );
            }
        }
    }
}

#[test]
fn a_token_works_for_git_in_every_place_where_people_put_it() {
    let environment = acme();
    let token = environment.token("will", &["--scopes", "repo:read"]);
    let url = environment.repository("acme/app");
    let exempt = environment.canaries().exempt().to_owned();
    let list = |url: &str| environment.git(&environment.work(""), &["ls-remote", url]);
    list(&url).with_password(&environment.url(), "will", &token, &exempt).ok();
    list(&url).with_password(&environment.url(), "anybody", &token, &exempt).ok();
    // As a user name it is no secret to git, which writes it into its traces.
    list(&url).untraced().with_password(&environment.url(), &token, "x-oauth-basic", &exempt).ok();
    // libcurl first tries the user name with an empty password: that is nobody, not an error.
    let named = list(&environment.repository_as("will", "acme/app"))
        .with_password(&environment.url(), "will", &token, &exempt)
        .ok();
    assert_eq!(named.statuses().last(), Some(&200));
    let bearer = list(&url)
        .without_helper(&environment.url())
        .setting("http.extraHeader", format!("Authorization: Bearer {token}"))
        .ok();
    assert_eq!(bearer.statuses(), [200, 200]);
    list(&url).variable("TOK_TOKEN", token.clone()).variable("TOK_SERVER", environment.url()).ok();
    // And for tok itself.
    let who = environment.tok(&["whoami", "--output", "json"]).variable("TOK_TOKEN", token.clone()).ok().json();
    assert_eq!((who["user"].as_str(), who["manager"].as_bool()), (Some("will"), Some(false)));
    let checked = environment.tok(&["token", "check", "--output", "json"]).input(token).ok().json();
    assert_eq!((checked["usable"].as_bool(), checked["owner"].as_str()), (Some(true), Some("will")));
}

#[test]
fn an_empty_password_is_nobody_and_no_reason_to_slow_down() {
    let environment = acme();
    for _ in 0..50 {
        let reply = environment.send(&Request::refs("acme/app", READ).basic("will", ""));
        assert_eq!(reply.status, 401);
        assert!(!reply.header("www-authenticate").unwrap().contains("error="), "{reply:?}");
    }
    assert_eq!(asked(&environment, "acme/app", READ, &environment.token("will", &[])).status, 200);
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
fn the_challenge_is_one_header_line_with_both_schemes() {
    let environment = acme();
    for (service, right) in [(READ, "repo:read"), (WRITE, "repo:write")] {
        let reply = environment.send(&Request::refs("acme/app", service));
        assert_eq!(reply.status, 401);
        let expected = format!("Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"{right}\", resource=\"acme/app\"");
        assert_eq!(reply.header("www-authenticate"), Some(expected.as_str()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    let bad = environment.send(&Request::refs("acme/app", READ).bearer(&invented_token()));
    assert!(bad.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""), "{bad:?}");
}

#[test]
fn what_is_taken_away_is_gone_on_the_next_call() {
    let environment = acme();
    let token = environment.token("will", &[]);
    let minted = environment.git_token("will", "acme/app", "write");
    let both = |repo: &str| [&token, &minted].map(|text| asked(&environment, repo, WRITE, text).status);
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["workspace", "member", "add", "acme", "will", "--role", "reader"]).ok();
    assert_eq!(both("acme/app"), [403, 403]);
    environment.tok(&["workspace", "member", "remove", "acme", "will"]).ok();
    assert_eq!(both("acme/app"), [404, 404]);
    environment.tok(&["workspace", "member", "add", "acme", "will", "--role", "writer"]).ok();
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["user", "disable", "will"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
    let helper = environment
        .helper()
        .acting_as("will")
        .argument("get")
        .input(environment.challenged("acme/app", "read") + "\n")
        .ok();
    assert_eq!(helper.text(), "quit=1\n");
    helper.says(&["will is disabled", "tok user enable will"]);
    environment.tok(&["user", "enable", "will"]).ok();
    assert_eq!(both("acme/app"), [200, 200]);

    environment.tok(&["token", "revoke", "--force", &token[..11]]).acting_as("will").ok();
    assert_eq!(both("acme/app"), [401, 200]);
    environment.tok(&["user", "delete", "--force", "will"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
    // A new user of the same name is somebody else.
    environment.tok(&["workspace", "delete", "--force", "will"]).ok();
    environment.users(&["will"]).tok(&["workspace", "member", "add", "acme", "will", "--role", "writer"]).ok();
    assert_eq!(both("acme/app"), [401, 401]);
}

#[test]
fn revoking_a_token_ends_what_was_minted_through_it() {
    let environment = acme();
    environment.git_token("will", "acme/app", "read");
    let minted = environment.git_token("will", "acme/app", "write");
    let session = environment.rows(
        "SELECT t.id FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.kind = 'session' AND u.name = 'will'",
    );
    let id = session[0]["id"].as_str().unwrap();
    let revoked =
        environment.tok(&["token", "revoke", "--force", "--output", "json", id]).acting_as("will").ok().json();
    assert_eq!(revoked["revoked"][0]["minted_revoked"], 2, "{revoked}");
    assert_eq!(asked(&environment, "acme/app", WRITE, &minted).status, 401);
    // The next command opens a new login by itself.
    assert_ne!(environment.git_token("will", "acme/app", "write"), minted);
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
fn incident_06_what_is_refused_is_not_repeated_in_the_log() {
    let environment = acme();
    for (number, canary) in
        ["rejected-canary-one", "rejected-canary-two", "rejected-canary-three"].into_iter().enumerate()
    {
        environment.canaries().register("something refused", canary);
        let request = Request::refs("acme/app", READ);
        let request = match number {
            0 => request.bearer(canary),
            1 => request.basic("will", canary),
            _ => request.header("Authorization", &format!("Digest username=\"{canary}\"")),
        };
        let reply = environment.send(&request);
        assert_eq!(reply.status, 401);
        assert!(!contains(&reply.body, canary.as_bytes()));
    }
    let asked = environment.tok(&["token", "check"]).input("rejected-canary-four\n").run();
    environment.canaries().register("something refused", "rejected-canary-four");
    assert!(!asked.complaint().contains("rejected-canary-four"), "{}", asked.describe());
    // Whether the log has one of them is looked at when the environment ends.
}

#[test]
fn incident_13_an_anonymous_caller_changes_nothing() {
    let environment = acme();
    let before = environment.rows("SELECT (SELECT count(*) FROM tokens) AS tokens, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit) AS audit");
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
    assert_eq!(environment.rows("SELECT (SELECT count(*) FROM tokens) AS tokens, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM audit) AS audit"), before);
}

#[test]
fn the_doors_of_health_answer_without_a_token() {
    let environment = Environment::dev();
    for target in ["/healthz", "/readyz"] {
        assert_eq!(environment.send(&Request::get(target)).status, 200, "{target}");
    }
}

/// Makes a token that was never used one that ended a minute ago.
fn expire(environment: &Environment, token: &str) {
    environment.execute(&format!(
        "UPDATE tokens SET created_at = now() - interval '1 hour', expires_at = now() - interval '1 minute' \
         WHERE shown_prefix = '{}'",
        &token[..11]
    ));
}
