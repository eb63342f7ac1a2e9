//! `tok token create`.

use clap::Args;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tok_api::convert::{CreatedToken, TokenDraft, TokenRecord};
use tok_model::clock::Timestamp;
use tok_model::kind::{Permission, TokenKind};
use tok_model::scope::ScopeSet;

use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Style, facts, safe};

/// Make a token and show its text, this once
///
/// On a terminal the text comes with words on how to use it. Into a pipe or a file goes the text alone, and the words
/// go to stderr.
///
/// A personal token acts for you, within its scopes and routes. A workspace token acts for a workspace, a repo token for
/// some of its repositories; both take a permission instead of scopes.
///
/// Examples:
///
///     $ tok token create "Laptop"
///     $ tok token create "CI" --expires 30 --scopes repo:read
///     $ tok token create "Libraries" --expires 2027-01-31 --route acme/lib:r --route acme/app:rw
///     $ tok token create "Deploy" --kind repo --repo acme/app,acme/web --permission read
///     $ TOKEN=$(tok token create "Nightly" -e 12h -s repo:read)
///     $ tok token create --description "deploys at night" --output json | jq -r .secret
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CreateArgs {
    /// What the token is for, so that you know it again; without it the description is the name, too
    #[arg(required_unless_present = "description")]
    name: Option<String>,
    /// When it ends: days (30), a duration (12h, 90d), a date (2027-01-31), or never [default: the server's policy]
    #[arg(long, short, value_name = "WHEN", env = "TOK_EXPIRES", hide_env_values = true)]
    expires: Option<String>,
    /// What a personal token may do, see `tok token scopes` [default: repo:read,repo:write]
    #[arg(
        long,
        short,
        value_name = "SCOPES",
        value_delimiter = ',',
        env = "TOK_SCOPES",
        hide_env_values = true,
        value_parser = words::scopes()
    )]
    scopes: Option<Vec<String>>,
    /// More words on what it is for
    #[arg(long, value_name = "TEXT", env = "TOK_DESCRIPTION", hide_env_values = true)]
    description: Option<String>,
    /// For whom it acts: you, a workspace, or some repositories of one
    #[arg(
        long,
        env = "TOK_KIND",
        hide_env_values = true,
        default_value = "personal",
        value_parser = words::kinds_to_make()
    )]
    kind: TokenKind,
    /// What a workspace or repo token may do there [default: read]
    #[arg(long, env = "TOK_PERMISSION", hide_env_values = true, value_parser = words::permissions())]
    permission: Option<Permission>,
    /// The workspace that a workspace or repo token acts for
    #[arg(long, value_name = "NAME", env = "TOK_WORKSPACE", hide_env_values = true)]
    workspace: Option<String>,
    /// A repository that a repo token may reach; can be repeated, or a comma list
    #[arg(
        long = "repo",
        value_name = "WORKSPACE/REPO",
        value_delimiter = ',',
        env = "TOK_REPO",
        hide_env_values = true
    )]
    repos: Vec<String>,
    /// Where a personal token may go, and whether to read or write: 'acme/*:r'; can be repeated, or a comma list
    #[arg(
        long = "route",
        value_name = "PATTERN:r|w|rw",
        value_delimiter = ',',
        env = "TOK_ROUTE",
        hide_env_values = true
    )]
    routes: Vec<String>,
    /// A network that it may be used from: 192.0.2.0/24; can be repeated, or a comma list
    #[arg(
        long = "allow-cidr",
        value_name = "CIDR",
        value_delimiter = ',',
        env = "TOK_ALLOW_CIDR",
        hide_env_values = true
    )]
    allow_cidrs: Vec<String>,
    /// A word that it is found and ended by, as in `ci` or `team=web`; can be repeated, or a comma list
    #[arg(long = "label", value_name = "LABEL", value_delimiter = ',', env = "TOK_LABEL", hide_env_values = true)]
    labels: Vec<String>,
    /// How many times it may be used [default: any number]
    #[arg(long, value_name = "N", env = "TOK_MAX_USES", hide_env_values = true)]
    max_uses: Option<u64>,
    /// A word of your choice that makes a retry safe: the same command with the same key leaves one live token
    #[arg(long, value_name = "KEY", env = "TOK_IDEMPOTENCY_KEY", hide_env_values = true)]
    idempotency_key: Option<String>,
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let created = context.client().await?.create_token(self.draft()).await?;
        let out = context.out;
        let shown = if out.is_json() {
            output::json(&Made { secret: created.secret.expose_secret(), token: &created.token })
        } else if out.stdout_is_terminal {
            let [before, between, after] = banner(&created.token, context.now, out.style());
            let secret = created.secret.expose_secret();
            output::text(&[&before, secret, &between, secret, &after])
        } else {
            output::text(&[created.secret.expose_secret(), "\n"])
        };
        if shown.is_err() {
            return Err(lost(&created));
        }
        if !out.is_json() && !out.stdout_is_terminal {
            out.note(&words(&created.token, context.now));
        }
        Ok(())
    }

    fn draft(self) -> TokenDraft {
        let given = |texts: Vec<String>| -> Vec<String> {
            texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
        };
        let personal = self.kind == TokenKind::Personal;
        let name = self.name.or_else(|| self.description.clone()).unwrap_or_default();
        let default = || ScopeSet::default_for_personal().iter().map(|scope| scope.to_string()).collect();
        TokenDraft {
            name,
            description: self.description.unwrap_or_default(),
            kind: Some(self.kind),
            scopes: match self.scopes {
                Some(scopes) => given(scopes),
                None if personal => default(),
                None => Vec::new(),
            },
            permission: self.permission.or(if personal { None } else { Some(Permission::Read) }),
            workspace: self.workspace.filter(|name| !name.is_empty()),
            repos: given(self.repos),
            routes: given(self.routes),
            allow_cidrs: given(self.allow_cidrs),
            expires: self.expires.filter(|text| !text.is_empty()),
            labels: given(self.labels),
            max_uses: self.max_uses,
            secret: None,
            idempotency_key: self.idempotency_key.filter(|text| !text.is_empty()),
        }
    }
}

#[derive(Serialize)]
struct Made<'a> {
    secret: &'a str,
    token: &'a TokenRecord,
}

/// A token exists and nobody has its text.
fn lost(created: &CreatedToken) -> Failure {
    Failure::local("the token was made, but its text could not be written to stdout, and it is not shown again")
        .hint(format!("`tok token revoke --force {}`, then make another", created.token.id))
}

/// What a terminal shows before the text, between its two showings, and after.
fn banner(token: &TokenRecord, now: Timestamp, style: Style) -> [String; 3] {
    let made = style.strong(&format!("Created {}", super::kind_name(token.kind)));
    let reach = super::reach(token);
    let lines = [
        ("Name", safe(&token.name)),
        ("Description", safe(&token.description)),
        reach,
        ("Routes", safe(&token.routes.join(", "))),
        ("Networks", safe(&token.allow_cidrs.join(", "))),
        super::end(token, now),
        ("ID", token.id.to_string()),
    ];
    let facts = facts(&lines);
    [
        format!("{made}\n\nToken:\n\n  "),
        format!(
            "\n\nMake sure to copy your token now.\nYou will not be able to see it again!\n\n{facts}\n\
             Use this token in the Authorization header:\n  Authorization: Bearer "
        ),
        "\n\nOr as git's password, with any user name:\n  git clone <server>/<workspace>/<repo>.git\n\n\
         Git asks for no password at all after `tok git setup <server>`.\n"
            .to_owned(),
    ]
}

/// What goes to stderr when the text goes into a pipe.
fn words(token: &TokenRecord, now: Timestamp) -> String {
    let (name, end) = super::end(token, now);
    let end = if token.expires_at.is_some() { end } else { end.to_lowercase() };
    format!(
        "Created {} {:?} ({}…), {} {end}. Its text is not shown again.\n",
        super::kind_name(token.kind),
        safe(&token.name),
        token.token_prefix,
        name.to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{now, token};
    use super::*;
    use crate::arguments::Cli;
    use crate::commands::{Command, token::TokenCommand};
    use clap::Parser as _;

    fn draft(arguments: &[&str]) -> TokenDraft {
        let words = ["tok", "token", "create"].iter().chain(arguments);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Token(TokenCommand::Create(arguments)) => arguments.draft(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_terminal_sees_all_there_is_to_know() {
        let pieces = banner(&token(), now(), Style::default());
        assert_eq!(
            pieces.join("tokpat_text"),
            "\
Created personal access token

Token:

  tokpat_text

Make sure to copy your token now.
You will not be able to see it again!

Name:    CI Token
Scopes:  repo:read, repo:write
Expires: 2027-04-15 (in 144 days)
ID:      1b4e28ba-2fa1-4d2e-883f-0016d3cca427

Use this token in the Authorization header:
  Authorization: Bearer tokpat_text

Or as git's password, with any user name:
  git clone <server>/<workspace>/<repo>.git

Git asks for no password at all after `tok git setup <server>`.
"
        );
    }

    #[test]
    fn a_pipe_gets_its_words_apart() {
        let hostile = TokenRecord { name: "CI\u{1b}[2J".to_owned(), ..token() };
        let words = words(&hostile, now());
        assert!(words.starts_with("Created personal access token \"CI"), "{words}");
        assert!(words.contains("(tokpat_a1b2…), expires 2027-04-15") && !words.contains('\u{1b}'), "{words}");
    }

    #[test]
    fn json_has_the_secret_beside_the_record() {
        let token = token();
        let json = serde_json::to_value(Made { secret: "tokpat_text", token: &token }).unwrap();
        assert_eq!(json["secret"], "tokpat_text");
        assert_eq!(json["token"]["name"], "CI Token");
        assert_eq!(json.as_object().unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_said_depends_on_the_kind() {
        let personal = draft(&["CI"]);
        assert_eq!(personal.scopes, ["repo:read", "repo:write"]);
        assert_eq!((personal.permission, personal.expires), (None, None));
        let repo = draft(&["CI", "--kind", "repo", "--repo", "acme/app,acme/lib", "--repo", "acme/web"]);
        assert_eq!(repo.repos, ["acme/app", "acme/lib", "acme/web"]);
        assert_eq!((repo.permission, repo.scopes.len()), (Some(Permission::Read), 0));
        assert!(draft(&["CI", "-s", ""]).scopes.is_empty(), "nothing, said aloud, is nothing");
        let narrowed = draft(&["CI", "-e", "30", "-s", "repo:read, user:read", "--route", "acme/*:r"]);
        assert_eq!(narrowed.scopes, ["repo:read", "user:read"]);
        assert_eq!((narrowed.expires.as_deref(), narrowed.routes.len()), (Some("30"), 1));
    }
}
