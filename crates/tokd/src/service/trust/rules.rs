//! Trust rules, as managers keep them.

use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{
    FindingRecord, IdentityCheck, RuleCheck, TrustClaimRecord, TrustDraft, TrustPinRecord, TrustRecord, parsed,
};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, AuditEvents};
use tok_model::clock::Period;
use tok_model::decide::{Caller, Need};
use tok_model::id::{TrustId, WorkspaceId};
use tok_model::name::TrustName;
use tok_model::trust::{Algorithm, DEFAULT_LIFETIME, Reach, RepoPattern, RuleError, System, TrustRule, check_issuer};
use tok_store::trusts::Trust;

use super::judge::{Believed, Disbelief};
use crate::service::{Service, rng};

/// As many certificates as anybody has, in bytes.
const LARGEST_CA: usize = 32 * 1024;

impl Service {
    /// Makes a trust rule.
    pub async fn add_trust(&self, caller: &Caller, draft: TrustDraft) -> Result<TrustRecord, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let reach = reach(&draft)?;
        let wanted = reach.workspace().clone();
        let found = self.run(move |store| store.read(|tx| tok_store::workspaces::by_name(tx, &wanted))).await?;
        let workspace = found.ok_or_else(|| {
            Fault::new(FaultCode::NotFound, format!("no workspace is named {}", reach.workspace()))
                .hint("`tok workspace list` shows which there are")
        })?;
        let audience = self.place.public_url.to_string();
        let rule = rule(draft, reach, workspace.id, audience)?;
        let trust = self
            .run(move |store| {
                store.write(|mut tx| {
                    let trust = tok_store::trusts::add(&mut tx, &permit, &rule)?;
                    let event = AuditEvent::done(Action::TrustAdd, permit.actor().clone())
                        .workspace(rule.reach.workspace().clone())
                        .detail(words(&rule));
                    tx.commit(event, permit.at())?;
                    Ok(trust)
                })
            })
            .await?;
        Ok(record(trust))
    }

    /// Every trust rule, by name.
    pub async fn list_trusts(&self, caller: &Caller) -> Result<Vec<TrustRecord>, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let trusts = self.run(move |store| store.read(|tx| tok_store::trusts::list(tx, &permit))).await?;
        Ok(trusts.into_iter().map(record).collect())
    }

    /// One trust rule, with the IDs that it has pinned.
    pub async fn show_trust(&self, caller: &Caller, name: TrustName) -> Result<TrustRecord, Fault> {
        let permit = self.permit(caller, Need::Server)?;
        let trust = self.run(move |store| store.read(|tx| tok_store::trusts::show(tx, &permit, &name))).await;
        trust.map(record).map_err(hinted)
    }

    /// Removes a trust rule, and ends what was minted under it, at once. A dry run only says which it would be.
    pub async fn remove_trust(
        &self,
        caller: &Caller,
        name: TrustName,
        dry_run: bool,
    ) -> Result<(TrustRecord, u32), Fault> {
        if dry_run {
            return Ok((self.show_trust(caller, name).await?, 0));
        }
        let permit = self.permit(caller, Need::Server)?;
        let (trust, ended) = self
            .run_and_forget(move |store| {
                store.write(|mut tx| {
                    let (trust, ended) = tok_store::trusts::remove(&mut tx, &permit, &name)?;
                    let actor = || permit.actor().clone();
                    let detail = format!("{}, with {} live tokens", trust.name, ended.len());
                    let mut removed = AuditEvent::done(Action::TrustRemove, actor()).detail(detail);
                    if let Ok(workspace) = trust.workspace.parse() {
                        removed = removed.workspace(workspace);
                    }
                    let revoked = ended.iter().map(|(id, shown)| {
                        AuditEvent::done(Action::TokenRevoke, actor())
                            .token(*id, shown)
                            .detail(format!("with the trust rule {}", trust.name))
                    });
                    tx.commit(AuditEvents::new(removed, revoked), permit.at())?;
                    Ok((trust, ended.len()))
                })
            })
            .await
            .map_err(hinted)?;
        Ok((record(trust), u32::try_from(ended).unwrap_or(u32::MAX)))
    }

    /// What the rules make of an identity token, which stays good.
    pub async fn check_identity(&self, caller: &Caller, token: &SecretString) -> Result<IdentityCheck, Fault> {
        self.permit(caller, Need::Server)?;
        let now = self.now();
        let Believed { identity, rules, others, unread } =
            self.believe(token.expose_secret(), now).await.map_err(Disbelief::plainly)?;
        let others = others.into_iter().map(|(rule, why)| (rule, Some(why.to_string())));
        let rules = rules.into_iter().map(|rule| (rule, None)).chain(others).map(|(rule, distrust)| {
            let judgement = rule.judge(&identity.claims);
            let late = identity.timely(now).and_then(|()| identity.young(&rule, now)).err().map(|why| why.to_string());
            let trouble = distrust.or(late).or_else(|| rule.pins(&identity.claims).err().map(|why| why.to_string()));
            RuleCheck {
                accepted: judgement.accepted() && trouble.is_none(),
                findings: judgement
                    .findings
                    .into_iter()
                    .map(|found| FindingRecord {
                        claim: found.claim,
                        expected: found.expected,
                        seen: found.seen,
                        met: found.met,
                    })
                    .collect(),
                trouble,
                repos: rule.reach.texts(),
                permission: Some(rule.permission),
                rule: rule.name.to_string(),
            }
        });
        let rules = rules.chain(unread.into_iter().map(|unread| RuleCheck {
            accepted: false,
            findings: Vec::new(),
            trouble: Some(format!("this version of tokd cannot read the rule: {}", unread.why)),
            repos: repositories(&unread.workspace, &unread.repos),
            permission: unread.permission,
            rule: unread.name,
        }));
        let rules = rules.collect();
        Ok(IdentityCheck { issuer: identity.issuer, subject: identity.subject, rules })
    }
}

fn hinted(fault: Fault) -> Fault {
    if fault.code == FaultCode::NotFound { fault.hint("`tok trust list` shows the rules") } else { fault }
}

fn reach(draft: &TrustDraft) -> Result<Reach, Fault> {
    let mut patterns: Vec<RepoPattern> =
        draft.repos.iter().map(|text| parsed("repos", text)).collect::<Result<_, _>>()?;
    if let Some(workspace) = &draft.workspace {
        if patterns.is_empty() {
            patterns.push(parsed("workspace", &format!("{workspace}/*"))?);
        } else if patterns.iter().any(|pattern| pattern.workspace.as_str() != workspace) {
            return Err(Fault::field("workspace", format!("the repositories are not of {workspace}")));
        }
    }
    Reach::new(patterns).map_err(|why| {
        Fault::field("repos", why).hint("name each with --repo workspace/repository, or all of one with --workspace")
    })
}

/// The rule that was meant, if it can be.
fn rule(draft: TrustDraft, reach: Reach, workspace: WorkspaceId, audience: String) -> Result<TrustRule, Fault> {
    let given = |field: &str, text: Option<&String>, otherwise: i64| -> Result<Period, Fault> {
        match text {
            Some(text) => parsed(field, text),
            None => Period::from_seconds(otherwise).ok_or_else(|| Fault::field(field, "no time")),
        }
    };
    check_issuer(&draft.issuer).map_err(|why| Fault::field("issuer", why))?;
    let system = match &draft.system {
        Some(text) => parsed("system", text)?,
        None => System::of_issuer(&draft.issuer),
    };
    let algorithms: Vec<Algorithm> = match draft.algorithms.as_slice() {
        [] => system.algorithms().to_vec(),
        some => some.iter().map(|text| parsed("algorithms", text)).collect::<Result<_, _>>()?,
    };
    if let Some(ca) = &draft.ca {
        if ca.len() > LARGEST_CA {
            return Err(Fault::field("ca", format!("more than {LARGEST_CA} bytes of certificates")));
        }
        tok_api::fetch::certificates(ca)?;
    }
    let rule = TrustRule {
        id: TrustId::random(&mut rng()),
        name: parsed("name", &draft.name)?,
        system,
        audience: if draft.audience.is_empty() { audience } else { draft.audience },
        claims: draft.claims.iter().map(|text| parsed("claims", text)).collect::<Result<_, _>>()?,
        algorithms,
        ca: draft.ca,
        reach,
        workspace,
        permission: draft
            .permission
            .ok_or_else(|| Fault::field("permission", "say what the tokens may do: read or write"))?,
        lifetime: given("lifetime", draft.lifetime.as_ref(), DEFAULT_LIFETIME)?,
        max_age: given("max_age", draft.max_age.as_ref(), system.max_age())?,
        once: draft.once.as_deref().map_or(Ok(system.once()), |text| parsed("once", text))?,
        allow_recycled_names: draft.allow_recycled_names,
        issuer: draft.issuer,
    };
    match rule.check() {
        Ok(()) => Ok(rule),
        Err(why) => Err(Fault::field(field(&why), why)),
    }
}

fn field(why: &RuleError) -> &'static str {
    match why {
        RuleError::Issuer => "issuer",
        RuleError::Audience => "audience",
        RuleError::NoClaims(_) | RuleError::TooManyClaims | RuleError::Unanchored { .. } => "claims",
        RuleError::Lifetime => "lifetime",
        RuleError::MaxAge => "max_age",
        RuleError::NoAlgorithm => "algorithms",
    }
}

/// A rule for the trail.
fn words(rule: &TrustRule) -> String {
    let claims: Vec<String> = rule.claims.iter().map(ToString::to_string).collect();
    let TrustRule { name, issuer, permission, lifetime, .. } = rule;
    format!(
        "{name}: {issuer} with {} may {permission} {} for {lifetime}",
        claims.join(" "),
        rule.reach.texts().join(" ")
    )
}

/// What is kept, word by word: of a rule that can be read, that is the rule.
fn record(trust: Trust) -> TrustRecord {
    TrustRecord {
        id: trust.id,
        system: trust.system.parse().ok(),
        claims: trust.claims.iter().map(|claim| claim_record(claim)).collect(),
        repos: repositories(&trust.workspace, &trust.repos),
        permission: trust.permission.parse().ok(),
        pins: trust
            .pins
            .into_iter()
            .map(|pin| TrustPinRecord { claim: pin.claim, name: pin.name, id_claim: pin.id_claim, id: pin.id })
            .collect(),
        uses: trust.uses.unsigned_abs(),
        unreadable: trust.rule.err(),
        name: trust.name,
        issuer: trust.issuer,
        audience: trust.audience,
        algorithms: trust.algorithms,
        own_ca: trust.own_ca,
        workspace: trust.workspace,
        lifetime_seconds: trust.lifetime_seconds,
        max_age_seconds: trust.max_age_seconds,
        once: trust.once,
        allow_recycled_names: trust.allow_recycled_names,
        created_at: trust.created_at,
        created_by: trust.created_by,
        last_used_at: trust.last_used_at,
    }
}

fn claim_record(kept: &str) -> TrustClaimRecord {
    let (name, pattern) = kept.split_once('=').unwrap_or((kept, ""));
    TrustClaimRecord { name: name.to_owned(), pattern: pattern.to_owned() }
}

/// Each pattern of a repository's name as `workspace/repository`.
fn repositories(workspace: &str, patterns: &[String]) -> Vec<String> {
    patterns.iter().map(|pattern| format!("{workspace}/{pattern}")).collect()
}
