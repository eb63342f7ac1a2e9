//! Logging in on a device by saying yes in a browser (RFC 8628).

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use moka::ops::compute::Op;
use moka::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{DeviceLogin, OpenedSession};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::decide::{Caller, Need, Refusal, Rule, UserNow};
use tok_model::id::{DeviceLoginId, UserId};
use tok_model::secret::{DeviceCode, Digest, Pepper, UserCode};
use tok_store::StoreError;
use tok_store::device_logins::{Begun, DeviceLogin as Waiting, Most, NewDeviceLogin, Progress};

use super::password::throttled;
use super::{Opening, login_name, machine};
use crate::failures::Failures;
use crate::fault::IntoFault as _;
use crate::service::{Service, rng};

/// How long somebody has to approve.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Between two polls, at first; and what each that comes too soon adds (RFC 8628, section 3.5).
const INTERVAL: Duration = Duration::from_secs(5);
/// No longer than this, however often it was asked too soon.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);
/// A poll that comes so much too soon was on its way faster than the one before, and is in time.
const LEEWAY: Duration = Duration::from_millis(500);
/// The most characters of a name that is given; the longest that a host can have.
const LONGEST_GIVEN: usize = 253;
/// The most logins begun from one source in a minute.
const MOST_BEGUN: u32 = 30;
/// The most that wait to be approved. One address, of many people perhaps, does not fill its network's room.
const MOST_WAITING: Most = Most { address: 30, network: 300, all: 10_000 };

/// What is remembered of logins that wait, besides what the store has.
pub struct DeviceLogins {
    begun: Failures,
    /// How often each device may ask.
    paces: Cache<Digest, Pace>,
}

#[derive(Clone, Copy)]
struct Pace {
    interval: Duration,
    last: Instant,
}

impl Default for DeviceLogins {
    fn default() -> Self {
        Self {
            begun: Failures::new(std::num::NonZeroU32::new(MOST_BEGUN)),
            paces: Cache::builder().max_capacity(2 * MOST_WAITING.all.unsigned_abs()).time_to_idle(LIFETIME).build(),
        }
    }
}

impl DeviceLogins {
    /// Notes a poll for a login that waits. Did it come too soon?
    fn too_soon(&self, device: Digest, now: Instant) -> bool {
        let mut early = false;
        self.paces.entry(device).and_compute_with(|entry| {
            let interval = entry.map_or(INTERVAL, |entry| {
                let pace = entry.into_value();
                early = now.saturating_duration_since(pace.last) + LEEWAY < pace.interval;
                if early { (pace.interval + INTERVAL).min(LONGEST_INTERVAL) } else { pace.interval }
            });
            Op::Put(Pace { interval, last: now })
        });
        early
    }
}

impl Service {
    /// Begins a login that somebody approves in a browser.
    pub async fn start_device(&self, source: Source, named: &str, client: &str) -> Result<DeviceLogin, Fault> {
        for (field, text) in [("machine", named), ("client_id", client)] {
            if text.chars().count() > LONGEST_GIVEN {
                return Err(Fault::field(field, format!("at most {LONGEST_GIVEN} characters, please")));
            }
        }
        if let Some(wait) = self.device_logins.begun.note(&source, Instant::now()) {
            return Err(Fault {
                retry_after: Some(wait),
                ..Fault::new(FaultCode::RateLimited, "too many logins were begun from this address")
            }
            .hint(format!("wait {wait} s, and begin again")));
        }
        let permit = self.permit(&Caller::anonymous(source), Need::BeginLogin)?;
        let (device, user) = (DeviceCode::mint(&mut rng()), UserCode::mint(&mut rng()));
        let pepper = self.peppers.current();
        let new = NewDeviceLogin {
            id: DeviceLoginId::random(&mut rng()),
            device: device.digest(pepper),
            user: user.digest(pepper),
            machine: machine(named),
            client: machine(client),
            expires_at: permit.at() + TimeDelta::from_std(LIFETIME).unwrap_or_default(),
        };
        let event = AuditEvent::done(Action::SessionAsk, permit.actor().clone()).detail(format!("on {}", new.machine));
        let begun = self
            .run(move |store| {
                store.write(|mut tx| {
                    let begun = tok_store::device_logins::begin(&mut tx, &permit, new, MOST_WAITING)?;
                    if begun == Begun::Waits {
                        tx.commit(event, permit.at())?;
                    }
                    Ok(begun)
                })
            })
            .await?;
        match begun {
            Begun::Waits => {}
            Begun::AddressFull => return Err(no_room(FaultCode::RateLimited, "from this address ")),
            Begun::NetworkFull => return Err(no_room(FaultCode::RateLimited, "from this network ")),
            Begun::Full => return Err(no_room(FaultCode::Busy, "")),
        }
        let page = format!("{}/device", self.place.public_url);
        Ok(DeviceLogin {
            device_code: SecretString::from(device.reveal()),
            verification_uri_complete: format!("{page}?user_code={}", user.shown()),
            user_code: user.shown(),
            verification_uri: page,
            expires_in: LIFETIME,
            interval: INTERVAL,
        })
    }

    /// Asks whether a login was approved; opens its session if so, once.
    pub async fn poll_device(&self, source: Source, code: &SecretString) -> Result<OpenedSession, Fault> {
        // As hard to guess as a token, so nobody has to wait here for what others tried; only a flood is slowed down.
        let Some(code) = DeviceCode::parse(code.expose_secret()) else { return Err(no_such_code()) };
        let digests: Vec<Digest> = self.peppers.every().map(|pepper: &Pepper| code.digest(pepper)).collect();
        let Some(login) =
            self.run(move |store| store.read(|tx| tok_store::device_logins::by_device(tx, &digests))).await?
        else {
            let wait = self.failures.note(&source, Instant::now());
            return Err(wait.map_or_else(no_such_code, throttled));
        };
        match login.progress {
            Progress::Redeemed => Err(redeemed()),
            Progress::Denied => Err(denied("the login was refused")),
            _ if login.expires_at <= self.now() => Err(ran_out()),
            Progress::Pending if self.device_logins.too_soon(code.digest(self.peppers.current()), Instant::now()) => {
                Err(Fault::new(FaultCode::SlowDown, "nobody has approved the login yet, and this was asked too soon")
                    .hint("wait five seconds longer between two polls"))
            }
            Progress::Pending => Err(Fault::new(FaultCode::AuthorizationPending, "nobody has approved the login yet")
                .hint("ask again after the interval")),
            Progress::Approved(user) => self.redeem(source, &login, user).await,
        }
    }

    async fn redeem(&self, source: Source, login: &Waiting, user: UserId) -> Result<OpenedSession, Fault> {
        let user = self.run(move |store| store.read(|tx| tok_store::users::now(tx, user))).await?;
        let user: UserNow = user
            .filter(|user| user.enabled)
            .ok_or_else(|| denied("whoever approved the login may not log in any more"))?;
        let name = login_name(&user, &login.machine);
        let opening = Opening { login: Some(login.id), ..Opening::named(name) };
        self.open(user, opening, source).await?.ok_or_else(redeemed)
    }

    /// The login that somebody typed the code of, to be looked at before it is approved; nothing if there is none that
    /// still waits. Codes can be guessed, so wrong ones are counted.
    pub async fn device_login(&self, caller: &Caller, typed: &str) -> Result<Option<Waiting>, Fault> {
        let permit = self.permit(caller, Need::ApproveLogin)?;
        self.has_a_try_left(&caller.source)?;
        let found = match UserCode::parse(typed) {
            None => None,
            Some(code) => {
                let digests: Vec<Digest> = self.peppers.every().map(|pepper: &Pepper| code.digest(pepper)).collect();
                let find =
                    move |tx: &mut tok_store::ReadTx<'_>| tok_store::device_logins::by_user_code(tx, &permit, &digests);
                self.run(move |store| store.read(find)).await?
            }
        };
        let found = found.filter(|login| login.progress == Progress::Pending && login.expires_at > self.now());
        if found.is_none()
            && let Some(wait) = self.failures.note(&caller.source, Instant::now())
        {
            return Err(throttled(wait));
        }
        Ok(found)
    }

    /// Lets a device log in as the caller, or refuses it. Says which login it was; nothing if none waits any more.
    pub async fn settle_device(&self, caller: &Caller, typed: &str, approved: bool) -> Result<Option<Waiting>, Fault> {
        let Some(login) = self.device_login(caller, typed).await? else { return Ok(None) };
        let permit = self.permit(caller, Need::ApproveLogin)?;
        let action = if approved { Action::SessionApprove } else { Action::SessionDeny };
        let from = login.address.as_deref().unwrap_or("this machine");
        let event =
            AuditEvent::done(action, permit.actor().clone()).detail(format!("on {} from {from}", login.machine));
        let id = login.id;
        let settled = self
            .executor
            .run(move |store| {
                store.write(|mut tx| {
                    let settled = tok_store::device_logins::settle(&mut tx, &permit, id, approved)?;
                    if settled {
                        tx.commit(event, permit.at())?;
                    }
                    Ok(settled)
                })
            })
            .await;
        match settled {
            Ok(true) => Ok(Some(login)),
            // Somebody set another password since the caller was looked up.
            Ok(false) => Err(Refusal::from(Rule::StaleLogin).into_fault()),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into_fault()),
        }
    }
}

/// So many wait that one more would be one too many.
fn no_room(code: FaultCode, from: &str) -> Fault {
    let message = format!("too many logins that were begun {from}wait to be approved");
    Fault { retry_after: Some(60), ..Fault::new(code, message) }.hint(
        "try again in a minute, or log in with a password or a token: tok login --user NAME, tok login --with-token",
    )
}

fn no_such_code() -> Fault {
    Fault::field("device_code", "this device code is none of ours").hint("begin again: tok login")
}

fn redeemed() -> Fault {
    Fault::field("device_code", "this device code has given its session already").hint("begin again: tok login")
}

fn denied(why: &str) -> Fault {
    Fault::new(FaultCode::AccessDenied, why).hint("begin again: tok login")
}

fn ran_out() -> Fault {
    Fault::new(FaultCode::ExpiredToken, "nobody approved the login in time").hint("begin again: tok login")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_soon_waits_longer_each_time() {
        let (logins, start) = (DeviceLogins::default(), Instant::now());
        let device = Digest::from_bytes([7; 32]);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for (seconds, early) in [(0, false), (5, false), (6, true), (15, true), (30, false), (45, false), (55, true)] {
            assert_eq!(logins.too_soon(device, at(seconds)), early, "{seconds}");
        }
        // Another device is no slower for it, and none waits for ever.
        assert!(!logins.too_soon(Digest::from_bytes([8; 32]), at(55)));
        for _ in 0..100 {
            logins.too_soon(device, at(56));
        }
        assert!(!logins.too_soon(device, at(56 + LONGEST_INTERVAL.as_secs())));
    }
}
