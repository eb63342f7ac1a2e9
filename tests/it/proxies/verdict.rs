//! In front of somebody else's git server, with tokd's verdict on each request.

use super::*;
use crate::healing::hook;

fn front(recipe: Recipe) -> Stand {
    Stand::new(recipe, false)
}

#[test]
fn git_clones_and_pushes_small_and_large_through_nginx() {
    let stand = front(Recipe::Nginx);
    clones_and_pushes(&stand);
    the_backend_knows_only_what_the_proxy_says(&stand);
}

#[test]
fn git_clones_and_pushes_small_and_large_through_caddy() {
    let stand = front(Recipe::Caddy);
    clones_and_pushes(&stand);
    the_backend_knows_only_what_the_proxy_says(&stand);
}

#[test]
fn git_clones_and_pushes_small_and_large_through_traefik() {
    let stand = front(Recipe::Traefik);
    clones_and_pushes(&stand);
    the_backend_knows_only_what_the_proxy_says(&stand);
}

/// The backend was told who it was, by the proxy alone, and never saw a token nor git's probe.
fn the_backend_knows_only_what_the_proxy_says(stand: &Stand) {
    let seen = stand.backend.seen();
    assert!(seen.iter().any(|(first, headers)| first.starts_with("POST /acme/app.git/git-receive-pack")
        && headers.get("remote-user").is_some_and(|user| user == "will")));
    assert!(
        seen.iter().all(|(_, headers)| headers.get("authorization").is_none_or(String::is_empty)),
        "a token went further than the proxy"
    );
    assert!(!seen.iter().any(|(_, headers)| headers.get("content-length").is_some_and(|length| length == "4")));
}

#[test]
fn a_token_that_dies_between_the_question_and_the_push_heals_behind_nginx() {
    a_token_that_dies_heals(Recipe::Nginx);
}

#[test]
fn a_token_that_dies_between_the_question_and_the_push_heals_behind_caddy() {
    a_token_that_dies_heals(Recipe::Caddy);
}

#[test]
fn a_token_that_dies_between_the_question_and_the_push_heals_behind_traefik() {
    a_token_that_dies_heals(Recipe::Traefik);
}

fn a_token_that_dies_heals(recipe: Recipe) {
    let stand = front(recipe);
    let work = stand.clone("will", "wills");
    stand.environment.commit(&work, "first", "content");
    // git asks what there is, runs this hook, and then pushes with the token that the hook has ended.
    let revoke = "tok token list --kind git --output json | grep -o '\"id\": *\"[^\"]*\"' | cut -d '\"' -f 4 | \
                  xargs tok token revoke --force";
    hook(&work, "pre-push", revoke);
    let push = stand.git("wills", &["push", "origin", "HEAD"]).acting_as("will").ok();
    let posts: Vec<Option<u16>> =
        push.requests().iter().filter(|request| request.method == "POST").map(|request| request.status).collect();
    assert_eq!((posts.first(), posts.last()), (Some(&Some(401)), Some(&Some(200))), "{posts:?}");
}

#[test]
fn each_no_reaches_the_client_through_nginx_as_what_it_is() {
    let stand = front(Recipe::Nginx);
    each_no_is_what_it_is(&stand, 404);
    a_refusal_has_its_code(&stand);
}

#[test]
fn each_no_reaches_the_client_through_caddy_as_what_it_is() {
    let stand = front(Recipe::Caddy);
    each_no_is_what_it_is(&stand, 404);
    a_refusal_has_its_code(&stand);
}

#[test]
fn each_no_reaches_the_client_through_traefik_as_what_it_is() {
    let stand = front(Recipe::Traefik);
    // Traefik passes an answer on as it is, and cannot make another one of it.
    each_no_is_what_it_is(&stand, 403);
    a_refusal_has_its_code(&stand);
}

fn a_refusal_has_its_code(stand: &Stand) {
    let rita = stand.environment.token("rita", &[]);
    assert_eq!(stand.refs("acme/app", WRITE, &rita).header("x-tok-error"), Some("insufficient_scope"));
    let locks = Request::post("/acme/app.git/info/lfs/locks", "application/vnd.git-lfs+json", "0000");
    assert_eq!(stand.ask(&locks).status, 401, "no probe of git's");
}

#[test]
fn headers_of_the_client_change_nothing_behind_nginx() {
    headers_of_the_client_change_nothing(Recipe::Nginx);
}

#[test]
fn headers_of_the_client_change_nothing_behind_caddy() {
    headers_of_the_client_change_nothing(Recipe::Caddy);
}

#[test]
fn headers_of_the_client_change_nothing_behind_traefik() {
    headers_of_the_client_change_nothing(Recipe::Traefik);
}

fn headers_of_the_client_change_nothing(recipe: Recipe) {
    let stand = front(recipe);
    let [sten, will] = ["sten", "will"].map(|user| stand.environment.token(user, &[]));
    let push = "/acme/app.git/git-receive-pack";
    let forged = |request: Request| {
        let names = ["Remote-User", "X-Tok-Token-Id", "X-Tok-Scopes"].into_iter().flat_map(twins);
        names.fold(request, |request, name| request.header(&name, "forged"))
    };
    // Each family of headers that says what is asked about, as if it were about something of the client's own.
    let own = "/sten/own.git/info/refs?service=git-upload-pack";
    for family in ["Original", "Forwarded"] {
        let (uri, method) = (format!("X-{family}-Uri"), format!("X-{family}-Method"));
        for request in [
            Request::refs("acme/app", READ).header(&uri, own).header(&method, "GET"),
            Request::refs("acme/app", READ).header(&uri, own).header("Connection", &uri),
            Request::post(push, "application/x-git-receive-pack-request", "00000").header(&uri, own),
            Request::refs("acme/app", WRITE).header(&method, "HEAD").header("Connection", &format!("{uri}, {method}")),
        ] {
            let reply = stand.ask(&forged(request.bearer(&sten)));
            assert!([403, 404].contains(&reply.status), "{family}: {}", reply.status);
        }
    }
    assert!(stand.backend.seen().is_empty(), "{:?}", stand.backend.seen());
    let request = Request::refs("acme/app", READ).header("X-Original-Uri", own).header("X-Forwarded-Uri", own);
    assert_eq!(stand.ask(&forged(request.bearer(&will))).status, 200);
    let (_, headers) = stand.backend.seen().pop().unwrap();
    assert_eq!(headers["remote-user"], "will");
    assert_eq!(headers["x-tok-scopes"], "repo:read repo:write");
    assert!(!headers.values().any(|value| value.contains("forged")), "{headers:?}");
    // What tokd has nothing to say of is empty, and no gap to fill: a temporary token has no ID.
    assert_eq!(stand.ask(&forged(Request::refs("acme/app", READ).basic("ops", TEMPORARY))).status, 200);
    let (_, headers) = stand.backend.seen().pop().unwrap();
    assert!(!headers.values().any(|value| value.contains("forged")), "{headers:?}");
    addresses_are_those_that_the_proxy_saw(&stand);
}

/// A name with each way to write its dashes: they all become the same variable where a program is called by CGI.
fn twins(name: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in name.split_inclusive('-') {
        let ways =
            part.strip_suffix('-').map_or(vec![part.to_owned()], |part| vec![format!("{part}-"), format!("{part}_")]);
        found = found.iter().flat_map(|begin| ways.iter().map(move |way| format!("{begin}{way}"))).collect();
    }
    found
}

#[test]
fn large_answers_are_not_kept_and_an_absent_tokd_is_said_by_nginx() {
    // It keeps a push until it is whole, unless it is told otherwise.
    large_answers_are_not_kept_and_an_absent_tokd_is_said(Recipe::Nginx, false);
}

#[test]
fn large_answers_are_not_kept_and_an_absent_tokd_is_said_by_caddy() {
    large_answers_are_not_kept_and_an_absent_tokd_is_said(Recipe::Caddy, true);
}

#[test]
fn large_answers_are_not_kept_and_an_absent_tokd_is_said_by_traefik() {
    large_answers_are_not_kept_and_an_absent_tokd_is_said(Recipe::Traefik, true);
}

fn large_answers_are_not_kept_and_an_absent_tokd_is_said(recipe: Recipe, nor_pushes: bool) {
    let stand = front(recipe);
    let will = stand.environment.token("will", &[]);
    let root = stand.environment.path("repositories");
    answers_stream(stand.address, &stand.authority, &stand.backend, &root, &will);
    if nor_pushes {
        questions_stream(stand.address, &stand.authority, &will, || {
            stand.backend.seen().iter().any(|(first, _)| first.starts_with("POST /acme/app.git/git-receive-pack"))
        });
    }
    without_tokd_it_is_not_known(&stand);
}
