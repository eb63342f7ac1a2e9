//! Other servers' credentials in the agent's memory, next to git's own `credential-cache`: the same answers to whatever
//! is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;

/// Chance that is the same in every run (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn line<'a>(&mut self, lines: &[&'a str]) -> &'a str {
        lines[self.below(lines.len())]
    }
}

/// What is asked about one host: an operation and its lines, as git might send them.
fn asked(chance: &mut Chance, host: &str) -> (&'static str, String) {
    let operation = chance.line(&["get", "get", "store", "store", "erase"]);
    let operation = ["get", "store", "erase"].into_iter().find(|known| *known == operation).unwrap();
    let mut lines = format!("protocol=https\nhost={host}\n");
    lines += chance.line(&["", "", "", "path=a\n", "path=\n"]);
    if operation == "get" {
        lines += chance.line(&["", "", "username=ann\n", "username=\n"]);
        return (operation, chance.line(&["", "capability[]=authtype\ncapability[]=state\n"]).to_owned() + &lines);
    }
    lines += chance.line(&["username=ann\n", "username=ann\n", "username=bob\n", "username=\n", ""]);
    lines += chance.line(&["", "password=first-of-them\n", "password=second-of-them\n", "password=first-of-them\n"]);
    lines += chance.line(&["", "", "password_expiry_utc=2000000000\n", "password_expiry_utc=0\n"]);
    lines += chance.line(&["", "", "oauth_refresh_token=again-and-again\n"]);
    let bearer = "authtype=Bearer\ncredential=third-of-them\n";
    let bearer = chance.line(&["", "", "", bearer]);
    let ephemeral = chance.line(&["", "", "", "", "", "", "", "ephemeral=1\n"]);
    (operation, format!("capability[]=authtype\n{lines}{bearer}{ephemeral}"))
}

fn cache(laptop: &Laptop<'_>, socket: &Path, operation: &str, lines: &str) -> String {
    let call = laptop.newest_git(&["credential-cache", "--timeout=600", "--socket"]).argument(socket);
    // It complains about what it does not keep.
    let said = call.argument(operation).input(format!("{lines}\n")).ok().text().to_owned();
    if lines.contains("capability[]=authtype\n") {
        return said;
    }
    // Some versions of it say this also to those who did not say that they understand it; later ones do not.
    said.split_inclusive('\n')
        .filter(|line| !line.starts_with("authtype=") && !line.starts_with("credential="))
        .collect()
}

#[test]
fn whatever_is_asked_the_answer_is_that_of_credential_cache() {
    let environment = Environment::new();
    let laptop = environment.laptop("laptop");
    let agent = laptop.agent();
    laptop.tok(&["agent", "start", "--remember", "memory"]).ok();
    let directory = laptop.home().join("run/cache");
    laptop.call("mkdir").arguments(["-m", "700"]).argument(&directory).ok();
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let socket = directory.join("socket");
    let mut chance = Chance(20_261_122);
    let (mut answered, mut silent) = (0, 0);
    for story in 0..300 {
        let host = format!("h{story}.example");
        let mut told = String::new();
        for _ in 0..3 + chance.below(5) {
            let (operation, lines) = asked(&mut chance, &host);
            told.extend([operation, "\n", &lines, "\n"]);
            let theirs = cache(&laptop, &socket, operation, &lines);
            let ours = laptop.helper().arguments(["--timeout", "600", operation]).input(format!("{lines}\n")).ok();
            assert_eq!(ours.complaint(), "");
            assert_eq!(ours.text(), theirs, "after\n{told}");
            if operation == "get" {
                *(if theirs.is_empty() { &mut silent } else { &mut answered }) += 1;
            }
        }
    }
    assert!(answered > 100 && silent > 100, "the stories are worth telling: {answered} answers, {silent} silences");
    laptop.newest_git(&["credential-cache", "--socket"]).argument(&socket).argument("exit").run();
    assert!(agent.status().unwrap()["remembered"].as_u64().unwrap() > 50);
    laptop.tok(&["agent", "lock"]).ok();
    assert_eq!(agent.status().unwrap()["remembered"], 0);
}

#[test]
fn nothing_is_kept_unless_its_user_said_so_and_then_an_agent_is_started_for_it() {
    let environment = Environment::new();
    let laptop = environment.laptop("laptop");
    let agent = laptop.agent();
    let lines = "protocol=https\nhost=github.com\nusername=me\n";
    let store = |call: tok_tests::call::Call| {
        call.argument("store").input(format!("{lines}password=correct-horse-battery\n\n")).ok()
    };
    environment.canaries().register("a foreign password", "correct-horse-battery");
    store(laptop.helper());
    assert!(agent.status().is_none(), "there was nothing to keep");
    store(laptop.helper().variable("TOK_AGENT_REMEMBER", "memory"));
    assert_eq!(agent.status().unwrap()["remembered"], 1);
    let answer = laptop.helper().argument("get").input(format!("{lines}\n")).shows_secret().ok();
    assert!(answer.text().ends_with("password=correct-horse-battery\n"), "{}", answer.describe());
    laptop.tok(&["agent", "stop"]).ok();

    // By the configuration file, too.
    let config = laptop.logins().parent().unwrap().join("config.toml");
    laptop.call("mkdir").argument("-p").argument(config.parent().unwrap()).ok();
    laptop.write(&config, "[agent]\nremember = \"memory\"\nidle = \"1h\"\n");
    store(laptop.helper().arguments(["--timeout", "1"]));
    let status = agent.status().unwrap();
    assert_eq!((&status["remembers"], &status["idle_seconds"]), (&true.into(), &3600.into()));
    tok_tests::wait::until_true("what is kept for a second is forgotten", || {
        agent.status().unwrap()["remembered"] == 0
    });
}
