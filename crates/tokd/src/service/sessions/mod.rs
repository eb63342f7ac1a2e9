//! Logging in. What a login gives is a session, a token like the others: listed, shown, revoked and ended like them.

mod browser;
mod device;
mod password;
mod watch;

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::SecretString;
use tok_api::convert::{OpenedSession, TokenRecord};
use tok_api::fault::Fault;
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::decide::{Bearer, Caller, MintRequest, Need, OwnerNow, UserNow};
use tok_model::grant::Grant;
use tok_model::id::DeviceLoginId;
use tok_model::kind::TokenKind;
use tok_model::secret::{Plaintext, without_tokens};
use tok_model::token::Owner;
use tok_model::unseen;

pub use self::browser::BrowserSession;
pub(super) use self::device::DeviceLogins;
pub(super) use self::password::throttled;
pub(super) use self::watch::Watchers;
pub use self::watch::Watching;
use super::{Service, rng};

/// The most characters of what a machine calls itself.
const LONGEST_MACHINE: usize = 100;

impl Service {
    /// Opens a session for somebody who was vouched for.
    async fn open(&self, user: UserNow, opening: Opening, source: Source) -> Result<Option<OpenedSession>, Fault> {
        let Opening { name, most, login, in_browser } = opening;
        let now = self.now();
        let (who, owner) = (user.name.to_string(), Owner::User(user.id));
        let caller = Caller { bearer: Bearer::Password, owner: OwnerNow::User(Arc::new(user)), source };
        let by_policy = self.expiry(&caller, TokenKind::Session, None, now)?;
        let expires_at = [by_policy, most.map(|most| now + most)].into_iter().flatten().min();
        let request = MintRequest { owner, grant: Grant::Session, expires_at, allow_from: Vec::new() };
        let permit = self.permit(&caller, Need::Mint(request))?;
        let (text, pepper) = (Plaintext::mint(TokenKind::Session, &mut rng()), self.peppers.current());
        let row = super::git::row(&text, pepper.id(), text.digest(pepper), name);
        let event = AuditEvent::done(Action::SessionOpen, permit.actor().clone())
            .token(row.id, &row.shown_prefix)
            .detail(&row.name);
        let opened = self
            .run(move |store| {
                store.write(|mut tx| {
                    if let Some(login) = login
                        && !tok_store::device_logins::redeem(&mut tx, &permit, login)?
                    {
                        return Ok(None);
                    }
                    let token = tok_store::tokens::create(&mut tx, &permit, row)?;
                    if in_browser {
                        tok_store::tokens::keep_in_browser(&mut tx, &permit, token.id)?;
                    }
                    tx.commit(event, permit.at())?;
                    Ok(Some(token))
                })
            })
            .await?;
        let Some(token) = opened else { return Ok(None) };
        tracing::info!(token.id = %token.id, user = %who, "Opened the {}", token.name);
        let secret = SecretString::from(text.reveal());
        Ok(Some(OpenedSession { secret, token: TokenRecord::of(&token, now), user: who }))
    }
}

/// A session to be opened.
struct Opening {
    /// What lists show of it.
    name: String,
    /// How long it lives at most, if that is less than the policy says.
    most: Option<TimeDelta>,
    /// The device's login that it comes of, which gives this one session: nothing is opened if it gave one before.
    login: Option<DeviceLoginId>,
    /// Whether it is for the console.
    in_browser: bool,
}

impl Opening {
    /// As long as the policy says.
    fn named(name: String) -> Self {
        Self { name, most: None, login: None, in_browser: false }
    }
}

/// What a machine calls itself, as far as it can be shown and kept: what breaks a line or hides is escaped, and there is no
/// secret in it.
fn machine(text: &str) -> String {
    let plain: String = unseen::escaped(&without_tokens(text)).chars().take(LONGEST_MACHINE).collect();
    match plain.trim() {
        "" => "a machine without a name".to_owned(),
        name => name.to_owned(),
    }
}

/// What lists show of a login.
fn login_name(user: &UserNow, machine: &str) -> String {
    format!("login of {} on {machine}", user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_calls_itself_can_be_shown_and_kept() {
        let token = Plaintext::mint(TokenKind::Personal, &mut rng());
        let long = "x".repeat(300);
        for (given, kept) in [
            ("ann's laptop", "ann's laptop"),
            ("<script>alert(1)</script>", "<script>alert(1)</script>"),
            ("a\nb\u{202e}c\0", r"a\nb\u{202e}c\u{0}"),
            (" ", "a machine without a name"),
            (&long, &long[..LONGEST_MACHINE]),
        ] {
            assert_eq!(machine(given), kept);
            tok_model::token::check_name(&format!("login of ann on {}", machine(given))).unwrap();
        }
        assert!(!machine(&format!("host {}", token.reveal())).contains(&token.reveal()[7..]));
    }
}
