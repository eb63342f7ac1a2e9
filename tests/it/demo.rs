//! `./dev demo`, as people run it.

use std::path::{Path, PathBuf};

use tok_tests::call::{Call, Finished};
use tok_tests::environment::Environment;
use tok_tests::{binaries, processes, wait};

/// tests/demo.sh with these binaries, in a temporary directory of this test's.
fn demo(environment: &Environment) -> Call {
    let script = binaries::workspace().join("tests/demo.sh");
    let call = environment.call(script).variable("TMPDIR", environment.path("work"));
    call.variable(binaries::OVERRIDE, binaries::directory()).without("TOK_SOCKET")
}

/// The directory that it said it lives in.
fn home_of(run: &Finished) -> PathBuf {
    let line = run.text().lines().next().unwrap();
    PathBuf::from(line.strip_prefix("tok, shown with real git. Everything is in ").unwrap().trim_end_matches('.'))
}

#[test]
fn the_demo_tells_the_whole_story_and_leaves_nothing() {
    let environment = Environment::new();
    let run = demo(&environment).ok();
    let text = run.text();
    for line in [
        "may write acme/app, for 15 minutes",
        "may read acme/app, for 15 minutes",
        "nothing minted: the token of before is still good",
        "remote: the git token is for reading acme/app, not to push to acme/app",
        "Revoked token: git read acme/app",
        "token.mint",
        "repo.create",
    ] {
        assert!(text.contains(line), "it does not say {line:?}: {}", run.describe());
    }
    assert_eq!(text.matches("-> minted").count(), 3, "{}", run.describe());
    assert_eq!(run.complaint(), "");
    assert!(!home_of(&run).exists());
}

#[test]
fn the_demo_can_be_kept_and_says_how_to_go_on_and_how_to_end_it() {
    let environment = Environment::new();
    let run = demo(&environment).argument("--keep").ok();
    let home = home_of(&run);
    let told = |start: &str| {
        run.text()
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{}", run.describe()))
            .to_owned()
    };
    let (surroundings, clone, end) = (told("export PATH="), told("git clone http://"), told("kill "));
    let pid: i32 = end.split(' ').nth(1).unwrap().parse().unwrap();
    let family = processes::tree(pid);
    assert!(!family.is_empty(), "it still runs");
    let script = format!("{surroundings}\n{clone}\n{}\n{}", told("tok token list"), told("TOK_USER='' tok status"));
    let shell = environment.call("sh").arguments(["-e", "-c", &script]).variable("GIT_TERMINAL_PROMPT", "0").ok();
    assert!(shell.text().contains("Server:"), "{}", shell.describe());
    assert!(home.join("trees/third/README").is_file());
    environment.call("sh").arguments(["-e", "-c", &end]).ok();
    wait::until_true("all of it has ended", || !family.iter().any(processes::Process::runs));
    remove(&home);
}

#[test]
fn an_unknown_argument_is_said() {
    let environment = Environment::new();
    demo(&environment).argument("--fast").fails(2).says(&["--fast", "--keep"]);
}

/// What a daemon that was ending may have written after the directory was removed.
fn remove(home: &Path) {
    if home.exists() {
        std::fs::remove_dir_all(home).unwrap();
    }
}
