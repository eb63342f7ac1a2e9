//! The exchange of an identity token for a git token.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tok_api::convert::{Exchange, ExchangedToken};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent, Source};
use tok_model::clock::Timestamp;
use tok_model::decide::{Bearer, Caller, MintRequest, Need, OwnerNow};
use tok_model::grant::Grant;
use tok_model::id::TokenId;
use tok_model::kind::{Permission, TokenKind};
use tok_model::name::RepoPath;
use tok_model::secret::Plaintext;
use tok_model::token::Owner;
use tok_model::trust::{Judgement, TrustRule};
use tok_store::tokens::{NewToken, StoredSecret};
use tok_store::trusts::{Burnt, Exchanged};

use super::identity::{Identity, Untimely};
use super::judge::{Believed, Refused, refused};
use crate::service::{Service, rng};

/// As much of a subject or an ID as the trail keeps, in characters.
const KEPT: usize = 200;

impl Service {
    /// Exchanges an identity token for a git token for one repository, once.
    pub async fn exchange(&self, source: Source, wish: Exchange) -> Result<ExchangedToken, Fault> {
        let now = self.now();
        let believed = self.believe_stranger(wish.token.expose_secret(), &source, now).await?;
        match self.exchange_believed(&source, &believed, &wish, now).await {
            Err(Refused { fault, .. })
                if matches!(fault.code, FaultCode::Unavailable | FaultCode::Busy | FaultCode::Internal) =>
            {
                Err(fault)
            }
            Err(Refused { fault, whole }) => {
                let actor = Caller::anonymous(source).actor();
                let why = format!("{whole} ({})", who(&believed.identity));
                self.uses.note_refused(&actor, Action::TokenExchange, wish.repository.as_ref(), &why, now);
                Err(fault)
            }
            Ok(done) => Ok(done),
        }
    }

    async fn exchange_believed(
        &self,
        source: &Source,
        believed: &Believed,
        wish: &Exchange,
        now: Timestamp,
    ) -> Result<ExchangedToken, Refused> {
        let Believed { identity, rules, unread, .. } = believed;
        identity.timely(now).map_err(|why| untimely(&why))?;
        let judged: Vec<(&TrustRule, Judgement)> =
            rules.iter().map(|rule| (rule, rule.judge(&identity.claims))).collect();
        let met: Vec<&TrustRule> = judged.iter().filter(|(_, it)| it.accepted()).map(|(rule, _)| *rule).collect();
        if met.is_empty() {
            let unknowable = believed.unknowable().map(Refused::from);
            return Err(unknowable.unwrap_or_else(|| refused(&identity.claims, &judged, unread.len())));
        }
        let chosen = choose(&met, wish).map_err(|fault| believed.unknowable().unwrap_or(fault));
        let (rule, repository, permission) = chosen?;
        identity.young(rule, now).map_err(|why| untimely(&why))?;
        let pins = rule.pins(&identity.claims).map_err(|why| {
            let hint = format!(
                "is the rule's --system right? Else make it with --claim {}=<the ID> or --allow-recycled-names",
                why.id_claim
            );
            Fault::new(FaultCode::AccessDenied, why).hint(hint)
        })?;
        let until = now + rule.lifetime.delta();
        let caller = caller(rule, source.clone());
        let request = MintRequest {
            owner: Owner::Workspace(rule.workspace),
            grant: Grant::Git { repo: repository.clone(), permission },
            expires_at: Some(until),
            allow_from: Vec::new(),
        };
        let permit = self.permit(&caller, Need::Mint(request))?;
        let text = Plaintext::mint(TokenKind::Git, &mut rng());
        let new = self.git_row(&text, format!("git {permission} {repository} by trust rule {}", rule.name));
        let (id, burnt) = (
            new.id,
            Burnt {
                trust: rule.id,
                digest: identity.recognised_by(rule.once, &repository.to_string()),
                until: identity.forgotten_at(),
                pins,
            },
        );
        let event = AuditEvent::done(Action::TokenExchange, permit.actor().clone())
            .token(id, &new.shown_prefix)
            .repo(repository.clone())
            .detail(format!(
                "{permission} until {}, {}; met {}",
                until.format("%Y-%m-%dT%H:%M:%SZ"),
                who(identity),
                met_claims(rule, identity)
            ));
        let name = rule.name.clone();
        let done = self.run(move |store| tok_store::trusts::exchange(store, &permit, &burnt, new, event)).await?;
        match done {
            Exchanged::Made(token) => {
                let shown = &token.shown_prefix;
                tracing::info!(token.id = %id, rule = %name, repo = %repository, right = %permission, "Exchanged an identity token for {shown}… to {permission} {repository} by the trust rule {name}");
                let secret = SecretString::from(text.reveal());
                Ok(ExchangedToken { secret, id, expires_at: until, repository, permission })
            }
            Exchanged::Replayed => Err(Fault::new(FaultCode::InvalidGrant, "this identity token was exchanged before, and each is good once")
                .hint("get another one from the CI system, or exchange once and use the git token until it ends").into()),
            Exchanged::Recycled { now, pinned: (claim, id) } => Err(Fault::new(
                FaultCode::AccessDenied,
                format!(
                    "the name {} passed to somebody else: {} was {id} when the rule {name} first let it in (expected {claim}={id}, saw {}={})",
                    now.name, now.id_claim, now.id_claim, now.id
                ),
            )
            .hint(format!("if that is meant to be: remove the rule and make it again, best with --claim {}=<the ID>", now.id_claim)).into()),
            Exchanged::RuleGone => {
                Err(Fault::new(FaultCode::AccessDenied, format!("the trust rule {name} was just removed")).into())
            }
        }
    }

    fn git_row(&self, text: &Plaintext, name: String) -> NewToken {
        let pepper = self.peppers.current();
        NewToken {
            id: TokenId::random(&mut rng()),
            secret: StoredSecret::Digest { digest: text.digest(pepper), pepper: pepper.id() },
            imported_from: None,
            shown_prefix: text.shown_prefix(),
            name,
            description: String::new(),
            labels: Vec::new(),
            max_uses: None,
            parent: None,
            parent_version: None,
            local_uid: None,
        }
    }
}

fn caller(rule: &TrustRule, source: Source) -> Caller {
    let name = rule.reach.workspace().clone();
    let owner = OwnerNow::Workspace { id: rule.workspace, name, disabled_maker: None };
    Caller { bearer: Bearer::Trusted { rule: Arc::new(rule.clone()) }, owner, source }
}

fn untimely(why: &Untimely) -> Fault {
    Fault::new(FaultCode::InvalidGrant, format!("this identity token is not good now: {why}"))
        .hint("get a new one from the CI system, right before it is exchanged")
}

/// The first rule that gives what is wanted, with what is given.
fn choose<'r>(met: &[&'r TrustRule], wish: &Exchange) -> Result<(&'r TrustRule, RepoPath, Permission), Fault> {
    let target = |words: String| Fault::new(FaultCode::InvalidTarget, words);
    let given = || -> String {
        let rules: Vec<String> = met
            .iter()
            .map(|rule| format!("{} gives {} to {}", rule.name, rule.permission, rule.reach.texts().join(", ")))
            .collect();
        rules.join("; ")
    };
    let Some(repository) = wish.repository.clone().or_else(|| met.iter().find_map(|rule| rule.reach.only())) else {
        return Err(Fault::field("resource", "say for which repository the token shall be: the rule is for several")
            .hint("add resource=<workspace>/<repository>, or the repository's URL"));
    };
    let there: Vec<&TrustRule> = met.iter().copied().filter(|rule| rule.reach.covers(&repository)).collect();
    if there.is_empty() {
        return Err(target(format!("no trust rule that this job meets gives a token for {repository} ({})", given())));
    }
    // What is not said is as much as there is.
    let most = || {
        if there.iter().any(|rule| rule.permission == Permission::Write) { Permission::Write } else { Permission::Read }
    };
    let permission = wish.permission.unwrap_or_else(most);
    let rule = there.into_iter().find(|rule| rule.permission.covers(permission.right()));
    let rule = rule.ok_or_else(|| {
        target(format!("no trust rule that this job meets lets it {permission} {repository} ({})", given()))
    })?;
    Ok((rule, repository, permission))
}

fn who(identity: &Identity) -> String {
    let cut = |text: &str| -> String {
        let text: String = text.chars().take(KEPT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        tok_model::secret::without_tokens(&text)
    };
    let jti = identity.jti.as_deref().map_or_else(|| "none".to_owned(), cut);
    format!("issuer {}, subject {}, jti {jti}", identity.issuer, cut(&identity.subject))
}

/// What the rule expected and saw.
fn met_claims(rule: &TrustRule, identity: &Identity) -> String {
    let seen = rule.judge(&identity.claims).findings.into_iter().filter(|finding| finding.claim != "aud");
    let seen: Vec<String> =
        seen.map(|finding| format!("{}={}", finding.claim, finding.seen.unwrap_or_default().join(","))).collect();
    seen.join(" ")
}
