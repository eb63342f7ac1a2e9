//! The decision, with each link of the rule as it was asked. There is no second implementation: the one decision reports
//! to a [`Trace`] as it goes, and usually nobody listens.

use super::{Caller, Need, Permit, Refusal, judge};
use crate::clock::Timestamp;

/// A link of the authority rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Is what was presented good at all, from here, now?
    Live,
    /// May this kind of token be used for that, with that repository?
    Kind,
    /// Has it the scope?
    Scopes,
    /// Do its routes reach there?
    Routes,
    /// May its owner do that now?
    Owner,
}

crate::kind::words!(Link, "link", Live = "live", Kind = "kind", Scopes = "scopes", Routes = "routes", Owner = "owner");

/// One link, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub link: Link,
    /// Whether it lets pass.
    pub passed: bool,
    /// What was found, as a sentence for people.
    pub detail: String,
}

/// A decision and how it came about.
#[derive(Debug)]
pub struct Explained {
    /// What [`decide`](super::decide) says.
    pub verdict: Result<Permit, Refusal>,
    /// Each link that was asked, in that order. Only the last one can have said no.
    pub steps: Vec<Step>,
}

/// The same decision as [`decide`](super::decide), with the links of the rule that were asked.
pub fn explain(caller: &Caller, need: Need, now: Timestamp) -> Explained {
    let mut steps = Vec::new();
    let verdict = judge(caller, need, now, &mut steps);
    Explained { verdict, steps }
}

/// Hears of each link as it is asked, and passes on what was found.
pub(super) trait Trace {
    /// `found` is what `link` said; `passed` puts into words why it did not say no.
    fn asked(&mut self, link: Link, found: Result<(), Refusal>, passed: impl FnOnce() -> String)
    -> Result<(), Refusal>;
}

/// Nobody listens.
pub(super) struct Silent;

impl Trace for Silent {
    fn asked(&mut self, _: Link, found: Result<(), Refusal>, _: impl FnOnce() -> String) -> Result<(), Refusal> {
        found
    }
}

impl Trace for Vec<Step> {
    fn asked(
        &mut self,
        link: Link,
        found: Result<(), Refusal>,
        passed: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        let detail = match &found {
            Ok(()) => passed(),
            Err(refusal) => refusal.to_string(),
        };
        self.push(Step { link, passed: found.is_ok(), detail });
        found
    }
}
