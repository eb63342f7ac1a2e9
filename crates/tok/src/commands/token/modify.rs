//! `tok token modify`.

use std::fmt::Write as _;

use clap::Args;
use tok_api::convert::{TokenChange, TokenRecord};
use tok_model::clock::Timestamp;
use tok_model::kind::Permission;

use super::show;
use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Named, safe};

/// Change a token's name, words, reach or end
///
/// What is not said stays as it is. Lists are replaced whole; an empty value empties them: `--label ''`. Nobody can give
/// a token more than they have themselves, and a maximum lifetime of the server's counts from the token's creation.
///
/// Examples:
///
///     $ tok token modify 1b4e28ba --scopes repo:read --description "reads only"
///     $ tok token modify tokpat_a1b2 --add-scopes user:read --remove-scopes repo:write
///     $ tok token modify 1b4e28ba --expires 2027-01-31 --route "acme/*:r" --label ci,team=web
///     $ tok token modify 1b4e28ba --permission read --if-version 3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ModifyArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it
    #[arg(value_name = "TOKEN")]
    reference: String,
    #[command(flatten)]
    what: WhatArgs,
    /// Change it only if its version, as JSON shows it, is this one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    if_version: Option<u32>,
}

/// What shall change. Variables are not asked: what is set for the next token must not change an old one.
#[derive(Debug, Args)]
struct WhatArgs {
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// More words on what it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// When it ends: days from now (30), a duration (12h, 90d), a date (2027-01-31), or never
    #[arg(long, short, value_name = "WHEN", value_parser = words::some_text())]
    expires: Option<String>,
    /// What a personal token may do, instead of what it may now
    #[arg(long, short, value_name = "SCOPES", value_delimiter = ',', value_parser = words::scopes())]
    scopes: Option<Vec<String>>,
    /// What a personal token may do besides
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = words::scopes(), conflicts_with = "scopes")]
    add_scopes: Option<Vec<String>>,
    /// What a personal token may do no longer
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = words::scopes(), conflicts_with = "scopes")]
    remove_scopes: Option<Vec<String>>,
    /// Where a personal token may go, and whether to read or write: 'acme/*:r'; can be repeated, or a comma list
    #[arg(long = "route", value_name = "PATTERN:r|w|rw", value_delimiter = ',')]
    routes: Option<Vec<String>>,
    /// A repository that a repo token may reach; can be repeated, or a comma list
    #[arg(long = "repo", value_name = "WORKSPACE/REPO", value_delimiter = ',')]
    repos: Option<Vec<String>>,
    /// What a workspace or repo token may do there
    #[arg(long, value_parser = words::permissions())]
    permission: Option<Permission>,
    /// A network that it may be used from: 192.0.2.0/24; can be repeated, or a comma list
    #[arg(long = "allow-cidr", value_name = "CIDR", value_delimiter = ',')]
    allow_cidrs: Option<Vec<String>>,
    /// A word that it is found and ended by; can be repeated, or a comma list
    #[arg(long = "label", value_name = "LABEL", value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// How many times it may be used, all uses so far counted; 0 is any number
    #[arg(long, value_name = "N")]
    max_uses: Option<u64>,
}

impl WhatArgs {
    fn is_empty(&self) -> bool {
        let Self { name, description, expires, scopes, add_scopes, remove_scopes, .. } = self;
        let Self { routes, repos, permission, allow_cidrs, labels, max_uses, .. } = self;
        let lists = [scopes, add_scopes, remove_scopes, routes, repos, allow_cidrs, labels];
        let texts = [name, description, expires];
        let said = texts.iter().any(|text| text.is_some()) || lists.iter().any(|list| list.is_some());
        !said && permission.is_none() && max_uses.is_none()
    }
}

impl ModifyArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.what.is_empty() {
            return Err(Failure::usage("nothing is said that should change")
                .hint("say it, as in `--name`, `--description`, `--scopes`, `--expires` or `--label`"));
        }
        let client = context.client().await?;
        let before = client.show_token(self.reference.clone()).await;
        let before = before.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        let token = client.modify_token(self.change(&before)).await?;
        let now = context.now;
        context.out.show(&Named("token", &token), || told(&before, &token, now))?;
        super::note_login_name(context, &before, &token);
        Ok(())
    }

    fn change(self, before: &TokenRecord) -> TokenChange {
        let given = |texts: Option<Vec<String>>| -> Option<Vec<String>> {
            let texts = texts?.into_iter().map(|text| text.trim().to_owned());
            Some(texts.filter(|text| !text.is_empty()).collect())
        };
        let what = self.what;
        let (add, remove) = (given(what.add_scopes), given(what.remove_scopes));
        let by_step = add.is_some() || remove.is_some();
        let scopes = if by_step {
            let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
            let mut scopes = before.scopes.clone();
            scopes.retain(|scope| !remove.contains(scope));
            scopes.extend(add);
            Some(scopes)
        } else {
            given(what.scopes)
        };
        TokenChange {
            reference: before.id.to_string(),
            name: what.name,
            description: what.description,
            expires: what.expires,
            scopes,
            routes: given(what.routes),
            labels: given(what.labels),
            allow_cidrs: given(what.allow_cidrs),
            repos: given(what.repos),
            permission: what.permission,
            max_uses: what.max_uses,
            // What is added to must still be what was seen.
            if_version: self.if_version.or(by_step.then_some(before.version)),
        }
    }
}

/// Each fact that is another now.
fn told(before: &TokenRecord, after: &TokenRecord, now: Timestamp) -> String {
    let mut text = format!("Changed token: {}\n  {}…\n", safe(&after.name), safe(&after.token_prefix));
    let shown = |value: String| if value.is_empty() { "none".to_owned() } else { value };
    let mut any = false;
    for ((name, old), (_, new)) in show::facts_of(before, now).into_iter().zip(show::facts_of(after, now)) {
        if old != new && name != "Changed" {
            any = true;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name}: {} → {}", shown(old), shown(new));
        }
    }
    if !any {
        text.push_str("  It was like this before.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{now, token};
    use super::*;
    use crate::arguments::Cli;
    use crate::commands::{Command, token::TokenCommand};
    use clap::Parser as _;

    fn modify(arguments: &[&str]) -> Result<TokenChange, clap::Error> {
        read(arguments).map(|arguments| arguments.change(&token()))
    }

    fn read(arguments: &[&str]) -> Result<ModifyArgs, clap::Error> {
        match Cli::try_parse_from(["tok", "token", "modify", "1b4e"].iter().chain(arguments))?.command {
            Command::Token(TokenCommand::Modify(arguments)) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_stays_and_empty_is_said() {
        let change = modify(&["--label", "", "--max-uses", "0"]).unwrap();
        assert_eq!((change.labels, change.max_uses), (Some(Vec::new()), Some(0)));
        assert_eq!((change.scopes, change.routes, change.if_version), (None, None, None));
        for nothing in [&[][..], &["--if-version", "3"]] {
            assert!(read(nothing).unwrap().what.is_empty());
        }
        for something in [&["--label", ""][..], &["--max-uses", "0"], &["--name", "x"], &["--permission", "read"]] {
            assert!(!read(something).unwrap().what.is_empty(), "{something:?}");
        }
        assert!(modify(&["--scopes", "all", "--add-scopes", "repo:read"]).is_err());
    }

    #[test]
    fn scopes_are_added_to_what_was_seen() {
        let change = modify(&["--add-scopes", "user:read,audit:read", "--remove-scopes", "repo:write"]).unwrap();
        assert_eq!(change.scopes.unwrap(), ["repo:read", "user:read", "audit:read"]);
        assert_eq!(change.if_version, Some(1));
        assert_eq!(modify(&["--name", "x", "--if-version", "7"]).unwrap().if_version, Some(7));
    }

    #[test]
    fn what_changed_is_told() {
        let after = TokenRecord { scopes: Vec::new(), labels: vec!["ci".to_owned()], ..token() };
        assert_eq!(
            told(&token(), &after, now()),
            "Changed token: CI Token\n  tokpat_a1b2…\n  Scopes: repo:read, repo:write → none\n  Labels: none → ci\n"
        );
        assert!(told(&after, &after, now()).ends_with("It was like this before.\n"));
    }
}
