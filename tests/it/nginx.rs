//! The real nginx in front of somebody else's git server, with tokd's verdict on each request: the recipe of
//! docs/proxies/nginx.conf, as it is written there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tok_tests::cgi::Backend;
use tok_tests::environment::Environment;
use tok_tests::git::{Git, noise};
use tok_tests::http::{Reply, Request};
use tok_tests::nginx::{Nginx, free_address};
use tok_tests::normalise::invented_token;
use tok_tests::tls::Authority;

use crate::healing::hook;

struct Front {
    environment: Environment,
    authority: Authority,
    backend: Backend,
    nginx: Nginx,
}

/// tokd without a gateway, a git server that believes its proxy, and nginx with TLS before both.
fn front() -> Front {
    let environment = Environment::new();
    let authority = Authority::new(&environment.path("tls"));
    authority.issue(&["localhost", "127.0.0.1"]);
    let address = free_address();
    let configuration = format!("[server]\npublic_url = \"https://{address}\"\nbehind_proxy = true\n");
    let mut recipe = environment.serve_recipe(&configuration);
    recipe.variables.retain(|(name, _)| name != "TOKD_GIT_ROOT");
    environment.start_with(&recipe);
    environment.users(&["rita", "will", "sten"]).workspace("acme", &[("rita", "reader"), ("will", "writer")]);
    let repositories = environment.path("repositories");
    let bare = repositories.join("acme/app.git");
    fs::create_dir_all(&bare).unwrap();
    assert!(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&bare).status().unwrap().success());
    let backend = Backend::start(&repositories);
    let nginx = Nginx::start(&environment.path("nginx"), address, &authority, environment.address(), backend.address());
    environment.tok(&["git", "setup", &format!("https://{address}")]).ok();
    Front { environment, authority, backend, nginx }
}

impl Front {
    fn url(&self, repo: &str) -> String {
        format!("https://{}/{repo}.git", self.nginx.address())
    }

    fn git(&self, work: &str, arguments: &[&str]) -> Git {
        let git = self.environment.git(&self.environment.work(work), arguments);
        git.setting("http.sslCAInfo", self.authority.trust().to_string_lossy())
    }

    fn clone(&self, user: &str, name: &str) -> PathBuf {
        self.git("", &["clone", "--quiet", &self.url("acme/app"), name]).acting_as(user).ok();
        self.environment.work(name)
    }

    fn ask(&self, request: &Request) -> Reply {
        request.send_securely(self.nginx.address(), &self.authority.trust())
    }

    fn refs(&self, repo: &str, service: &str, token: &str) -> Reply {
        self.ask(&Request::refs(repo, service).bearer(token))
    }
}

#[test]
fn git_clones_and_pushes_small_and_large_through_nginx() {
    let front = front();
    let work = front.clone("will", "wills");
    front.environment.commit(&work, "first", "content");
    front.git("wills", &["push", "--quiet", "origin", "HEAD"]).acting_as("will").ok();
    // Larger than http.postBuffer (1 MiB): git asks with four bytes first, without its token.
    fs::write(work.join("large"), noise(3 << 20, 7)).unwrap();
    front.environment.commit(&work, "second", "content");
    front.git("wills", &["add", "large"]).ok();
    front.git("wills", &["commit", "--quiet", "-m", "large"]).ok();
    let push = front.git("wills", &["push", "--quiet", "origin", "HEAD"]).acting_as("will").ok();
    let posts: Vec<_> = push.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts.len(), 2, "the probe and the push: {posts:?}");
    assert!(push.sent_header("Transfer-Encoding", "chunked"), "{posts:?}");
    front.clone("rita", "ritas");
    assert_eq!(fs::read(front.environment.work("ritas/large")).unwrap().len(), 3 << 20);
    // The backend was told who it was, by nginx alone, and never saw a token.
    let seen = front.backend.seen();
    assert!(seen.iter().any(|(first, headers)| first.starts_with("POST /acme/app.git/git-receive-pack")
        && headers.get("remote-user").is_some_and(|user| user == "will")));
    assert!(seen.iter().all(|(_, headers)| !headers.contains_key("authorization")), "a token went further than nginx");
    assert!(!seen.iter().any(|(_, headers)| headers.get("content-length").is_some_and(|length| length == "4")));
}

#[test]
fn a_token_that_dies_between_the_question_and_the_push_heals_behind_nginx() {
    let front = front();
    let work = front.clone("will", "wills");
    front.environment.commit(&work, "first", "content");
    // git asks what there is, runs this hook, and then pushes with the token that the hook has ended.
    let revoke = "tok token list --kind git --output json | grep -o '\"id\": *\"[^\"]*\"' | cut -d '\"' -f 4 | \
                  xargs tok token revoke --force";
    hook(&work, "pre-push", revoke);
    let push = front.git("wills", &["push", "origin", "HEAD"]).acting_as("will").ok();
    let posts: Vec<Option<u16>> =
        push.requests().iter().filter(|request| request.method == "POST").map(|request| request.status).collect();
    assert_eq!((posts.first(), posts.last()), (Some(&Some(401)), Some(&Some(200))), "{posts:?}");
}

#[test]
fn each_no_reaches_the_client_as_what_it_is() {
    let front = front();
    let [rita, will, sten] = ["rita", "will", "sten"].map(|user| front.environment.token(user, &[]));
    let (read, write) = ("git-upload-pack", "git-receive-pack");
    for (token, service, status) in [(&rita, read, 200), (&rita, write, 403), (&will, write, 200), (&sten, read, 404)] {
        assert_eq!(front.refs("acme/app", service, token).status, status, "{service}");
    }
    // A reader's push: the sentence, as git shows it.
    let refused = front.refs("acme/app", write, &rita);
    assert_eq!(refused.header("x-tok-error"), Some("insufficient_scope"));
    assert!(refused.text().contains("takes the role writer"), "{}", refused.text());
    let work = front.clone("rita", "ritas");
    front.environment.commit(&work, "mine", "content");
    let exempt = front.environment.canaries().exempt().to_owned();
    let url = front.url("acme/app");
    let push = front.git("ritas", &["push", "origin", "HEAD"]).with_password(&url, "rita", &rita, &exempt);
    push.fails().says(&["remote: ", "takes the role writer"]);
    // Nobody learns what there is: a stranger, and who presents nothing, get the same for what is there and what is not.
    let there = front.refs("acme/app", read, &sten);
    let nowhere = front.refs("acme/none", read, &sten);
    assert_eq!((there.status, &there.body), (nowhere.status, &nowhere.body));
    let [there, nowhere] = ["acme/app", "acme/none"].map(|repo| front.ask(&Request::refs(repo, read)));
    assert_eq!((there.status, nowhere.status, &there.body), (401, 401, &nowhere.body));
    // One challenge line with both schemes, the scope and the repository in it.
    let challenges: Vec<_> = there.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
    assert_eq!(challenges.len(), 1, "{challenges:?}");
    let line = &challenges[0].1;
    assert!(
        line.starts_with("Basic realm=\"tok\", Bearer realm=\"tok\"") && line.contains("resource=\"acme/app\""),
        "{line}"
    );
    assert_eq!(front.refs("acme/app", read, &invented_token()).status, 401);
    // The probe of git is answered for every address alike, and only the probe.
    let probe =
        |path: &str, body: &str| front.ask(&Request::post(path, "application/x-git-receive-pack-request", body));
    for path in ["/acme/app.git/git-receive-pack", "/no/such.git/git-upload-pack"] {
        assert_eq!((probe(path, "0000").status, probe(path, "0000").body.len()), (200, 0), "{path}");
        assert_eq!(probe(path, "00000").status, 401, "{path}");
    }
    assert_eq!(probe("/acme/app.git/info/lfs/locks", "0000").status, 401);
}

#[test]
fn headers_of_the_client_change_nothing() {
    let front = front();
    let sten = front.environment.token("sten", &[]);
    let will = front.environment.token("will", &[]);
    let forged = |token: &str| {
        let request = Request::refs("acme/app", "git-upload-pack").bearer(token);
        let request =
            request.header("Remote-User", "root").header("X-Tok-Token-Id", "mine").header("X-Tok-Scopes", "all");
        let request = request.header("X-Original-URI", "/sten/own.git/info/refs").header("X-Original-Method", "GET");
        front.ask(&request.header("X-Forwarded-Uri", "/sten/own.git/info/refs").header("X-Forwarded-For", "127.0.0.1"))
    };
    assert_eq!(forged(&sten).status, 404);
    assert_eq!(forged(&will).status, 200);
    let (_, headers) = front.backend.seen().pop().unwrap();
    assert_eq!(headers["remote-user"], "will");
    assert_eq!(headers["x-tok-scopes"], "repo:read repo:write");
    assert_ne!(headers["x-tok-token-id"], "mine");
}

#[test]
fn without_tokd_the_answer_is_never_a_401() {
    let front = front();
    let will = front.environment.token("will", &[]);
    assert_eq!(front.refs("acme/app", "git-upload-pack", &will).status, 200);
    front.environment.stop();
    for request in [
        Request::refs("acme/app", "git-upload-pack").bearer(&will),
        Request::refs("acme/app", "git-receive-pack").bearer(&will),
        Request::refs("acme/app", "git-upload-pack"),
    ] {
        let reply = front.ask(&request);
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    }
}
