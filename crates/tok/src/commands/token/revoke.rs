//! `tok token revoke`.

use clap::Args;
use serde::Serialize;
use tok_api::convert::RevokedToken;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

/// Revoke a token and every token minted by it
///
/// It stops working at once and for good. On a terminal you are asked first; elsewhere, and with `--output json`,
/// `--force` is needed. If a reference fits more than one token, the matches are listed and nothing is changed.
///
/// Examples:
///
///     $ tok token revoke 1b4e28ba
///     $ tok token revoke tokpat_a1b2 --reason "left on a bus"
///     $ tok token rm --force 1b4e28ba 9f2c51aa
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RevokeArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it; can be repeated
    #[arg(value_name = "TOKEN", required = true)]
    references: Vec<String>,
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

impl RevokeArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        // Every reference is resolved, and the right to revoke it checked, before anything is changed.
        let mut planned: Vec<RevokedToken> = Vec::new();
        for reference in self.references {
            let plan = context.client().await?.revoke_token(reference, None, true).await;
            let plan = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
            if planned.iter().all(|other| other.token.id != plan.token.id) {
                planned.push(plan);
            }
        }
        if self.dry_run {
            return report(context, "Would revoke", &planned);
        }
        if planned.iter().any(|plan| !plan.already_revoked) {
            context.consent(self.force)?.ask(&question(&planned))?;
        }
        let mut revoked = Vec::new();
        for plan in planned {
            let id = plan.token.id.to_string();
            match context.client().await?.revoke_token(id, self.reason.clone(), false).await {
                Ok(done) => revoked.push(done),
                Err(fault) => {
                    // What is done is done, and has to be known.
                    report(context, "Revoked", &revoked)?;
                    return Err(fault.into());
                }
            }
        }
        report(context, "Revoked", &revoked)
    }
}

fn question(planned: &[RevokedToken]) -> String {
    match planned {
        [one] => format!(
            "Revoke {} {:?} ({}…)? It stops working at once and for good.",
            super::kind_name(one.token.kind),
            safe(&one.token.name),
            safe(&one.token.token_prefix)
        ),
        several => {
            let lines: Vec<_> = several.iter().map(line).collect();
            format!("{}\nRevoke these {}? They stop working at once and for good.", lines.join("\n"), several.len())
        }
    }
}

fn line(revoked: &RevokedToken) -> String {
    format!("  {}…  {}  {}", safe(&revoked.token.token_prefix), revoked.token.id, safe(&revoked.token.name))
}

#[derive(Serialize)]
struct Report<'a> {
    revoked: &'a [RevokedToken],
}

fn report(context: &Context, verb: &str, revoked: &[RevokedToken]) -> Result<(), Failure> {
    context.out.show(&Report { revoked }, || revoked.iter().map(|one| told(verb, one)).collect())
}

fn told(verb: &str, revoked: &RevokedToken) -> String {
    let name = safe(&revoked.token.name);
    let prefix = safe(&revoked.token.token_prefix);
    if revoked.already_revoked {
        return format!("Was revoked before: {name}\n  {prefix}…\n");
    }
    let with = match revoked.minted_revoked {
        0 => String::new(),
        minted => format!("  with {} minted by it", count(minted, "live token")),
    };
    format!("{verb} token: {name}\n  {prefix}…{with}\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::token;
    use super::*;

    fn revoked(minted_revoked: u32, already_revoked: bool) -> RevokedToken {
        RevokedToken { token: token(), minted_revoked, already_revoked, restorable_until: None, note: None }
    }

    #[test]
    fn what_was_revoked_is_told() {
        assert_eq!(told("Revoked", &revoked(0, false)), "Revoked token: CI Token\n  tokpat_a1b2…\n");
        assert_eq!(
            told("Would revoke", &revoked(2, false)),
            "Would revoke token: CI Token\n  tokpat_a1b2…  with 2 live tokens minted by it\n"
        );
        assert_eq!(told("Revoked", &revoked(0, true)), "Was revoked before: CI Token\n  tokpat_a1b2…\n");
    }

    #[test]
    fn the_question_names_what_it_is_about() {
        let one = question(&[revoked(0, false)]);
        assert!(one.starts_with("Revoke personal access token \"CI Token\" (tokpat_a1b2…)?"), "{one}");
        let two = question(&[revoked(0, false), revoked(1, false)]);
        assert!(two.contains("Revoke these 2?") && two.matches("tokpat_a1b2…").count() == 2, "{two}");
    }
}
