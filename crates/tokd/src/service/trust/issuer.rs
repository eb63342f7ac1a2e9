//! The keys of issuers: found by discovery (OpenID Connect Discovery 1.0, section 4), kept, and fetched again when an
//! unknown one turns up, but not as often as somebody would like to make us.
//!
//! Only an issuer that a rule names is ever asked, at the address that the rule gives, and its keys are taken from nowhere
//! else than the same server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tok_api::fetch::{FetchError, Fetcher};
use tok_model::clock::Timestamp;
use tok_model::trust::Algorithm;
use tok_model::url::Origin;

use super::jwk::{Key, KeySet};
use crate::metrics::TrustFigures;

/// How long keys are used without asking again.
const FRESH: TimeDelta = TimeDelta::minutes(15);
/// How long they are used if their issuer does not answer.
const USABLE: TimeDelta = TimeDelta::hours(24);
/// How far apart two fetches are that unknown keys, or an issuer that does not answer, give rise to.
const APART: TimeDelta = TimeDelta::seconds(60);
/// The same while there are no keys at all.
const APART_WITHOUT: TimeDelta = TimeDelta::seconds(5);

/// How far apart it is said in the log that no rule for an issuer can be read.
const SAID_APART: TimeDelta = TimeDelta::hours(1);

/// The keys of every issuer that was asked.
#[derive(Default)]
pub(in crate::service) struct Issuers {
    known: Mutex<HashMap<Place, Arc<Known>>>,
    /// When it was last said in the log that no rule for an issuer can be read.
    said: Mutex<HashMap<String, Timestamp>>,
    figures: TrustFigures,
}

/// An issuer, and the digest of the certificates that are trusted for it.
type Place = (String, Option<[u8; 32]>);

#[derive(Default)]
struct Known {
    kept: Mutex<Kept>,
    /// One fetch at a time: whoever comes meanwhile waits for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct Kept {
    keys: Option<(Arc<KeySet>, Timestamp)>,
    /// When an unknown key was last a reason to fetch.
    sought_at: Option<Timestamp>,
    /// When the last fetch failed, and why.
    failed: Option<(Timestamp, NoKeys)>,
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKeys {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("what {0} answers is no document of OpenID Connect")]
    Document(String),
    #[error("{url} says that it is the issuer {said:?}")]
    OtherIssuer { url: String, said: String },
    #[error("{issuer} has its keys at another server, {keys:?}, which is not asked")]
    Elsewhere { issuer: String, keys: String },
    #[error("there is no key at {0} that could sign")]
    Empty(String),
    #[error("{0}")]
    Trust(String),
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// What is counted.
    pub(in crate::service) fn figures(&self) -> &TrustFigures {
        &self.figures
    }

    /// Somebody came with a token of an issuer no rule for which can be read: those who can mend it are told, now and then.
    pub(super) fn unreadable(&self, issuer: &str, why: &str, now: Timestamp) {
        self.figures.unreadable.inc();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(issuer).is_some_and(|at| now - *at < SAID_APART) {
            return;
        }
        // Only issuers that rules name come here.
        said.insert(issuer.to_owned(), now);
        tracing::error!(
            issuer,
            "Jobs of {issuer} are kept out: no trust rule for its issuer can be read by this version of tokd ({why}). Run the \
             version that wrote them, or remove them with `tok trust remove` and make others. This is said once an hour"
        );
    }

    /// The key of this name, if the issuer has it.
    pub(super) async fn key(
        &self,
        issuer: &str,
        ca: Option<&str>,
        kid: &str,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<Option<Key>, NoKeys> {
        let place = (issuer.to_owned(), ca.map(|pem| Sha256::digest(pem).into()));
        let known = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(place).or_default())
        };
        let found = |keys: &KeySet| keys.find(kid, algorithm).cloned();
        if let Some(key) = known.kept().fresh(now).and_then(|keys| found(&keys)) {
            return Ok(Some(key));
        }
        let _one_at_a_time = known.fetching.lock().await;
        let kept = known.kept();
        match kept.fresh(now) {
            // Somebody fetched them meanwhile, or it is a name that nobody has.
            Some(keys) => {
                let key = found(&keys);
                if key.is_some() || kept.sought_at.is_some_and(|at| now - at < APART) {
                    return Ok(key);
                }
                known.change(|kept| kept.sought_at = Some(now));
            }
            None => {
                let apart = if kept.usable(now).is_some() { APART } else { APART_WITHOUT };
                if let Some((at, why)) = &kept.failed
                    && now - *at < apart
                {
                    return kept.usable(now).map(|keys| found(&keys)).ok_or_else(|| why.clone());
                }
            }
        }
        match fetch(issuer, ca).await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                known.change(|kept| {
                    kept.keys = Some((Arc::clone(&keys), now));
                    kept.failed = None;
                });
                Ok(found(&keys))
            }
            Err(why) => {
                tracing::warn!(issuer, %why, "The keys of {issuer} cannot be fetched: {why}");
                known.change(|kept| kept.failed = Some((now, why.clone())));
                known.kept().usable(now).map(|keys| found(&keys)).ok_or(why)
            }
        }
    }
}

impl Known {
    fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Kept {
    fn younger_than(&self, age: TimeDelta, now: Timestamp) -> Option<Arc<KeySet>> {
        self.keys.as_ref().filter(|(_, at)| now - *at < age).map(|(keys, _)| Arc::clone(keys))
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        self.younger_than(FRESH, now)
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        self.younger_than(USABLE, now)
    }
}

async fn fetch(issuer: &str, ca: Option<&str>) -> Result<KeySet, NoKeys> {
    let fetcher = Fetcher::new(ca).map_err(|fault| NoKeys::Trust(fault.message))?;
    let base = issuer.trim_end_matches('/');
    let url = format!("{base}/.well-known/openid-configuration");
    let document = fetcher.get(&url, None).await?;
    let found: Discovered = serde_json::from_slice(&document).map_err(|_| NoKeys::Document(url.clone()))?;
    if found.issuer != issuer {
        return Err(NoKeys::OtherIssuer { url, said: found.issuer.chars().take(200).collect() });
    }
    if origin(&found.jwks_uri).is_none() || origin(&found.jwks_uri) != origin(issuer) {
        let keys = found.jwks_uri.chars().take(200).collect();
        return Err(NoKeys::Elsewhere { issuer: issuer.to_owned(), keys });
    }
    let document = fetcher.get(&found.jwks_uri, None).await?;
    let keys = KeySet::parse(&document).map_err(|_| NoKeys::Document(found.jwks_uri.clone()))?;
    if keys.is_empty() { Err(NoKeys::Empty(found.jwks_uri)) } else { Ok(keys) }
}

fn origin(url: &str) -> Option<Origin> {
    let rest = url.strip_prefix("https://")?;
    format!("https://{}", rest.split(['/', '?', '#']).next()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.2.
    const KEYS: &str =
        r#"{"keys":[{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn at(minutes: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(1_800_000_000 + 60 * minutes, 0).unwrap()
    }

    /// Nobody listens there, and its keys were fetched at minute 0.
    fn away() -> (Issuers, String) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("https://{}", socket.local_addr().unwrap());
        drop(socket);
        let known = Known::default();
        known.change(|kept| kept.keys = Some((Arc::new(KeySet::parse(KEYS.as_bytes()).unwrap()), at(0))));
        let issuers = Issuers::default();
        issuers.known.lock().unwrap().insert((issuer.clone(), None), Arc::new(known));
        (issuers, issuer)
    }

    #[tokio::test]
    async fn keys_do_for_a_day_without_their_issuer_and_no_longer() {
        let (issuers, issuer) = away();
        let key = async |kid, minutes| {
            let found = issuers.key(&issuer, None, kid, Algorithm::EdDsa, at(minutes)).await;
            found.map(|key| key.is_some()).map_err(|why| why.to_string())
        };
        assert_eq!(key("k", 14).await, Ok(true));
        assert_eq!(key("other", 14).await, Ok(false));
        assert_eq!(key("k", 16).await, Ok(true), "not fresh any more, and there are no others");
        assert_eq!(key("k", 24 * 60 - 1).await, Ok(true));
        let gone = key("k", 24 * 60).await.unwrap_err();
        assert!(gone.contains("cannot be asked"), "{gone}");
    }

    #[tokio::test]
    async fn an_issuer_that_fails_is_not_asked_again_at_once() {
        let (issuers, issuer) = away();
        let failed_at = || issuers.known.lock().unwrap()[&(issuer.clone(), None)].kept().failed.map(|(at, _)| at);
        let ask = async |now| issuers.key(&issuer, None, "k", Algorithm::EdDsa, now).await.unwrap();
        ask(at(20)).await;
        assert_eq!(failed_at(), Some(at(20)));
        ask(at(20) + TimeDelta::seconds(59)).await;
        assert_eq!(failed_at(), Some(at(20)));
        ask(at(21)).await;
        assert_eq!(failed_at(), Some(at(21)));
    }

    #[test]
    fn keys_are_taken_from_the_issuers_own_server_alone() {
        let same = |a: &str, b: &str| origin(a).is_some() && origin(a) == origin(b);
        assert!(same("https://ci.example/oauth/keys", "https://ci.example"));
        assert!(same("https://ci.example:443/keys?a", "https://CI.example/api/actions"));
        for other in [
            "http://ci.example/keys",
            "https://evil.example/",
            "https://ci.example:8443/",
            "https://ci.example@evil.example/",
            "x",
        ] {
            assert!(!same(other, "https://ci.example"), "{other}");
        }
    }
}
