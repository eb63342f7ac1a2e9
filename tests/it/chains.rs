//! tok among git's other helpers, before them and after them: what they are told, what they keep, and who heals whom.

use std::fs;
use std::path::{Path, PathBuf};

use tok_tests::environment::Environment;
use tok_tests::git::{Git, make_executable};

use crate::helper_protocol::acme;

/// A helper that keeps what git's own for the desktop's keyring (libsecret) keeps, in files: user name, password, their end
/// and a refresh token, of whatever has a password; what `ephemeral` or `authtype` mean it does not know.
const KEEPER: &str = r#"#!/bin/sh
while IFS='=' read -r key value && [ -n "$key" ]; do
    case $key in protocol | host | path | username | password | password_expiry_utc) eval "$key=\$value" ;; esac
done
matching() {
    for item in "$kept"/*; do
        [ -f "$item" ] || continue
        { read -r a && read -r b && read -r c && read -r d && read -r e && read -r f; } <"$item"
        [ "$a $b" = "$protocol $host" ] && { [ -z "$path" ] || [ "$c" = "p$path" ]; } || continue
        { [ -z "$username" ] || [ "$d" = "u$username" ]; } && { [ "$1" = any ] || [ -z "$password" ] || [ "$e" = "$password" ]; } || continue
        echo "$item"
    done
}
case $1 in
    get)
        item=$(matching any | head -n 1)
        [ -n "$item" ] || exit 0
        { read -r a && read -r b && read -r c && read -r d && read -r e && read -r f; } <"$item"
        printf 'username=%s\npassword=%s\n' "${d#u}" "$e"
        [ "$f" = e ] || echo "password_expiry_utc=${f#e}"
        ;;
    store)
        [ -n "$protocol" ] && [ -n "$host$path" ] && [ -n "$username" ] && [ -n "$password" ] || exit 0
        name=$(printf '%s\n' "$protocol $host $path $username" | cksum)
        printf '%s\n' "$protocol" "$host" "p$path" "u$username" "$password" "e$password_expiry_utc" >"$kept/${name%% *}"
        ;;
    erase) matching password | while read -r item; do rm -f "$item"; done ;;
esac
"#;

/// Somebody else's helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    /// `git credential-store`
    Store,
    /// `git credential-cache`
    Cache,
    /// A desktop's keyring.
    Keyring,
}

const NEIGHBOURS: [Neighbour; 3] = [Neighbour::Store, Neighbour::Cache, Neighbour::Keyring];

impl Neighbour {
    /// Where it keeps things.
    fn place(self, environment: &Environment) -> PathBuf {
        environment.path(&format!("kept-{self:?}"))
    }

    /// The value of `credential.helper`.
    fn value(self, environment: &Environment) -> String {
        let place = self.place(environment);
        match self {
            Self::Store => format!("store --file {}", place.display()),
            Self::Cache => format!("cache --timeout 600 --socket {}/socket", place.display()),
            Self::Keyring => {
                let program = environment.path("git-credential-keeper");
                if !program.exists() {
                    let kept = format!("#!/bin/sh\nkept={}\n", place.display());
                    fs::write(&program, KEEPER.replacen("#!/bin/sh\n", &kept, 1)).unwrap();
                    make_executable(&program);
                }
                program.display().to_string()
            }
        }
    }

    /// Gets it ready.
    fn prepare(self, environment: &Environment) {
        if self != Self::Store {
            let place = self.place(environment);
            environment.call("mkdir").arguments(["-p", "-m", "700"]).argument(place).ok();
        }
    }

    /// Tells it something, or asks.
    fn told(self, environment: &Environment, operation: &str, lines: &str) -> String {
        let value = self.value(environment);
        let command = if value.starts_with('/') { value } else { format!("git credential-{value}") };
        let call = environment.call("sh").arguments(["-c", &format!("exec {command} {operation}")]);
        call.input(format!("{lines}\n")).ok().text().to_owned()
    }
}

/// git with this chain for our server, and no other helper.
fn chained(environment: &Environment, work: &Path, arguments: &[&str], chain: &[String]) -> Git {
    let key = format!("credential.{}.helper", environment.url());
    let git = environment.git(work, arguments).acting_as("alice").setting(&key, "");
    chain.iter().fold(git, |git, value| git.setting(&key, value))
}

fn both_orders(neighbour: &str) -> [[String; 2]; 2] {
    [["tok".to_owned(), neighbour.to_owned()], [neighbour.to_owned(), "tok".to_owned()]]
}

#[test]
fn a_neighbour_keeps_nothing_of_ours_whether_it_comes_before_or_after() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let ours = format!("protocol=http\nhost={}\n", environment.host());
    let mut number = 0;
    for neighbour in NEIGHBOURS {
        neighbour.prepare(&environment);
        for chain in both_orders(&neighbour.value(&environment)) {
            number += 1;
            environment.commit(&work, &format!("file{number}"), "content");
            for arguments in [&["fetch"][..], &["push"], &["ls-remote", "origin"]] {
                let run = chained(&environment, &work, arguments, &chain).ok();
                let stores = run.helper_calls().iter().filter(|call| *call == "store").count();
                assert_eq!(stores % 2, 0, "both are told, whoever answered: {:?}", run.helper_calls());
                assert!(stores >= 2, "{:?}", run.helper_calls());
            }
            // With the path and without: nothing answers, so nothing was kept.
            for lines in [ours.clone(), format!("{ours}path=acme/app.git\n")] {
                assert_eq!(neighbour.told(&environment, "get", &lines), "", "{neighbour:?} in {chain:?}");
                let new = format!("capability[]=authtype\ncapability[]=state\n{lines}");
                assert!(!neighbour.told(&environment, "get", &new).contains("credential="), "{neighbour:?}");
            }
        }
        let place = neighbour.place(&environment);
        match neighbour {
            Neighbour::Store => assert_eq!(fs::read_to_string(&place).unwrap_or_default(), ""),
            Neighbour::Keyring => assert_eq!(fs::read_dir(&place).unwrap().count(), 0),
            Neighbour::Cache => drop(neighbour.told(&environment, "exit", "")),
        }
    }
}

#[test]
fn what_a_neighbour_has_for_others_survives_whatever_happens_to_ours() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let host = environment.host();
    let others = [
        "protocol=https\nhost=elsewhere.example\nusername=me\n".to_owned(),
        format!("protocol=http\nhost={host}\npath=acme/other.git\nusername=alice\n"),
        format!("protocol=http\nhost={host}\npath=acme/app.git\nusername=somebody\n"),
    ];
    let token = environment.token("alice", &["--scopes", "repo:read"]);
    let listed = environment.tok(&["token", "list", "--kind", "personal", "--output", "json"]).acting_as("alice").ok();
    let id = listed.json()["tokens"][0]["id"].as_str().unwrap().to_owned();
    environment.tok(&["token", "revoke", "--force", &id]).acting_as("alice").ok();
    for neighbour in NEIGHBOURS {
        neighbour.prepare(&environment);
        for other in &others {
            neighbour.told(&environment, "store", &format!("{other}password=correct-horse-battery\n"));
        }
        let kept = |when: &str| {
            for other in &others {
                let said = neighbour.told(&environment, "get", other);
                assert!(said.contains("password=correct-horse-battery"), "{neighbour:?} {when}: {other}{said}");
            }
        };
        kept("at first");
        let chain = ["tok".to_owned(), neighbour.value(&environment)];
        // A token that died: healed, and nobody is told to forget anything.
        environment.git_token("alice", "acme/app", "read");
        environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'another daemon' WHERE kind = 'git'");
        let healed = chained(&environment, &work, &["fetch"], &chain).ok();
        assert!(!healed.helper_calls().contains(&"erase".to_owned()), "{:?}", healed.helper_calls());
        kept("after one that healed");
        // One that is refused for good: everybody is told to forget that one, and git fails without a prompt.
        let refused = chained(&environment, &work, &["fetch"], &chain)
            .variable("TOK_TOKEN", token.clone())
            .variable("TOK_SERVER", environment.url())
            .fails();
        refused.says(&["Authentication failed"]);
        assert_eq!(refused.helper_calls().iter().filter(|call| *call == "erase").count(), 2);
        kept("after one that was refused");
        chained(&environment, &work, &["fetch"], &chain).ok();
        if neighbour == Neighbour::Cache {
            neighbour.told(&environment, "exit", "");
        }
    }
}

#[test]
fn a_stale_password_of_a_neighbour_costs_one_command_where_it_is_asked_first_and_nothing_where_tok_is() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    for neighbour in NEIGHBOURS {
        neighbour.prepare(&environment);
        let stale = format!("protocol=http\nhost={}\npath=acme/app.git\nusername=alice\n", environment.host());
        let remember = || neighbour.told(&environment, "store", &format!("{stale}password=of-last-year-or-so\n"));
        remember();
        let value = neighbour.value(&environment);
        chained(&environment, &work, &["fetch"], &["tok".to_owned(), value.clone()]).ok();
        let first = [value.clone(), "tok".to_owned()];
        let failed = chained(&environment, &work, &["fetch"], &first).fails();
        failed.says(&["Authentication failed"]);
        assert_eq!(failed.helper_calls().last().unwrap(), "erase");
        chained(&environment, &work, &["fetch"], &first).ok();
        assert_eq!(neighbour.told(&environment, "get", &stale), "", "{neighbour:?} has forgotten it");
        // With what `tok git setup` writes, nobody else is asked at all, whatever is set for everybody.
        remember();
        let config = environment.home().join(".gitconfig");
        let before = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("[credential]\n\thelper = {value}\n{before}")).unwrap();
        let alone = environment.git(&work, &["fetch"]).acting_as("alice").ok();
        assert_eq!(alone.helper_calls(), ["get", "store"]);
        fs::write(&config, before).unwrap();
        assert_ne!(neighbour.told(&environment, "get", &stale), "", "{neighbour:?} was told nothing");
        neighbour.told(&environment, "erase", &stale);
        if neighbour == Neighbour::Cache {
            neighbour.told(&environment, "exit", "");
        }
    }
}

#[test]
fn a_manager_that_answers_for_every_server_is_put_out_of_the_way_by_setup() {
    let environment = acme();
    let work = environment.pushed("alice", "acme/app");
    let (manager, asked) = (environment.path("git-credential-manager"), environment.path("asked"));
    let script = format!(
        "#!/bin/sh\necho \"$1\" >>'{}'\n[ \"$1\" != get ] || printf 'username=me\\npassword=of-quite-another-server\\n'\n",
        asked.display()
    );
    fs::write(&manager, script).unwrap();
    make_executable(&manager);
    let first = [manager.display().to_string(), "tok".to_owned()];
    for _ in 0..2 {
        // It is asked before tok, and does not learn.
        chained(&environment, &work, &["fetch"], &first).fails().says(&["Authentication failed"]);
    }
    assert_eq!(fs::read_to_string(&asked).unwrap(), "get\nerase\nget\nerase\n");
    fs::remove_file(&asked).unwrap();
    // After tok it hears nothing before tok has nothing to say.
    let run = chained(&environment, &work, &["fetch"], &[first[1].clone(), first[0].clone()]).ok();
    assert_eq!(run.helper_calls().iter().filter(|call| *call == "get").count(), 1);
    assert_eq!(fs::read_to_string(&asked).unwrap(), "store\n");
    fs::remove_file(&asked).unwrap();
    // Set for all servers, it is left out for ours by what `tok git setup` wrote.
    let config = environment.home().join(".gitconfig");
    let before = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("[credential]\n\thelper = {}\n{before}", manager.display())).unwrap();
    environment.git(&work, &["fetch"]).acting_as("alice").ok();
    assert!(!asked.exists());
    let fill = environment.call("git").arguments(["credential", "fill"]).variable("GIT_TERMINAL_PROMPT", "0");
    let said = fill.input("protocol=https\nhost=elsewhere.example\npath=a/b\n\n").ok();
    assert!(said.text().contains("of-quite-another-server") && !said.text().contains("path="), "{}", said.describe());
}

#[test]
fn a_final_no_reaches_no_helper_behind_ours_and_no_prompt_whoever_is_asked_before() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let asked = environment.path("asked");
    let silent = |name: &str| format!("!f() {{ echo \"{name} $1\" >>'{}'; }}; f", asked.display());
    let askpass = environment.path("askpass");
    fs::write(&askpass, format!("#!/bin/sh\necho prompt >>'{}'\necho nothing\n", asked.display())).unwrap();
    make_executable(&askpass);
    let work = environment.work("acme-app");
    environment.commit(&work, "more", "content");
    let chain = [silent("first"), "tok".to_owned(), silent("last")];
    let push = chained(&environment, &work, &["push"], &chain).acting_as("bob").variable("GIT_ASKPASS", &askpass);
    push.fails().says(&["told us to quit", "bob has the role reader"]);
    assert_eq!(fs::read_to_string(&asked).unwrap(), "first get\n");
    // A server that is none of ours: everybody is asked in turn, and then a person.
    fs::remove_file(&asked).unwrap();
    let fill = environment.call("git").arguments(["-c", "credential.helper="]);
    let fill = ["tok", &chain[2]]
        .iter()
        .fold(fill, |fill, value| fill.arguments(["-c", &format!("credential.helper={value}")]));
    let said = fill.arguments(["credential", "fill"]).variable("GIT_ASKPASS", &askpass);
    said.input("protocol=https\nhost=elsewhere.example\n\n").ok();
    assert_eq!(fs::read_to_string(&asked).unwrap(), "last get\nprompt\nprompt\n");
}

/// The version of a git; a number that grows with it.
fn version(environment: &Environment, git: &str) -> u32 {
    let said = environment.call(git).argument("version").ok();
    let mut numbers =
        said.text().split_whitespace().nth(2).unwrap().split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    numbers.next().unwrap() * 1_000 + numbers.next().unwrap()
}

#[test]
fn an_older_git_gives_a_store_behind_ours_the_token_and_none_to_one_that_setup_left_out() {
    let environment = acme();
    environment.pushed("alice", "acme/app");
    let old = "/usr/bin/git";
    let is_old = version(&environment, old) < 2_046;
    // Where a token may be: this is what is warned of.
    let file = environment.canaries().exempt().join("plain");
    let repository = environment.repository("acme/app");
    let git = |arguments: &[&str], chain: &[&str]| {
        let key = format!("credential.{}.helper", environment.url());
        let call = environment.call(old).acting_as("alice").variable("GIT_TERMINAL_PROMPT", "0");
        let call = chain.iter().fold(call, |call, value| call.arguments(["-c", &format!("{key}={value}")]));
        call.arguments(arguments.iter().copied())
    };
    let store = format!("store --file {}", file.display());
    let written = || fs::read_to_string(&file).unwrap_or_default();
    let die = || {
        environment.execute("UPDATE tokens SET revoked_at = now(), revoked_by = 'its end' WHERE kind = 'git'");
        environment.stop();
        environment.start();
    };
    git(&["ls-remote", &repository], &[]).ok();
    assert_eq!(written(), "", "what setup wrote names nobody but tok");
    git(&["ls-remote", &repository], &["", "tok", &store]).ok();
    assert_eq!(written().contains("tokgit_"), is_old, "only from 2.46 on git says that a token is not to be kept");
    // What it wrote outlives the token. Asked before tok, it is tried once, and then forgotten.
    die();
    git(&["ls-remote", &repository], &["", "tok", &store]).ok();
    die();
    let before = git(&["ls-remote", &repository], &["", &store, "tok"]).run();
    assert_eq!(before.code != Some(0), is_old, "{}", before.describe());
    git(&["ls-remote", &repository], &["", &store, "tok"]).ok();
}
