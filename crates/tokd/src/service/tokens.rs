//! Making, finding, checking and ending tokens.

use secrecy::SecretString;
use tok_api::convert::{CheckedToken, CreatedToken, NewToken, PageAsk, PageOf, RevokedToken, TokenFilter, TokenRecord};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::{Expiry, Lifetime, Period, Timestamp};
use tok_model::decide::{Caller, MintRequest, Need, OwnerNow, Permit, Refusal, Rule, decide, has_right};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::name::{RepoPath, WorkspaceName};
use tok_model::page::{Cursor, PageSize};
use tok_model::scope::{RepoRight, Scope};
use tok_model::secret::Plaintext;
use tok_model::token::{Owner, Reference, Standing, Token};
use tok_store::tokens::{Filter, NewToken as NewRow};

use super::caller::Presented;
use super::{Service, rng};
use crate::fault::IntoFault;

impl Service {
    /// Makes a token; the answer is the only place where its text ever appears.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<CreatedToken, Fault> {
        let now = self.now();
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
            parent: caller.token().map(|token| token.id),
            local_uid: None,
        };
        let token = self
            .run(move |store| {
                store.write(|mut tx| {
                    let token = tok_store::tokens::create(&mut tx, &permit, row)?;
                    let event = AuditEvent::done(Action::TokenCreate, permit.actor().clone())
                        .token(token.id, &token.shown_prefix)
                        .detail(format!("{} token {:?}", token.kind(), token.name));
                    tx.commit(event, permit.at())?;
                    Ok(token)
                })
            })
            .await?;
        Ok(CreatedToken { secret: SecretString::from(text.reveal()), token: TokenRecord::of(&token, now) })
    }

    /// For whom a token with this grant shall act.
    async fn owner_for(&self, caller: &Caller, grant: &Grant) -> Result<Owner, Fault> {
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
    async fn workspace_owner(&self, caller: &Caller, workspace: Option<WorkspaceName>) -> Result<Owner, Fault> {
        let workspace = workspace.ok_or_else(|| Fault::field("workspace", "name a workspace"))?;
        self.permit(caller, Need::SeeWorkspace { workspace: workspace.clone() })?;
        let name = workspace.clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &name))).await?;
        found
            .map(|workspace| Owner::Workspace(workspace.id))
            .ok_or_else(|| Refusal::from(Rule::HiddenWorkspace(workspace)).into_fault())
    }

    /// When a token ends: as asked, else by policy, and never later than the policy's maximum or its maker's own end.
    fn expiry(&self, caller: &Caller, asked: Option<Expiry>, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let field = |why: &dyn std::fmt::Display| Fault::field("expires", why);
        let latest = match self.policy.max_lifetime {
            Lifetime::Never => None,
            Lifetime::For(period) => Some(now + period.delta()),
        };
        let parents_end = caller.token().and_then(|token| token.expires_at);
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

    /// One page of the tokens that the caller may see: their own, or with `all_users` everybody's.
    pub async fn list_tokens(
        &self,
        caller: &Caller,
        filter: TokenFilter,
        page: PageAsk,
    ) -> Result<PageOf<TokenRecord>, Fault> {
        let now = self.now();
        let mut wanted = Filter {
            owner: None,
            kind: filter.kind,
            standing: filter.state,
            never_used: filter.never_used,
            expiring_within: filter.expiring_within.map(Period::delta),
        };
        let permit = match (&filter.user, filter.all_users) {
            _ if filter.workspace.is_some() => {
                let owner = self.workspace_owner(caller, filter.workspace).await?;
                self.permit(caller, Need::SeeTokens { owner })?
            }
            (Some(name), _) if caller.user().is_none_or(|own| own.name != *name) => {
                let permit = self.permit(caller, Need::Server)?;
                let wanted_name = name.clone();
                let user =
                    self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted_name))).await?;
                let user = user.ok_or_else(|| Fault::new(FaultCode::NotFound, format!("no user is named {name}")))?;
                wanted.owner = Some(Owner::User(user.id));
                permit
            }
            (_, true) => self.permit(caller, Need::Server)?,
            (_, false) => self.own_tokens(caller, |owner| Need::SeeTokens { owner })?,
        };
        let size = page_size(page.size)?;
        let after =
            page.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(|why| Fault::field("cursor", why))?;
        let (tokens, next) =
            self.run(move |store| store.read(|tx| tok_store::tokens::list(tx, &permit, &wanted, size, after))).await?;
        Ok(PageOf {
            rows: tokens.iter().map(|token| TokenRecord::of(token, now)).collect(),
            next_cursor: next.map(|cursor| cursor.to_string()),
        })
    }

    /// The permit for one's own tokens; whoever is nobody but administers the server gets everybody's.
    fn own_tokens(&self, caller: &Caller, need: impl Fn(Owner) -> Need) -> Result<Permit, Fault> {
        match caller.owner_id() {
            Some(owner) => self.permit(caller, need(owner)),
            None => self.permit(caller, Need::Server),
        }
    }

    /// The one token that a reference means: among one's own and those of workspaces that one maintains, else (for
    /// managers) among everybody's.
    async fn resolve(
        &self,
        caller: &Caller,
        reference: Reference,
        need: impl Fn(Owner) -> Need,
    ) -> Result<(Permit, Token), Fault> {
        let mut reached = vec![self.own_tokens(caller, &need)?];
        let maintained = caller.user().into_iter().flat_map(|user| user.memberships.values());
        reached.extend(maintained.filter_map(|place| {
            let permit = self.permit(caller, need(Owner::Workspace(place.workspace)));
            permit.ok().filter(|permit| *permit.need() != Need::Server)
        }));
        let mut found = Vec::new();
        for permit in reached {
            let (permit, tokens) = self.find(permit, reference.clone()).await?;
            found.push((permit, tokens));
        }
        if found.iter().all(|(_, tokens)| tokens.is_empty())
            && let Ok(server) = self.permit(caller, Need::Server)
        {
            found.push(self.find(server, reference).await?);
        }
        found.retain(|(_, tokens)| !tokens.is_empty());
        let all: Vec<&Token> = found.iter().flat_map(|(_, tokens)| tokens).collect();
        if all.len() > 1 {
            let line = |token: &&Token| format!("{}  {}…  {}", token.id, token.shown_prefix, token.name);
            return Err(Fault::new(FaultCode::Ambiguous, "more than one token matches; nothing was changed")
                .hint("give more characters of the ID")
                .matches(all.iter().map(line).collect()));
        }
        match found.pop().map(|(permit, mut tokens)| (permit, tokens.pop())) {
            Some((permit, Some(token))) => Ok((permit, token)),
            _ => Err(Fault::new(FaultCode::NotFound, "no token of yours matches that")
                .hint("`tok token list` shows IDs and prefixes; managers see everybody's with --all-users")),
        }
    }

    async fn find(&self, permit: Permit, reference: Reference) -> Result<(Permit, Vec<Token>), Fault> {
        self.run(move |store| {
            let found = store.read(|tx| tok_store::tokens::find(tx, &permit, &reference))?;
            Ok((permit, found))
        })
        .await
    }

    /// Shows one token.
    pub async fn show_token(&self, caller: &Caller, reference: Reference) -> Result<TokenRecord, Fault> {
        let (_, token) = self.resolve(caller, reference, |owner| Need::SeeTokens { owner }).await?;
        Ok(TokenRecord::of(&token, self.now()))
    }

    /// Ends a token and all that were made through it, at once. A dry run only says what it would be.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        reference: Reference,
        reason: Option<String>,
        dry_run: bool,
    ) -> Result<RevokedToken, Fault> {
        if let Some(reason) = &reason {
            tok_model::token::check_description(reason).map_err(|why| Fault::field("reason", why))?;
        }
        let now = self.now();
        let (permit, token) = self.resolve(caller, reference, |owner| Need::EndTokens { owner }).await?;
        let already = token.standing(now) == Standing::Revoked;
        if already || dry_run {
            return Ok(RevokedToken {
                token: TokenRecord::of(&token, now),
                minted_revoked: 0,
                already_revoked: already,
            });
        }
        let ended = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let ended = tok_store::tokens::revoke(&mut tx, &permit, token.id, reason.as_deref())?;
                    let events = ended.events(&permit, reason.as_deref());
                    tx.commit(events, permit.at())?;
                    Ok(ended)
                })
            })
            .await?;
        Ok(RevokedToken {
            token: TokenRecord::of(&ended.token, now),
            minted_revoked: u32::try_from(ended.descendants.len()).unwrap_or(u32::MAX),
            already_revoked: false,
        })
    }

    /// Says whose a token is and what it may do now. Holding the text is the right to ask.
    pub async fn check_token(&self, caller: &Caller, text: &str) -> Result<CheckedToken, Fault> {
        self.permit(caller, Need::Identity)?;
        let text = Plaintext::parse(text.trim()).map_err(|why| Fault::field("secret", why))?;
        let found =
            self.caller_by_token(Presented::Token(text), caller.source.clone()).await.map_err(IntoFault::into_fault)?;
        let holder = found.map_err(|_| {
            Fault::new(
                FaultCode::NotFound,
                "this token is not known here: it never was, or it was removed long after it ended",
            )
        })?;
        let now = self.now();
        let verdict = decide(&holder, Need::Identity, now);
        let token = holder.token().ok_or_else(|| Fault::new(FaultCode::Internal, "a token without a token"))?;
        Ok(CheckedToken {
            usable: verdict.is_ok(),
            verdict: verdict.map_or_else(|no| no.to_string(), |_| "the token works".to_owned()),
            owner: token.owner_name.clone(),
            effective_scopes: effective_scopes(&holder, None, now).map(|scope| scope.to_string()).collect(),
            token: TokenRecord::of(token, now),
        })
    }
}

/// The scopes that a caller has in effect now: what their token was given, within what its owner may do, and for
/// repositories, if one is named, on that repository. For people and for the `X-Tok-Scopes` header.
pub fn effective_scopes<'c>(
    caller: &'c Caller,
    repo: Option<&'c RepoPath>,
    now: Timestamp,
) -> impl Iterator<Item = Scope> + 'c {
    let granted = |scope: Scope| match caller.token().map(|token| &token.grant) {
        None | Some(Grant::Session) => true,
        Some(Grant::Personal { scopes, .. }) => scopes.grants(scope),
        Some(other) => [RepoRight::Read, RepoRight::Write].into_iter().any(|right| {
            right.scope() == scope && other.permission().is_some_and(|permission| permission.covers(right))
        }),
    };
    let on_repository = move |right: RepoRight| repo.is_none_or(|repo| has_right(caller, repo, right, now));
    let in_effect = move |scope: Scope| match scope {
        Scope::RepoRead => on_repository(RepoRight::Read),
        Scope::RepoWrite => on_repository(RepoRight::Write),
        Scope::RepoAdmin => on_repository(RepoRight::Admin),
        // What a manager's token is worth depends on the manager; `all` is told by what it amounts to.
        Scope::Manager => decide(caller, Need::Server, now).is_ok(),
        Scope::All => false,
        Scope::UserRead | Scope::UserWrite | Scope::TokenRead | Scope::TokenWrite | Scope::AuditRead => true,
    };
    Scope::every().filter(move |scope| granted(*scope) && in_effect(*scope))
}

fn kind_of(permit: &Permit) -> tok_model::kind::TokenKind {
    match permit.need() {
        Need::Mint(request) => request.grant.kind(),
        _ => tok_model::kind::TokenKind::Personal,
    }
}

/// The size of a page: what was asked for, cut to the most there is.
pub(super) fn page_size(asked: Option<u32>) -> Result<PageSize, Fault> {
    let Some(asked) = asked else { return Ok(PageSize::default()) };
    let rows = asked.min(u32::from(PageSize::MOST));
    PageSize::try_from(rows).map_err(|why| Fault::field("page_size", why))
}
