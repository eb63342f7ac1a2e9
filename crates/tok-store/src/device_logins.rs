//! Logins that wait to be approved in a browser (RFC 8628). Codes are here as digests only, and each login gives one session.

use std::net::{IpAddr, Ipv6Addr};

use chrono::TimeDelta;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::decide::{Need, Permit};
use tok_model::grant::Grant;
use tok_model::id::{DeviceLoginId, UserId};
use tok_model::secret::Digest;
use tok_model::token::Owner;
use uuid::Uuid;

use crate::error::StoreError;
use crate::pool::Store;
use crate::schema::{device_logins, tokens, users};
use crate::tx::{ReadTx, WriteTx, exactly};

/// How long a login that ended is still known to have been one: who asks late is told that it ran out.
const KEPT: TimeDelta = TimeDelta::hours(1);

/// A login that is asked for.
#[derive(Debug, Clone)]
pub struct NewDeviceLogin {
    /// Its ID.
    pub id: DeviceLoginId,
    /// Of the code that the device keeps to itself.
    pub device: Digest,
    /// Of the code that its user types.
    pub user: Digest,
    /// What the machine calls itself.
    pub machine: String,
    /// What the program calls itself.
    pub client: String,
    /// When both codes are no good any more.
    pub expires_at: Timestamp,
}

/// How far a login has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has said anything yet.
    Pending,
    /// This user lets it in.
    Approved(UserId),
    /// Somebody said no.
    Denied,
    /// It has given its session.
    Redeemed,
}

/// A login as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLogin {
    /// Its ID.
    pub id: DeviceLoginId,
    /// What the machine calls itself.
    pub machine: String,
    /// What the program calls itself.
    pub client: String,
    /// The network address that it was asked for from.
    pub address: Option<String>,
    /// The program's own words, as in its user agent.
    pub agent: Option<String>,
    /// How far it has come.
    pub progress: Progress,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it is no good any more.
    pub expires_at: Timestamp,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = device_logins, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    machine: String,
    client: String,
    address: Option<String>,
    agent: Option<String>,
    state: String,
    user_id: Option<Uuid>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Row {
    fn into_login(self) -> Result<DeviceLogin, StoreError> {
        let progress = match (self.state.as_str(), self.user_id) {
            ("pending", None) => Progress::Pending,
            ("approved", Some(user)) => Progress::Approved(UserId::from_uuid(user)),
            ("denied", Some(_)) => Progress::Denied,
            ("redeemed", Some(_)) => Progress::Redeemed,
            (other, _) => {
                let (table, id, why) = ("device_logins", self.id.to_string(), format!("its state is {other:?}"));
                return Err(StoreError::Corrupt { table, id, why });
            }
        };
        Ok(DeviceLogin {
            id: DeviceLoginId::from_uuid(self.id),
            machine: self.machine,
            client: self.client,
            address: self.address,
            agent: self.agent,
            progress,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// The most logins that wait to be approved.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Of those that were asked for from one address.
    pub address: i64,
    /// Of those that were asked for from one network: who has a whole one to call from fills no more than this.
    pub network: i64,
    /// In all.
    pub all: i64,
}

/// What became of a login that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It waits to be approved.
    Waits,
    /// It was not written: too many wait that were asked for from the same address.
    AddressFull,
    /// It was not written: too many wait that were asked for from the same network.
    NetworkFull,
    /// It was not written: too many wait.
    Full,
}

/// Writes down a login that is asked for, if there is room for it.
pub fn begin(tx: &mut WriteTx<'_>, permit: &Permit, new: NewDeviceLogin, most: Most) -> Result<Begun, StoreError> {
    if *permit.need() != Need::BeginLogin {
        return Err(StoreError::Permit("beginning a login"));
    }
    let waiting = || {
        let undecided = device_logins::table.filter(device_logins::state.eq("pending"));
        undecided.filter(device_logins::expires_at.gt(permit.at())).count()
    };
    if let Some(address) = permit.actor().source.address {
        let same = address.to_canonical().to_string();
        if waiting().filter(device_logins::address.eq(same)).get_result::<i64>(tx.connection())? >= most.address {
            return Ok(Begun::AddressFull);
        }
        let within = sql::<Bool>("address::inet <<= ").bind::<Text, _>(network(address)).sql("::inet");
        if waiting().filter(within).get_result::<i64>(tx.connection())? >= most.network {
            return Ok(Begun::NetworkFull);
        }
    }
    if waiting().get_result::<i64>(tx.connection())? >= most.all {
        return Ok(Begun::Full);
    }
    let source = &permit.actor().source;
    let written = diesel::insert_into(device_logins::table)
        .values((
            device_logins::id.eq(new.id.as_uuid()),
            device_logins::device_digest.eq(new.device.as_bytes().to_vec()),
            device_logins::user_digest.eq(new.user.as_bytes().to_vec()),
            device_logins::machine.eq(new.machine),
            device_logins::client.eq(new.client),
            device_logins::address.eq(source.address.map(|address| address.to_canonical().to_string())),
            device_logins::agent.eq(&source.agent),
            device_logins::state.eq("pending"),
            device_logins::created_at.eq(permit.at()),
            device_logins::expires_at.eq(new.expires_at),
        ))
        .execute(tx.connection())?;
    exactly(1, written, "the login was not written")?;
    Ok(Begun::Waits)
}

/// The network that an address is one of many of, as one customer of a provider has them: a /24, or with IPv6 a /48.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Refuses what a user approved and no device has come for yet: they were shut out since, or what they proved themselves
/// with is theirs no more.
pub(crate) fn take_back(tx: &mut WriteTx<'_>, user: UserId) -> Result<(), StoreError> {
    let approved = device_logins::table.filter(device_logins::user_id.eq(user.as_uuid()));
    let approved = approved.filter(device_logins::state.eq("approved"));
    diesel::update(approved).set(device_logins::state.eq("denied")).execute(tx.connection())?;
    Ok(())
}

/// The login that a device asks about, by the digests of its code under each pepper. One that was approved before
/// everything of its user was cut off is shown as denied, and one whose approver's session has been ended: the approval
/// ended with it.
pub fn by_device(tx: &mut ReadTx<'_>, digests: &[Digest]) -> Result<Option<DeviceLogin>, StoreError> {
    let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest.as_bytes()[..]).collect();
    let row: Option<(Row, Decision)> = device_logins::table
        .left_join(users::table.on(device_logins::user_id.eq(users::id.nullable())))
        .filter(device_logins::device_digest.eq_any(digests))
        .select((
            Row::as_select(),
            (device_logins::decided_at, users::cutoff_before.nullable(), device_logins::approved_through),
        ))
        .first(tx.connection())
        .optional()?;
    let Some((row, (decided_at, cut_off, through))) = row else { return Ok(None) };
    let login = row.into_login()?;
    let cut = matches!((decided_at, cut_off), (Some(decided), Some(before)) if decided < before);
    let ended = cut || !stands(tx, through)?;
    Ok(Some(match login.progress {
        Progress::Approved(_) if ended => DeviceLogin { progress: Progress::Denied, ..login },
        _ => login,
    }))
}

/// When somebody decided, when everything of theirs was cut off, and by which session they decided.
type Decision = (Option<Timestamp>, Option<Timestamp>, Option<Uuid>);

/// Whether nobody has ended the session that was approved by; without one, the approval stands by itself. Who says yes and
/// signs out means both.
fn stands(tx: &mut ReadTx<'_>, through: Option<Uuid>) -> Result<bool, StoreError> {
    let Some(session) = through else { return Ok(true) };
    let ended: Option<(Option<Timestamp>, Option<Uuid>)> = tokens::table
        .find(session)
        .select((tokens::revoked_at, tokens::revoked_by_token_id))
        .first(tx.connection())
        .optional()?;
    Ok(ended.is_some_and(|(at, by)| at.is_none() || by == Some(session)))
}

/// The login that somebody may approve, by the digests of what they typed under each pepper.
pub fn by_user_code(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    digests: &[Digest],
) -> Result<Option<DeviceLogin>, StoreError> {
    if *permit.need() != Need::ApproveLogin {
        return Err(StoreError::Permit("looking at a login"));
    }
    let digests: Vec<&[u8]> = digests.iter().map(|digest| &digest.as_bytes()[..]).collect();
    found(
        device_logins::table
            .filter(device_logins::user_digest.eq_any(digests))
            .select(Row::as_select())
            .first(tx.connection()),
    )
}

fn found(row: QueryResult<Row>) -> Result<Option<DeviceLogin>, StoreError> {
    row.optional()?.map(Row::into_login).transpose()
}

/// Lets a device log in as whoever the permit is for, or refuses it. A conflict if it was decided already, or ran out.
/// `false` if the session that decides is no browser's, or is its browser's no more: a new password takes it away.
pub fn settle(tx: &mut WriteTx<'_>, permit: &Permit, id: DeviceLoginId, approved: bool) -> Result<bool, StoreError> {
    let (Need::ApproveLogin, Some((user, _))) = (permit.need(), &permit.actor().user) else {
        return Err(StoreError::Permit("approving a login"));
    };
    let session = permit.actor().token.ok_or(StoreError::Permit("approving a login without a session"))?;
    if !crate::tokens::stays_in_browser(tx, session)? {
        return Ok(false);
    }
    let waiting = device_logins::table
        .find(id.as_uuid())
        .filter(device_logins::state.eq("pending"))
        .filter(device_logins::expires_at.gt(permit.at()));
    let settled = diesel::update(waiting)
        .set((
            device_logins::state.eq(if approved { "approved" } else { "denied" }),
            device_logins::user_id.eq(user.as_uuid()),
            device_logins::decided_at.eq(permit.at()),
            device_logins::approved_through.eq(session.as_uuid()),
        ))
        .execute(tx.connection())?;
    exactly(1, settled, "this login was answered already, or ran out")?;
    Ok(true)
}

/// Takes the one session that a login gives: it was approved by the user for whom the permit makes it, nobody has taken it
/// yet, no cut-off of the user's has come since, and the session that approved it was not ended. `false` if there is none to
/// take.
pub fn redeem(tx: &mut WriteTx<'_>, permit: &Permit, id: DeviceLoginId) -> Result<bool, StoreError> {
    let owner = match permit.need() {
        Need::Mint(request) if request.grant == Grant::Session => request.owner,
        _ => return Err(StoreError::Permit("redeeming a login")),
    };
    let Owner::User(user) = owner else { return Err(StoreError::Permit("redeeming a login for a workspace")) };
    // Held, so that whoever cuts the user off now finds the session that this makes.
    let cut_off: Option<Timestamp> = users::table
        .find(user.as_uuid())
        .select(users::cutoff_before)
        .for_key_share()
        .first::<Option<Timestamp>>(tx.connection())
        .optional()?
        .flatten();
    let through: Option<Option<Uuid>> = device_logins::table
        .find(id.as_uuid())
        .select(device_logins::approved_through)
        .first(tx.connection())
        .optional()?;
    if !stands(tx, through.flatten())? {
        return Ok(false);
    }
    let approved = device_logins::table
        .find(id.as_uuid())
        .filter(device_logins::state.eq("approved"))
        .filter(device_logins::user_id.eq(user.as_uuid()))
        .filter(device_logins::decided_at.ge(cut_off.unwrap_or(Timestamp::UNIX_EPOCH)))
        .filter(device_logins::expires_at.gt(permit.at()));
    let taken = diesel::update(approved).set(device_logins::state.eq("redeemed")).execute(tx.connection())?;
    Ok(taken == 1)
}

/// Removes logins that ended a while ago. Returns how many went.
pub fn purge(store: &Store, now: Timestamp) -> Result<usize, StoreError> {
    store.write(|mut tx| {
        let ended = device_logins::table.filter(device_logins::expires_at.lt(now - KEPT));
        let gone = diesel::delete(ended).execute(tx.connection())?;
        if gone > 0 {
            let words = format!("{gone} requests of devices to be logged in that ended long ago were removed");
            tx.commit(AuditEvent::done(Action::TokenPurge, Actor::daemon()).detail(words), now)?;
        }
        Ok(gone)
    })
}
