//! What docs/api.md, docs/import.md and docs/ci.md have people run and write, as it stands there.

use super::commands::{Place, blocks, page};
use super::*;

/// Secrets as the other systems make them, where the page leaves them out.
const LEFT_OUT: &[(&str, &str)] = &[
    ("$2a$10$…", "$2y$05$bvIG6Nmid91Mu9RcmmWZfOJMx7nQ9xDmrKxUumJvgQj/gsyjft4OO"),
    ("$2y$10$…", "$2y$05$bvIG6Nmid91Mu9RcmmWZfOJMx7nQ9xDmrKxUumJvgQj/gsyjft4OO"),
    ("\"…\"", "\"Wq3vN8xT2bK7mZ4pR9sL6dF1hJ5gC0aY\""),
    // What is in use has not ended, whenever this runs.
    ("2027-", "2099-"),
];

/// The commands behind a `$`, with the lines that go on with them, and what is shown of their answer.
fn shown_runs(page: &str) -> Vec<(String, String)> {
    let parts = page.split("```console\n").skip(1).map(|part| part.split("```").next().unwrap());
    let mut runs: Vec<(String, String)> = Vec::new();
    for part in parts {
        let mut goes_on = false;
        for line in part.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => runs.push((command.to_owned(), String::new())),
                None => {
                    let (command, answer) = runs.last_mut().expect("a block begins with a command");
                    let into = if goes_on { command } else { answer };
                    into.push('\n');
                    into.push_str(line);
                }
            }
            goes_on = (goes_on || line.starts_with("$ ")) && line.ends_with('\\');
        }
    }
    runs
}

fn filled_in(text: &str) -> String {
    LEFT_OUT.iter().fold(text.to_owned(), |text, (left_out, there)| text.replace(left_out, there))
}

#[test]
fn the_blocks_of_the_api_page_do_what_they_say() {
    let place = Place::new(with_app());
    let blocks = blocks(&page("docs/api.md"));
    let [block] = blocks.as_slice() else { panic!("{blocks:?}") };
    place.run(&place.made_real(block), block);
    let job = json(place.environment.tok(&["token", "list", "--workspace", "acme", "--kind", "repo"]));
    assert_eq!((&job["tokens"][0]["name"], &job["tokens"][0]["permission"]), (&json!("ci-1234"), &json!("write")));
    let ended = json(place.environment.tok(&["token", "show", &place.id]));
    assert_eq!((&ended["state"], &ended["revoke_reason"]), (&json!("revoked"), &json!("job over")));
}

#[test]
fn the_commands_of_the_ci_page_do_what_they_say() {
    let place = Place::new(with_app());
    for (command, _) in shown_runs(&page("docs/ci.md")) {
        // An identity token of a job is in trust/mod.rs, with the same form.
        if !command.contains("identity.jwt") {
            place.run(&place.made_real(&command), &command);
        }
    }
    let rules = json(place.environment.tok(&["trust", "list"]));
    assert_eq!(rules["trusts"].as_array().unwrap().len(), 3, "{rules}");
    let made = json(place.environment.tok(&["token", "list", "--workspace", "acme", "--kind", "repo"]));
    assert_eq!(made["tokens"][0]["name"], "CI of acme/app");
}

#[test]
fn the_import_page_shows_what_an_import_says() {
    let environment = acme();
    let runs = shown_runs(&page("docs/import.md"));
    let [(dry, none), (wet, answer)] = runs.as_slice() else { panic!("{runs:?}") };
    assert!(none.is_empty() && dry.contains("--dry-run"));
    // What the page shows comes of three entries: a new one, one that is here already, and one with a field of its own.
    let [new, known] = ["wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0", "wit_c3d4a1b2k1l2m3n4o5p6q7r8s9t0e5f6g7h8i9j0"];
    let entry = |name: &str, token: &str| json!({"name": name, "token": token, "scopes": ["repo:read", "repo:write"], "expires": "2099-04-15"});
    let mut odd = entry("Odd", "wit_e5f6a1b2c3d4g7h8i9j0k1l2m3n4o5p6q7r8s9t0");
    odd["colour"] = json!("green");
    let file = environment.canaries().exempt().join("tokens.json");
    let write = |entries: Value| std::fs::write(&file, entries.to_string()).unwrap();
    let run = |command: &str| {
        let command = command.replace("tokens.json", &file.display().to_string());
        environment.call("sh").arguments(["-c", &command]).run()
    };
    write(json!([entry("Deploy", known)]));
    assert_eq!(run(wet).code, Some(0));
    write(json!([entry("CI", new), entry("Deploy", known), odd]));
    let before = environment.count("SELECT count(*) AS count FROM tokens");
    for (command, made) in [(dry, 0), (wet, 1)] {
        let ended = run(command);
        assert_eq!(ended.code, Some(1), "one is refused: {}", ended.describe());
        assert_eq!(environment.count("SELECT count(*) AS count FROM tokens") - before, made, "{command}");
        let said = ended.text();
        if made == 0 {
            assert!(said.lines().any(|line| line.starts_with("1     would be imported")), "{said}");
            continue;
        }
        // The shown table, column by column, as far as nothing is left out of it.
        for shown in answer.trim().lines() {
            let words: Vec<&str> = shown.split_whitespace().collect();
            let line = said.lines().find(|line| line.split_whitespace().next() == words.first().copied());
            let told: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
            assert_eq!(told.get(..3), words.get(..3), "{shown:?} is shown, and this is said:\n{said}");
            let detail = words[4..].join(" ");
            let kept = detail.split('…').next().unwrap().replace("2027", "2099");
            assert!(told[4..].join(" ").starts_with(&kept), "{shown:?} is shown, and this is said:\n{said}");
        }
    }
}

#[test]
fn each_format_of_the_import_page_is_taken_as_it_stands_there() {
    let environment = with_app();
    environment.tok(&["workspace", "member", "add", "acme", "alice", "--role", "maintainer"]).run();
    environment.pushed("carol", "acme/deploy-configs");
    let page = page("docs/import.md");
    let sections: Vec<&str> = page.split("\n### ").skip(1).collect();
    let mut formats = Vec::new();
    for section in sections {
        let format = section.lines().next().unwrap();
        let sample = section.split("```").nth(1).unwrap();
        let sample = filled_in(sample.split_once('\n').unwrap().1);
        let more: &[&str] = match format {
            "githosted" => &["--workspace", "acme"],
            "nitro" => &["--user", "alice"],
            "htpasswd" => &["--scopes", "repo:read"],
            _ => &[],
        };
        let call = environment.tok(&["token", "import", "--format", format]).arguments(more.iter().copied());
        let report = json(call.input(sample.clone()));
        assert_eq!((&report["refused"], &report["skipped"]), (&json!(0), &json!(0)), "{format}: {report}");
        formats.push(format);
    }
    assert_eq!(formats, ["wit", "githosted", "reposilite", "nitro", "wick", "htpasswd"]);
}
