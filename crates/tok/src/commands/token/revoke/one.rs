//! Single tokens, by what they are called or by their text.

use secrecy::SecretString;
use serde::Serialize;
use tok_api::convert::{LiveRelative, RevokedToken};
use tok_model::clock::{Timestamp, ago};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe, when};

use super::super::{LOOK_IN_LIST, kind_name};
use super::HowArgs;

pub(super) async fn by_reference(context: &mut Context, references: Vec<String>, how: HowArgs) -> Result<(), Failure> {
    let HowArgs { reason, force, dry_run } = how;
    // Every reference is resolved, and the right to revoke it checked, before anything is changed.
    let mut planned: Vec<RevokedToken> = Vec::new();
    for reference in references {
        let plan = context.client().await?.revoke_token(reference, reason.clone(), true).await;
        let plan = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(LOOK_IN_LIST))?;
        if planned.iter().all(|other| other.token.id != plan.token.id) {
            planned.push(plan);
        }
    }
    super::remarks(context, &planned);
    if dry_run {
        report(context, "Would revoke", &planned)?;
        still_work(context, &planned);
        return Ok(());
    }
    if planned.iter().any(|plan| !plan.already_revoked) {
        let question = question(&planned);
        context.consent(force).map_err(|failure| failure.about(&question))?.ask(&question)?;
    }
    let mut revoked = Vec::new();
    for plan in planned {
        let id = plan.token.id.to_string();
        match context.client().await?.revoke_token(id, reason.clone(), false).await {
            // By now the ID is plain; what the reference could have meant besides was said of the plan.
            Ok(done) => revoked.push(RevokedToken { note: done.note.or(plan.note), ..done }),
            Err(fault) => {
                // What is done is done, and has to be known.
                report(context, "Revoked", &revoked)?;
                return Err(fault.into());
            }
        }
    }
    report(context, "Revoked", &revoked)?;
    for done in revoked.iter().filter(|done| !done.already_revoked) {
        super::undo(context, &done.token.id.to_string(), done.restorable_until);
    }
    still_work(context, &revoked);
    Ok(())
}

pub(super) async fn by_text(context: &mut Context, secret: &SecretString, how: HowArgs) -> Result<(), Failure> {
    let HowArgs { reason, force, dry_run } = how;
    let token = context.client().await?.check_token(secret).await?.token;
    let already_revoked = token.revoked_at.is_some();
    let plan = RevokedToken {
        token,
        minted_revoked: 0,
        already_revoked,
        restorable_until: None,
        note: None,
        live_family: Vec::new(),
    };
    if dry_run {
        return report(context, "Would revoke", &[plan]);
    }
    if !already_revoked {
        let question = question(&[plan]);
        context.consent(force).map_err(|failure| failure.about(&question))?.ask(&question)?;
    }
    let done = context.client().await?.revoke_secret(secret, reason).await?;
    let id = done.token.id.to_string();
    let until = done.restorable_until.filter(|_| !done.already_revoked);
    let done = [done];
    report(context, "Revoked", &done)?;
    super::undo(context, &id, until);
    still_work(context, &done);
    Ok(())
}

/// Whoever ends a token that leaked has to know that the leak may not be over: what else of its line works, and what
/// ends that.
fn still_work(context: &Context, revoked: &[RevokedToken]) {
    if context.out.is_json() {
        return;
    }
    let ended = |id| revoked.iter().any(|one| one.token.id == id);
    for one in revoked {
        for relative in one.live_family.iter().filter(|relative| !ended(relative.id)) {
            let command = context.again(&format!("token revoke {}", relative.id));
            let of = format!("{}…", one.token.token_prefix);
            context.out.note(&still_works(&of, relative, &command, context.now));
        }
    }
}

pub(super) fn still_works(of: &str, relative: &LiveRelative, command: &str, now: Timestamp) -> String {
    let (of, prefix) = (safe(of), safe(&relative.token_prefix));
    let part = if relative.successor {
        format!("which took the place of {of} {}", ago(relative.created_at, now))
    } else {
        let until = relative.ends_at.map(|end| format!(" until {}", when(end, now))).unwrap_or_default();
        format!("whose place {of} took, and that has its grace{until}")
    };
    format!("STILL WORKS: {prefix}…, {part}. If the secret got out, end it, too: {command}\n")
}

fn question(planned: &[RevokedToken]) -> String {
    match planned {
        [one] => format!(
            "Revoke {} {:?} ({}…)? It stops working at once.",
            kind_name(one.token.kind),
            safe(&one.token.name),
            safe(&one.token.token_prefix)
        ),
        several => {
            let lines: Vec<_> = several.iter().map(line).collect();
            format!("{}\nRevoke these {}? They stop working at once.", lines.join("\n"), several.len())
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
    use super::super::super::fixture::token;
    use super::*;

    fn revoked(minted_revoked: u32, already_revoked: bool) -> RevokedToken {
        RevokedToken {
            token: token(),
            minted_revoked,
            already_revoked,
            restorable_until: None,
            note: None,
            live_family: Vec::new(),
        }
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
    fn what_still_works_comes_with_what_ends_it() {
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let successor = LiveRelative {
            id: token().id,
            name: "CI Token".to_owned(),
            token_prefix: "tokpat_c3d4".to_owned(),
            successor: true,
            created_at: "2026-11-20T10:00:00Z".parse().unwrap(),
            ends_at: Some("2026-11-24T10:00:00Z".parse().unwrap()),
        };
        assert_eq!(
            still_works("tokpat_a1b2…", &successor, "tok token revoke 1b4e", now),
            "STILL WORKS: tokpat_c3d4…, which took the place of tokpat_a1b2… 2 days ago. If the secret got out, end it, too: tok token revoke 1b4e\n"
        );
        let before = LiveRelative { successor: false, ..successor };
        let said = still_works("tokpat_a1b2…", &before, "tok token revoke 1b4e", now);
        assert!(said.contains("whose place tokpat_a1b2… took, and that has its grace until 2026-11-24"), "{said}");
    }

    #[test]
    fn the_question_names_what_it_is_about() {
        let one = question(&[revoked(0, false)]);
        assert!(one.starts_with("Revoke personal access token \"CI Token\" (tokpat_a1b2…)?"), "{one}");
        let two = question(&[revoked(0, false), revoked(1, false)]);
        assert!(two.contains("Revoke these 2?") && two.matches("tokpat_a1b2…").count() == 2, "{two}");
    }
}
