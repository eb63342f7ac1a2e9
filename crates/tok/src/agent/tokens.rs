//! Git tokens that were minted through one login: one place for each repository and right, whose lock is the single
//! flight.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::MintedGit;
use tok_api::moment::Moment;
use tok_model::clock::Timestamp;
use tok_model::id::TokenId;
use tok_model::kind::Permission;
use tok_model::name::RepoPath;

use super::patience::MINT;

/// The same, as a length of time.
const LEAST_LEFT: Duration = Duration::from_secs(tok_model::credential::LEAST_LEFT.num_seconds().unsigned_abs());
/// And so much more if the server's clock is not known: it may differ by that.
const UNKNOWN_SKEW: Duration = Duration::from_secs(30);
/// The server says its time in whole seconds, rounded down.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);
/// Clocks that differ by less are as good as the same.
const NOTABLE_SKEW: TimeDelta = TimeDelta::seconds(5);
/// A token with less left is renewed ahead of need.
const RENEW_BELOW: Duration = Duration::from_secs(120);
/// But only if it was asked for so lately.
const LATELY: Duration = Duration::from_secs(10 * 60);
/// Places beyond which those whose tokens have ended are swept out.
const SWEEP_ABOVE: usize = 1000;

/// What a token is for.
pub(super) type Key = (RepoPath, Permission);

/// A token that is kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) id: TokenId,
    pub(super) username: String,
    text: Arc<SecretString>,
    /// When it ends, by the server's clock.
    expires_at: Timestamp,
    got: Moment,
    /// From `got` on, at least so long.
    lifetime: Duration,
    least: Duration,
    /// By how much this machine's clock is ahead of the server's.
    skew: TimeDelta,
    /// Of the watch, when it was minted.
    pub(super) generation: u64,
}

impl Kept {
    /// `asked` is when it was asked for, `date` the server's time when it answered, `wall` this machine's.
    pub(super) fn new(
        minted: MintedGit,
        date: Option<Timestamp>,
        (asked, wall): (Moment, Timestamp),
        generation: u64,
    ) -> Self {
        let skew = date.map_or(TimeDelta::zero(), |date| wall - date);
        let lifetime = (minted.expires_at - date.unwrap_or(wall)).to_std().unwrap_or_default();
        Self {
            id: minted.id,
            username: minted.username,
            text: Arc::new(minted.secret),
            expires_at: minted.expires_at,
            got: asked,
            lifetime: lifetime.saturating_sub(if date.is_some() { DATE_RESOLUTION } else { Duration::ZERO }),
            least: if date.is_some() { LEAST_LEFT } else { LEAST_LEFT + UNKNOWN_SKEW },
            skew: if skew.abs() < NOTABLE_SKEW { TimeDelta::zero() } else { skew },
            generation,
        }
    }

    fn left(&self, now: Moment) -> Duration {
        self.lifetime.saturating_sub(now.since(self.got))
    }

    /// Whether it may be answered with.
    pub(super) fn lasts(&self, now: Moment) -> bool {
        self.left(now) >= self.least
    }

    /// Whether it came so long after it was asked for that it is good for nobody.
    pub(super) fn overslept(&self, now: Moment) -> bool {
        !self.lasts(now) && now.since(self.got) > MINT
    }

    /// Its text.
    pub(super) fn text(&self) -> SecretString {
        self.text.as_ref().clone()
    }

    /// When it ends by this machine's clock, which is the one that git looks at; `wall` is what it shows.
    pub(super) fn ends_here(&self, now: Moment, wall: Timestamp) -> Timestamp {
        let known = self.expires_at + self.skew;
        let measured = wall + TimeDelta::from_std(self.left(now)).unwrap_or_default();
        // Somebody may have set that clock since, as it happens when a machine wakes up.
        if (measured - known).abs() < NOTABLE_SKEW { known } else { measured }
    }

    fn wants_renewal(&self, now: Moment) -> bool {
        // A token that never lives much longer rests for a quarter of its life: it is good for nobody with less than a
        // minute left, and until that is looked at again some seconds pass.
        let below = RENEW_BELOW.max(self.lifetime / 5).min(self.lifetime / 4 * 3);
        // What has ended is made anew when somebody asks: after sleep nobody may.
        (Duration::from_nanos(1)..below).contains(&self.left(now))
    }
}

/// One place. Whoever comes while one asks the server waits for that one's token.
pub(super) struct Slot {
    pub(super) held: tokio::sync::Mutex<Option<Kept>>,
    used: Mutex<Option<Moment>>,
    renewing: AtomicBool,
    /// The token that git was refused with, until there is another.
    refused: Mutex<Option<TokenId>>,
}

impl Slot {
    fn new() -> Self {
        Self {
            held: tokio::sync::Mutex::default(),
            used: Mutex::default(),
            renewing: AtomicBool::new(false),
            refused: Mutex::default(),
        }
    }

    /// Notes that somebody asked.
    pub(super) fn touch(&self, now: Moment) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// The token that git was refused with: a server that still believes in it is not to hand it out again.
    pub(super) fn refused(&self) -> Option<TokenId> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another token into the place, which whoever asked has locked.
    pub(super) fn fill(&self, held: &mut Option<Kept>, minted: Kept) -> Kept {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        held.insert(minted).clone()
    }

    /// Empties the place: git was refused with what is in it.
    fn refuse(&self) -> bool {
        let Some(kept) = self.held.try_lock().ok().and_then(|mut held| held.take()) else { return false };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.id);
        true
    }

    /// The token in it, if nobody is busy with it.
    pub(super) fn peek(&self) -> Option<Kept> {
        self.held.try_lock().ok()?.clone()
    }

    /// The token that is to be renewed ahead of need, once: whoever gets it renews it, and says so with
    /// [`renewed`](Self::renewed).
    pub(super) fn due(&self, now: Moment) -> Option<TokenId> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.peek().filter(|kept| kept.wants_renewal(now))?;
        (used.is_some_and(|used| now.since(used) < LATELY) && !self.renewing.swap(true, Ordering::SeqCst))
            .then_some(kept.id)
    }

    pub(super) fn renewed(&self) {
        self.renewing.store(false, Ordering::SeqCst);
    }
}

/// Every place of one login.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Key, Arc<Slot>>>);

impl Tokens {
    /// The place for this; swept now and then.
    pub(super) fn slot(&self, key: &Key, now: Moment) -> Arc<Slot> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= SWEEP_ABOVE {
            slots.retain(|_, slot| {
                slot.held.try_lock().map_or(true, |held| held.as_ref().is_some_and(|kept| kept.lasts(now)))
            });
        }
        Arc::clone(slots.entry(key.clone()).or_insert_with(|| Arc::new(Slot::new())))
    }

    /// Those to be renewed ahead of need.
    pub(super) fn due(&self, now: Moment) -> Vec<(Key, Arc<Slot>, TokenId)> {
        let slots = self.lock();
        let due = slots.iter().filter_map(|(key, slot)| Some((key.clone(), Arc::clone(slot), slot.due(now)?)));
        due.collect()
    }

    /// Drops the token with this text, with which git was refused.
    pub(super) fn drop_text(&self, text: &str) -> bool {
        let matching = |slot: &&Arc<Slot>| slot.peek().is_some_and(|kept| kept.text.expose_secret() == text);
        let slots = self.lock();
        slots.values().find(matching).is_some_and(|slot| slot.refuse())
    }

    /// How many could be answered with.
    pub(super) fn count(&self, now: Moment) -> usize {
        self.lock().values().filter(|slot| slot.peek().is_some_and(|kept| kept.lasts(now))).count()
    }

    /// Drops all; says how many could have been answered with.
    pub(super) fn clear(&self, now: Moment) -> usize {
        let count = self.count(now);
        self.lock().clear();
        count
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn wall() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn kept(seconds: i64, ahead: Option<i64>) -> Kept {
        let minted = MintedGit {
            secret: "tokgit_x".into(),
            id: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().unwrap(),
            expires_at: wall() - TimeDelta::seconds(ahead.unwrap_or(0)) + TimeDelta::seconds(seconds),
            username: "ann".to_owned(),
        };
        let date = ahead.map(|ahead| wall() - TimeDelta::seconds(ahead));
        Kept::new(minted, date, (Moment::now(), wall()), 0)
    }

    fn later(kept: &Kept, seconds: u64) -> Moment {
        kept.got.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_minute_is_left_whatever_the_clocks_say() {
        for ahead in [-7200, -30, 0, 30, 7200] {
            let kept = kept(900, Some(ahead));
            assert!(kept.lasts(later(&kept, 838)), "{ahead}");
            assert!(!kept.lasts(later(&kept, 840)), "{ahead}");
            let here = (kept.ends_here(kept.got, wall()) - wall()).num_seconds();
            assert!((895..=930).contains(&here), "git sees {here} s with a clock that is {ahead} s ahead");
        }
        let unknown = kept(900, None);
        assert!(unknown.lasts(later(&unknown, 810)) && !unknown.lasts(later(&unknown, 811)));
    }

    #[test]
    fn a_clock_that_is_set_and_a_machine_that_sleeps_change_nothing() {
        for ahead in [None, Some(0), Some(-600)] {
            let kept = kept(900, ahead);
            let left = |slept: u64, set: i64| {
                let wall = wall() + TimeDelta::seconds(i64::try_from(slept).unwrap() + set);
                (kept.ends_here(later(&kept, slept), wall) - wall).num_seconds()
            };
            for set in [-7200, -60, 0, 60, 7200] {
                assert!((695..=701).contains(&left(200, set)), "{ahead:?}: the clock was set by {set} s");
            }
            // The lid was shut for an hour: whatever the clocks say now, it has ended.
            assert!(!kept.lasts(later(&kept, 3600)) && left(3600, -3600) <= 0, "{ahead:?}");
        }
        // A second more or less is no reason to answer differently.
        let kept = kept(900, Some(0));
        let ends = [0, 1, 2].map(|drift| kept.ends_here(later(&kept, 100), wall() + TimeDelta::seconds(99 + drift)));
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    }

    #[test]
    fn what_is_used_is_renewed_ahead_of_need_and_once() {
        let tokens = Tokens::default();
        let key: Key = ("acme/app".parse().unwrap(), Permission::Read);
        let token = kept(900, Some(0));
        let slot = tokens.slot(&key, token.got);
        *slot.held.try_lock().unwrap() = Some(token.clone());
        assert!(tokens.due(later(&token, 800)).is_empty(), "nobody asked for it");
        slot.touch(later(&token, 700));
        assert!(tokens.due(later(&token, 700)).is_empty(), "it is good for a while");
        assert_eq!(tokens.due(later(&token, 725)).len(), 1);
        assert!(tokens.due(later(&token, 726)).is_empty(), "somebody renews it already");
        slot.renewed();
        assert_eq!(tokens.due(later(&token, 727)).len(), 1);
        let short = kept(120, Some(0));
        assert!(!short.wants_renewal(later(&short, 10)));
        assert!(short.wants_renewal(later(&short, 45)) && short.lasts(later(&short, 45)), "while it is still good");
    }

    #[test]
    fn an_erase_drops_the_token_with_that_text_alone() {
        let tokens = Tokens::default();
        let kept = kept(900, Some(0));
        let slot = tokens.slot(&("acme/app".parse().unwrap(), Permission::Read), kept.got);
        *slot.held.try_lock().unwrap() = Some(kept.clone());
        assert!(!tokens.drop_text("tokgit_y"));
        assert_eq!(tokens.count(later(&kept, 1)), 1);
        assert_eq!(slot.refused(), None);
        assert!(tokens.drop_text("tokgit_x"));
        assert_eq!(tokens.count(later(&kept, 1)), 0);
        assert_eq!(slot.refused(), Some(kept.id), "and it is not asked for again");
        slot.fill(&mut slot.held.try_lock().unwrap(), kept);
        assert_eq!(slot.refused(), None);
    }
}
