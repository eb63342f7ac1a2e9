//! Every command that docs/coming-from.md and README.md show (pages.rs has those of the others) is run, as it stands there, so that none of them rots.

use std::fs;

use serde_json::{Value, json};
use tok_tests::binaries;
use tok_tests::environment::Environment;
use tok_tests::http::Request;

use super::{acme, set_mode};

/// What is not run here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tokd serve", "another daemon: config.rs"),
    ("tokd dev --token root:root-secret", "another daemon: temporary.rs"),
    ("--token-file", "an option of it"),
    ("tok token create root --secret-stdin", "a secret is typed: documents/mod.rs"),
    ("./dev", "builds, shows or tests everything; demo.rs runs the demo"),
    ("export PATH=", "the programs are on PATH here"),
    ("tokd dev 2>/tmp/tokd.log &", "the test's own runs"),
    ("tok audit --follow", "has no end: audit_trail.rs"),
    ("SSL_CERT_FILE=/etc/my-ca.pem", "needs an authority: remote.rs"),
    ("tok ci exec", "runs in a job with an identity: trust.rs"),
    ("tok login https://git.example.com", "somebody confirms it in a browser: laptop.rs"),
    ("tok git setup https://git.example.com", "for whoever is logged in: laptop.rs"),
    ("git clone https://git.example.com", "the same"),
    ("tok git why origin", "the same: why.rs"),
    ("tok doctor", "finds something to say about most machines: doctor.rs"),
    ("tok logout", "for whoever is logged in: laptop.rs"),
];

const EXPORT: &str = r#"[{"name":"ci","secret":"a-secret-of-reposilite","permissions":[],"routes":[]}]"#;
const WIT: &str = r#"[{"name":"CI","token":"wit_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0","scopes":["repo:read"]}]"#;
const GITHOSTED: &str = r#"[{"name":"ci-deploy","kind":"repo","permission":"read","repoAllowlist":["deploy-configs"],"token":"gr_0a1b2c3d4e5f6a7b8c9d"}]"#;
const NITRO: &str = r#"[{"description":"deploys","secret":"Wq3vN8xT2bK7mZ4pR9sL6dF1hJ5gC0aY"}]"#;
const WICK: &str = "laptop\talice\t5f761daec23358439902e58aa25c5179c6f988b93f482fe3637653c7500726a5\n";
const HTPASSWD: &str = "alice:$2y$05$bvIG6Nmid91Mu9RcmmWZfOJMx7nQ9xDmrKxUumJvgQj/gsyjft4OO\n";

pub(super) fn page(name: &str) -> String {
    fs::read_to_string(binaries::workspace().join(name)).unwrap()
}

/// The commands in the right column of the tables, each with the row that it stands in.
fn beside_theirs(page: &str) -> Vec<(String, String)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.contains("| here |"));
    let mut commands = Vec::new();
    for row in rows {
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.split('|').collect();
        let ours = cells[2].split('`').skip(1).step_by(2);
        commands.extend(ours.map(|command| (command.replace('\u{1}', "|"), row.replace('\u{1}', "|"))));
    }
    commands
}

/// The blocks of shell commands.
pub(super) fn blocks(page: &str) -> Vec<String> {
    let parts = page.split("```sh\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// A server with what the commands are about. What they call by an invented name is there under another, or made so.
pub(super) struct Place {
    pub(super) environment: Environment,
    /// A manager's token, which makes and ends the others: by HTTP, since programs would take a second each time.
    keeper: String,
    /// A token's ID.
    pub(super) id: String,
    /// A token's text.
    secret: String,
    cursor: String,
}

impl Place {
    pub(super) fn new(environment: Environment) -> Self {
        environment.tok(&["user", "create", "keeper", "--manager"]).ok();
        let keeper = environment.token("keeper", &["--scopes", "all,manager"]);
        let mut place = Self { environment, keeper, id: String::new(), secret: String::new(), cursor: String::new() };
        // An answer that is no success is a failure, also for curl.
        fs::write(place.environment.home().join(".curlrc"), "fail-with-body\n").unwrap();
        for (file, content) in [
            ("secret.txt", "violet-kestrel-9-umbrella\n"),
            ("htpasswd", HTPASSWD),
            ("tokens.txt", WICK),
            ("wit.json", WIT),
            ("githosted.json", GITHOSTED),
            ("nitro.json", NITRO),
            ("reposilite.json", EXPORT),
        ] {
            let path = place.environment.canaries().exempt().join(file);
            fs::write(&path, content).unwrap();
            set_mode(&path, 0o600);
        }
        place.tokens();
        place
    }

    /// What the API answers in root's name.
    fn ask(&self, request: Request) -> Value {
        let reply = self.environment.send(&request.bearer(&self.keeper).header("Tok-As", "root"));
        assert!(reply.status < 300, "{}", reply.text());
        reply.json()
    }

    /// Tokens that the commands take as given.
    fn tokens(&mut self) {
        let create =
            |name: &str| self.ask(Request::json("POST", "/v1/tokens", &json!({"name": name, "scopes": ["all"]})));
        for name in ["Laptop", "root", "super-user"] {
            create(name);
        }
        let given = create("given");
        let page = self.ask(Request::get("/v1/tokens?page_size=1"));
        given["token"]["id"].as_str().unwrap().clone_into(&mut self.id);
        given["secret"].as_str().unwrap().clone_into(&mut self.secret);
        page["next_cursor"].as_str().unwrap().clone_into(&mut self.cursor);
    }

    /// Ends all that root has.
    fn end_all(&self) {
        self.ask(Request::json("POST", "/v1/tokens/revoke", &json!({"user": "root"})));
    }

    /// The command with what is there in place of what its page invents.
    pub(super) fn made_real(&self, command: &str) -> String {
        let own = |name: &str| self.environment.canaries().exempt().join(name).display().to_string();
        let format =
            ["wit", "githosted", "nitro"].into_iter().find(|format| command.contains(&format!("--format {format}")));
        let export = own(&format!("{}.json", format.unwrap_or("reposilite")));
        let mut real = command.to_owned();
        for (invented, there) in [
            ("1b4e28ba-2fa1-4d2e-883f-0016d3cca427", self.id.clone()),
            ("1b4e28ba", self.id[..8].to_owned()),
            ("1b4e28", self.id[..6].to_owned()),
            ("tokpat_a1b2", self.secret[..11].to_owned()),
            ("tokpat_…", self.secret.clone()),
            ("--cursor c2", format!("--cursor {}", self.cursor)),
            ("https://git.example.com", self.environment.url()),
            ("http://127.0.0.1:7650", self.environment.url()),
            ("tokens.json", export),
            ("tokens.txt", own("tokens.txt")),
            ("--file htpasswd", format!("--file {}", own("htpasswd"))),
            ("secret.txt", own("secret.txt")),
        ] {
            real = real.replace(invented, &there);
        }
        real
    }

    /// Runs a script on a terminal on which somebody says yes, and fails if one of its commands does.
    pub(super) fn run(&self, script: &str, shown: &str) {
        let path = self.environment.canaries().exempt().join("script.sh");
        fs::write(&path, script).unwrap();
        let call = self.environment.call("script").arguments([
            "-qec",
            &format!("bash -e -o pipefail {}", path.display()),
            "/dev/null",
        ]);
        let call = call.variable("SECRET", self.secret.clone()).variable("TOKEN", self.secret.clone());
        let ended =
            call.variable("OTHER", self.secret.clone()).input("y\n".repeat(4)).shows_secret().holds_input().run();
        assert!(ended.code == Some(0), "this does not work as it is shown:\n{shown}\n{}", ended.describe());
    }
}

fn is_elsewhere(command: &str) -> bool {
    ELSEWHERE.iter().any(|(shown, _)| command.starts_with(shown))
}

#[test]
fn what_is_run_elsewhere_is_still_shown() {
    let pages = page("docs/coming-from.md") + &page("README.md");
    for (shown, reason) in ELSEWHERE {
        assert!(pages.contains(shown), "no page shows {shown} any more ({reason})");
    }
}

#[test]
fn every_command_beside_theirs_does_what_it_says() {
    let beside = page("docs/coming-from.md");
    let commands = beside_theirs(&beside);
    assert!(commands.len() > 60, "{}", commands.len());
    let mut place = Place::new(acme());
    for (command, row) in commands {
        let variable = command.starts_with("TOK_") && !command.contains(' ');
        if variable || is_elsewhere(&command) {
            continue;
        }
        assert!(command.contains("tok ") || command.starts_with("export "), "no command of ours: {row}");
        // What an earlier one ended or changed is made again, and what it made is out of the way.
        if ["revoke", "delete", "rm", "rename", "modify", "rotate"].iter().any(|verb| command.contains(verb)) {
            place.end_all();
            place.tokens();
        }
        place.run(&place.made_real(&command), &row);
    }
}

#[test]
fn every_block_of_the_readme_does_what_it_says_one_after_the_other() {
    let mut place = Place::new(Environment::dev());
    let blocks = blocks(&page("README.md"));
    assert!(blocks.len() > 5, "{}", blocks.len());
    for block in blocks {
        let here = |line: &&str| !is_elsewhere(line);
        let script = block.lines().filter(here).collect::<Vec<_>>().join("\n");
        place.tokens();
        place.run(&place.made_real(&script), &script);
        place.end_all();
    }
}
