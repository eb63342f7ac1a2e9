//! Trust rules, the identity tokens that were exchanged under them, and the IDs that names had.

mod exchange;
mod row;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use tok_model::decide::{Need, Permit};
use tok_model::id::{TokenId, TrustId};
use tok_model::name::TrustName;
use tok_model::trust::{Pin, TrustRule};
use uuid::Uuid;

pub use exchange::{Burnt, Exchanged, exchange};

use crate::error::StoreError;
use crate::schema::{trust_pins, trust_uses, trusts, workspaces};
use crate::tx::{ReadTx, WriteTx, exactly};
use row::TrustRow;

/// A trust rule as lists show it: its texts as they are kept, whether or not this version can read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Its ID.
    pub id: TrustId,
    /// What people call it.
    pub name: String,
    /// Which system signs.
    pub system: String,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    /// What the other claims have to say, each `name=pattern`.
    pub claims: Vec<String>,
    /// By which algorithms an identity token may be signed.
    pub algorithms: Vec<String>,
    /// Whether certificates of its own are trusted for the issuer.
    pub own_ca: bool,
    /// The workspace that the tokens act for, by its name.
    pub workspace: String,
    /// Patterns of the names of its repositories.
    pub repos: Vec<String>,
    /// At most what.
    pub permission: String,
    /// How long a token lives, in seconds.
    pub lifetime_seconds: i64,
    /// How old an identity token may be, in seconds.
    pub max_age_seconds: i64,
    /// How often one identity token may be exchanged.
    pub once: String,
    /// Whether a name that passed to somebody else is let in.
    pub allow_recycled_names: bool,
    /// What identity tokens are judged by; else why this version cannot read it, and then it lets nobody in.
    pub rule: Result<TrustRule, String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// By whom, as the audit trail calls them.
    pub created_by: String,
    /// When something was last exchanged under it.
    pub last_used_at: Option<DateTime<Utc>>,
    /// How many identity tokens were.
    pub uses: i64,
    /// Which ID each name had when it was first let in. Left out by lists.
    pub pins: Vec<Pin>,
}

fn managing(permit: &Permit, what: &'static str) -> Result<(), StoreError> {
    if *permit.need() == Need::Server { Ok(()) } else { Err(StoreError::Permit(what)) }
}

/// Makes a rule. A conflict if there is one of that name, or its workspace is not there any more.
pub fn add(tx: &mut WriteTx<'_>, permit: &Permit, rule: &TrustRule) -> Result<Trust, StoreError> {
    managing(permit, "making a trust rule")?;
    let there: Option<Uuid> = workspaces::table
        .find(rule.workspace.as_uuid())
        .filter(workspaces::deleted_at.is_null())
        .select(workspaces::id)
        .for_share()
        .first(tx.connection())
        .optional()?;
    if there.is_none() {
        return Err(StoreError::Conflict { what: "the workspace of the rule was just deleted".to_owned() });
    }
    let row = TrustRow::new(rule, &permit.actor().describe(), permit.at());
    let written = diesel::insert_into(trusts::table).values(&row).execute(tx.connection())?;
    exactly(1, written, "the trust rule was not written")?;
    show(tx, permit, &rule.name)
}

/// Every rule, by name. One that cannot be read is there and [says so](Trust::rule).
pub fn list(tx: &mut ReadTx<'_>, permit: &Permit) -> Result<Vec<Trust>, StoreError> {
    managing(permit, "listing trust rules")?;
    let rows: Vec<(TrustRow, String)> = living().order(crate::lower(trusts::name)).load(tx.connection())?;
    Ok(rows.into_iter().map(|(row, workspace)| row.into_trust(workspace)).collect())
}

/// One rule, by its name in whatever case, else by its ID, with its pins. The ID is for names that cannot be typed, as
/// another version might write them.
pub fn show(tx: &mut ReadTx<'_>, permit: &Permit, name: &TrustName) -> Result<Trust, StoreError> {
    managing(permit, "showing a trust rule")?;
    let mut row: Option<(TrustRow, String)> = living()
        .filter(crate::lower(trusts::name).eq(name.as_str().to_ascii_lowercase()))
        .first(tx.connection())
        .optional()?;
    if let (None, Ok(id)) = (&row, name.as_str().parse::<Uuid>()) {
        row = living().filter(trusts::id.eq(id)).first(tx.connection()).optional()?;
    }
    let (row, workspace) = row.ok_or_else(|| StoreError::NotFound {
        what: format!("no trust rule is named {name}"),
        look: "`tok trust list` shows the rules".to_owned(),
    })?;
    let mut trust = row.into_trust(workspace);
    trust.pins = pins(tx, trust.id.as_uuid())?;
    Ok(trust)
}

/// Removes a rule, and ends what was minted under it. What was exchanged stays burnt. Returns the tokens with their shown
/// prefixes.
pub fn remove(
    tx: &mut WriteTx<'_>,
    permit: &Permit,
    name: &TrustName,
) -> Result<(Trust, Vec<(TokenId, String)>), StoreError> {
    let trust = show(tx, permit, name)?;
    let id = trust.id.as_uuid();
    // The rule first: whoever exchanges holds it until their token is there to be ended.
    let held: Option<Uuid> =
        trusts::table.find(id).select(trusts::id).for_update().first(tx.connection()).optional()?;
    if held.is_none() {
        return Err(StoreError::Conflict { what: "somebody else removed it".to_owned() });
    }
    delete_rules(tx, &[id])?;
    let minted = trust_uses::table
        .filter(trust_uses::trust_id.eq(id))
        .filter(trust_uses::until.gt(permit.at()))
        .select(trust_uses::token_id)
        .load(tx.connection())?;
    let reason = format!("the trust rule {} was removed", trust.name);
    let ended = crate::tokens::end_these(tx, minted, &permit.actor().describe(), &reason, permit.at())?;
    Ok((trust, ended))
}

/// Deletes the rules of a workspace that goes.
pub(crate) fn delete_of(tx: &mut WriteTx<'_>, workspace: Uuid) -> Result<(), StoreError> {
    let rules: Vec<Uuid> = trusts::table
        .filter(trusts::workspace_id.eq(workspace))
        .order(trusts::id)
        .select(trusts::id)
        .for_update()
        .load(tx.connection())?;
    delete_rules(tx, &rules)
}

fn delete_rules(tx: &mut WriteTx<'_>, ids: &[Uuid]) -> Result<(), StoreError> {
    diesel::delete(trust_pins::table.filter(trust_pins::trust_id.eq_any(ids))).execute(tx.connection())?;
    diesel::delete(trusts::table.filter(trusts::id.eq_any(ids))).execute(tx.connection())?;
    Ok(())
}

/// The rules that believe this issuer, those that cannot be read among them: they hide no others. Says nothing to anybody
/// by itself: an identity token is judged by them.
pub fn of_issuer(tx: &mut ReadTx<'_>, issuer: &str) -> Result<Vec<Trust>, StoreError> {
    let rows: Vec<(TrustRow, String)> =
        living().filter(trusts::issuer.eq(issuer)).order(crate::lower(trusts::name)).load(tx.connection())?;
    Ok(rows.into_iter().map(|(row, workspace)| row.into_trust(workspace)).collect())
}

fn pins(tx: &mut ReadTx<'_>, trust: Uuid) -> Result<Vec<Pin>, StoreError> {
    let rows: Vec<(String, String, String, String)> = trust_pins::table
        .filter(trust_pins::trust_id.eq(trust))
        .order((trust_pins::claim, trust_pins::name))
        .select((trust_pins::claim, trust_pins::name, trust_pins::id_claim, trust_pins::pinned))
        .load(tx.connection())?;
    Ok(rows.into_iter().map(|(claim, name, id_claim, id)| Pin { claim, name, id_claim, id }).collect())
}

/// The rules whose workspace exists, with its name.
#[diesel::dsl::auto_type]
fn living() -> _ {
    let row: diesel::dsl::AsSelect<TrustRow, diesel::pg::Pg> = TrustRow::as_select();
    trusts::table
        .inner_join(workspaces::table.on(trusts::workspace_id.eq(workspaces::id)))
        .filter(workspaces::deleted_at.is_null())
        .select((row, workspaces::name))
}
