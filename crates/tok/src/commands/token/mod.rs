//! `tok token`.

mod check;
mod create;
mod explain;
mod import;
mod list;
mod modify;
mod once;
mod rename;
mod restore;
mod revoke;
mod rotate;
mod scopes;
mod show;

use clap::Subcommand;
use tok_api::convert::TokenRecord;
use tok_model::clock::{Timestamp, ago};
use tok_model::kind::TokenKind;
use tok_model::token::{SecretForm, Standing};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{ended, safe, when};

/// Where to look when a reference fits nothing or too much.
const LOOK_IN_LIST: &str = "`tok token list` shows IDs and prefixes; more characters of either make it unique";

/// Make, list and end access tokens
///
/// A token's text is shown once, when it is made. Everywhere else it goes by its ID, by the beginning of its ID (4
/// characters or more), or by the beginning of its text as lists show it (`tokpat_a1b2`).
#[derive(Debug, Subcommand)]
#[command(verbatim_doc_comment)]
pub(crate) enum TokenCommand {
    Create(create::CreateArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    Show(show::ShowArgs),
    Rename(rename::RenameArgs),
    Modify(modify::ModifyArgs),
    Rotate(rotate::RotateArgs),
    #[command(visible_aliases = ["delete", "rm"])]
    Revoke(revoke::RevokeArgs),
    Restore(restore::RestoreArgs),
    Scopes(scopes::ScopesArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Import(import::ImportArgs),
}

impl TokenCommand {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
            Self::Show(arguments) => arguments.run(context).await,
            Self::Rename(arguments) => arguments.run(context).await,
            Self::Modify(arguments) => arguments.run(context).await,
            Self::Rotate(arguments) => arguments.run(context).await,
            Self::Revoke(arguments) => arguments.run(context).await,
            Self::Restore(arguments) => arguments.run(context).await,
            Self::Scopes(arguments) => arguments.run(context).await,
            Self::Check(arguments) => arguments.run(context).await,
            Self::Explain(arguments) => arguments.run(context).await,
            Self::Import(arguments) => arguments.run(context).await,
        }
    }
}

/// What it is called in a sentence.
fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Personal => "personal access token",
        TokenKind::Workspace => "workspace access token",
        TokenKind::Repo => "repository access token",
        TokenKind::Session => "login session",
        TokenKind::Git => "git token",
    }
}

/// What it reaches, as a name and its value: scopes for some kinds, places with a permission for the others.
fn reach(token: &TokenRecord) -> (&'static str, String) {
    let permission = token.permission.map(|permission| format!(" ({permission})")).unwrap_or_default();
    let list = |texts: &[String]| match texts {
        [] => "none".to_owned(),
        texts => safe(&texts.join(", ")),
    };
    match token.kind {
        TokenKind::Personal => ("Scopes", list(&token.scopes)),
        TokenKind::Session => ("Scopes", "whatever its user may do".to_owned()),
        TokenKind::Workspace => {
            ("Workspace", format!("{}{permission}", safe(token.workspace.as_deref().unwrap_or("none"))))
        }
        TokenKind::Repo => ("Repositories", format!("{}{permission}", list(&token.repo_allowlist))),
        TokenKind::Git => ("Repository", format!("{}{permission}", list(&token.repo_allowlist))),
    }
}

/// Says of a chosen secret, which is presented with its token's name, that the name is another one now.
fn note_login_name(context: &Context, before: &TokenRecord, after: &TokenRecord) {
    if before.name != after.name && after.secret_form == SecretForm::Chosen {
        context.out.note(&format!(
            "note: its secret was chosen, and is given as Basic with the user name {} from now on, no more with {}: \
             change that wherever it is kept\n",
            safe(&after.name),
            safe(&before.name)
        ));
    }
}

/// How its secret came to be, if not in the usual way.
fn secret_form(token: &TokenRecord) -> String {
    match (token.secret_form, &token.imported_from) {
        (_, Some(system)) => format!("imported from {}", safe(system)),
        (SecretForm::Minted, None) => String::new(),
        (SecretForm::Chosen, None) => format!("chosen; given as Basic with the user name {}", safe(&token.name)),
        (SecretForm::Foreign, None) => "another system's".to_owned(),
    }
}

/// `2 hours ago`, or nothing if it never was.
fn last_used(token: &TokenRecord, now: Timestamp) -> Option<String> {
    token.last_used_at.map(|at| ago(at, now))
}

/// When it ends or ended, as a name and its value.
fn end(token: &TokenRecord, now: Timestamp) -> (&'static str, String) {
    let expires = token.expires_at;
    match (token.state, token.revoked_at) {
        (Standing::Revoked, Some(at)) => ("Revoked", ended(at, now)),
        (Standing::Revoked, None) => ("Revoked", "at an unknown time".to_owned()),
        (Standing::Expired, _) => ("Expired", expires.map(|at| ended(at, now)).unwrap_or_default()),
        (Standing::Active, _) => ("Expires", expires.map_or_else(|| "Never".to_owned(), |at| when(at, now))),
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    //! Tokens to print.

    use super::*;

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub(crate) fn now() -> Timestamp {
        at("2026-11-22T10:00:00Z")
    }

    pub(crate) fn token() -> TokenRecord {
        TokenRecord {
            id: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap(),
            kind: TokenKind::Personal,
            name: "CI Token".to_owned(),
            description: String::new(),
            prefix: "tokpat".to_owned(),
            token_prefix: "tokpat_a1b2".to_owned(),
            scopes: vec!["repo:read".to_owned(), "repo:write".to_owned()],
            permission: None,
            workspace: None,
            repo_allowlist: Vec::new(),
            routes: Vec::new(),
            state: Standing::Active,
            created_at: at("2026-11-01T09:30:00Z"),
            expires_at: Some(at("2027-04-15T23:59:59Z")),
            revoked_at: None,
            revoked_by: None,
            revoke_reason: None,
            last_used_at: Some(at("2026-11-22T08:00:00Z")),
            last_used_ip: Some("192.0.2.7".to_owned()),
            created_by_user_id: None,
            created_by_name: Some("alice".to_owned()),
            created_by_token_prefix: None,
            parent_id: None,
            family_id: None,
            user: Some("alice".to_owned()),
            allow_cidrs: Vec::new(),
            last_used_agent: None,
            last_used_repo: None,
            labels: Vec::new(),
            max_uses: None,
            uses: 0,
            secret_form: SecretForm::Minted,
            imported_from: None,
            predecessor_id: None,
            successor_id: None,
            rotated_at: None,
            grace_ends_at: None,
            version: 1,
            modified_at: None,
            unreadable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{at, now, token};
    use super::*;
    use tok_model::kind::Permission;

    #[test]
    fn each_kind_says_what_it_reaches() {
        assert_eq!(reach(&token()), ("Scopes", "repo:read, repo:write".to_owned()));
        assert_eq!(reach(&TokenRecord { scopes: Vec::new(), ..token() }).1, "none");
        let git = TokenRecord {
            kind: TokenKind::Git,
            permission: Some(Permission::Write),
            repo_allowlist: vec!["acme/app".to_owned()],
            ..token()
        };
        assert_eq!(reach(&git), ("Repository", "acme/app (write)".to_owned()));
        let workspace = TokenRecord { kind: TokenKind::Workspace, workspace: Some("acme".to_owned()), ..git };
        assert_eq!(reach(&workspace), ("Workspace", "acme (write)".to_owned()));
    }

    #[test]
    fn each_state_says_when() {
        assert_eq!(end(&token(), now()), ("Expires", "2027-04-15 (in 144 days)".to_owned()));
        assert_eq!(end(&TokenRecord { expires_at: None, ..token() }, now()).1, "Never");
        let expired = TokenRecord { state: Standing::Expired, expires_at: Some(at("2026-03-01T00:00:00Z")), ..token() };
        assert_eq!(end(&expired, now()), ("Expired", "2026-03-01 (266 days ago)".to_owned()));
        let revoked = TokenRecord { state: Standing::Revoked, revoked_at: Some(at("2026-11-22T09:00:00Z")), ..token() };
        assert_eq!(end(&revoked, now()), ("Revoked", "2026-11-22 09:00 UTC (1 hour ago)".to_owned()));
    }
}
