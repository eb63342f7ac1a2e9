//! Passwords of users: set, taken away, and verified.

use std::sync::Arc;

use secrecy::SecretString;
use tok_api::convert::{PasswordChange, PasswordSet};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::decide::{Bearer, Caller, Need, OwnerNow, Refusal, Rule, UserNow, decide};
use tok_model::grant::Grant;
use tok_model::name::UserName;
use tok_store::StoreError;

use super::Service;
use super::identity::user_record;
use super::sessions::throttled;
use crate::fault::IntoFault;

impl Service {
    /// Sets a user's password or takes it away: one's own with the one until now, managers those of others. What their
    /// browsers were given ends with it, and every other session if that is wished; not the one that this is asked with.
    pub async fn set_password(&self, caller: &Caller, change: PasswordChange) -> Result<PasswordSet, Fault> {
        let own = caller.user().map(|user| (user.id, user.name.clone()));
        let name = change.user.or_else(|| own.as_ref().map(|(_, name)| name.clone())).ok_or_else(|| {
            Fault::field("name", "say whose password it shall be: you are no user here")
                .hint("tok user passwd <name>; `tok user list` shows the users")
        })?;
        let permit = match own {
            Some((user, own)) if own == name => {
                let permit = self.permit(caller, Need::ChangeProfile { user })?;
                self.knows_password(caller, &name, change.current).await?;
                permit
            }
            _ => self.permit(caller, Need::Server)?,
        };
        let hash = match change.password {
            Some(password) => Some(self.hash_of_chosen("password", password, vec![name.to_string()]).await?),
            None => None,
        };
        let (user, live, signed_out) = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let (user, signed_out) =
                        tok_store::users::set_password(&mut tx, &permit, &name, hash.as_deref(), change.end_sessions)?;
                    let live = tok_store::tokens::count_live_by_user(&mut tx, &permit, &[user.id])?;
                    let event = AuditEvent::done(Action::UserPassword, permit.actor().clone())
                        .subject(user.id, user.name.clone())
                        .detail(if user.has_password { "set" } else { "taken away" });
                    tx.commit(signed_out.told(event, "the password was changed", &permit), permit.at())?;
                    Ok((user, live, signed_out))
                })
            })
            .await?;
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(PasswordSet {
            user: user_record(&user, live.into_values().next().unwrap_or(0)),
            sessions_ended: small(signed_out.sessions),
            sessions_left: small(signed_out.left),
        })
    }

    /// The user of this name, if this is their password and they may log in. Costs the same whether there is such a user
    /// and whether they have a password. `Err` is "cannot know now".
    pub async fn verify_password(
        &self,
        name: &UserName,
        password: SecretString,
    ) -> Result<Option<UserNow>, StoreError> {
        let wanted = name.clone();
        let found = self
            .executor
            .run(move |store| {
                store.read(|tx| {
                    let hash = tok_store::users::password_hash(tx, &wanted)?;
                    Ok((tok_store::users::now_by_name(tx, &wanted)?, hash))
                })
            })
            .await?;
        let (user, hash) = found;
        let right = self.strangers.slow.verify(password, hash.iter().cloned().collect()).await?;
        let (Some(right), Some(user)) = (right, user.filter(|user| user.enabled)) else { return Ok(None) };
        if let (Some(old), Some(new)) = (hash, right.renewed) {
            self.renew_password(&user, old, new).await;
        }
        Ok(Some(user))
    }

    /// Keeps a stronger hash of a password that was just found good. If that fails it is done the next time.
    async fn renew_password(&self, user: &UserNow, old: String, new: String) {
        // Whoever knows it is the user, wherever they came from.
        let bearer = Bearer::LocalPeer { manager: false };
        let owner = OwnerNow::User(Arc::new(user.clone()));
        let caller = Caller { bearer, owner, source: Source::default() };
        let Ok(permit) = decide(&caller, Need::ChangeProfile { user: user.id }, self.now()) else { return };
        let (id, name) = (user.id, user.name.clone());
        let written = self
            .executor
            .run(move |store| {
                store.write(|mut tx| {
                    tok_store::users::renew_password_hash(&mut tx, &permit, id, &old, &new)?;
                    let event = AuditEvent::done(Action::UserPassword, permit.actor().clone())
                        .subject(id, name)
                        .detail("kept under a stronger hash now");
                    tx.commit(event, permit.at())
                })
            })
            .await;
        if let Err(error) = written {
            tracing::debug!(error = %crate::fault::chain(&error), "The hash of a password was not renewed");
        }
    }

    /// Whoever changes their own password knows it, or has none yet and has logged in. Root on this machine is believed.
    async fn knows_password(
        &self,
        caller: &Caller,
        name: &UserName,
        current: Option<SecretString>,
    ) -> Result<(), Fault> {
        if caller.administers_by_kernel() {
            return Ok(());
        }
        let wanted = name.clone();
        let has_one = self.run(move |store| store.read(|tx| tok_store::users::password_hash(tx, &wanted))).await?;
        if has_one.is_none() {
            // A password opens sessions, which do more than any token of another kind: those cannot make one up.
            return match caller.token() {
                Some(token) if token.grant != Grant::Session => Err(Refusal::from(Rule::Kind(token.kind()))
                    .into_fault()
                    .hint(format!("log in to set a first password, or ask a manager: tok user passwd {name}"))),
                _ => Ok(()),
            };
        }
        let Some(current) = current else {
            return Err(Fault::field("current", "your password until now is needed")
                .hint(format!("managers set it without: tok user passwd {name}")));
        };
        // Whoever has somebody's session must not find their password with it by trying.
        match self.tried(&caller.source, name, current).await? {
            Ok(_) => Ok(()),
            Err(Some(wait)) => Err(throttled(wait)),
            Err(None) => Err(Fault {
                field: Some("current".to_owned()),
                ..Fault::new(FaultCode::Forbidden, "that is not your password until now")
            }
            .hint(format!("managers set it without: tok user passwd {name}"))),
        }
    }
}
