//! `tok token show`.

use clap::Args;
use tok_api::convert::TokenRecord;
use tok_model::clock::Timestamp;
use tok_model::token::Standing;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{ended, facts, safe, when};

/// Show one token
///
/// Everything about it but its text.
///
/// Examples:
///
///     $ tok token show 1b4e28ba
///     $ tok token show tokpat_a1b2 --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ShowArgs {
    /// ID, beginning of an ID, or beginning of the text as lists show it
    #[arg(value_name = "TOKEN")]
    reference: String,
}

impl ShowArgs {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let shown = context.client().await?.show_token(self.reference).await;
        let token = shown.map_err(|fault| Failure::from(fault).hint_if_not_found(super::LOOK_IN_LIST))?;
        context.out.show(&token, || details(&token, context.now))
    }
}

/// Everything about a token, a line each.
pub(super) fn details(token: &TokenRecord, now: Timestamp) -> String {
    facts(&facts_of(token, now))
}

/// The names of these are always the same but for the reach and the end.
pub(super) fn facts_of(token: &TokenRecord, now: Timestamp) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.as_deref().map(safe).unwrap_or_default();
    let join = |texts: &[String]| safe(&texts.join(", "));
    let used = token.last_used_at.map_or_else(
        || "never".to_owned(),
        |at| match &token.last_used_ip {
            Some(address) => format!("{}, from {}", ended(at, now), safe(address)),
            None => ended(at, now),
        },
    );
    let maker = match (&token.created_by_name, &token.created_by_token_prefix) {
        (Some(name), Some(prefix)) => format!("{} through {}…", safe(name), safe(prefix)),
        (name, _) => text(name),
    };
    let id = |id: Option<tok_model::id::TokenId>| id.map(|id| id.to_string()).unwrap_or_default();
    vec![
        ("Token", format!("{}…", safe(&token.token_prefix))),
        ("Name", safe(&token.name)),
        ("Description", safe(&token.description)),
        ("ID", token.id.to_string()),
        ("Kind", token.kind.to_string()),
        ("State", token.state.to_string()),
        ("Unreadable", text(&token.unreadable)),
        ("User", text(&token.user)),
        super::reach(token),
        ("Routes", join(&token.routes)),
        ("Networks", join(&token.allow_cidrs)),
        ("Labels", join(&token.labels)),
        ("Uses", token.max_uses.map(|most| format!("{} of {most}", token.uses)).unwrap_or_default()),
        ("Secret", super::secret_form(token)),
        ("Created", ended(token.created_at, now)),
        ("Created by", maker),
        super::end(token, now),
        ("Revoked by", text(&token.revoked_by)),
        ("Reason", text(&token.revoke_reason)),
        ("Last used", used),
        ("Used with", text(&token.last_used_agent)),
        ("Used for", text(&token.last_used_repo)),
        (
            "Changed",
            token.modified_at.map(|at| format!("{} (version {})", ended(at, now), token.version)).unwrap_or_default(),
        ),
        ("Rotated", token.rotated_at.map(|at| ended(at, now)).unwrap_or_default()),
        (
            "Works until",
            token.grace_ends_at.filter(|_| token.state == Standing::Active).map(|at| when(at, now)).unwrap_or_default(),
        ),
        ("Successor", id(token.successor_id)),
        ("Took over from", id(token.predecessor_id)),
        ("Minted by", id(token.parent_id)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, now, token};
    use super::*;

    #[test]
    fn everything_known_is_told() {
        assert_eq!(
            details(&token(), now()),
            "\
Token:      tokpat_a1b2…
Name:       CI Token
ID:         1b4e28ba-2fa1-4d2e-883f-0016d3cca427
Kind:       personal
State:      active
User:       alice
Scopes:     repo:read, repo:write
Created:    2026-11-01 (21 days ago)
Created by: alice
Expires:    2027-04-15 (in 144 days)
Last used:  2026-11-22 08:00 UTC (2 hours ago), from 192.0.2.7
"
        );
        let revoked = TokenRecord {
            state: Standing::Revoked,
            revoked_at: Some(at("2026-11-20T00:00:00Z")),
            revoked_by: Some("bob".to_owned()),
            revoke_reason: Some("left on a bus\n".to_owned()),
            ..token()
        };
        let text = details(&revoked, now());
        assert!(text.contains("Revoked by: bob\nReason:     left on a bus\\n\n"), "{text}");
    }
}
