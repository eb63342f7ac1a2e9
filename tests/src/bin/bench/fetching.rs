//! Row 19: a hundred repositories fetched at once, each with a token of its own that has to be minted first, next to the
//! same with one token that git's own `credential-store` reads from a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tok_tests::environment::Environment;

use crate::figure::{Figure, Goal};
use crate::helper::{USER, find, timed};
use crate::rounds::{Contender, Rounds};

const ROUNDS: Rounds = Rounds { warm_up: 1, counted: 7 };
const REPOSITORIES: usize = 100;

/// Measures it with this helper, at a server of its own that speaks TLS.
pub(crate) fn measure(helper: &Path) -> Figure {
    let environment = Environment::tls();
    environment.users(&[USER]).workspace("acme", &[(USER, "writer")]);
    let repositories: Vec<String> = (0..REPOSITORIES).map(|number| format!("acme/r{number:03}")).collect();
    populate(&environment, &repositories);
    let store = credential_store(&environment);
    environment.log_in_at(&environment.url(), USER);
    environment.through_agent(&[]);
    let socket = environment.home().join("run/tok/agent.sock");
    // Without paths git does not say which repository it wants; with them `git credential-store` finds nothing.
    let paths = |wanted: bool| format!("credential.{}.useHttpPath={wanted}", environment.url());
    let agent = [format!("credential.helper={} --socket {}", helper.display(), socket.display()), paths(true)];
    let store = [format!("credential.helper=store --file {}", store.display()), paths(false)];

    let (mut rounds, before) = (0, minted(&environment));
    let ours: Contender<'_, f64> = Box::new(|_| {
        // Another session has no tokens yet, and another agent no connection.
        environment.log_in_at(&environment.url(), USER);
        environment.another_agent();
        rounds += 1;
        fetch_all(&environment, &repositories, &agent)
    });
    let baseline: Contender<'_, f64> = Box::new(|_| fetch_all(&environment, &repositories, &store));
    let names = ["git credential-store, one personal token", "git-credential-tok, an agent just started, 100 mints"];
    let [baseline, ours] = timed(ROUNDS, names, [baseline, ours]);
    let made = minted(&environment) - before;
    let expected = i64::try_from(rounds * REPOSITORIES).expect("it is small");
    assert_eq!(made, expected, "each fetch has a token of its own");
    Figure {
        row: 19,
        name: "100 fetches of 100 repositories at once: 100 mints, no failure",
        ours,
        baseline,
        goal: Goal::AtMost(1.5),
        beside: Vec::new(),
        note: format!(
            "{rounds} rounds of {REPOSITORIES} `git ls-remote` that were all started before any was waited for; {made} \
             git tokens, and every one of these commands succeeded."
        ),
    }
}

/// Milliseconds until the last of them has its answer; all of them must.
fn fetch_all(environment: &Environment, repositories: &[String], settings: &[String]) -> f64 {
    let begin = Instant::now();
    let started: Vec<Child> = repositories.iter().map(|repo| fetch(environment, repo, settings)).collect();
    for (child, repo) in started.into_iter().zip(repositories) {
        let done = child.wait_with_output().expect("a child can be waited for");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.is_empty(), "{repo}: {said}");
        assert!(done.stdout.ends_with(b"\trefs/heads/main\n"), "{repo}: {}", String::from_utf8_lossy(&done.stdout));
    }
    begin.elapsed().as_secs_f64() * 1e3
}

fn fetch(environment: &Environment, repo: &str, settings: &[String]) -> Child {
    let url = environment.repository(repo);
    let mut git = Command::new(find("git"));
    git.args(["-c", "credential.helper=", "-c", &format!("credential.{}.helper=", environment.url())]);
    git.args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
    git.args(["ls-remote", "--heads", &url]);
    git.env_clear().env("HOME", environment.home()).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    git.env("GIT_TERMINAL_PROMPT", "0").env("GIT_SSL_CAINFO", environment.authority().trust());
    // A hundred at once on a small machine: it is looked at whether they succeed, and how long that takes in all.
    git.env("TOK_TIMEOUT_MS", "60000");
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git.spawn().expect("git can be started")
}

/// The same commit in each of them.
fn populate(environment: &Environment, repositories: &[String]) {
    let first = environment.pushed(USER, &repositories[0]);
    for repo in &repositories[1..] {
        let place = environment.on_server(repo);
        let arguments = ["clone", "--quiet", "--bare", &first.to_string_lossy(), &place.to_string_lossy()];
        environment.git(environment.root(), &arguments).ok();
    }
}

/// A file with a token that may read all of them, as `git credential-store` keeps it. For it, paths make no difference.
fn credential_store(environment: &Environment) -> PathBuf {
    let token = environment.token(USER, &["--scopes", "repo:read"]);
    let path = environment.canaries().exempt().join("store");
    let lines = format!("https://{USER}:{token}@{}\n", environment.host());
    fs::write(&path, lines).expect("the directory is ours");
    path
}

fn minted(environment: &Environment) -> i64 {
    environment.count(
        "SELECT count(*) FROM tokens t JOIN tokens p ON p.id = t.parent_id WHERE t.kind = 'git' AND p.local_uid IS NULL",
    )
}
