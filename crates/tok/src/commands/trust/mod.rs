//! `tok trust`.

mod add;
mod check;
mod list;
mod remove;
mod show;

use clap::Subcommand;
use tok_api::convert::TrustRecord;
use tok_model::clock::{Period, Timestamp};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{ended, facts, safe};

/// Where to look when a name is unknown.
const LOOK_IN_LIST: &str = "`tok trust list` shows the rules";

/// Say which CI jobs get a git token without a stored secret
///
/// GitHub Actions, GitLab CI/CD and Forgejo Actions sign, for each job, what the job is: its repository, branch and event.
/// A trust rule says which such statements are believed, and for which repository a job gets a token then, for minutes.
/// In the job, `tok ci exec -- git push` does the rest. For managers.
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum TrustCommand {
    Add(Box<add::AddArgs>),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Show(show::ShowArgs),
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
    Check(check::CheckArgs),
}

impl TrustCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Add(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
            Self::Show(arguments) => arguments.run(context).await,
            Self::Remove(arguments) => arguments.run(context).await,
            Self::Check(arguments) => arguments.run(context).await,
        }
    }
}

/// Everything known of a rule, a line for each fact.
fn details(trust: &TrustRecord, now: Timestamp) -> String {
    let period = |seconds| Period::from_seconds(seconds).map(|period| period.to_string()).unwrap_or_default();
    let claims: Vec<String> =
        trust.claims.iter().map(|claim| format!("{}={}", safe(&claim.name), safe(&claim.pattern))).collect();
    let pins: Vec<String> = trust
        .pins
        .iter()
        .map(|pin| format!("{} is {}={}", safe(&pin.name), safe(&pin.id_claim), safe(&pin.id)))
        .collect();
    facts(&[
        ("Rule", safe(&trust.name)),
        ("Unreadable", trust.unreadable.as_deref().map(safe).unwrap_or_default()),
        ("System", trust.system.map(|system| system.to_string()).unwrap_or_default()),
        ("Issuer", safe(&trust.issuer)),
        ("Audience", safe(&trust.audience)),
        ("Claims", claims.join(", ")),
        ("Algorithms", safe(&trust.algorithms.join(", "))),
        ("Certificates", if trust.own_ca { "of its own".to_owned() } else { String::new() }),
        ("Repositories", safe(&trust.repos.join(", "))),
        ("Permission", trust.permission.map(|permission| permission.to_string()).unwrap_or_default()),
        ("Lifetime", period(trust.lifetime_seconds)),
        (
            "Identity token",
            format!("at most {} old, good once for each {}", period(trust.max_age_seconds), safe(&trust.once)),
        ),
        ("Recycled names", if trust.allow_recycled_names { "let in".to_owned() } else { String::new() }),
        ("Pinned", pins.join(", ")),
        ("Created", ended(trust.created_at, now)),
        ("Created by", safe(&trust.created_by)),
        ("Last used", trust.last_used_at.map_or_else(|| "never".to_owned(), |at| ended(at, now))),
        ("Uses", trust.uses.to_string()),
    ])
}

#[cfg(test)]
mod fixture {
    use super::*;
    use tok_api::convert::{TrustClaimRecord, TrustPinRecord};

    pub(super) fn trust() -> TrustRecord {
        TrustRecord {
            id: "9f2c51aa-0000-4000-8000-000000000031".parse().unwrap(),
            name: "app".to_owned(),
            system: Some(tok_model::trust::System::GitHub),
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            audience: "https://git.example.com".to_owned(),
            claims: vec![TrustClaimRecord { name: "repository".to_owned(), pattern: "acme/app".to_owned() }],
            algorithms: vec!["RS256".to_owned()],
            own_ca: false,
            workspace: "acme".to_owned(),
            repos: vec!["acme/app".to_owned()],
            permission: Some(tok_model::kind::Permission::Write),
            lifetime_seconds: 600,
            max_age_seconds: 3600,
            once: "token".to_owned(),
            allow_recycled_names: false,
            pins: vec![TrustPinRecord {
                claim: "repository".to_owned(),
                name: "acme/app".to_owned(),
                id_claim: "repository_id".to_owned(),
                id: "1234".to_owned(),
            }],
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            created_by: "root".to_owned(),
            last_used_at: None,
            uses: 0,
            unreadable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_known_is_told() {
        assert_eq!(
            details(&fixture::trust(), "2026-11-22T10:00:00Z".parse().unwrap()),
            "\
Rule:           app
System:         github
Issuer:         https://token.actions.githubusercontent.com
Audience:       https://git.example.com
Claims:         repository=acme/app
Algorithms:     RS256
Repositories:   acme/app
Permission:     write
Lifetime:       10m
Identity token: at most 1h old, good once for each token
Pinned:         acme/app is repository_id=1234
Created:        2026-11-20 (2 days ago)
Created by:     root
Last used:      never
Uses:           0
"
        );
    }
}
