//! Making tokens.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tok_api::convert::{CreatedToken, NewToken, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::{Expiry, Lifetime, Timestamp};
use tok_model::decide::{Caller, MintRequest, Need, OwnerNow, Permit, Refusal, Rule};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::name::WorkspaceName;
use tok_model::secret::Plaintext;
use tok_model::token::{Owner, Token};
use tok_store::tokens::{Key, Mint, NewToken as NewRow};
use tok_store::{StoreError, WriteTx};

use super::idempotency::claimed;
use crate::fault::IntoFault;
use crate::service::{Service, rng};

impl Service {
    /// Makes a token; the answer is the only place where its text ever appears.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<CreatedToken, Fault> {
        let now = self.now();
        let key = new.idempotency_key.as_ref().map(|key| self.key(caller, key, &asked_for(&new)));
        let owner = self.owner_for(caller, &new.grant).await?;
        let expires_at = self.expiry(caller, new.expires, now)?;
        let request = MintRequest { owner, grant: new.grant, expires_at, allow_from: new.allow_from };
        let permit = self.permit(caller, Need::Mint(request))?;
        let text = Plaintext::mint(kind_of(&permit), &mut rng());
        let pepper = self.peppers.current();
        let row = NewRow {
            id: TokenId::random(&mut rng()),
            digest: text.digest(pepper),
            pepper: pepper.id(),
            shown_prefix: text.shown_prefix(),
            name: new.name,
            description: new.description,
            labels: new.labels,
            max_uses: new.max_uses,
            parent: caller.token().map(|token| token.id),
            local_uid: None,
        };
        let token = match key {
            Some(key) => self.run(move |store| store.write(|tx| make(tx, &permit, row, &key))).await??,
            None => {
                let event = created(&permit, &row);
                self.mint(Mint { permit, new: row, event }).await?
            }
        };
        Ok(CreatedToken { secret: SecretString::from(text.reveal()), token: TokenRecord::of(&token, now) })
    }

    /// For whom a token with this grant shall act.
    pub(super) async fn owner_for(&self, caller: &Caller, grant: &Grant) -> Result<Owner, Fault> {
        // Who is nobody here is told that, before anything about tokens.
        self.permit(caller, Need::Identity)?;
        let workspace = match grant {
            Grant::Workspace { workspace, .. } | Grant::Repo { workspace, .. } => workspace.clone(),
            Grant::Personal { .. } | Grant::Session | Grant::Git { .. } => {
                let nobody = || {
                    Fault::new(FaultCode::InvalidArgument, "a personal token acts for a user, and you are none here")
                        .hint("say for whom with --as <user> (or TOK_USER); `tok user list` shows the users")
                };
                return match &caller.owner {
                    OwnerNow::Nobody => Err(nobody()),
                    _ => caller.owner_id().ok_or_else(nobody),
                };
            }
        };
        self.workspace_owner(caller, Some(workspace)).await
    }

    /// A workspace as an owner of tokens, for somebody who may see it. Asked before it is looked up, so that nobody
    /// learns of a workspace by trying.
    pub(super) async fn workspace_owner(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceName>,
    ) -> Result<Owner, Fault> {
        let workspace = workspace.ok_or_else(|| Fault::field("workspace", "name a workspace"))?;
        self.permit(caller, Need::SeeWorkspace { workspace: workspace.clone() })?;
        let name = workspace.clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &name))).await?;
        found
            .map(|workspace| Owner::Workspace(workspace.id))
            .ok_or_else(|| Refusal::from(Rule::HiddenWorkspace(workspace)).into_fault())
    }

    /// The latest end that policy allows to a token made at this time.
    pub(super) fn latest_end(&self, made: Timestamp) -> Option<Timestamp> {
        match self.policy.max_lifetime {
            Lifetime::Never => None,
            Lifetime::For(period) => Some(made + period.delta()),
        }
    }

    /// When a token ends: as asked, else by policy, and never later than the policy's maximum or its maker's own end.
    pub(super) fn expiry(
        &self,
        caller: &Caller,
        asked: Option<Expiry>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Fault> {
        let field = |why: &dyn std::fmt::Display| Fault::field("expires", why);
        let latest = self.latest_end(now);
        let parents_end = caller.token().and_then(Token::ends_at);
        let Some(asked) = asked else {
            let default = match self.policy.default_lifetime {
                Lifetime::Never => None,
                Lifetime::For(period) => Some(now + period.delta()),
            };
            return Ok([default, latest, parents_end].into_iter().flatten().min());
        };
        let end = asked.resolve(now).map_err(|why| field(&why))?;
        match latest {
            Some(latest) if end.is_none_or(|end| end > latest) => {
                Err(field(&format!("this server's tokens live for {} at most", self.policy.max_lifetime))
                    .hint(format!("ask for less: --expires {}", self.policy.max_lifetime)))
            }
            _ => Ok(end),
        }
    }
}

/// What the trail says of a new token.
fn created(permit: &Permit, row: &NewRow) -> AuditEvent {
    AuditEvent::done(Action::TokenCreate, permit.actor().clone()).token(row.id, &row.shown_prefix).detail(format!(
        "{} token {:?}",
        kind_of(permit),
        row.name
    ))
}

/// The token, what a retry replaces by it, and their trail: together, or not at all.
fn make(mut tx: WriteTx<'_>, permit: &Permit, row: NewRow, key: &Key) -> Result<Result<Token, Fault>, StoreError> {
    let replaced = match claimed(tok_store::tokens::claim(&mut tx, key, &permit.actor().describe(), permit.at())?) {
        Ok(replaced) => replaced,
        Err(fault) => return Ok(Err(fault)),
    };
    let event = created(permit, &row);
    let token = tok_store::tokens::create_under_key(&mut tx, permit, row, key)?;
    tx.commit(AuditEvents::new(event, replaced.map(|replaced| replaced.event(permit))), permit.at())?;
    Ok(Ok(token))
}

/// All of a request for a token that makes it another request, as text.
fn asked_for(new: &NewToken) -> Zeroizing<String> {
    let NewToken { name, description, grant, allow_from, expires, labels, max_uses, secret, idempotency_key: _ } = new;
    let secret = secret.as_ref().map(ExposeSecret::expose_secret);
    format!("create {:?}", (name, description, grant, allow_from, expires, labels, max_uses, secret)).into()
}

fn kind_of(permit: &Permit) -> tok_model::kind::TokenKind {
    match permit.need() {
        Need::Mint(request) => request.grant.kind(),
        _ => tok_model::kind::TokenKind::Personal,
    }
}
