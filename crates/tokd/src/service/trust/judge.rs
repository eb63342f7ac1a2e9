//! What the rules make of an identity token: who signed it, whether it is good now, and which rules it meets.

use tok_api::fault::{Fault, FaultCode};
use tok_model::clock::Timestamp;
use tok_model::kind::Permission;
use tok_model::trust::{Algorithm, Claims, Judgement, TrustRule};
use tok_store::trusts::Trust;

use super::identity::{Identity, Malformed, Unverified};
use super::issuer::NoKeys;
use crate::fault::IntoFault as _;
use crate::service::Service;

/// What strangers are told of an identity token that is not believed, whatever the reason.
const NOT_BELIEVED: &str =
    "this identity token is not believed here: no trust rule names its issuer, or it is not signed as the rule says";
/// As much of what a stranger says is repeated, in characters.
const SAID: usize = 200;
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
            Self::NoRule { issuer } => invalid(format!("no trust rule names the issuer {}", plain(&issuer, SAID)))
                .hint(
                    "an issuer is compared as it stands, a slash at its end included; `tok trust list` shows the rules",
                ),
            Self::Algorithm { issuer, with, takes } => {
                invalid(format!("it is signed with {with}, and the rules for {issuer} take {takes}"))
                    .hint("make the rule again with --algorithm, if the issuer signs so")
            }
            Self::UnknownKey { issuer, kid } => {
                invalid(format!("{issuer} publishes no key {:?} of that sort", plain(&kid, SAID)))
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

/// What a stranger says, for a log or a manager: so many characters of it at most.
pub(super) fn plain(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// An identity token that an issuer of ours signed, and what the rules for that issuer are to it.
pub(super) struct Believed {
    pub(super) identity: Identity,
    /// The rules that take the signature, by name.
    pub(super) rules: Vec<TrustRule>,
    /// Those that do not, and why: each goes by its own certificates and algorithms.
    pub(super) others: Vec<(TrustRule, Distrust)>,
    /// Rules for that issuer that cannot be read, and so let nobody in.
    pub(super) unread: Vec<Unread>,
}

/// Why a rule does not take the signature of an identity token.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Distrust {
    #[error("the token is signed with {with}, and the rule takes {takes}")]
    Algorithm { with: Algorithm, takes: String },
    #[error("whom the rule's certificates lead to has no such key")]
    UnknownKey,
    #[error("whom the rule's certificates lead to has not signed it")]
    Signature,
    #[error("the keys cannot be fetched with the rule's certificates: {0}")]
    NoKeys(NoKeys),
}

impl Believed {
    /// The failure, if a rule that would let this job in cannot be judged by now, for nobody gives it keys.
    pub(super) fn unknowable(&self) -> Option<Fault> {
        self.others.iter().find_map(|(rule, why)| match why {
            Distrust::NoKeys(why) if rule.judge(&self.identity.claims).accepted() => {
                Some(away(&self.identity.issuer, why))
            }
            _ => None,
        })
    }
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
        let with = token.algorithm();
        let (fitting, unfit): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.algorithms.contains(&with));
        if fitting.is_empty() {
            let takes: Vec<String> = unfit.iter().map(takes).collect();
            return Err(Disbelief::Algorithm { issuer, with: with.to_string(), takes: takes.join(", ") });
        }
        let mut others: Vec<_> = unfit
            .into_iter()
            .map(|rule| {
                let takes = takes(&rule);
                (rule, Distrust::Algorithm { with, takes })
            })
            .collect();
        // Rules may trust different certificates for one issuer, and so know different keys.
        let groups = alike(fitting);
        let asked = groups.iter().map(|(ca, _)| self.issuers.key(&issuer, ca.as_deref(), token.kid(), with, now));
        let keys = futures_util::future::join_all(asked).await;
        let (mut identity, mut rules) = (None, Vec::new());
        for ((_, group), key) in groups.into_iter().zip(keys) {
            let distrust = match key.map(|key| key.map(|key| token.verified(&key))) {
                Ok(Some(Some(believed))) => {
                    identity = Some(believed);
                    rules.extend(group);
                    continue;
                }
                Ok(Some(None)) => Distrust::Signature,
                Ok(None) => Distrust::UnknownKey,
                Err(why) => Distrust::NoKeys(why),
            };
            others.extend(group.into_iter().map(|rule| (rule, distrust.clone())));
        }
        rules.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        match identity {
            Some(identity) => Ok(Believed { identity, rules, others, unread }),
            None => Err(disbelief(issuer, token.kid(), others)),
        }
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

/// The algorithms that a rule takes.
fn takes(rule: &TrustRule) -> String {
    rule.algorithms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The rules that trust the same certificates for their issuer, together.
fn alike(rules: Vec<TrustRule>) -> Vec<(Option<String>, Vec<TrustRule>)> {
    let mut groups: Vec<(Option<String>, Vec<TrustRule>)> = Vec::new();
    for rule in rules {
        match groups.iter_mut().find(|(ca, _)| *ca == rule.ca) {
            Some((_, group)) => group.push(rule),
            None => groups.push((rule.ca.clone(), vec![rule])),
        }
    }
    groups
}

/// Why no rule takes the signature. That keys cannot be had comes before what others' keys say: it may yet be good.
fn disbelief(issuer: String, kid: &str, others: Vec<(TrustRule, Distrust)>) -> Disbelief {
    let mut unsigned = false;
    for (_, why) in others {
        match why {
            Distrust::NoKeys(why) => return Disbelief::NoKeys { issuer, why },
            Distrust::Signature => unsigned = true,
            Distrust::UnknownKey | Distrust::Algorithm { .. } => {}
        }
    }
    if unsigned { Disbelief::Signature { issuer } } else { Disbelief::UnknownKey { issuer, kid: kid.to_owned() } }
}

/// A "no", and what of it is only for the trail, which managers read.
pub(super) struct Refused {
    pub(super) fault: Fault,
    /// All of it.
    pub(super) whole: String,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { whole: fault.message.clone(), fault }
    }
}

/// That no rule lets a job in: expected against seen. Whoever comes is told it of the rules that are about them, and of
/// others only how many there are: what they expect, private repositories' names among it, is for managers.
pub(super) fn refused(claims: &Claims, judged: &[(&TrustRule, Judgement)], unread: usize) -> Refused {
    let about: Vec<_> = judged.iter().filter(|(rule, _)| rule.is_about(claims)).collect();
    let more = |told: usize| match judged.len() - told {
        0 => None,
        1 => Some("and 1 rule more".to_owned()),
        more => Some(format!("and {more} rules more")),
    };
    let unread = (unread > 0).then(|| format!("not counting {unread} that this version of tokd cannot read"));
    let said = |mut told: Vec<String>, more: Option<String>| {
        told.extend(more.into_iter().chain(unread.clone()));
        format!("no trust rule lets this job in ({})", told.join("); ("))
    };
    let whole: Vec<String> = judged.iter().take(MOST_TOLD).map(unmet).collect();
    let whole = said(whole, more(judged.len().min(MOST_TOLD)));
    let told = if about.is_empty() {
        said(vec![format!("none is about it: {}", seen(claims))], None)
    } else {
        let told: Vec<String> = about.iter().take(MOST_TOLD).map(|judged| unmet(judged)).collect();
        let more = more(told.len());
        said(told, more)
    };
    let fault =
        Fault::new(FaultCode::AccessDenied, told).hint("a manager sees what each rule expects with `tok trust check`");
    Refused { fault, whole }
}

fn unmet((rule, judgement): &(&TrustRule, Judgement)) -> String {
    let unmet: Vec<String> = judgement.unmet().map(ToString::to_string).collect();
    format!("rule {}: {}", rule.name, unmet.join("; "))
}

/// What a job says of whose it is, and for whom.
fn seen(claims: &Claims) -> String {
    let of = |name: &&str| {
        let values: Vec<String> = claims.values(name)?.iter().map(|value| plain(value, SAID)).collect();
        Some(format!("{name}={}", values.join(",")))
    };
    let all: Vec<String> = ["aud", "sub", "repository", "project_path"].iter().filter_map(of).collect();
    format!("it says {}", if all.is_empty() { "nothing of whose it is".to_owned() } else { all.join(", ") })
}
