//! Changing tokens: their words, and how far they reach.

use tok_api::convert::{CheckedChange, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::{Expiry, Timestamp};
use tok_model::decide::{Caller, MintRequest, Need, Permit};
use tok_model::grant::Grant;
use tok_model::policy::PolicyError;
use tok_model::reach::Reach;
use tok_model::route::Routes;
use tok_model::token::{Standing, Token, TokenState};
use tok_store::tokens::{Modified, Shape, made_by_the_daemon};

use crate::service::Service;

impl Service {
    /// Changes a token; what is not said stays. To narrow it takes the right to change it; to widen it takes the authority
    /// to make such a token anew. Takes effect on the next request.
    pub async fn modify_token(&self, caller: &Caller, change: CheckedChange) -> Result<TokenRecord, Fault> {
        let now = self.now();
        let (permit, token) =
            self.resolve(caller, change.reference.clone(), |owner| Need::ChangeTokens { owner }).await?;
        if let Some(version) = change.if_version
            && i64::from(version) != i64::from(token.version)
        {
            let why = format!("the token has the version {} now, not {version}: somebody changed it", token.version);
            return Err(Fault { field: Some("if_version".to_owned()), ..Fault::new(FaultCode::Conflict, why) }.hint(
                format!(
                    "look at it again with `tok token show {}`, and repeat the change if it is still wanted",
                    token.id
                ),
            ));
        }
        unchangeable(&token, now)?;
        let kind = token.kind();
        if made_by_the_daemon(kind) && !change.renames_only() {
            return Err(Fault::field(
                "reference",
                format!("a {kind} token can be renamed, and nothing else of it changes"),
            )
            .hint(format!("to end it, run: tok token revoke {}", token.id)));
        }
        let shape = self.shape(&token, &change, now)?;
        let wider = if shape.reach.within(&token.reach()) {
            None
        } else {
            Some(self.widening(caller, &token, &shape.reach)?)
        };
        let (id, version) = (token.id, token.version);
        let said = difference(&token, &shape);
        let modified = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let modified = tok_store::tokens::modify(&mut tx, &permit, id, version, &shape, wider.as_ref())?;
                    tx.commit(events(&modified, &permit, &said), permit.at())?;
                    Ok(modified)
                })
            })
            .await?;
        Ok(TokenRecord::of(&modified.token, now))
    }

    /// The token as it shall be.
    fn shape(&self, token: &Token, change: &CheckedChange, now: Timestamp) -> Result<Shape, Fault> {
        let mut shape = Shape::of(token);
        shape.reach.grant = change.reach.applied(&token.grant)?;
        if let Some(name) = &change.name {
            shape.name.clone_from(name);
        }
        if let Some(description) = &change.description {
            shape.description.clone_from(description);
        }
        if let Some(labels) = &change.labels {
            shape.labels.clone_from(labels);
        }
        if let Some(allow_from) = &change.allow_from {
            shape.reach.allow_from.clone_from(allow_from);
        }
        if let Some(asked) = change.expires {
            shape.reach.expires_at = self.changed_end(token, asked, now)?;
        }
        if let Some(most) = change.max_uses {
            let so_far = token.use_limit.map_or(0, |limit| limit.so_far);
            if most.is_some_and(|most| most <= so_far) {
                let why = format!("it has been used {so_far} times already, so that would end it");
                return Err(
                    Fault::field("max_uses", why).hint(format!("to end it, run: tok token revoke {}", token.id))
                );
            }
            shape.reach.max_uses = most;
        }
        Ok(shape)
    }

    /// A new end, as asked. A policy's maximum counts from when the token was made: it is not to be stretched by asking
    /// again and again.
    fn changed_end(&self, token: &Token, asked: Expiry, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let (kind, made) = (token.kind(), token.created_at);
        self.policy.kinds.changed(kind, asked, made, now).map_err(|why| match why {
            PolicyError::Expiry(why) => Fault::field("expires", why),
            PolicyError::TooLong { .. } => {
                let until = self.policy.kinds.latest(kind, made).map(moment).unwrap_or_default();
                Fault::field("expires", format!("{why}: this one until {until}"))
                    .hint("make another token, or give this one a successor: tok token rotate")
            }
        })
    }

    /// The permit to make a token that reaches as far as this one shall.
    fn widening(&self, caller: &Caller, token: &Token, reach: &Reach) -> Result<Permit, Fault> {
        let Reach { grant, expires_at, allow_from, max_uses: _ } = reach.clone();
        let request = MintRequest { owner: token.owner, grant, expires_at, allow_from };
        self.permit(caller, Need::Mint(request)).map_err(|fault| as_its_owner(fault, caller, token))
    }
}

/// Says what to do instead to whoever may manage a token without being the one it acts for.
pub(super) fn as_its_owner(fault: Fault, caller: &Caller, token: &Token) -> Fault {
    if caller.owner_id() == Some(token.owner)
        || fault.code != FaultCode::Forbidden && fault.code != FaultCode::Unauthenticated
    {
        return fault;
    }
    let fault = Fault { code: FaultCode::Forbidden, ..fault };
    fault.hint(format!(
        "managers can narrow, rename and revoke the tokens of others; what gives more is done as the owner, with --as {}",
        token.owner_name
    ))
}

/// Refuses what has ended or been given up, with what to do instead.
pub(super) fn unchangeable(token: &Token, now: Timestamp) -> Result<(), Fault> {
    let called = format!("the token {} ({}…)", token.name, token.shown_prefix);
    let conflict = |why: String| Fault::new(FaultCode::Conflict, format!("{called} {why}, so it cannot be changed"));
    if let Some(why) = &token.unreadable {
        let why = format!("cannot be read by this version of tokd ({why})");
        return Err(conflict(why).hint(format!("end it, and make another: tok token revoke {}", token.id)));
    }
    match (&token.state, token.standing(now)) {
        (TokenState::Rotated { successor, .. }, _) => Err(conflict("was given a successor".to_owned())
            .hint(format!("go on with its successor: tok token show {successor}"))),
        (_, Standing::Active) => Ok(()),
        (TokenState::Revoked { at, by, .. }, _) => {
            Err(conflict(format!("was revoked at {} by {by}", moment(*at)))
                .hint("make another: tok token create <name>"))
        }
        (TokenState::Live, _) => {
            let at = token.expires_at.map(moment).unwrap_or_default();
            Err(conflict(format!("expired at {at}")).hint("make another: tok token create <name>"))
        }
    }
}

fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What the trail says of a change.
fn events(modified: &Modified, permit: &Permit, said: &str) -> AuditEvents {
    let token = &modified.token;
    let event = |action| AuditEvent::done(action, permit.actor().clone());
    let ended = |(id, prefix): &(tok_model::id::TokenId, String)| {
        event(Action::TokenRevoke)
            .token(*id, prefix)
            .detail(format!("made through {}…, which was changed", token.shown_prefix))
    };
    let changed = event(Action::TokenModify).token(token.id, &token.shown_prefix).detail(said);
    AuditEvents::new(changed, modified.ended.iter().map(ended))
}

/// What changed, from what to what.
fn difference(token: &Token, shape: &Shape) -> String {
    let old = Shape::of(token);
    let mut parts = Vec::new();
    let mut part = |what: &str, before: String, after: String| {
        if before != after {
            parts.push(format!("{what} {before} -> {after}"));
        }
    };
    part("name", format!("{:?}", old.name), format!("{:?}", shape.name));
    part("description", format!("{:?}", old.description), format!("{:?}", shape.description));
    part("labels", list(&old.labels), list(&shape.labels));
    for ((what, before), (_, after)) in granted(&old.reach.grant).into_iter().zip(granted(&shape.reach.grant)) {
        part(what, before, after);
    }
    let end = |reach: &Reach| reach.expires_at.map_or_else(|| "never".to_owned(), moment);
    part("expires", end(&old.reach), end(&shape.reach));
    part("allow_cidrs", list(&old.reach.allow_from), list(&shape.reach.allow_from));
    let uses = |reach: &Reach| reach.max_uses.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    part("max_uses", uses(&old.reach), uses(&shape.reach));
    if parts.is_empty() { "nothing that differs".to_owned() } else { parts.join("; ") }
}

/// The parts of a grant that can change, with their names.
fn granted(grant: &Grant) -> Vec<(&'static str, String)> {
    match grant {
        Grant::Personal { scopes, routes } => {
            let routes: Vec<_> = routes.iter().flat_map(Routes::iter).collect();
            vec![("scopes", format!("[{scopes}]")), ("routes", list(&routes))]
        }
        Grant::Workspace { permission, .. } => vec![("permission", permission.to_string())],
        Grant::Repo { permission, repos, .. } => {
            let repos: Vec<_> = repos.iter().collect();
            vec![("permission", permission.to_string()), ("repos", list(&repos))]
        }
        Grant::Session | Grant::Git { .. } => Vec::new(),
    }
}

fn list(values: &[impl ToString]) -> String {
    format!("[{}]", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}
