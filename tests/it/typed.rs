//! Passwords that are typed at a real terminal: nobody sees them, and the terminal is as it was, however it ends.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tok_tests::call::Call;
use tok_tests::environment::Environment;
use tok_tests::laptop::Laptop;
use tok_tests::processes;
use tok_tests::terminal::{END, INTERRUPT, Terminal};
use tok_tests::wait;

fn environment() -> Environment {
    let environment = Environment::tls();
    environment.users(&["alice"]);
    environment
}

fn login(laptop: &Laptop<'_>, url: &str) -> Call {
    laptop.tok(&["login", url, "--user", "alice"]).variable("TERM", "xterm")
}

/// Somebody who is asked for alice's password, and nothing that they type is shown from then on.
#[track_caller]
fn asked(login: Call) -> Terminal {
    let terminal = login.on_terminal();
    terminal.shows("Password of alice at https://");
    assert!(!terminal.echoes(), "it asks only when nothing is shown any more");
    terminal
}

#[test]
fn a_password_that_is_typed_is_not_seen_and_the_rest_is_asked_in_the_open() {
    let environment = environment();
    let (laptop, url) = (environment.laptop("laptop"), environment.url());
    let password = laptop.password_of("alice");
    environment.canaries().register("alice's password", &password);
    let mut terminal = asked(login(&laptop, &url));
    // With a slip of the finger, and taken back.
    terminal.types(format!("{password}x\x7f\r"));
    terminal.shows("Let git get its credentials");
    assert!(terminal.echoes(), "an answer that is no secret is seen");
    terminal.types("y\r");
    let (status, text) = terminal.ends();
    assert!(status.success(), "{text}");
    assert!(text.contains("Logged in as alice at https://") && !text.contains(&password), "{text}");
    // Anything but the question, its line end, and what follows would be what was typed.
    let (_, after) = text.split_once(": ").unwrap();
    assert!(after.starts_with("\r\n"), "{after:?}");
    let helper = laptop.git(&["config", "--global", &format!("credential.{url}.helper")]).ok();
    assert_eq!(helper.line(), "tok");
    laptop.tok(&["whoami"]).ok();
}

#[test]
fn a_wrong_one_says_what_to_do_and_nothing_is_kept() {
    let environment = environment();
    let (laptop, url) = (environment.laptop("laptop"), environment.url());
    laptop.password_of("alice");
    let wrong = "not the password of alice";
    environment.canaries().register("a wrong password", wrong);
    let mut terminal = asked(login(&laptop, &url));
    terminal.types(format!("{wrong}\r"));
    let (status, text) = terminal.ends();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("check the user name and the password"), "{text}");
    assert!(!laptop.logins().exists());
    // One that is nothing is not sent at all.
    let mut terminal = asked(login(&laptop, &url));
    terminal.types("\r");
    let (status, text) = terminal.ends();
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.contains("nothing was typed"), "{text}");
}

#[test]
fn whoever_gives_up_has_the_terminal_back() {
    let environment = environment();
    let (laptop, url) = (environment.laptop("laptop"), environment.url());
    laptop.password_of("alice");
    let half = "half of a password";
    environment.canaries().register("half of a password", half);
    for key in [INTERRUPT, END] {
        let mut terminal = asked(login(&laptop, &url));
        terminal.types(half);
        terminal.types(key);
        let (status, text) = terminal.ends();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
    }
    // By somebody else's hand, too.
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let terminal = asked(login(&laptop, &url));
        kill(Pid::from_raw(tok_below(terminal.pid())), signal).unwrap();
        let (status, text) = terminal.ends();
        assert_eq!(status.code(), Some(1), "{signal}: {text}");
    }
    assert!(!laptop.logins().exists());
    // In a script there is nobody to ask, and nobody waits for them.
    login(&laptop, &url).fails(2).says(&["no terminal", "--password-stdin"]);
    let mut quiet = login(&laptop, &url).argument("--no-input").on_terminal();
    wait::until_true("it says so and ends", || quiet.text().contains("--password-stdin"));
    quiet.types(END);
    assert_eq!(quiet.ends().0.code(), Some(2));
}

/// `tok` itself, which others may have started.
fn tok_below(pid: i32) -> i32 {
    wait::until("tok runs", || {
        let family = processes::tree(pid);
        family.iter().find(|one| one.name().ends_with("(tok)")).map(|one| one.pid)
    })
}
