//! `tok token list`.

use clap::Args;
use tok_api::convert::{PageOf, TokenFilter, TokenRecord};
use tok_model::clock::{Expiry, ExpiryError, Period, Timestamp};
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::Standing;

use crate::commands::{PageArgs, words};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Page, Style, quoted, safe};

/// List tokens, newest first
///
/// Yours, unless you ask for somebody else's. The text of a token is never listed; only its first characters are.
///
/// Examples:
///
///     $ tok token list
///     $ tok token ls --expiring 14d
///     $ tok token list --state active --never-used --all-users
///     $ tok token list --all --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    page: PageArgs,
    /// Only tokens in this state
    #[arg(long, env = "TOK_STATE", hide_env_values = true, value_parser = words::states())]
    state: Option<Standing>,
    /// Only tokens of this kind
    #[arg(long, env = "TOK_KIND", hide_env_values = true, value_parser = words::kinds())]
    kind: Option<TokenKind>,
    /// Only tokens that act for this user (managers only, unless it is you)
    #[arg(long, env = "TOK_LIST_USER", hide_env_values = true, conflicts_with = "all_users")]
    user: Option<UserName>,
    /// Only tokens that were never used
    #[arg(long, env = "TOK_NEVER_USED", hide_env_values = true, value_parser = words::switch())]
    never_used: bool,
    /// Only active tokens that end within this time: 14d, 12h
    #[arg(long, value_name = "TIME", env = "TOK_EXPIRING", hide_env_values = true, value_parser = period)]
    expiring: Option<Period>,
    /// Every user's and workspace's tokens (managers only)
    #[arg(long, env = "TOK_ALL_USERS", hide_env_values = true, value_parser = words::switch())]
    all_users: bool,
    /// The tokens of this workspace (its maintainers, and managers)
    #[arg(
        long,
        value_name = "NAME",
        env = "TOK_WORKSPACE",
        hide_env_values = true,
        conflicts_with_all = ["user", "all_users"]
    )]
    workspace: Option<WorkspaceName>,
    /// Only tokens with this label
    #[arg(long, env = "TOK_LABEL", hide_env_values = true)]
    label: Option<Label>,
}

/// A length of time; a number alone is days, as with `--expires`.
fn period(text: &str) -> Result<Period, String> {
    match text.parse() {
        Ok(Expiry::After(period)) => Ok(period),
        Ok(_) | Err(ExpiryError::Form) => Err("give a length of time, as in 14d or 12h".to_owned()),
        Err(why) => Err(format!("{why}")),
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let fetch = async |ask| Ok(context.client().await?.list_tokens(self.filter(), ask).await?);
        let page = self.page.gather(fetch).await?;
        let out = context.out;
        if out.is_json() {
            return output::json(&Page("tokens", &page));
        }
        output::text(&[&blocks(&page, self.all_users, context.now, out.style())])?;
        out.note(&left_unread(&page));
        out.more(&context.again(&self.again()), page.next_cursor.as_deref());
        if page.rows.is_empty() {
            out.note("`tok token create <name>` makes one.\n");
        }
        Ok(())
    }

    fn filter(&self) -> TokenFilter {
        TokenFilter {
            state: self.state,
            kind: self.kind,
            user: self.user.clone(),
            never_used: self.never_used,
            expiring_within: self.expiring,
            all_users: self.all_users,
            workspace: self.workspace.clone(),
            label: self.label.clone(),
        }
    }

    /// The command for the next page, but for its cursor.
    fn again(&self) -> String {
        let mut command = format!("token list{}", self.page.again());
        let mut add = |flag: &str, value: Option<String>| {
            command.extend(value.map(|value| format!(" --{flag} {}", quoted(&value))));
        };
        add("state", self.state.map(|state| state.to_string()));
        add("kind", self.kind.map(|kind| kind.to_string()));
        add("user", self.user.as_ref().map(ToString::to_string));
        add("workspace", self.workspace.as_ref().map(ToString::to_string));
        add("expiring", self.expiring.map(|period| period.to_string()));
        add("label", self.label.as_ref().map(ToString::to_string));
        command.push_str(if self.never_used { " --never-used" } else { "" });
        command.push_str(if self.all_users { " --all-users" } else { "" });
        command
    }
}

/// What there is to do about tokens that this server cannot read.
fn left_unread(page: &PageOf<TokenRecord>) -> String {
    let mut unread = page.rows.iter().filter(|token| token.unreadable.is_some() && token.state != Standing::Revoked);
    let Some(first) = unread.next() else { return String::new() };
    let (these, it) = match unread.count() {
        0 => ("1 of these".to_owned(), "it opens nothing. To end it"),
        more => (format!("{} of these", more + 1), "they open nothing. To end the first"),
    };
    format!("{these} cannot be read by this version of tokd, and {it}: tok token revoke {}\n", first.id)
}

/// One block for each token.
fn blocks(page: &PageOf<TokenRecord>, owners: bool, now: Timestamp, style: Style) -> String {
    if page.rows.is_empty() {
        return "No tokens.\n".to_owned();
    }
    let more = if page.next_cursor.is_some() { ", more follow" } else { "" };
    let personal = page.rows.iter().all(|token| token.kind == TokenKind::Personal);
    let what = if personal { "Personal Access Tokens" } else { "Access Tokens" };
    let mut text = format!("{}\n", style.strong(&format!("{what} ({}{more})", page.rows.len())));
    for token in &page.rows {
        text.push('\n');
        text.push_str(&block(token, owners, now, style));
    }
    text
}

fn block(token: &TokenRecord, owners: bool, now: Timestamp, style: Style) -> String {
    let mark = match token.state {
        Standing::Active => String::new(),
        Standing::Expired => style.warning("[EXPIRED]") + " ",
        Standing::Revoked => style.warning("[REVOKED]") + " ",
    };
    let mark = if token.unreadable.is_some() { mark + &style.warning("[UNREADABLE]") + " " } else { mark };
    let (reach, what) = match &token.unreadable {
        Some(why) => ("Unreadable", safe(why)),
        None => super::reach(token),
    };
    let mut facts = vec![format!("ID: {}", token.id), format!("Kind: {}", token.kind), format!("{reach}: {what}")];
    if !token.routes.is_empty() {
        facts.push(format!("Routes: {}", safe(&token.routes.join(", "))));
    }
    if let (true, Some(user)) = (owners, &token.user) {
        facts.push(format!("User: {}", safe(user)));
    }
    let used = super::last_used(token, now).map_or_else(|| "Never used".to_owned(), |ago| format!("Last used: {ago}"));
    let (end, time) = super::end(token, now);
    format!(
        "{}…  {mark}{}\n  {}\n  {used}  •  {end}: {time}\n",
        safe(&token.token_prefix),
        style.strong(&safe(&token.name)),
        facts.join("  ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, now, token};
    use super::*;
    use crate::arguments::Cli;
    use crate::commands::{Command, token::TokenCommand};
    use clap::Parser as _;

    fn list(arguments: &[&str]) -> Result<ListArgs, clap::Error> {
        match Cli::try_parse_from(["tok", "token", "ls"].iter().chain(arguments))?.command {
            Command::Token(TokenCommand::List(arguments)) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_reads_like_this() {
        let old = TokenRecord {
            token_prefix: "tokpat_c3d4".to_owned(),
            name: "Old \u{1b}[31mKey".to_owned(),
            state: Standing::Expired,
            expires_at: Some(at("2026-03-01T00:00:00Z")),
            last_used_at: None,
            scopes: vec!["repo:read".to_owned()],
            routes: vec!["acme/*:r".to_owned()],
            ..token()
        };
        let page = PageOf { rows: vec![token(), old], next_cursor: None, note: None };
        assert_eq!(
            blocks(&page, false, now(), Style::default()),
            "\
Personal Access Tokens (2)

tokpat_a1b2…  CI Token
  ID: 1b4e28ba-2fa1-4d2e-883f-0016d3cca427  Kind: personal  Scopes: repo:read, repo:write
  Last used: 2 hours ago  •  Expires: 2027-04-15 (in 144 days)

tokpat_c3d4…  [EXPIRED] Old \\u{1b}[31mKey
  ID: 1b4e28ba-2fa1-4d2e-883f-0016d3cca427  Kind: personal  Scopes: repo:read  Routes: acme/*:r
  Never used  •  Expired: 2026-03-01 (266 days ago)
"
        );
    }

    #[test]
    fn what_the_server_cannot_read_is_marked_with_what_ends_it() {
        let unread =
            TokenRecord { unreadable: Some("\"repo:fly\" is no scope".to_owned()), scopes: Vec::new(), ..token() };
        let page = |rows| PageOf { rows, next_cursor: None, note: None };
        let one = page(vec![token(), unread.clone()]);
        let text = blocks(&one, false, now(), Style::default());
        assert!(text.contains("tokpat_a1b2…  [UNREADABLE] CI Token\n"), "{text}");
        assert!(text.contains("Kind: personal  Unreadable: \"repo:fly\" is no scope\n"), "{text}");
        let ended = TokenRecord { state: Standing::Revoked, ..unread.clone() };
        let end = "tok token revoke 1b4e28ba-2fa1-4d2e-883f-0016d3cca427\n";
        for (rows, said) in [
            (one, format!("1 of these cannot be read by this version of tokd, and it opens nothing. To end it: {end}")),
            (
                page(vec![unread.clone(), unread]),
                format!(
                    "2 of these cannot be read by this version of tokd, and they open nothing. To end the first: {end}"
                ),
            ),
            (page(vec![token(), ended]), String::new()),
        ] {
            assert_eq!(left_unread(&rows), said);
        }
    }

    #[test]
    fn managers_see_whose() {
        let page = PageOf { rows: vec![token()], next_cursor: Some("c".to_owned()), note: None };
        let text = blocks(&page, true, now(), Style::default());
        assert!(
            text.starts_with("Personal Access Tokens (1, more follow)\n") && text.contains("User: alice"),
            "{text}"
        );
        let none = PageOf { rows: Vec::new(), next_cursor: None, note: None };
        assert_eq!(blocks(&none, true, now(), Style::default()), "No tokens.\n");
    }

    #[test]
    fn the_next_page_is_asked_for_with_the_same_words() {
        let arguments = list(&["--limit", "2", "--state", "active", "--expiring", "14", "--all-users"]).unwrap();
        assert_eq!(arguments.again(), "token list --limit 2 --state active --expiring 14d --all-users");
        assert_eq!(arguments.filter().expiring_within, Some("14d".parse().unwrap()));
        assert!(list(&["--user", "alice", "--all-users"]).is_err());
        assert!(list(&["--expiring", "2027-01-31"]).is_err() && list(&["--limit", "0"]).is_err());
    }
}
