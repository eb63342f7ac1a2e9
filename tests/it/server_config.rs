//! What the server says of its own configuration.

use serde_json::json;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

const POLICY: &str = "[tokens]\nmax_lifetime = \"365d\"\n[tokens.personal]\ndefault_lifetime = \"30d\"\n\
                      max_lifetime = \"90d\"\nidle_lifetime = \"14d\"\n[git]\ncreate_on_push = true\n";

#[test]
fn everybody_sees_the_lifetimes_and_managers_the_rest() {
    let environment = Environment::new();
    environment.start_with(&environment.serve_recipe(POLICY));
    environment.tok(&["user", "create", "will"]).ok();
    let text = environment.tok(&["server", "config"]).ok();
    for line in [
        "tokens.personal.default_lifetime = \"30d\"",
        "tokens.personal.max_lifetime = \"90d\"",
        "tokens.personal.idle_lifetime = \"14d\"",
        "tokens.repo.default_lifetime = \"180d\"",
        "tokens.repo.max_lifetime = \"365d\"",
        "tokens.session.idle_lifetime = \"never\"",
        "tokens.git_lifetime = \"15m\"",
        "git.create_on_push = true",
        "server.failed_logins_per_minute = 120",
    ] {
        assert!(text.text().lines().any(|told| told == line), "{line}: {}", text.text());
    }
    let config = environment.tok(&["server", "config", "--output", "json"]).ok().json()["config"].clone();
    assert_eq!(config["tokens.personal.max_lifetime"], "90d");
    assert_eq!(config["server.trusted_proxies"], json!(["127.0.0.0/8", "::1/128"]));
    assert_eq!(config["git.max_processes"], 64);
    assert_eq!(config["server.listen"], environment.host());
    // The same over HTTP, to somebody who administers nothing: lifetimes, and nothing of the machine.
    let token = environment.token("will", &["--scopes", "user:read"]);
    let status = environment.send(&Request::get("/v1/server/status").bearer(&token)).json();
    let settings = status["settings"].as_object().unwrap();
    assert_eq!(settings["tokens.workspace.max_lifetime"], "365d");
    assert!(!settings.keys().any(|key| key.starts_with("git.") || key.starts_with("embedded") || key == "data_dir"));
}
