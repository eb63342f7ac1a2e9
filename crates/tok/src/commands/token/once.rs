//! The one time that a token's text is shown.

use std::path::PathBuf;

use clap::Args;
use rand::TryRng as _;
use rand::rngs::SysRng;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_api::convert::TokenRecord;
use tok_model::clock::Timestamp;
use tok_model::token::SecretForm;

use crate::commands::words;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output, Style, facts, quoted, safe, when};
use crate::secret;

/// A token that was just made, and the one whose place it takes, if it takes one's.
pub(super) struct Made<'a> {
    pub(super) secret: &'a SecretString,
    pub(super) token: &'a TokenRecord,
    pub(super) predecessor: Option<&'a TokenRecord>,
}

/// Refuses to make a token whose text nobody could ever read. One that was chosen is known to whoever chose it.
pub(super) fn can_be_shown(chosen: Option<&SecretString>) -> Result<(), Failure> {
    if chosen.is_some() || output::stdout_is_read() {
        return Ok(());
    }
    Err(Failure::local("stdout is closed, and the token's text would be lost; nothing was made or changed")
        .hint("let stdout go to a file or a program that keeps it"))
}

impl Made<'_> {
    /// Shows the text: with words around it on a terminal, alone in a pipe, beside the record in JSON.
    pub(super) fn show(&self, context: &Context) -> Result<(), Failure> {
        let (out, secret) = (context.out, self.secret.expose_secret());
        let shown = if out.is_json() {
            output::json(&self.json())
        } else if out.stdout_is_terminal && self.token.secret_form == SecretForm::Chosen {
            output::text(&[&self.known(context.now, out.style())])
        } else if out.stdout_is_terminal {
            let [before, between, after] = self.banner(context.now, out.style());
            output::text(&[&before, secret, &between, secret, &after])
        } else {
            output::text(&[secret, "\n"])
        };
        if shown.is_err() {
            return Err(self.lost(context));
        }
        if !out.is_json() && !out.stdout_is_terminal {
            out.note(&self.words(context.now));
        }
        Ok(())
    }

    fn json(&self) -> Shape<'_> {
        Shape { secret: self.secret.expose_secret(), token: self.token, predecessor: self.predecessor }
    }

    /// A token exists and nobody has its text.
    fn lost(&self, context: &Context) -> Failure {
        let revoke = context.again(&format!("token revoke --force {}", self.token.id));
        Failure::local("the token was made, but its text could not be written to stdout, and it is not shown again")
            .hint(format!("`{revoke}`, then make another"))
    }

    fn verb(&self) -> &'static str {
        if self.predecessor.is_some() { "Rotated" } else { "Created" }
    }

    fn heading(&self, style: Style) -> String {
        style.strong(&format!("{} {}", self.verb(), super::kind_name(self.token.kind)))
    }

    fn facts(&self, now: Timestamp) -> String {
        let token = self.token;
        facts(&[
            ("Name", safe(&token.name)),
            ("Description", safe(&token.description)),
            super::reach(token),
            ("Routes", safe(&token.routes.join(", "))),
            ("Networks", safe(&token.allow_cidrs.join(", "))),
            ("Labels", safe(&token.labels.join(", "))),
            ("Uses", token.max_uses.map(|most| format!("at most {most}")).unwrap_or_default()),
            super::end(token, now),
            ("ID", token.id.to_string()),
            ("Replaces", self.predecessor.map(|old| replaced(old, now)).unwrap_or_default()),
        ])
    }

    /// What a terminal shows of a secret that whoever reads it chose.
    fn known(&self, now: Timestamp, style: Style) -> String {
        let (heading, facts, name) = (self.heading(style), self.facts(now), quoted(&safe(&self.token.name)));
        format!(
            "{heading}\n\nIts secret is the one that you chose. It is not shown, now or later.\n\n{facts}\n\
             Use this token as HTTP Basic, with its name as the user name:\n  curl -u {name} <server>/…\n  \
             git clone <server>/<workspace>/<repo>.git\n"
        )
    }

    /// What a terminal shows before the text, between its two showings, and after.
    fn banner(&self, now: Timestamp, style: Style) -> [String; 3] {
        let (made, facts) = (self.heading(style), self.facts(now));
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
    fn words(&self, now: Timestamp) -> String {
        let token = self.token;
        let (name, end) = super::end(token, now);
        let end = if token.expires_at.is_some() { end } else { end.to_lowercase() };
        let replaces = self.predecessor.map(|old| format!(" It replaces {}.", replaced(old, now))).unwrap_or_default();
        format!(
            "{} {} {:?} ({}…), {} {end}.{replaces} Its text is not shown again.\n",
            self.verb(),
            super::kind_name(token.kind),
            safe(&token.name),
            token.token_prefix,
            name.to_ascii_lowercase()
        )
    }
}

/// `tokpat_c3d4…, which works until the new one is used, but no longer than …`.
fn replaced(old: &TokenRecord, now: Timestamp) -> String {
    let prefix = safe(&old.token_prefix);
    match old.grace_ends_at.filter(|end| *end > now) {
        Some(end) => {
            format!("{prefix}…, which works until the new one is first used, at most until {}", when(end, now))
        }
        None => format!("{prefix}…, which no longer works"),
    }
}

/// `{"secret": …, "token": {record}}`, and after a rotation `"predecessor": {record}`.
#[derive(Serialize)]
struct Shape<'a> {
    secret: &'a str,
    token: &'a TokenRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    predecessor: Option<&'a TokenRecord>,
}

/// A secret of one's own choice, instead of one that tok makes.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct ChosenArgs {
    /// Read a secret of your own choice from stdin; on a terminal it is asked for, twice and unseen
    #[arg(long, env = "TOK_SECRET_STDIN", hide_env_values = true, value_parser = words::switch())]
    secret_stdin: bool,
    /// Read a secret of your own choice from this file, which nobody else may be able to read
    #[arg(long, value_name = "PATH", env = "TOK_SECRET_FILE", hide_env_values = true)]
    secret_file: Option<PathBuf>,
}

impl ChosenArgs {
    pub(super) async fn secret(&self, out: Output) -> Result<Option<SecretString>, Failure> {
        match &self.secret_file {
            Some(path) => secret::from_file(path, "the secret").map(Some),
            None if !self.secret_stdin => Ok(None),
            None if out.interactive => secret::typed_twice(out, "secret").await.map(Some),
            None => secret::from_stdin("the secret").map(Some),
        }
    }
}

/// What makes a retry safe.
#[derive(Debug, Clone, Args)]
pub(super) struct RetryArgs {
    /// A word of your choice that makes a retry safe: the same command with the same key leaves one live token
    #[arg(long, value_name = "KEY", env = "TOK_IDEMPOTENCY_KEY", hide_env_values = true, value_parser = words::some_text())]
    idempotency_key: Option<String>,
}

impl RetryArgs {
    /// The key that was given, else one that nobody uses again: for what is repeated by itself.
    pub(super) fn key_or_fresh(self) -> Result<String, Failure> {
        let fresh = || {
            let mut random = [0; 16];
            let filled = SysRng.try_fill_bytes(&mut random);
            filled.map_err(|why| Failure::local(format!("the system gives no random bytes: {why}")))?;
            Ok(format!("{:032x}", u128::from_be_bytes(random)))
        };
        self.key().map_or_else(fresh, Ok)
    }

    pub(super) fn key(self) -> Option<String> {
        self.idempotency_key.filter(|key| !key.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, now, token};
    use super::*;

    fn secret() -> SecretString {
        "tokpat_text".into()
    }

    #[test]
    fn a_terminal_sees_all_there_is_to_know() {
        let (secret, token) = (secret(), token());
        let pieces = Made { secret: &secret, token: &token, predecessor: None }.banner(now(), Style::default());
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
        let hostile = TokenRecord { name: "CI\u{1b}[2J".to_owned(), expires_at: None, ..token() };
        let words = Made { secret: &secret(), token: &hostile, predecessor: None }.words(now());
        assert!(words.starts_with("Created personal access token \"CI"), "{words}");
        assert!(words.contains("(tokpat_a1b2…), expires never.") && !words.contains('\u{1b}'), "{words}");
    }

    #[test]
    fn a_successor_says_what_becomes_of_the_old_one() {
        let (secret, token) = (secret(), token());
        let old = TokenRecord { grace_ends_at: Some(at("2026-11-22T10:10:00Z")), ..token.clone() };
        let chosen = TokenRecord { secret_form: SecretForm::Chosen, ..token.clone() };
        let known = Made { secret: &secret, token: &chosen, predecessor: None }.known(now(), Style::default());
        assert!(known.contains("curl -u 'CI Token'") && !known.contains("tokpat_text"), "{known}");
        let made = Made { secret: &secret, token: &token, predecessor: Some(&old) };
        let words = made.words(now());
        assert!(words.starts_with("Rotated personal access token \"CI Token\""), "{words}");
        assert!(words.contains("at most until 2026-11-22 10:10 UTC (in 10 minutes)"), "{words}");
        let at_once = TokenRecord { grace_ends_at: Some(now()), ..token.clone() };
        let words = Made { predecessor: Some(&at_once), ..made }.words(now());
        assert!(words.contains("which no longer works"), "{words}");
    }

    #[test]
    fn json_has_the_secret_beside_the_record() {
        let (secret, token) = (secret(), token());
        let json =
            |predecessor| serde_json::to_value(Made { secret: &secret, token: &token, predecessor }.json()).unwrap();
        assert_eq!((&json(None)["secret"], &json(None)["token"]["name"]), (&"tokpat_text".into(), &"CI Token".into()));
        assert_eq!(json(None).as_object().unwrap().len(), 2);
        assert_eq!(json(Some(&token))["predecessor"]["name"], "CI Token");
    }
}
