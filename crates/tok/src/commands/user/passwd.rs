//! `tok user passwd`.

use std::io::{self, IsTerminal as _};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{PasswordChange, PasswordSet};
use tok_api::fault::Fault;
use tok_model::name::UserName;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};
use crate::secret;

/// Set the password that a user logs in with, or take it away
///
/// On a terminal it is asked for, twice and unseen. Elsewhere it is read from stdin: the new password on a line of its own,
/// and if the one until now is needed, that one on the line before. Managers need not know the passwords of others.
///
/// Whoever is signed in to the console in a browser is signed out, and what they approved there for a device that has not
/// come yet is taken back. Logins of machines (`tok login`) and tokens go on; `--end-sessions` ends those logins, too, but
/// for the one that this command uses. `tok token revoke --user alice --minted-before now` ends everything.
///
/// Examples:
///
///     $ tok user passwd
///     $ tok user passwd alice < password.txt
///     $ tok user passwd --end-sessions
///     $ tok user passwd alice --remove --force
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PasswdArgs {
    /// Login name [default: you]
    name: Option<UserName>,
    /// Take the password away
    #[arg(long)]
    remove: bool,
    /// Do not ask before taking it away
    #[arg(long, short, requires = "remove")]
    force: bool,
    /// Log out everywhere else: end their logins on other machines, and not only in browsers
    #[arg(long)]
    end_sessions: bool,
}

impl PasswdArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let (removes, end_sessions) = (self.remove, self.end_sessions);
        let whose =
            self.name.as_ref().map_or_else(|| "your password".to_owned(), |name| format!("the password of {name}"));
        let change = if removes {
            context.consent(self.force)?.ask(&format!("Take away {whose}?"))?;
            PasswordChange { user: self.name, end_sessions, ..PasswordChange::default() }
        } else {
            let (current, password) = if io::stdin().is_terminal() {
                (None, secret::typed_twice(context.out, "password").await?)
            } else {
                lines(&secret::from_stdin("the new password")?)?
            };
            PasswordChange { user: self.name, password: Some(password), current, end_sessions }
        };
        let set = match context.client().await?.set_password(change.clone()).await {
            // Only the daemon knows whether there is one.
            Err(fault) if needs_current(&fault, &change) && context.out.interactive => {
                let current = Some(secret::typed(context.out, "Password until now: ").await?);
                context.client().await?.set_password(PasswordChange { current, ..change }).await?
            }
            answer => answer?,
        };
        context.out.show(&set, || text(&set, removes))
    }
}

fn needs_current(fault: &Fault, change: &PasswordChange) -> bool {
    change.current.is_none() && fault.field.as_deref() == Some("current")
}

/// The new password, and before it the one until now, if there are two lines.
fn lines(text: &SecretString) -> Result<(Option<SecretString>, SecretString), Failure> {
    if text.expose_secret().is_empty() {
        return Err(Failure::usage("there is no password on stdin")
            .field("password")
            .hint("give the new password there, or take it away with --remove"));
    }
    let mut lines = text.expose_secret().split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    match (lines.next(), lines.next(), lines.next()) {
        (Some(new), None, None) => Ok((None, SecretString::from(new))),
        (Some(current), Some(new), None) => Ok((Some(SecretString::from(current)), SecretString::from(new))),
        _ => Err(Failure::usage("stdin has more than two lines")
            .field("password")
            .hint("give the new password alone, or the one until now on the line before it")),
    }
}

fn text(set: &PasswordSet, removed: bool) -> String {
    let name = safe(&set.user.name);
    let has = if removed { "no password now" } else { "a new password" };
    let ended = match set.sessions_ended {
        0 => String::new(),
        ended => format!("Ended: {}\n", count(ended, "session")),
    };
    let left = match set.sessions_left {
        0 => String::new(),
        left => format!(
            "Logins on other machines go on: {}. To end every session of {name}:\n    \
             tok token revoke --user {name} --kind session\n",
            count(left, "session")
        ),
    };
    format!("{name} has {has}\n{ended}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_the_new_password_and_two_are_both() {
        let read = |text: &str| {
            lines(&SecretString::from(text)).ok().map(|(current, new)| {
                (current.map(|current| current.expose_secret().to_owned()), new.expose_secret().to_owned())
            })
        };
        assert_eq!(read("new one"), Some((None, "new one".to_owned())));
        assert_eq!(read("old\r\nnew"), Some((Some("old".to_owned()), "new".to_owned())));
        assert_eq!(read("a\nb\nc"), None);
    }
}
