//! In front of tokd's own gateway: git, JSON and gRPC through one address.

use std::process::Command;

use tok_tests::binaries;

use super::*;

fn front(recipe: Recipe) -> Stand {
    Stand::new(recipe, true)
}

#[test]
fn everything_goes_through_nginx() {
    everything_goes_through(Recipe::NginxGateway);
}

#[test]
fn everything_goes_through_caddy() {
    everything_goes_through(Recipe::CaddyGateway);
}

#[test]
fn everything_goes_through_traefik() {
    everything_goes_through(Recipe::TraefikGateway);
}

#[test]
fn everything_goes_through_apache() {
    everything_goes_through(Recipe::Apache);
}

fn everything_goes_through(recipe: Recipe) {
    let stand = front(recipe);
    clones_and_pushes(&stand);
    let token = stand.environment.token("will", &["--scopes", "all"]);
    let who = stand.ask(&Request::get("/v1/whoami").bearer(&token));
    assert_eq!((who.status, &who.json()["user"]), (200, &"will".into()));
    // Whoever asks from elsewhere is nobody of this machine.
    assert!([403, 404].contains(&stand.ask(&Request::get("/metrics")).status));
    assert_eq!(stand.ask(&Request::get("/healthz")).status, 200);

    what_the_page_says_to_try(&stand);

    // A laptop: gRPC for the login, for the tokens of git and for what changes.
    let laptop = stand.environment.laptop("laptop");
    let trust = laptop.home().join("trust.pem");
    laptop.write(&trust, &fs::read_to_string(stand.authority.trust()).unwrap());
    laptop.set("SSL_CERT_FILE", &trust);
    laptop.set("GIT_SSL_CAINFO", &trust);
    let password = laptop.password_of("rita");
    laptop.logged_in_at(&stand.place(), "rita", &password);
    laptop.tok(&["git", "setup", &stand.place()]).ok();
    laptop.git(&["clone", "--quiet", &stand.url("acme/app")]).ok();
    laptop.tok(&["token", "list"]).ok();

    // A push is passed on while it comes.
    questions_stream(stand.address, &stand.authority, &token, || {
        let begun = "SELECT count(*) AS count FROM audit WHERE command = 'receive-pack' AND agent IS NULL";
        stand.environment.count(begun) > 0
    });
}

/// The commands of docs/proxies.md, and what they say there, in HTTP/2's words where that is spoken.
fn what_the_page_says_to_try(stand: &Stand) {
    let page = fs::read_to_string(binaries::workspace().join("docs/proxies.md")).unwrap();
    let block = page.split("## Try it").nth(1).unwrap();
    let (mut said, mut tried) = (String::new(), 0);
    for line in block.lines().skip_while(|line| *line != "```console").skip(1).take_while(|line| *line != "```") {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.replace("https://git.example.com", &stand.place());
            let call = stand.environment.call("sh").arguments(["-c", &command]);
            said = call.variable("CURL_CA_BUNDLE", stand.authority.trust()).ok().text().to_lowercase();
            tried += 1;
            continue;
        }
        let shown = line.to_lowercase();
        let status = shown.strip_prefix("http/1.1 ").and_then(|line| line.split(' ').next());
        let there = |told: &str| match status {
            Some(status) => told.starts_with("http/") && told.split(' ').nth(1) == Some(status),
            None => told.starts_with(&shown),
        };
        assert!(said.lines().any(|told| there(told.trim_end())), "{line} is shown, and this is said:\n{said}");
    }
    assert_eq!(tried, 2);
}

#[test]
fn each_no_reaches_the_client_through_nginx_as_what_it_is() {
    each_no_reaches_the_client_through(Recipe::NginxGateway);
}

#[test]
fn each_no_reaches_the_client_through_caddy_as_what_it_is() {
    each_no_reaches_the_client_through(Recipe::CaddyGateway);
}

#[test]
fn each_no_reaches_the_client_through_traefik_as_what_it_is() {
    each_no_reaches_the_client_through(Recipe::TraefikGateway);
}

#[test]
fn each_no_reaches_the_client_through_apache_as_what_it_is() {
    each_no_reaches_the_client_through(Recipe::Apache);
}

fn each_no_reaches_the_client_through(recipe: Recipe) {
    let stand = front(recipe);
    each_no_is_what_it_is(&stand, 404);
    addresses_are_those_that_the_proxy_saw(&stand);
    without_tokd_it_is_not_known(&stand);
}

/// With the git server that can stop in its middle in the place of tokd. It speaks HTTP/1.1 only.
#[test]
fn large_answers_are_not_kept_by_nginx_and_apache() {
    for recipe in [Recipe::NginxGateway, Recipe::Apache] {
        let directory = tempfile::Builder::new().prefix("tokt-").tempdir_in("/tmp").unwrap();
        let authority = Authority::new(&directory.path().join("tls"));
        authority.issue(&["localhost"]);
        let root = directory.path().join("git");
        let bare = root.join("acme/app.git");
        fs::create_dir_all(&bare).unwrap();
        assert!(Command::new("git").args(["init", "--quiet", "--bare"]).arg(bare).status().unwrap().success());
        let backend = Backend::start(&root);
        let (address, place) = (free_address(), directory.path().join("front"));
        let tokd = backend.address();
        let site = Site { directory: &place, address, authority: &authority, tokd, backend: tokd };
        let _front = Front::start(recipe, &site);
        answers_stream(address, &authority, &backend, &root, "none");
    }
}
