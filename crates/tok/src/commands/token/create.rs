//! `tok token create`.

use clap::Args;
use tok_api::convert::{TokenDraft, TokenRecord};
use tok_api::fault::Fault;
use tok_model::kind::{Permission, TokenKind};
use tok_model::scope::ScopeSet;

use super::once::{ChosenArgs, Made, RetryArgs, can_be_shown};
use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;

/// Make a token and show its text, this once
///
/// On a terminal the text comes with words on how to use it. Into a pipe or a file goes the text alone, and the words
/// go to stderr.
///
/// A personal token acts for you, within its scopes and routes. A workspace token acts for a workspace, a repo token for
/// some of its repositories; both take a permission instead of scopes.
///
/// A secret of your own choice is presented as HTTP Basic with the token's name as the user name. It comes from stdin or a
/// file, never from an argument, which others on the machine can see.
///
/// Examples:
///
///     $ tok token create "Laptop"
///     $ tok token create "CI" --expires 30 --scopes repo:read
///     $ tok token create "Libraries" --expires 2027-01-31 --route acme/lib:r --route acme/app:rw
///     $ tok token create "Deploy" --kind repo --repo acme/app,acme/web --permission read
///     $ tok token create migrated --secret-stdin < old-secret.txt
///     $ TOKEN=$(tok token create "Nightly" -e 12h -s repo:read)
///     $ tok token create --description "deploys at night" --output json | jq -r .secret
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CreateArgs {
    /// What the token is for, so that you know it again; without it the description is the name, too
    #[arg(required_unless_present = "description")]
    name: Option<String>,
    /// When it ends: days (30), a duration (12h, 90d), a date (2027-01-31), or never [default: the server's policy]
    #[arg(long, short, value_name = "WHEN", env = "TOK_EXPIRES", hide_env_values = true, value_parser = words::some_text())]
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
    /// How many requests it may make; a clone or a push takes two or three [default: any number]
    #[arg(long, value_name = "N", env = "TOK_MAX_USES", hide_env_values = true, value_parser = clap::value_parser!(u64).range(1..))]
    max_uses: Option<u64>,
    #[command(flatten)]
    chosen: ChosenArgs,
    #[command(flatten)]
    retry: RetryArgs,
}

impl CreateArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let secret = self.chosen.secret(context.out).await?;
        can_be_shown(secret.as_ref())?;
        let named = self.name.is_some();
        let created = context.client().await?.create_token(TokenDraft { secret, ..self.draft() }).await;
        let created = created.map_err(|fault| if named { fault.into() } else { named_by_its_description(fault) })?;
        Made { secret: &created.secret, token: &created.token, predecessor: None }.show(context)?;
        if let Some(warning) = too_few_for_git(&created.token) {
            context.out.note(&warning);
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
            idempotency_key: self.retry.key(),
        }
    }
}

/// The same of a token that has no name of its own: what is wrong with its name is so with its description.
fn named_by_its_description(fault: Fault) -> Failure {
    if fault.field.as_deref() != Some("name") {
        return fault.into();
    }
    let message = format!("the description is the name, too, where none is given, and {}", fault.message);
    Failure::from(Fault { message, field: Some("description".to_owned()), ..fault })
        .hint("give it a short name: `tok token create NAME --description TEXT`")
}

/// git makes two or three requests a command, and each is a use.
fn too_few_for_git(token: &TokenRecord) -> Option<String> {
    let most = token.max_uses.filter(|most| *most < REQUESTS_OF_GIT)?;
    let reaches = token.kind != TokenKind::Personal
        || token.scopes.iter().any(|scope| scope.starts_with("repo:") || scope == "all");
    reaches.then(|| {
        let uses = if most == 1 { "1 request".to_owned() } else { format!("{most} requests") };
        format!(
            "Warning: it may make {uses}, and one clone or push of git takes two or three: it may end in the middle of \
             one.\nFor one git command give it `--max-uses {REQUESTS_OF_GIT}`.\n"
        )
    })
}

/// The most requests that one git command makes with a token that works: references, and a probe and a pack, or two rounds of
/// negotiation.
const REQUESTS_OF_GIT: u64 = 3;

#[cfg(test)]
mod tests {
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
