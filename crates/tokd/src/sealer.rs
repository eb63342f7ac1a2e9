//! What keeps the audit trail beside the requests: uses are written and lines sealed every second, what killed daemons
//! left is sealed, months are made ahead and dropped when they are old.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tok_model::clock::Period;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::fault::chain;
use crate::service::Service;

/// How often uses are written and lines sealed.
const EVERY: Duration = Duration::from_secs(1);
/// How often what killed daemons left is looked for.
const ABANDONED_EVERY: Duration = Duration::from_secs(60);
/// How often months are looked after: a daemon that was asleep at the turn of a month is late by this at most.
const MONTHS_EVERY: Duration = Duration::from_secs(60 * 60);

/// Goes on until `stop`. Lines are kept for `keep`; `None` is for ever.
pub async fn run(service: Arc<Service>, keep: Option<Period>, stop: CancellationToken) {
    let keep: Option<TimeDelta> = keep.map(Period::delta);
    let [mut seal, mut abandoned, mut months] = [EVERY, ABANDONED_EVERY, MONTHS_EVERY].map(interval);
    seal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = seal.tick() => {
                write(&service).await;
            }
            _ = abandoned.tick() => match service.seal_abandoned().await {
                Ok(0) => {}
                Ok(lines) => tracing::info!(lines, "Sealed {lines} lines of the audit trail that another run of tokd had left"),
                Err(error) => tracing::warn!(error = %chain(&error), "What other runs of tokd left of the audit trail could not be sealed"),
            },
            _ = months.tick() => match service.keep_trail(keep).await {
                Ok(None) => {}
                Ok(Some(pruned)) => {
                    tracing::info!(lines = pruned.lines, "Dropped {} lines of the audit trail, as old as audit.retention says; months: {}", pruned.lines, pruned.months.join(", "));
                }
                Err(error) => tracing::warn!(error = %chain(&error), "The months of the audit trail could not be looked after; trying again"),
            },
        }
    }
}

/// Writes and seals what there is. After the last request of all, nothing that was used goes unrecorded.
pub async fn write(service: &Service) {
    if let Err(error) = service.flush_uses().await {
        tracing::warn!(error = %chain(&error), "Uses of tokens wait for the database");
    }
    if let Err(error) = service.seal_trail().await {
        tracing::warn!(error = %chain(&error), "The audit trail could not be sealed; its lines are there, and are sealed later");
    }
}
