//! What `tok` gives to shells and to man: each is loaded by the program that it is for.

use std::fs;
use std::path::PathBuf;

use tok_tests::call::{Call, Finished};
use tok_tests::environment::Environment;

/// The completions for a shell, in a file.
fn completions(environment: &Environment, shell: &str) -> PathBuf {
    let path = environment.path(&format!("completions.{shell}"));
    fs::write(&path, environment.tok(&["completions", shell]).ok().text()).unwrap();
    path
}

fn sourced(environment: &Environment, shell: &str, options: &[&str], script: &str) -> Call {
    let call = environment.call(shell).arguments(options.iter().copied()).arguments(["-c", script]);
    call.variable("COMPLETIONS", completions(environment, shell))
}

/// The words that a shell would offer, one a line.
#[track_caller]
fn offers(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.complaint(), "", "{}", finished.describe());
    let offered: Vec<&str> = finished.text().split_whitespace().collect();
    for word in words {
        assert!(offered.contains(word), "no {word} in {offered:?}");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let environment = Environment::new();
    let script = r#"
        . "$COMPLETIONS"
        complete -p tok >/dev/null
        at() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _tok tok "${@: -1}" "${@: -2:1}"; printf '%s\n' "${COMPREPLY[@]}"; }
        at tok token r
        at tok token list --st
        at tok --output ''
    "#;
    let call = sourced(&environment, "bash", &["--norc", "-eu"], script);
    offers(&call.ok(), &["revoke", "rotate", "rename", "rm", "restore", "--state", "table", "json"]);
}

#[test]
fn zsh_completes_commands_and_options() {
    let environment = Environment::new();
    // A terminal in which somebody presses Tab; reading waits until the word comes.
    let script = r#"
        autoload -Uz compinit && compinit -D -u
        source "$COMPLETIONS"
        [[ ${_comps[tok]} == _tok ]] || exit 1
        zmodload zsh/zpty
        press() {
            zpty shell zsh -f -i
            zpty -w shell "PS1=; autoload -Uz compinit; compinit -D -u; source $COMPLETIONS; LISTMAX=10000; print rea''dy"
            zpty -r shell said '*ready*'
            zpty -n -w shell "$1"$'\t\t'
            zpty -r shell said "*$2*"
            zpty -d shell
            print -r -- $2
        }
        press 'tok token r' revoke
        press 'tok token list --st' --state
    "#;
    let finished = sourced(&environment, "zsh", &["-f"], script).ok();
    offers(&finished, &["revoke", "--state"]);
}

#[test]
fn fish_completes_commands_and_options() {
    let environment = Environment::new();
    let script = r#"source $COMPLETIONS; complete -C "tok token r"; complete -C "tok token list --st""#;
    let call = sourced(&environment, "fish", &["--no-config"], script).variable("TERM", "dumb");
    offers(&call.ok(), &["revoke", "rotate", "--state"]);
}

#[test]
fn every_man_page_of_tok_renders_without_a_warning() {
    let environment = Environment::new();
    let pages = environment.path("man");
    environment.tok(&["internal-reference", "--man"]).argument(pages.clone()).ok();
    let mut rendered = 0;
    for page in fs::read_dir(&pages).unwrap() {
        let options = ["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"];
        let finished = environment.call("man").arguments(options).argument(page.unwrap().path()).ok();
        assert_eq!((finished.complaint(), finished.stdout.is_empty()), (String::new(), false));
        rendered += 1;
    }
    assert!(rendered > 40, "{rendered} pages");
}
