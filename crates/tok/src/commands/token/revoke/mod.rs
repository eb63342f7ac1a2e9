//! `tok token revoke`.

mod many;
mod one;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{RevokedToken, Selection};
use tok_model::clock::Timestamp;
use tok_model::kind::TokenKind;
use tok_model::label::Label;
use tok_model::name::{UserName, WorkspaceName};
use tok_model::token::Reference;

use crate::commands::{moments, words};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::when;
use crate::secret;

/// Revoke tokens, and every token minted by them
///
/// They stop working at once. For 15 minutes `tok token restore` brings them back. On a terminal you are asked first;
/// elsewhere, and with `--output json`, `--force` is needed. If a reference fits more than one token, the matches are
/// listed and nothing is changed. What took a token's place by rotation goes on working, and is named: end it, too, if
/// the secret got out.
///
/// Instead of single tokens, options say what those have in common that shall end: a token must fit each of them. With
/// `--minted-before`, a user or a workspace, and nothing else, it is a cut-off, at once for any number of tokens.
///
/// Examples:
///
///     $ tok token revoke 1b4e28ba
///     $ tok token revoke tokpat_a1b2 --reason "left on a bus"
///     $ tok token rm --force 1b4e28ba 9f2c51aa
///     $ printenv LEAKED | tok token revoke --stdin --force
///     $ tok token revoke --label ci --never-used --dry-run
///     $ tok token revoke --user bob --minted-before 2026-11-01 --reason "laptop stolen"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RevokeArgs {
    /// ID, beginning of an ID, beginning of the text as lists show it, or name; can be repeated
    #[arg(value_name = "TOKEN", required_unless_present_any = ["stdin", "which"], conflicts_with_all = ["stdin", "which"])]
    references: Vec<String>,
    /// Read the token's text from stdin; whoever holds it may end it
    #[arg(long, conflicts_with = "which")]
    stdin: bool,
    #[command(flatten)]
    which: WhichArgs,
    /// With a selection: everybody's tokens, not yours alone (managers only)
    #[arg(long, requires = "which", conflicts_with_all = ["user", "workspace", "parent"])]
    all_users: bool,
    #[command(flatten)]
    how: HowArgs,
}

/// How it is done, whatever it is.
#[derive(Debug, Clone, Args)]
struct HowArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT", env = "TOK_REASON", hide_env_values = true)]
    reason: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What tokens have in common. Variables are not asked: what is set for lists must not end tokens.
#[derive(Debug, Clone, Args)]
#[group(id = "which", multiple = true)]
struct WhichArgs {
    /// Those that act for this user
    #[arg(long, conflicts_with = "workspace")]
    user: Option<UserName>,
    /// Those that act for this workspace
    #[arg(long, value_name = "NAME")]
    workspace: Option<WorkspaceName>,
    /// Those with this label
    #[arg(long)]
    label: Option<Label>,
    /// This token and all that were made through it, at any remove
    #[arg(long, value_name = "TOKEN")]
    parent: Option<Reference>,
    /// Those of this kind
    #[arg(long, value_parser = words::kinds())]
    kind: Option<TokenKind>,
    /// Those that were never used
    #[arg(long)]
    never_used: bool,
    /// Those made before this moment: a length of time ago (2h, 7d), a date, an RFC 3339 time, or now
    #[arg(long, value_name = "WHEN")]
    minted_before: Option<String>,
}

impl WhichArgs {
    fn selection(self, all_users: bool, now: Timestamp) -> Result<Selection, Failure> {
        let minted_before = self.minted_before.as_deref();
        Ok(Selection {
            user: self.user,
            workspace: self.workspace,
            label: self.label,
            parent: self.parent,
            kind: self.kind,
            never_used: self.never_used,
            minted_before: minted_before.map(|text| moments::behind("minted-before", text, now)).transpose()?,
            all_users,
        })
    }
}

impl RevokeArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        if self.stdin {
            let secret = secret::from_stdin("the token")?;
            let secret = SecretString::from(secret.expose_secret().trim());
            return one::by_text(context, &secret, self.how).await;
        }
        if self.references.is_empty() {
            let selection = self.which.selection(self.all_users, context.now)?;
            return many::revoke(context, selection, self.how).await;
        }
        one::by_reference(context, self.references, self.how).await
    }
}

/// Tells people what can be known of one act, and how it is undone.
fn undo(context: &Context, reference: &str, restorable_until: Option<Timestamp>) {
    if let (Some(until), false) = (restorable_until, context.out.is_json()) {
        let command = context.again(&format!("token restore {reference}"));
        context.out.note(&format!("Undo until {}: {command}\n", when(until, context.now)));
    }
}

fn remarks(context: &Context, revoked: &[RevokedToken]) {
    for note in revoked.iter().filter_map(|one| one.note.as_deref()).filter(|_| !context.out.is_json()) {
        context.out.note(&format!("{}\n", crate::output::safe(note)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Cli;
    use crate::commands::{Command, token::TokenCommand};
    use clap::Parser as _;

    fn revoke(arguments: &[&str]) -> Result<RevokeArgs, clap::Error> {
        match Cli::try_parse_from(["tok", "token", "rm"].iter().chain(arguments))?.command {
            Command::Token(TokenCommand::Revoke(arguments)) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn single_tokens_a_text_or_a_selection_and_never_two_of_them() {
        for good in
            [&["1b4e"][..], &["--stdin"], &["--label", "ci"], &["--kind", "repo", "--all-users", "--never-used"]]
        {
            assert!(revoke(good).is_ok(), "{good:?}");
        }
        for bad in [
            &[][..],
            &["--force"],
            &["--all-users"],
            &["1b4e", "--stdin"],
            &["1b4e", "--label", "ci"],
            &["--stdin", "--label", "ci"],
            &["--user", "alice", "--workspace", "acme"],
            &["--user", "alice", "--all-users"],
        ] {
            assert!(revoke(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_selection_is_what_was_said() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let arguments = revoke(&["--user", "bob", "--minted-before", "2d", "--never-used"]).unwrap();
        let selection = arguments.which.selection(false, now).unwrap();
        assert_eq!(selection.user.unwrap().as_str(), "bob");
        assert_eq!(selection.minted_before, Some("2026-11-20T10:00:00Z".parse().unwrap()));
        assert!(selection.never_used && selection.label.is_none());
        assert!(revoke(&["--minted-before", "soon"]).unwrap().which.selection(false, now).is_err());
    }
}
