//! A machine that slept: a laptop whose lid was shut over night, and a server that was paused.
//!
//! Nobody may put the machine of a test to sleep. Its processes are stopped, their connections go silent without a word, and
//! their clocks have gone on when they wake up (`tests/shim/suspend.c` says which).

use std::thread;
use std::time::{Duration, Instant};

use tok_tests::environment::Environment;
use tok_tests::http::Request;
use tok_tests::laptop::Laptop;
use tok_tests::proxy::Proxy;
use tok_tests::suspend::{Clocks, Stopped};
use tok_tests::wait;

use crate::agent::{challenged, minted};
use crate::agent_outage::behind_a_proxy;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A server, the way to it, and the clocks of all.
struct World {
    environment: Environment,
    /// The laptop's.
    clocks: Clocks,
    /// The server's.
    there: Clocks,
    proxy: Proxy,
    /// The server's address, as the laptop knows it.
    url: String,
}

impl World {
    fn new(configuration: &str) -> Self {
        let environment = Environment::tls_with(configuration);
        environment.users(&["alice"]).workspace("acme", &[("alice", "writer")]);
        environment.pushed("alice", "acme/app");
        let (clocks, there) = (Clocks::new(&environment, "laptop"), Clocks::new(&environment, "server"));
        environment.stop();
        environment.start_with(&there.on_server(environment.usual_recipe()));
        let (proxy, url) = behind_a_proxy(&environment);
        Self { environment, clocks, there, proxy, url }
    }

    /// alice's, logged in through the proxy.
    fn laptop(&self) -> Laptop<'_> {
        let laptop = self.environment.laptop("laptop");
        self.clocks.on_laptop(&laptop);
        let password = laptop.password_of("alice");
        wait::until_true("the server shows its new certificate", || {
            let call = laptop.tok(&["login", &self.url, "--user", "alice", "--password-stdin"]);
            call.input(format!("{password}\n")).run().code == Some(0)
        });
        laptop.tok(&["git", "setup", &self.url]).ok();
        laptop
    }

    /// What git sends to its helper after its challenge.
    fn lines(&self, repo: &str) -> String {
        challenged(&self.environment, repo, "read").replace(&self.environment.host(), &self.proxy.address().to_string())
    }

    /// The laptop's lid is shut for so long.
    fn sleeps(&self, agent: i32, time: Duration) {
        let _stopped = Stopped::new(agent);
        self.proxy.freeze();
        self.time_goes_by(time);
    }

    /// Everywhere.
    fn time_goes_by(&self, time: Duration) {
        self.clocks.sleep(time);
        self.there.sleep(time);
    }

    /// In how many seconds something is that a program with these clocks said, in seconds since 1970.
    fn ahead(&self, moment: &str) -> i64 {
        let now = std::process::Command::new("date").arg("+%s").output().unwrap();
        let now: i64 = String::from_utf8(now.stdout).unwrap().trim().parse().unwrap();
        moment.parse::<i64>().unwrap() - now - self.clocks.ahead()
    }
}

#[test]
fn after_a_night_in_a_bag_nothing_old_is_handed_out_and_one_question_is_asked() {
    let world = World::new("");
    let laptop = world.laptop();
    let agent = laptop.agent();
    let repos: Vec<String> = (0..8).map(|number| format!("acme/r{number}")).collect();
    let token = |repo: &str| laptop.get(&world.lines(repo)).token().to_owned();
    let old: Vec<String> = repos.iter().map(|repo| token(repo)).collect();
    let git = || laptop.git(&["ls-remote", &format!("{}/acme/app.git", world.url)]);
    git().ok();
    let status = agent.status().unwrap();
    assert_eq!((&status["logins"][0]["state"], &status["logins"][0]["tokens"]), (&"connected".into(), &9.into()));
    let (pid, before, connections) = (agent.pid(), minted(&world.environment), world.proxy.connections());

    world.sleeps(pid, 7 * HOUR);
    // What is dead is not said to be there.
    let status = agent.status().unwrap();
    assert_eq!(status["logins"][0]["tokens"], 0, "{status}");
    let connected = status["logins"][0]["state"] == "connected";
    assert!(!connected || world.proxy.connections() > connections, "{status}");

    let begin = Instant::now();
    let answer = laptop.get(&world.lines(&repos[0]));
    let took = begin.elapsed();
    assert!(!old.contains(&answer.token().to_owned()), "a token of yesterday");
    let lives = world.ahead(answer.value("password_expiry_utc").unwrap());
    assert!((800..=930).contains(&lives), "{lives} s are left");
    assert!(took < Duration::from_secs(2), "git waited {took:?}");
    git().ok();
    assert_eq!(minted(&world.environment), before + 2, "only what is asked for is asked for again");
    assert!(world.proxy.connections() <= connections + 4, "{} connections", world.proxy.connections() - connections);
    let status = agent.status().unwrap();
    assert_eq!((&status["logins"][0]["state"], &status["logins"][0]["tokens"]), (&"connected".into(), &2.into()));
    assert_eq!(agent.pid(), pid);

    // A year on, the session is over, too: it says so, and what to do about it, and nobody is asked about it.
    world.sleeps(pid, 400 * 24 * HOUR);
    if let Some(status) = agent.status().filter(|status| status["pid"] == pid) {
        assert_eq!(status["logins"][0]["state"], "ended", "{status}");
    }
    let refused = laptop.ask(&world.lines(&repos[0]));
    assert_eq!(refused.text(), "quit=1\n", "{}", refused.describe());
    refused.says(&["your login at", &world.url, "ended", "expired", &format!("run `tok login {}", world.url)]);
    assert_eq!(refused.complaint().lines().count(), 1, "{}", refused.describe());
    let status = laptop.tok(&["status"]).run();
    assert!(status.text().contains(" ended "), "{}", status.describe());
    status.says(&["expired", &format!("`tok login {}`", world.url)]);
    assert_eq!(minted(&world.environment), before + 2);
}

#[test]
fn what_was_revoked_while_the_laptop_slept_is_asked_for_again() {
    let world = World::new("");
    let laptop = world.laptop();
    let agent = laptop.agent();
    let token = || laptop.get(&world.lines("acme/app")).token().to_owned();
    let dead = token();
    assert_eq!(token(), dead);
    let pid = agent.pid();
    let revoke_all = || {
        let listed =
            world.environment.tok(&["token", "list", "--kind", "git", "--state", "active", "--output", "json"]);
        let listed = listed.acting_as("alice").ok().json();
        let ids = listed["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned());
        world.environment.tok(&["token", "revoke", "--force"]).arguments(ids).acting_as("alice").ok();
    };
    let stopped = Stopped::new(pid);
    world.proxy.freeze();
    revoke_all();
    world.time_goes_by(3 * MINUTE);
    drop(stopped);
    assert_ne!(token(), dead, "nobody knows what happened meanwhile, so the server is asked");
    // And if it cannot be asked, what may still be good is used.
    let kept = token();
    let stopped = Stopped::new(pid);
    world.proxy.hold_after(0);
    world.time_goes_by(3 * MINUTE);
    drop(stopped);
    assert_eq!(token(), kept);
    world.proxy.pass();
    // The machine of a laptop may be one that is paused from outside: then only the clock on its wall says so, once it is set.
    let stopped = Stopped::new(pid);
    world.proxy.freeze();
    revoke_all();
    world.there.sleep(3 * MINUTE);
    world.clocks.set_wall(180);
    drop(stopped);
    assert_ne!(token(), kept);
}

#[test]
fn what_ended_in_sleep_is_not_renewed_before_somebody_asks_and_what_did_not_is_renewed_once() {
    let world = World::new("[tokens]\ngit_lifetime = \"5m\"\n");
    let laptop = world.laptop();
    let agent = laptop.agent();
    let token = |repo: &str| laptop.get(&world.lines(repo)).token().to_owned();
    for number in 0..8 {
        token(&format!("acme/r{number}"));
    }
    let pid = agent.pid();
    world.sleeps(pid, 230 * Duration::from_secs(1));
    let kept = token("acme/app");
    let before = minted(&world.environment);
    world.sleeps(pid, 200 * Duration::from_secs(1));
    wait::until_true("the one that is about to end is renewed", || minted(&world.environment) > before);
    assert_ne!(token("acme/app"), kept);
    assert_eq!(minted(&world.environment), before + 1);
}

#[test]
fn a_clock_that_is_set_back_makes_no_token_immortal_and_ends_no_agent() {
    let world = World::new("");
    let laptop = world.laptop();
    let agent = laptop.agent();
    let get = || laptop.get(&world.lines("acme/app"));
    let first = get().token().to_owned();
    let pid = agent.pid();
    world.clocks.set_wall(-3600);
    // Git looks at the clock on the wall.
    let answer = get();
    let lives = world.ahead(answer.value("password_expiry_utc").unwrap());
    assert!((600..=930).contains(&lives), "{lives} s are left");
    laptop.git(&["ls-remote", &format!("{}/acme/app.git", world.url)]).ok();
    world.sleeps(pid, 16 * MINUTE);
    let second = get();
    assert_ne!(second.token(), first);
    assert_ne!(second.token(), answer.token());
    let lives = world.ahead(second.value("password_expiry_utc").unwrap());
    assert!((800..=930).contains(&lives), "{lives} s are left");
    world.clocks.set_wall(2 * 3600);
    assert!(!get().is_silent());
    assert_eq!(agent.pid(), pid);
}

#[test]
fn a_machine_that_falls_asleep_while_git_waits_gives_a_token_that_is_good() {
    let world = World::new("");
    let laptop = world.laptop();
    let agent = laptop.agent();
    laptop.get(&world.lines("acme/first"));
    let pid = agent.pid();
    let good = |repo: &str, falls_asleep: &(dyn Fn() + Sync)| {
        let helper = laptop.helper().variable("TOK_TIMEOUT_MS", "20000").argument("get");
        let lines = world.lines(repo);
        let answer = thread::scope(|scope| {
            let before = minted(&world.environment);
            world.proxy.delay();
            let asking = scope.spawn(|| helper.input(lines + "\n").shows_secret().ok());
            wait::until_true("the server answered", || minted(&world.environment) > before);
            falls_asleep();
            asking.join().unwrap()
        });
        let answer = tok_tests::helper::answer(&answer);
        let lives = world.ahead(answer.value("password_expiry_utc").unwrap_or_else(|| panic!("no token: {answer:?}")));
        assert!((800..=930).contains(&lives), "{lives} s are left");
    };
    // The connection was lost meanwhile, and with it the answer.
    good("acme/lost", &|| world.sleeps(pid, 8 * HOUR));
    // The answer came while it slept, and lay there for eight hours.
    good("acme/late", &|| {
        let _stopped = Stopped::new(pid);
        world.time_goes_by(8 * HOUR);
        world.proxy.pass();
    });
    assert_eq!(agent.pid(), pid);
}

#[test]
fn sleep_is_no_work_and_an_agent_that_nobody_needed_for_a_night_ends_and_is_started_again() {
    let world = World::new("");
    let laptop = world.laptop();
    let agent = laptop.agent();
    laptop.get(&world.lines("acme/app"));
    let pid = agent.pid();
    world.sleeps(pid, 9 * HOUR);
    wait::until_true("the agent ends", || tok_tests::processes::Process::read(pid).is_none());
    assert!(!laptop.get(&world.lines("acme/app")).is_silent());
    assert_ne!(agent.pid(), pid);
}

#[test]
fn a_server_that_was_paused_believes_nothing_that_it_knew_before() {
    let environment = Environment::dev();
    environment.users(&["ann"]).workspace("acme", &[("ann", "writer")]);
    environment.pushed("ann", "acme/app");
    let clocks = Clocks::new(&environment, "server");
    environment.stop();
    environment.start_with(&clocks.on_server(environment.usual_recipe()));
    // Another daemon on the same database takes it away meanwhile, and nobody here hears of it.
    let pauses: [(&str, &dyn Fn()); 2] =
        [("asleep", &|| clocks.sleep(10 * MINUTE)), ("paused from outside", &|| clocks.set_wall(600))];
    for (how, pause) in pauses {
        let created = environment.tok(&["token", "create", "ci", "--expires", "30d", "--output", "json"]);
        let created = created.acting_as("ann").shows_secret().ok().json();
        let secret = created["secret"].as_str().unwrap();
        let refs = Request::refs("acme/app", "git-upload-pack").basic("ann", secret);
        assert_eq!(environment.send(&refs).status, 200);
        let stopped = Stopped::new(environment.pid());
        environment.execute(
            "UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'personal' AND revoked_at IS NULL",
        );
        pause();
        drop(stopped);
        assert_eq!(environment.send(&refs).status, 401, "{how}: what was known before counts no more");
    }
}

#[test]
fn a_server_whose_clock_is_set_back_wakes_nothing_that_ended_and_says_so() {
    let environment = Environment::dev();
    environment.users(&["ann"]).workspace("acme", &[("ann", "writer")]);
    environment.pushed("ann", "acme/app");
    let clocks = Clocks::new(&environment, "server");
    let restart = || {
        environment.stop();
        environment.start_with(&clocks.on_server(environment.usual_recipe()));
    };
    restart();
    let secret = |expires: &str| environment.token("ann", &["--expires", expires]);
    let asked =
        |secret: &str| environment.send(&Request::refs("acme/app", "git-upload-pack").basic("ann", secret)).status;
    let ready = || {
        let reply = environment.send(&Request::get("/readyz"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text()
    };
    let behind = || {
        let figures = environment.send(&Request::get("/metrics")).text();
        let figure = figures.lines().find_map(|line| line.strip_prefix("tok_clock_behind_seconds "));
        figure.unwrap_or_else(|| panic!("{figures}")).parse::<i64>().unwrap()
    };
    // A time server takes back some seconds: nobody sees anything of it.
    let (short, long) = (secret("1h"), secret("30d"));
    assert_eq!((asked(&short), asked(&long)), (200, 200));
    clocks.set_wall(-8);
    assert_eq!((asked(&short), asked(&long), ready().trim()), (200, 200, "ready"));
    assert!((0..=10).contains(&behind()), "{}", behind());

    clocks.sleep(2 * HOUR);
    assert_eq!((asked(&short), asked(&long)), (401, 200));
    clocks.set_wall(-3 * 3600);
    assert_eq!((asked(&short), asked(&long)), (401, 200), "what ended works again");
    let minted = secret("1h");
    assert_eq!(asked(&minted), 200);
    let words = ready();
    assert!(words.contains("clock was set back by 3h") && words.contains("restart tokd"), "{words}");
    assert!((10_800..=10_815).contains(&behind()), "{}", behind());
    let said = || environment.log().matches("clock was set back by").count();
    wait::until_true("the log tells of it", || said() > 0);
    clocks.set_wall(3 * 3600);
    wait::until_true("the log says when it is over", || environment.log().contains("The clock has caught up"));
    assert_eq!((ready().trim(), said()), ("ready", 1));

    // Who starts now knows nothing of it but what was written down, and says that.
    clocks.set_wall(-3 * 3600);
    restart();
    let words = ready();
    assert!(
        words.contains("the audit trail has lines that are") && words.contains("ahead of this machine's clock"),
        "{words}"
    );
    assert!(environment.log().contains("Look at the clock: the audit trail has lines"), "{}", environment.log());
    assert!((10_700..=10_815).contains(&behind()), "{}", behind());
    assert_eq!(asked(&long), 200, "it serves all the same");
    clocks.set_wall(4 * 3600);
    assert_eq!((ready().trim(), behind()), ("ready", 0));
}
