//! Many tokens, by what they have in common.

use std::fmt::Write as _;

use serde::Serialize;
use tok_api::convert::{RevokeMany, RevokedMany, Selection, TokenRecord};

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{count, safe};

use super::super::LOOK_IN_LIST;
use super::HowArgs;

pub(super) async fn revoke(context: &mut Context, selection: Selection, how: HowArgs) -> Result<(), Failure> {
    let HowArgs { reason, force, dry_run } = how;
    let mut ask = RevokeMany { selection, reason, dry_run: true };
    let plan = context.client().await?.revoke_many(ask.clone()).await;
    let plan = plan.map_err(|fault| Failure::from(fault).hint_if_not_found(LOOK_IN_LIST))?;
    if dry_run {
        report(context, &plan, true)?;
        still_work(context, &plan);
        return Ok(());
    }
    if plan.revoked > 0 {
        let question = question(&plan);
        context.consent(force).map_err(|failure| failure.about(&question))?.ask(&question)?;
    }
    // Even if there is nothing now: a cut-off also ends what is made until it is written.
    ask.dry_run = false;
    let done = context.client().await?.revoke_many(ask).await?;
    report(context, &done, false)?;
    if let Some(token) = done.sample.first() {
        super::undo(context, &token.id.to_string(), done.restorable_until);
    }
    still_work(context, &done);
    Ok(())
}

/// What a thief who rotated a token has now is not among what ended.
fn still_work(context: &Context, done: &RevokedMany) {
    for relative in done.live_family.iter().filter(|_| !context.out.is_json()) {
        let command = context.again(&format!("token revoke {}", relative.id));
        context.out.note(&super::one::still_works("one of these", relative, &command, context.now));
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a RevokedMany,
    dry_run: bool,
}

fn report(context: &Context, done: &RevokedMany, dry_run: bool) -> Result<(), Failure> {
    context.out.show(&Report { done, dry_run }, || {
        let verb = if dry_run { "Would revoke" } else { "Revoked" };
        format!("{verb} {}\n{}", count(done.revoked, "live token"), listed(done))
    })
}

fn question(plan: &RevokedMany) -> String {
    let these = match plan.revoked {
        1 => "this token? It stops".to_owned(),
        many => format!("these {many} tokens? They stop"),
    };
    format!("{}Revoke {these} working at once.", listed(plan))
}

/// The ones that are known by name, and how many more there are.
fn listed(done: &RevokedMany) -> String {
    let mut text = String::new();
    for token in &done.sample {
        let TokenRecord { token_prefix, id, name, .. } = token;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}…  {id}  {}", safe(token_prefix), safe(name));
    }
    match done.revoked.saturating_sub(done.sample.len() as u64) {
        0 => {}
        more => {
            let _ = writeln!(text, "  and {more} more");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::token;
    use super::*;

    #[test]
    fn the_question_has_the_number_and_the_newest() {
        let plan = RevokedMany {
            revoked: 12,
            sample: vec![token(), token()],
            restorable_until: None,
            live_family: Vec::new(),
        };
        let question = question(&plan);
        assert!(question.contains("  and 10 more\nRevoke these 12 tokens?"), "{question}");
        assert_eq!(question.matches("tokpat_a1b2…  1b4e28ba").count(), 2);
    }

    #[test]
    fn json_is_flat() {
        let done = RevokedMany { revoked: 1, sample: vec![token()], restorable_until: None, live_family: Vec::new() };
        let json = serde_json::to_value(Report { done: &done, dry_run: true }).unwrap();
        assert_eq!((&json["revoked"], &json["dry_run"]), (&1.into(), &true.into()));
        assert_eq!(json["sample"][0]["name"], "CI Token");
    }
}
