//! `tok token explain`.

use std::fmt::Write as _;
use std::net::IpAddr;

use clap::Args;
use tok_api::convert::{ExplainAsk, Explanation};
use tok_model::name::RepoPath;
use tok_model::scope::RepoRight;
use tok_model::token::Reference;

use crate::commands::moments;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Style, safe};

/// Say whether a token may do something, and which rule decides
///
/// The answer comes from the function that decides every request. It takes the token's handle, never its text; without
/// one it is about you, as you are now. Exit code 0 means allowed, 4 denied.
///
/// Examples:
///
///     $ tok token explain 1b4e28ba --repo acme/app --push
///     $ tok token explain tokpat_a1b2 --repo acme/app --from 192.0.2.7 --at 2027-01-31
///     $ tok token explain --repo acme/app --admin --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExplainArgs {
    /// ID, beginning of an ID, beginning of the text as lists show it, or name [default: you]
    #[arg(value_name = "TOKEN")]
    reference: Option<Reference>,
    /// The repository; without it only whether the token is good at all
    #[arg(long, value_name = "WORKSPACE/REPO", value_parser = repository)]
    repo: Option<RepoPath>,
    #[command(flatten)]
    act: ActArgs,
    /// From this address [default: from where you are]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// At this moment: a length of time from now (2h, 30d), a date, an RFC 3339 time [default: now]
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

/// What with the repository.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
struct ActArgs {
    /// Clone and fetch; what is asked if nothing is said
    #[arg(long, requires = "repo")]
    fetch: bool,
    /// Push
    #[arg(long, requires = "repo")]
    push: bool,
    /// Settings, collaborators, deletion
    #[arg(long, requires = "repo")]
    admin: bool,
}

impl ActArgs {
    fn right(self) -> RepoRight {
        match (self.push, self.admin) {
            (true, _) => RepoRight::Write,
            (_, true) => RepoRight::Admin,
            _ => RepoRight::Read,
        }
    }
}

/// `acme/app`, as git's URLs have it, too: `acme/app.git`.
fn repository(text: &str) -> Result<RepoPath, String> {
    text.strip_suffix(".git").unwrap_or(text).parse().map_err(|why| format!("{why}"))
}

impl ExplainArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let at = self.at.as_deref().map(|text| moments::anytime("at", text, context.now)).transpose()?;
        let right = self.act.right();
        let ask = ExplainAsk {
            reference: self.reference,
            repository: self.repo.map(|repo| (repo, right)),
            address: self.from,
            at,
        };
        let said = context.client().await?.explain(ask).await;
        let said = said.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        context.out.show(&said, || text(&said, context.out.style()))?;
        if said.allowed { Ok(()) } else { Err(Failure::Silent(Exit::NotAllowed)) }
    }
}

fn text(said: &Explanation, style: Style) -> String {
    let verdict = if said.allowed { style.strong("Allowed") } else { style.warning("Denied") };
    // Writing to a String cannot fail.
    let mut text = format!("{verdict}: {}\n", safe(&said.reason));
    if let Some(token) = &said.token {
        let _ = writeln!(text, "Token: {}  {}…  {}", safe(&token.name), safe(&token.token_prefix), token.id);
    }
    let _ = writeln!(text, "Rule: {}", safe(&said.rule));
    if !said.steps.is_empty() {
        let width = said.steps.iter().map(|step| step.link.chars().count()).max().unwrap_or(0);
        text.push('\n');
        for step in &said.steps {
            let mark = if step.passed { "yes" } else { "no " };
            let _ = writeln!(text, "  {mark}  {:width$}  {}", safe(&step.link), safe(&step.detail));
        }
    }
    if let Some(hint) = &said.hint {
        let _ = writeln!(text, "\nTry: {}", safe(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::token;
    use super::*;
    use tok_api::convert::ExplainStep;

    #[test]
    fn the_rule_that_decides_is_named() {
        let step = |link: &str, passed, detail: &str| ExplainStep { link: link.into(), passed, detail: detail.into() };
        let said = Explanation {
            allowed: false,
            rule: "scope".to_owned(),
            over: false,
            reason: "the token lacks the scope repo:write".to_owned(),
            hint: Some("make one with repo:write".to_owned()),
            steps: vec![step("live", true, "active"), step("scopes", false, "repo:read")],
            token: Some(token()),
        };
        assert_eq!(
            text(&said, Style::default()),
            "\
Denied: the token lacks the scope repo:write
Token: CI Token  tokpat_a1b2…  1b4e28ba-2fa1-4d2e-883f-0016d3cca427
Rule: scope

  yes  live    active
  no   scopes  repo:read

Try: make one with repo:write
"
        );
        let fine = Explanation { allowed: true, hint: None, steps: Vec::new(), token: None, ..said };
        assert!(text(&fine, Style::default()).starts_with("Allowed: "));
    }

    #[test]
    fn a_repository_is_written_as_git_writes_it_too() {
        assert_eq!(repository("acme/app.git").unwrap(), repository("acme/app").unwrap());
        assert!(repository("app").is_err());
    }
}
