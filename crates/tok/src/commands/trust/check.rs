//! `tok trust check`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use tok_api::convert::{FindingRecord, IdentityCheck, RuleCheck};
use tok_model::kind::Permission;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Named, safe};
use crate::secret;

/// Say what the trust rules make of a job's identity token
///
/// For each rule of its issuer, what was expected of each claim and what was seen. Nothing is exchanged, and the token stays
/// good: handle it as the secret that it is. Ends with 0 if a rule lets it in, else with 4.
///
/// Examples:
///
///     $ printenv TOK_ID_TOKEN | tok trust check --token-stdin
///     $ tok trust check --token-file identity.jwt
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CheckArgs {
    /// Read the identity token from stdin, as is done without --token-file
    #[arg(long, conflicts_with = "token_file")]
    token_stdin: bool,
    /// Read it from this file, which nobody else may be able to read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl CheckArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let token = match &self.token_file {
            Some(path) => secret::long_from_file(path, "the identity token")?,
            None => secret::long_from_stdin("the identity token")?,
        };
        let check = context.client().await?.check_identity(&token).await?;
        context.out.show(&Named("identity", &check), || words(&check))?;
        if check.rules.iter().any(|rule| rule.accepted) { Ok(()) } else { Err(Failure::Silent(Exit::NotAllowed)) }
    }
}

fn words(check: &IdentityCheck) -> String {
    let mut text = format!("Signed by {}, about {}\n", safe(&check.issuer), safe(&check.subject));
    for rule in &check.rules {
        text.push_str(&of_rule(rule));
    }
    text
}

fn of_rule(rule: &RuleCheck) -> String {
    let verdict = if rule.accepted {
        let permission = rule.permission.map_or("", Permission::as_str);
        format!("lets it {permission} {}", safe(&rule.repos.join(", ")))
    } else {
        "does not let it in".to_owned()
    };
    let mut text = format!("\nThe rule {} {verdict}\n", safe(&rule.rule));
    for finding in &rule.findings {
        text.push_str(&of_finding(finding));
    }
    if let Some(trouble) = &rule.trouble {
        let _ = writeln!(text, "  no   {}", safe(trouble));
    }
    text
}

fn of_finding(finding: &FindingRecord) -> String {
    let seen = match &finding.seen {
        None => "the token has no such claim".to_owned(),
        Some(seen) => format!("saw {}", safe(&seen.join(", "))),
    };
    let met = if finding.met { "yes" } else { "no " };
    format!("  {met}  {}: expected {}, {seen}\n", safe(&finding.claim), safe(&finding.expected.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_stands_against_seen() {
        let finding = |claim: &str, expected: &str, seen: Option<&str>, met| FindingRecord {
            claim: claim.to_owned(),
            expected: vec![expected.to_owned()],
            seen: seen.map(|seen| vec![seen.to_owned()]),
            met,
        };
        let check = IdentityCheck {
            issuer: "https://ci.example".to_owned(),
            subject: "repo:acme/app".to_owned(),
            rules: vec![RuleCheck {
                rule: "app".to_owned(),
                accepted: false,
                findings: vec![
                    finding("aud", "tok", Some("tok"), true),
                    finding("ref", "refs/heads/main", Some("refs/heads/x\u{1b}"), false),
                    finding("event_name", "push", None, false),
                ],
                trouble: Some("it expired".to_owned()),
                repos: vec!["acme/app".to_owned()],
                permission: Some(Permission::Write),
            }],
        };
        assert_eq!(
            words(&check),
            "\
Signed by https://ci.example, about repo:acme/app

The rule app does not let it in
  yes  aud: expected tok, saw tok
  no   ref: expected refs/heads/main, saw refs/heads/x\\u{1b}
  no   event_name: expected push, the token has no such claim
  no   it expired
"
        );
    }
}
