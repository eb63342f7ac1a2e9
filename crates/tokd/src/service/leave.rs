//! Whether a push that is under way may go on: what it was allowed by can be taken away before its last byte has come.

use std::sync::Arc;

use tok_api::fault::{Fault, FaultCode};
use tok_api::moment::Found;
use tok_model::clock::Timestamp;
use tok_model::decide::{Bearer, Caller, Need, Permit, decide};
use tok_model::token::{Token, TokenState};
use tokio::sync::watch;

use super::Service;
use crate::fault::IntoFault;
use crate::verdicts::FRESH;

/// What somebody was allowed, for as long as they are at it.
pub struct Leave {
    service: Arc<Service>,
    caller: Caller,
    need: Need,
    /// What ends by itself after this has not ended for them: nobody loses a long push to a short-lived token.
    began: Timestamp,
    events: watch::Receiver<u64>,
    looked: Found,
}

impl Service {
    /// The leave that this permit gives its caller.
    pub fn leave(self: &Arc<Self>, caller: Caller, permit: &Permit) -> Leave {
        Leave {
            service: Arc::clone(self),
            caller,
            need: permit.need().clone(),
            began: permit.at(),
            events: self.minted.events(),
            looked: Found::now(),
        }
    }
}

impl Leave {
    /// Whether it still holds: at once, as long as this daemon took nothing from anybody, else (and now and then, for what
    /// others take) as the database says. Counts as no use.
    pub async fn holds(&mut self) -> Result<(), Fault> {
        let changed = self.events.has_changed().unwrap_or(true);
        if !changed && self.looked.age() < FRESH {
            return Ok(());
        }
        let generation = *self.events.borrow();
        match self.look().await {
            Ok(()) => {
                // What changed while this was looked up is looked at again.
                if *self.events.borrow() == generation {
                    self.events.mark_unchanged();
                }
                self.looked = Found::now();
                Ok(())
            }
            // Nobody takes anything away while the database is away.
            Err(fault) if !changed && matches!(fault.code, FaultCode::Unavailable | FaultCode::Busy) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn look(&self) -> Result<(), Fault> {
        let mut caller = self.service.as_of_now(&self.caller).await?;
        // The use that is under way may have been the last one there was: that it ended with it takes nothing from it.
        if let Bearer::Token(token) = &caller.bearer
            && token.is_used_up()
        {
            let live = Token { state: TokenState::Live, use_limit: None, ..Token::clone(token) };
            caller.bearer = Bearer::Token(Arc::new(live));
        }
        decide(&caller, self.need.clone(), self.began).map(drop).map_err(IntoFault::into_fault)
    }
}
