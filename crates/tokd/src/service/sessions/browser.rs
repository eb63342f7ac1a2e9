//! Logins in a browser, for the console: sessions like the others, but short, and presented by a cookie. And the seals of
//! the console's forms.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tok_api::convert::OpenedSession;
use tok_api::fault::Fault;
use tok_model::audit::Source;
use tok_model::decide::{Caller, Need};
use tok_model::kind::TokenKind;
use tok_model::name::UserName;
use tok_model::secret::{PairOf, Plaintext};

use super::Opening;
use super::password::{throttled, wrong};
use crate::fault::IntoFault;
use crate::service::{Presented, Service};

/// A browser stays logged in for a working day; what is on a laptop's disk may stay longer.
const MOST: TimeDelta = TimeDelta::hours(12);

/// Somebody who is logged in by a browser's cookie.
pub struct BrowserSession {
    /// Who.
    pub caller: Caller,
    /// Their login name.
    pub user: String,
    /// Whether they administer the server.
    pub manager: bool,
    /// What this session's forms are sealed for.
    pub id: String,
}

impl Service {
    /// Logs somebody in who typed their name and password into the console. `browser` is what lists show of it.
    pub async fn sign_in(
        &self,
        source: Source,
        user: &str,
        password: SecretString,
        browser: &str,
    ) -> Result<OpenedSession, Fault> {
        let Ok(name) = user.trim().parse::<UserName>() else {
            self.has_a_try_left(&source)?;
            // Nobody has such a name, and it may be a password in the wrong field: it counts, and is written down nowhere.
            let wait = self.failures.note(&source, Instant::now());
            return Err(wait.map_or_else(wrong, throttled));
        };
        let user = self.knows(&source, &name, password).await?;
        let name = format!("browser {}", super::machine(browser));
        let opening = Opening { most: Some(MOST), in_browser: true, ..Opening::named(name) };
        self.open(user, opening, source).await?.ok_or_else(wrong)
    }

    /// Who a browser's cookie says is logged in; nobody if that session is over, or was never a browser's: what a machine's
    /// login was given may lie about on its disk. An error is "cannot know now".
    pub async fn signed_in(&self, cookie: &SecretString, source: Source) -> Result<Option<BrowserSession>, Fault> {
        let Ok(text) = Plaintext::parse(cookie.expose_secret()) else { return Ok(None) };
        if text.kind() != TokenKind::Session {
            return Ok(None);
        }
        let caller = self.caller_by_token(Presented::Token(text), source).await.map_err(IntoFault::into_fault)?;
        let Ok(caller) = caller else { return Ok(None) };
        let (Some(token), Some(user)) = (caller.token(), caller.user()) else { return Ok(None) };
        if self.may(&caller, Need::Identity).is_none() {
            return Ok(None);
        }
        let session = token.id;
        if !self.run(move |store| store.read(|tx| tok_store::tokens::is_in_browser(tx, session))).await? {
            return Ok(None);
        }
        self.note_call(&caller);
        let (id, user) = (token.id.to_string(), user.name.to_string());
        Ok(Some(BrowserSession { manager: self.manages(&caller), user, id, caller }))
    }

    /// Whether somebody has logged in a short enough time ago to let a device log in as them.
    pub fn may_approve(&self, caller: &Caller) -> bool {
        self.may(caller, Need::ApproveLogin).is_some()
    }

    /// What a form of the console carries: that this server made it, for this visitor and this purpose.
    pub fn seal_form(&self, visitor: &str, form: &str) -> String {
        let digest = self.peppers.current().pair(PairOf::ConsoleForm, visitor, form);
        URL_SAFE_NO_PAD.encode(digest.as_bytes())
    }

    /// Whether a form that came back is one of ours, for this visitor and this purpose.
    pub fn is_sealed(&self, visitor: &str, form: &str, seal: &str) -> bool {
        let Ok(given) = URL_SAFE_NO_PAD.decode(seal) else { return false };
        self.peppers.every().any(|pepper| {
            let digest = pepper.pair(PairOf::ConsoleForm, visitor, form);
            digest.as_bytes().as_slice().ct_eq(&given).into()
        })
    }
}
