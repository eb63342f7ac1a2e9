//! Ending tokens: one that somebody points at, one that somebody holds, or all that have something in common.

use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{LiveRelative, RevokeMany, RevokedMany, RevokedToken, Selection as Asked, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::decide::{Bearer, Caller, Need, Permit};
use tok_model::id::TokenId;
use tok_model::name::UserName;
use tok_model::token::{Owner, Reference, Standing, Token};
use tok_store::tokens::{EndedMany, Selection, UNDO_WINDOW};
use tok_store::{ReadTx, StoreError};

use super::OF_ANOTHER_SERVER;
use super::list::no_user;
use super::rotate::as_seen;
use crate::service::{Service, presented_text, rng};

impl Service {
    /// Ends a token and all that were made through it, at once. A dry run only says what it would be. If it is said which
    /// version of it was `seen`, a conflict if a live one is of another.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        reference: Reference,
        reason: Option<String>,
        dry_run: bool,
        seen: Option<u32>,
    ) -> Result<RevokedToken, Fault> {
        check_reason(reason.as_ref())?;
        let now = self.now();
        let found = self.resolve_noting(caller, reference, |owner| Need::EndTokens { owner }).await?;
        let already = found.token.standing(now) == Standing::Revoked;
        if !already && !dry_run {
            return self.end_one(found.permit, (&found.token, as_seen(seen)), reason, found.note).await;
        }
        let id = found.token.id;
        let permit = found.permit;
        let asked = found.token.clone();
        let (with_it, family) = self
            .run(move |store| {
                store.read(|tx| {
                    let selection = Selection { parent: Some(id), ..Selection::default() };
                    let with_it = if already { 0 } else { tok_store::tokens::selected(tx, &permit, &selection)?.count };
                    Ok((with_it, tok_store::tokens::others_of_family(tx, &permit, &asked)?))
                })
            })
            .await?;
        // It is one of the line itself, if it did not run out.
        let active = found.token.standing(now) == Standing::Active;
        Ok(RevokedToken {
            token: TokenRecord::of(&found.token, now),
            minted_revoked: u32::try_from(with_it.saturating_sub(u64::from(active))).unwrap_or(u32::MAX),
            already_revoked: already,
            restorable_until: None,
            note: found.note,
            live_family: self.live(&found.token, family, now),
        })
    }

    async fn end_one(
        &self,
        permit: Permit,
        (token, version): (&Token, Option<i32>),
        reason: Option<String>,
        note: Option<String>,
    ) -> Result<RevokedToken, Fault> {
        let (id, at) = (token.id, permit.at());
        let (ended, family) = self
            .run_long_and_forget(move |store| {
                store.write(|mut tx| {
                    if let Some(version) = version {
                        tok_store::tokens::unchanged(&mut tx, id, version)?;
                    }
                    let ended = tok_store::tokens::revoke(&mut tx, &permit, id, reason.as_deref())?;
                    let family = tok_store::tokens::others_of_family(&mut tx, &permit, &ended.token)?;
                    let events = ended.events(&permit, reason.as_deref());
                    tx.commit(events, permit.at())?;
                    Ok((ended, family))
                })
            })
            .await?;
        Ok(RevokedToken {
            token: TokenRecord::of(&ended.token, at),
            minted_revoked: u32::try_from(ended.descendants.len()).unwrap_or(u32::MAX),
            already_revoked: false,
            restorable_until: until(at),
            note,
            live_family: self.live(token, family, at),
        })
    }

    /// Of a token's family, what works `at` that moment.
    fn live(&self, of: &Token, family: Vec<Token>, at: Timestamp) -> Vec<LiveRelative> {
        // Each has a later place in the line than those before it, and was made later.
        self.live_since(of.created_at, family, at)
    }

    /// The same; what was made since then is a successor.
    fn live_since(&self, since: Timestamp, family: Vec<Token>, at: Timestamp) -> Vec<LiveRelative> {
        let dated = family.into_iter().map(|other| self.dated(other));
        let live = dated.filter(|other| other.standing(at) == Standing::Active);
        live.map(|other| LiveRelative {
            id: other.id,
            successor: other.created_at >= since,
            created_at: other.created_at,
            ends_at: other.ends_at(),
            name: other.name,
            token_prefix: other.shown_prefix,
        })
        .collect()
    }

    /// Ends the token with this text (RFC 7009). Holding it is the right to: it takes no other, and neither who calls nor
    /// from where matters. What is no token here is `not_found`; one that ended is answered calmly.
    pub async fn revoke_secret(
        &self,
        caller: &Caller,
        secret: &SecretString,
        reason: Option<String>,
    ) -> Result<RevokedToken, Fault> {
        check_reason(reason.as_ref())?;
        let text = secret.expose_secret().trim();
        if text.is_empty() {
            return Err(Fault::field("secret", "give the text of the token to revoke"));
        }
        let unknown = || {
            Fault::new(FaultCode::NotFound, "that is no token of this server, so there is nothing to revoke")
                .hint(OF_ANOTHER_SERVER)
        };
        // To end it is not to use it, and whoever ends what was given up raises no alarm.
        let found = self.holder(presented_text(text), caller.source.clone()).await?;
        let held = found.map_err(|_| unknown())?;
        if let Bearer::Temporary { .. } = &held.bearer {
            let why = "that is a temporary token: it is kept nowhere, and ends when tokd stops";
            return Err(
                Fault::field("secret", why).hint("restart tokd without it: it stands in --token or --token-file")
            );
        }
        let Bearer::Token(token) = &held.bearer else { return Err(unknown()) };
        let now = self.now();
        // Whoever calls does it, through this token; its owner has no part in it.
        let holder = Caller { bearer: held.bearer.clone(), owner: caller.owner.clone(), source: caller.source.clone() };
        let permit = self.permit(&holder, Need::EndHeld)?;
        // Who found a text may end it, and learns nothing of what else its owner has.
        let may_see = self.permit(caller, Need::SeeTokens { owner: token.owner }).is_ok();
        let told = |revoked: RevokedToken| if may_see { revoked } else { without_family(revoked) };
        if token.standing(now) == Standing::Revoked {
            let asked = token.clone();
            let family = self
                .run(move |store| store.read(|tx| tok_store::tokens::others_of_family(tx, &permit, &asked)))
                .await?;
            return Ok(told(RevokedToken {
                token: TokenRecord::of(token, now),
                minted_revoked: 0,
                already_revoked: true,
                restorable_until: None,
                note: None,
                live_family: self.live(token, family, now),
            }));
        }
        let reason = reason.or_else(|| Some("revoked by somebody who held it".to_owned()));
        Ok(told(self.end_one(permit, (token, None), reason, None).await?))
    }

    /// Ends every live token of a selection, as one act; of everything that one owner has from before a moment by one row.
    pub async fn revoke_many(&self, caller: &Caller, ask: RevokeMany) -> Result<RevokedMany, Fault> {
        let now = self.now();
        if ask.selection.minted_before.is_some_and(|before| before > now) {
            let why = "a moment that is not over yet; what is made from now on cannot be ended before it is made";
            return Err(Fault::field("minted_before", why));
        }
        let meant = self.meant(caller, &ask.selection).await?;
        let RevokeMany { reason, dry_run, .. } = ask;
        let at = meant.permit.at();
        let (parent, before) = (meant.parent.clone(), meant.selection.minted_before);
        let act = TokenId::random(&mut rng()).as_uuid();
        let (ended, family) = match (meant.cut_off, dry_run) {
            (_, true) => {
                let Meant { permit, selection, parent, .. } = meant;
                self.run_long_and_forget(move |store| {
                    store.read(|tx| {
                        let many = tok_store::tokens::selected(tx, &permit, &selection)?;
                        Ok((many, outlived(tx, &permit, parent.as_ref(), &selection)?))
                    })
                })
                .await?
            }
            (Some((owner, before)), false) => {
                self.run_long_and_forget(move |store| {
                    let Meant { permit, selection, mut event, words, .. } = meant;
                    store.write(|mut tx| {
                        let reason = reason.as_deref();
                        let ended = tok_store::tokens::cut_off(&mut tx, &permit, owner, before, reason, act)?;
                        let family = outlived(&mut tx, &permit, None, &selection)?;
                        // One that is there already stays as it is, and there is nothing to write down.
                        if ended.moved {
                            event.action = Action::TokenCutoff;
                            tx.commit(event.detail(told(&ended.many, &words, reason, act)), permit.at())?;
                        }
                        Ok((ended.many, family))
                    })
                })
                .await?
            }
            (None, false) => {
                self.run_long_and_forget(move |store| {
                    let Meant { permit, selection, parent, event, words, .. } = meant;
                    store.write(|mut tx| {
                        let reason = reason.as_deref();
                        let ended = tok_store::tokens::revoke_selected(&mut tx, &permit, &selection, reason, act)?;
                        let family = outlived(&mut tx, &permit, parent.as_ref(), &selection)?;
                        if ended.count > 0 {
                            tx.commit(event.detail(told(&ended, &words, reason, act)), permit.at())?;
                        }
                        Ok((ended, family))
                    })
                })
                .await?
            }
        };
        Ok(RevokedMany {
            revoked: ended.count,
            sample: ended.sample.iter().map(|token| TokenRecord::of(token, now)).collect(),
            restorable_until: until(at).filter(|_| !dry_run && ended.count > 0),
            live_family: match (parent, before) {
                (Some(parent), _) => self.live(&parent, family, now),
                (None, Some(before)) => self.live_since(before, family, now),
                (None, None) => Vec::new(),
            },
        })
    }

    /// Whose tokens a selection is about, and the right to end them.
    async fn meant(&self, caller: &Caller, asked: &Asked) -> Result<Meant, Fault> {
        let mut selection = Selection {
            owner: None,
            label: asked.label.clone(),
            parent: None,
            kind: asked.kind,
            never_used: asked.never_used,
            minted_before: asked.minted_before,
        };
        let (mut named, mut line) = (None, None);
        let mut permit = match (&asked.user, &asked.workspace) {
            (Some(name), _) => {
                let (permit, owner) = self.ends_of_user(caller, name).await?;
                named = Some(owner);
                Some(permit)
            }
            (None, Some(workspace)) => {
                let owner = self.workspace_owner(caller, Some(workspace.clone())).await?;
                named = Some(owner);
                Some(self.permit(caller, Need::EndTokens { owner })?)
            }
            (None, None) => None,
        };
        if let Some(parent) = &asked.parent {
            let (of_parent, token) = self.resolve(caller, parent.clone(), |owner| Need::EndTokens { owner }).await?;
            selection.parent = Some(token.id);
            permit.get_or_insert(of_parent);
            line = Some(token);
        }
        selection.owner = named;
        let permit = match permit {
            Some(permit) => permit,
            None if asked.all_users => self.permit(caller, Need::Server)?,
            None => self.own_tokens(caller, |owner| Need::EndTokens { owner })?,
        };
        let owner = named.or(match permit.need() {
            Need::EndTokens { owner } => Some(*owner),
            _ => None,
        });
        let alone = *asked
            == Asked {
                user: asked.user.clone(),
                workspace: asked.workspace.clone(),
                minted_before: asked.minted_before,
                all_users: asked.all_users,
                ..Asked::default()
            };
        let cut_off = asked.minted_before.filter(|_| alone).and_then(|before| owner.map(|owner| (owner, before)));
        let mut event = AuditEvent::done(Action::TokenRevoke, permit.actor().clone());
        if let (Some(name), Some(Owner::User(id))) = (&asked.user, owner) {
            event = event.subject(id, name.clone());
        }
        if let Some(workspace) = &asked.workspace {
            event = event.workspace(workspace.clone());
        }
        Ok(Meant { permit, selection, parent: line, cut_off, event, words: words(asked) })
    }

    async fn ends_of_user(&self, caller: &Caller, name: &UserName) -> Result<(Permit, Owner), Fault> {
        if let Some(own) = caller.user().filter(|own| own.name == *name) {
            let owner = Owner::User(own.id);
            return Ok((self.permit(caller, Need::EndTokens { owner })?, owner));
        }
        let permit = self.permit(caller, Need::Server)?;
        let wanted = name.clone();
        let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
        let user = user.ok_or_else(|| no_user(name))?;
        Ok((permit, Owner::User(user.id)))
    }
}

/// The same for whoever may not see its owner's tokens: that there are others, and not which.
fn without_family(mut revoked: RevokedToken) -> RevokedToken {
    if !revoked.live_family.is_empty() {
        revoked.live_family.clear();
        let note =
            "another token of its line of rotations still works: only its owner, or a manager, can see and end it";
        revoked.note = Some(note.to_owned());
    }
    revoked
}

/// A selection, decided.
struct Meant {
    permit: Permit,
    selection: Selection,
    parent: Option<Token>,
    /// It is everything of this owner from before this moment.
    cut_off: Option<(Owner, Timestamp)>,
    event: AuditEvent,
    words: String,
}

/// What works on of the lines that a selection ends the rest of: what took the place of what it is about, by rotation.
fn outlived(
    tx: &mut ReadTx<'_>,
    permit: &Permit,
    parent: Option<&Token>,
    selection: &Selection,
) -> Result<Vec<Token>, StoreError> {
    match (parent, selection.minted_before) {
        (Some(parent), _) => tok_store::tokens::others_of_family(tx, permit, parent),
        (None, Some(before)) => tok_store::tokens::successors_since(tx, permit, selection.owner, before),
        (None, None) => Ok(Vec::new()),
    }
}

fn check_reason(reason: Option<&String>) -> Result<(), Fault> {
    let Some(reason) = reason else { return Ok(()) };
    tok_model::token::check_reason(reason).map_err(|why| Fault::field("reason", why))
}

/// Until when an act can be undone.
pub(super) fn until(at: Timestamp) -> Option<Timestamp> {
    at.checked_add_signed(UNDO_WINDOW).filter(|_| UNDO_WINDOW > TimeDelta::zero())
}

/// What a selection says, for the trail.
fn words(asked: &Asked) -> String {
    let said = [
        asked.user.as_ref().map(|user| format!("of {user}")),
        asked.workspace.as_ref().map(|workspace| format!("of the workspace {workspace}")),
        asked.all_users.then(|| "of everybody".to_owned()),
        asked.label.as_ref().map(|label| format!("with the label {label}")),
        asked.parent.as_ref().map(|parent| format!("made through {parent}")),
        asked.kind.map(|kind| format!("of the kind {kind}")),
        asked.never_used.then(|| "never used".to_owned()),
        asked.minted_before.map(|before| format!("made before {}", before.format("%Y-%m-%d %H:%M:%S UTC"))),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn told(ended: &EndedMany, words: &str, reason: Option<&str>, act: impl std::fmt::Display) -> String {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} tokens {words} (act {act}){reason}", ended.count)
}
