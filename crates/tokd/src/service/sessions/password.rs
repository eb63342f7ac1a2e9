//! Logging in with a password.

use std::time::Instant;

use secrecy::SecretString;
use tok_api::convert::{OpenedSession, PasswordLogin};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, Actor, Source};
use tok_model::decide::{Refusal, Rule, UserNow};
use tok_model::name::UserName;

use super::{Opening, login_name, machine};
use crate::fault::IntoFault;
use crate::service::Service;

impl Service {
    /// Opens a session for whoever knows a user's password.
    pub async fn open_session(&self, source: Source, login: PasswordLogin) -> Result<OpenedSession, Fault> {
        let user = self.knows(&source, &login.user, login.password).await?;
        let name = login_name(&user, &machine(&login.machine));
        self.open(user, Opening::named(name), source).await?.ok_or_else(wrong)
    }

    /// The user of this name, if this is their password. What a person chose can be guessed, so tries are counted by where
    /// they come from; the answer does not say whether there is such a user.
    pub(super) async fn knows(
        &self,
        source: &Source,
        name: &UserName,
        password: SecretString,
    ) -> Result<UserNow, Fault> {
        match self.tried(source, name, password).await? {
            Ok(user) => Ok(user),
            Err(wait) => {
                // Also of the guess with which there were too many.
                self.note_wrong_password(source, name).await?;
                Err(wait.map_or_else(wrong, throttled))
            }
        }
    }

    /// The same, which writes nothing down. It is not their password: how long to wait, if there were too many guesses now.
    pub(in crate::service) async fn tried(
        &self,
        source: &Source,
        name: &UserName,
        password: SecretString,
    ) -> Result<Result<UserNow, Option<u32>>, Fault> {
        self.has_a_try_left(source)?;
        let known = self.verify_password(name, password).await.map_err(IntoFault::into_fault)?;
        // Again, for those that came together: the right one among them must not be told from the others.
        self.has_a_try_left(source)?;
        Ok(known.ok_or_else(|| self.failures.note(source, Instant::now())))
    }

    /// Refuses whoever guessed too often.
    pub(super) fn has_a_try_left(&self, source: &Source) -> Result<(), Fault> {
        self.failures.spent(source, Instant::now()).map_or(Ok(()), |wait| Err(throttled(wait)))
    }

    /// Writes down whose password somebody did not know. What is no user's name is not kept: people type passwords there.
    async fn note_wrong_password(&self, source: &Source, name: &UserName) -> Result<(), Fault> {
        let wanted = name.clone();
        let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
        if let Some(user) = user {
            let actor = Actor { source: source.clone(), ..Actor::daemon() };
            let why = format!("wrong password for {}, or they may not log in", user.name);
            self.uses.note_refused(&actor, Action::SessionOpen, None, &why, self.now());
        }
        Ok(())
    }
}

pub(in crate::service) fn throttled(wait: u32) -> Fault {
    Refusal::from(Rule::Throttled(wait)).into_fault()
}

pub(super) fn wrong() -> Fault {
    Fault::new(FaultCode::Unauthenticated, "the user name or the password is wrong")
        .hint("check the user name and the password, or have a manager set a new one: tok user passwd <name>")
}
