//! Who keeps tokens that were minted here is told when they should be asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tok_api::fault::{Fault, FaultCode};
use tok_model::decide::{Bearer, Caller, Need, OwnerNow, decide};
use tok_model::id::TokenId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fault::IntoFault;
use crate::service::Service;

/// A watcher is told no more often than this.
const APART: Duration = Duration::from_millis(50);
/// And no more seldom: so both sides see that the other is there, and a credential that ran out is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most watchers with one token, or of one user of this machine.
const MOST_OF_ONE: usize = 16;
/// The most in all, some 2 KiB each.
const MOST: usize = 4096;

/// Who watches with what.
type Key = (Option<TokenId>, Option<u32>);

/// How many watch.
#[derive(Clone, Default)]
pub struct Watchers(Arc<Mutex<HashMap<Key, usize>>>);

/// One of them, as long as it watches.
struct Admitted {
    watchers: Watchers,
    key: Key,
}

impl Watchers {
    fn admit(&self, key: Key) -> Option<Admitted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let count = counts.entry(key).or_default();
        if *count >= MOST_OF_ONE || all >= MOST {
            return None;
        }
        *count += 1;
        Some(Admitted { watchers: self.clone(), key })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.watchers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// A caller who is told.
pub struct Watching {
    service: Arc<Service>,
    caller: Caller,
    events: watch::Receiver<u64>,
    told: Option<Instant>,
    _admitted: Admitted,
}

impl Service {
    /// Watches for the times when what was minted should be asked for again.
    pub fn watch(self: &Arc<Self>, caller: Caller) -> Result<Watching, Fault> {
        self.permit(&caller, Need::Api)?;
        let key = (caller.token().map(|token| token.id), caller.source.uid);
        let admitted = self.watchers.admit(key).ok_or_else(|| {
            Fault { retry_after: Some(60), ..Fault::new(FaultCode::RateLimited, "too many watch already") }
                .hint("watch once, and share what is told")
        })?;
        let events = self.minted.events();
        Ok(Watching { service: Arc::clone(self), caller, events, told: None, _admitted: admitted })
    }

    /// Whether what a caller presented is still good, as of now. Changes nothing, and counts as no use.
    async fn still_good(&self, caller: &Caller) -> Result<(), Fault> {
        let good =
            |caller: &Caller| decide(caller, Need::Identity, self.now()).map(drop).map_err(IntoFault::into_fault);
        let presented = match &caller.bearer {
            Bearer::Acting { by } => Caller { bearer: (**by).clone(), ..caller.clone() },
            _ => caller.clone(),
        };
        if presented.token().is_some() {
            good(&self.as_of_now(&presented).await?)?;
        }
        match (&caller.bearer, caller.user().map(|user| user.id)) {
            (Bearer::Token(_), _) | (_, None) => Ok(()),
            (_, Some(user)) => {
                let user = self.run(move |store| store.read(|tx| tok_store::users::now(tx, user))).await?;
                let owner = user.map_or(OwnerNow::Nobody, |user| OwnerNow::User(Arc::new(user)));
                good(&Caller { owner, ..caller.clone() })
            }
        }
    }
}

impl Watching {
    /// Completes at once the first time; then when something changed, or nothing has for a while. The number grows with
    /// each change. Fails when the caller's own credential is no good any more.
    pub async fn next(&mut self) -> Result<u64, Fault> {
        if let Some(told) = self.told {
            tokio::select! {
                // It cannot end before the service does.
                _ = self.events.changed() => sleep_until(told + APART).await,
                () = sleep(HEARTBEAT) => {}
            }
        }
        let generation = *self.events.borrow_and_update();
        self.told = Some(Instant::now());
        match self.service.still_good(&self.caller).await {
            // Not to know is no reason to send anybody away.
            Ok(()) => Ok(generation),
            Err(fault) if matches!(fault.code, FaultCode::Unavailable | FaultCode::Internal) => Ok(generation),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_counted_by_what_they_watch_with() {
        let watchers = Watchers::default();
        let mut mine: Vec<_> = (0..MOST_OF_ONE).map(|_| watchers.admit((None, Some(1))).unwrap()).collect();
        assert!(watchers.admit((None, Some(1))).is_none());
        let other = watchers.admit((None, Some(2))).unwrap();
        mine.pop();
        mine.push(watchers.admit((None, Some(1))).unwrap());
        drop((mine, other));
        assert!(watchers.0.lock().unwrap().is_empty());
    }
}
