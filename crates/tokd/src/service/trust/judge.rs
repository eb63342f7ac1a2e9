//! What the rules make of an identity token: who signed it, whether it is good now, and which rules it meets.

use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Timestamp;
use tok_model::kind::Permission;
use tok_model::trust::{Judgement, TrustRule};
use tok_store::trusts::Trust;

use super::identity::{Identity, Malformed, Unverified};
use super::issuer::NoKeys;
use crate::fault::IntoFault as _;
use crate::service::Service;

/// What strangers are told of an identity token that is not believed, whatever the reason.
const NOT_BELIEVED: &str =
    "this identity token is not believed here: no trust rule names its issuer, or it is not signed as the rule says";
/// Rules whose findings are told, at most.
const MOST_TOLD: usize = 3;

/// Why an identity token is not believed.
pub(super) enum Disbelief {
    /// It is none.
    Malformed(Malformed),
    /// No rule names its issuer.
    NoRule { issuer: String },
    /// No rule takes what it is signed with.
    Algorithm { issuer: String, with: String, takes: String },
    /// The issuer has no such key.
    UnknownKey { issuer: String, kid: String },
    /// It is not signed by that key.
    Signature { issuer: String },
    /// The issuer cannot be asked for its keys.
    NoKeys { issuer: String, why: NoKeys },
    /// The rules cannot be read now.
    Unknown(Fault),
    /// This version cannot read any of them.
    Unread { issuer: String, unread: Vec<Unread> },
}

impl Disbelief {
    /// For a manager, who may know.
    pub(super) fn plainly(self) -> Fault {
        let invalid = |words: String| Fault::new(FaultCode::InvalidGrant, words);
        match self {
            Self::Malformed(why) => Fault::field("token", format!("that is no identity token: {why}")),
            Self::NoRule { issuer } => invalid(format!("no trust rule names the issuer {}", plain(&issuer))).hint(
                "an issuer is compared as it stands, a slash at its end included; `tok trust list` shows the rules",
            ),
            Self::Algorithm { issuer, with, takes } => {
                invalid(format!("it is signed with {with}, and the rules for {issuer} take {takes}"))
                    .hint("make the rule again with --algorithm, if the issuer signs so")
            }
            Self::UnknownKey { issuer, kid } => {
                invalid(format!("{issuer} publishes no key {:?} of that sort", plain(&kid)))
                    .hint("if it was published a moment ago: keys that are not known are asked for once a minute")
            }
            Self::Signature { issuer } => invalid(format!("it is not signed by the key of {issuer} that it names")),
            Self::NoKeys { issuer, why } => away(&issuer, &why),
            Self::Unknown(fault) => fault,
            Self::Unread { issuer, unread } => Fault::new(
                FaultCode::Internal,
                format!("the rules for {issuer} cannot be read by this version of tokd ({})", words(&unread)),
            )
            .hint("run the version of tokd that wrote them, or remove them with `tok trust remove` and make others"),
        }
    }

    /// For whoever presents it.
    fn guardedly(self) -> Fault {
        match self {
            Self::Malformed(why) => Fault::field("subject_token", format!("that is no identity token: {why}")),
            Self::NoKeys { issuer, why } => away(&issuer, &why),
            Self::Unknown(fault) => fault,
            // A rule that cannot be read lets nobody in, and no stranger is told for which issuers there are rules.
            Self::Unread { .. } => not_believed(),
            other => {
                let Fault { message, .. } = other.plainly();
                tracing::info!("An identity token was not believed: {message}");
                not_believed()
            }
        }
    }
}

fn not_believed() -> Fault {
    Fault::new(FaultCode::InvalidGrant, NOT_BELIEVED)
        .hint("a manager finds out why with `tok trust check`, and makes rules with `tok trust add`")
}

fn away(issuer: &str, why: &NoKeys) -> Fault {
    Fault::new(FaultCode::Unavailable, format!("the keys of {issuer} cannot be fetched: {why}"))
        .hint("try again in a moment; if it stays so, tokd has to reach the issuer over https and trust its certificate (--ca-file)")
}

/// What a stranger says, for a log or a manager.
fn plain(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// An identity token that an issuer of ours signed, with the rules for that issuer that take the signature.
pub(super) struct Believed {
    pub(super) identity: Identity,
    pub(super) rules: Vec<TrustRule>,
    /// Rules for that issuer that cannot be read, and so let nobody in.
    pub(super) unread: Vec<Unread>,
}

/// A rule that this version cannot read.
pub(super) struct Unread {
    pub(super) name: String,
    pub(super) workspace: String,
    pub(super) repos: Vec<String>,
    pub(super) permission: Option<Permission>,
    pub(super) why: String,
}

/// Which, and why.
fn words(unread: &[Unread]) -> String {
    unread.iter().map(|one| format!("{}: {}", one.name, one.why)).collect::<Vec<_>>().join("; ")
}

/// Those that can be read, and those that cannot.
fn read(found: Vec<Trust>) -> (Vec<TrustRule>, Vec<Unread>) {
    let (mut rules, mut unread) = (Vec::new(), Vec::new());
    for Trust { rule, name, workspace, repos, permission, .. } in found {
        match rule {
            Ok(rule) => rules.push(rule),
            Err(why) => unread.push(Unread { name, workspace, repos, permission: permission.parse().ok(), why }),
        }
    }
    (rules, unread)
}

impl Service {
    /// Finds out who signed an identity token.
    pub(super) async fn believe(&self, text: &str, now: Timestamp) -> Result<Believed, Disbelief> {
        let token = Unverified::parse(text).map_err(Disbelief::Malformed)?;
        let issuer = token.issuer().to_owned();
        let wanted = issuer.clone();
        let found = self
            .executor
            .run(move |store| store.read(|tx| tok_store::trusts::of_issuer(tx, &wanted)))
            .await
            .map_err(|error| Disbelief::Unknown(error.into_fault()))?;
        let (rules, unread) = read(found);
        if rules.is_empty() {
            return Err(if unread.is_empty() {
                Disbelief::NoRule { issuer }
            } else {
                Disbelief::Unread { issuer, unread }
            });
        }
        let takes: Vec<String> = rules.iter().flat_map(|rule| &rule.algorithms).map(ToString::to_string).collect();
        let mut rules: Vec<TrustRule> =
            rules.into_iter().filter(|rule| rule.algorithms.contains(&token.algorithm())).collect();
        if rules.is_empty() {
            let with = token.algorithm().to_string();
            return Err(Disbelief::Algorithm { issuer, with, takes: takes.join(", ") });
        }
        let mut disbelief = Disbelief::UnknownKey { issuer: issuer.clone(), kid: token.kid().to_owned() };
        // Rules may trust different certificates for one issuer, and so know different keys.
        while let Some(ca) = rules.first().map(|rule| rule.ca.clone()) {
            let (alike, others): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.ca == ca);
            rules = others;
            match self.issuers.key(&issuer, ca.as_deref(), token.kid(), token.algorithm(), now).await {
                Ok(Some(key)) => match token.verified(&key) {
                    Some(identity) => return Ok(Believed { identity, rules: alike, unread }),
                    None => disbelief = Disbelief::Signature { issuer: issuer.clone() },
                },
                Ok(None) => {}
                Err(why) => disbelief = Disbelief::NoKeys { issuer: issuer.clone(), why },
            }
        }
        Err(disbelief)
    }

    /// The same, for whoever presents it: they are told no more than they know, and not as often as they like.
    pub(super) async fn believe_stranger(
        &self,
        text: &str,
        source: &tok_model::audit::Source,
        now: Timestamp,
    ) -> Result<Believed, Fault> {
        match self.believe(text, now).await {
            Ok(believed) => Ok(believed),
            // What is no identity token costs nothing to refuse, and what cannot be known now is nobody's failure.
            Err(disbelief @ (Disbelief::Malformed(_) | Disbelief::NoKeys { .. } | Disbelief::Unknown(_))) => {
                Err(disbelief.guardedly())
            }
            Err(disbelief) => {
                if let Disbelief::Unread { issuer, unread } = &disbelief {
                    self.issuers.unreadable(issuer, &words(unread), now);
                }
                if let Some(wait) = self.failures.note(source, std::time::Instant::now()) {
                    let fault = Fault::new(
                        FaultCode::RateLimited,
                        "too many identity tokens from this address were not believed",
                    );
                    return Err(Fault { retry_after: Some(wait), ..fault }.hint(format!("wait {wait} s")));
                }
                Err(disbelief.guardedly())
            }
        }
    }
}

/// What is told of rules that do not let a job in: expected against seen.
pub(super) fn refused(judged: &[(&TrustRule, Judgement)], unread: usize) -> Fault {
    let mut told: Vec<String> = judged
        .iter()
        .take(MOST_TOLD)
        .map(|(rule, judgement)| {
            let unmet: Vec<String> = judgement.unmet().map(ToString::to_string).collect();
            format!("rule {}: {}", rule.name, unmet.join("; "))
        })
        .collect();
    if judged.len() > MOST_TOLD {
        told.push(format!("and {} rules more", judged.len() - MOST_TOLD));
    }
    if unread > 0 {
        told.push(format!("not counting {unread} that this version of tokd cannot read"));
    }
    Fault::new(FaultCode::AccessDenied, format!("no trust rule lets this job in ({})", told.join("); (")))
        .hint("a manager sees all of it with `tok trust check`")
}
