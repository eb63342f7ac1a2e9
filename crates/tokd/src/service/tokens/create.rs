//! Making tokens.

use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use tok_api::convert::{CreatedToken, NewToken, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::{Expiry, Timestamp};
use tok_model::decide::{Bearer, Caller, MintRequest, Need, OwnerNow, Permit, Refusal, Rule};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::kind::TokenKind;
use tok_model::name::WorkspaceName;
use tok_model::policy::PolicyError;
use tok_model::token::{Owner, Token};
use tok_store::tokens::{Key, Mint, NewToken as NewRow};
use tok_store::{StoreError, WriteTx};

use super::idempotency::claimed;
use crate::fault::IntoFault;
use crate::service::identity::if_missing;
use crate::service::{Service, rng};

impl Service {
    /// Makes a token; the answer is the only place where its text ever appears.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<CreatedToken, Fault> {
        // What was made through a token that was changed meanwhile is decided anew, on what that one is now.
        let again = caller.token().is_some().then(|| new.clone());
        match (self.create_as_decided(caller, new).await, again) {
            (Err(fault), Some(new)) if fault.code == FaultCode::Conflict => {
                let as_of_now = self.as_of_now(caller).await?;
                let version = |caller| made_through(caller).map(|token| token.version);
                if version(&as_of_now) == version(caller) {
                    return Err(fault);
                }
                self.create_as_decided(&as_of_now, new).await
            }
            (done, _) => done,
        }
    }

    async fn create_as_decided(&self, caller: &Caller, new: NewToken) -> Result<CreatedToken, Fault> {
        let now = self.now();
        let key = new.idempotency_key.as_ref().map(|key| self.key(caller, key, &asked_for(&new)));
        let owner = self.owner_for(caller, &new.grant).await?;
        let expires_at = self.expiry(caller, new.grant.kind(), new.expires, now)?;
        let request = MintRequest { owner, grant: new.grant, expires_at, allow_from: new.allow_from };
        let permit = self.permit(caller, Need::Mint(request))?;
        let chosen = new.secret.is_some();
        let about = caller.user().map(|user| user.name.as_str());
        let secret = self.new_secret(kind_of(&permit), &new.name, new.secret, about).await?;
        let parent = made_through(caller);
        let row = NewRow {
            id: TokenId::random(&mut rng()),
            secret: secret.stored,
            imported_from: None,
            shown_prefix: secret.shown,
            name: new.name,
            description: new.description,
            labels: new.labels,
            max_uses: new.max_uses,
            parent: parent.map(|token| token.id),
            parent_version: parent.map(|token| token.version),
            local_uid: None,
        };
        let token = if key.is_none() && !chosen {
            let event = created(&permit, &row);
            self.mint(Mint { permit, new: row, event }).await?
        } else {
            self.run(move |store| store.write(|tx| make(tx, &permit, row, key.as_ref()))).await??
        };
        if chosen {
            // That there was nothing of the kind, and that this secret was nobody's, is no longer so.
            self.verdicts.forget_all();
        }
        Ok(CreatedToken { secret: secret.text, token: TokenRecord::of(&token, now) })
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
        let field = if grant.kind() == TokenKind::Repo { "repos" } else { "workspace" };
        self.workspace_owner(caller, Some(workspace)).await.map_err(|fault| match fault.code {
            FaultCode::NotFound => Fault { field: Some(field.to_owned()), ..fault },
            _ => fault,
        })
    }

    /// A workspace as an owner of tokens, for somebody who may see it. Asked before it is looked up, so that nobody
    /// learns of a workspace by trying.
    pub(in crate::service) async fn workspace_owner(
        &self,
        caller: &Caller,
        workspace: Option<WorkspaceName>,
    ) -> Result<Owner, Fault> {
        let workspace = workspace.ok_or_else(|| Fault::field("workspace", "name a workspace"))?;
        self.permit(caller, Need::SeeWorkspace { workspace: workspace.clone() })
            .map_err(|fault| if_missing(fault, "workspace"))?;
        let name = workspace.clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &name))).await?;
        found
            .map(|workspace| Owner::Workspace(workspace.id))
            .ok_or_else(|| Refusal::from(Rule::HiddenWorkspace(workspace)).into_fault().about("workspace"))
    }

    /// When a token ends: as asked, else by the policy for its kind, and never later than the policy's maximum or its
    /// maker's own end.
    pub(in crate::service) fn expiry(
        &self,
        caller: &Caller,
        kind: TokenKind,
        asked: Option<Expiry>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Fault> {
        let parents_end = caller.token().and_then(Token::ends_at);
        self.policy.kinds.expiry(kind, asked, parents_end, now).map_err(|why| end_refused(&why))
    }
}

/// Why a token cannot end then.
pub(super) fn end_refused(why: &PolicyError) -> Fault {
    let fault = Fault::field("expires", why);
    match why {
        PolicyError::TooLong { most, .. } => fault.hint(format!("ask for less: --expires {most}")),
        PolicyError::Expiry(_) => fault,
    }
}

/// What the trail says of a new token.
fn created(permit: &Permit, row: &NewRow) -> AuditEvent {
    let detail = format!("{} token {:?}", kind_of(permit), row.name);
    AuditEvent::done(Action::TokenCreate, permit.actor().clone()).token(row.id, &row.shown_prefix).detail(detail)
}

/// The token, what a retry replaces by it, and their trail: together, or not at all.
fn make(
    mut tx: WriteTx<'_>,
    permit: &Permit,
    row: NewRow,
    key: Option<&Key>,
) -> Result<Result<Token, Fault>, StoreError> {
    let event = created(permit, &row);
    let Some(key) = key else {
        let token = tok_store::tokens::create(&mut tx, permit, row)?;
        tx.commit(event, permit.at())?;
        return Ok(Ok(token));
    };
    let replaced = match claimed(tok_store::tokens::claim(&mut tx, key, &permit.actor().describe(), permit.at())?) {
        Ok(replaced) => replaced,
        Err(fault) => return Ok(Err(fault)),
    };
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

/// The token that another one is made through. What a manager makes as somebody else is that somebody's: it is bounded by
/// the manager's token when it is made, but does not rest on it. What is made through a token is made only if that one
/// still has the version that was decided on.
pub(in crate::service) fn made_through(caller: &Caller) -> Option<&Token> {
    match &caller.bearer {
        Bearer::Token(token) => Some(token),
        Bearer::Acting { .. }
        | Bearer::Nothing
        | Bearer::LocalPeer { .. }
        | Bearer::Password
        | Bearer::Temporary { .. }
        | Bearer::Trusted { .. } => None,
    }
}

fn kind_of(permit: &Permit) -> TokenKind {
    match permit.need() {
        Need::Mint(request) => request.grant.kind(),
        _ => TokenKind::Personal,
    }
}
