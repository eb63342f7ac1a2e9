//! Whether a token may do something, and which rule decides.

use std::sync::Arc;

use tok_api::convert::{ExplainAsk, ExplainStep, Explanation, TokenRecord};
use tok_api::fault::Fault;
use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Need, explain};

use crate::service::Service;

impl Service {
    /// Asks the one decision on behalf of a token that the caller may see, without using it; nothing is recorded as its use.
    pub async fn explain(&self, caller: &Caller, ask: ExplainAsk) -> Result<Explanation, Fault> {
        let now = self.now();
        let mut asked = match ask.reference {
            None => caller.clone(),
            Some(reference) => {
                let (_, token) = self.resolve(caller, reference, |owner| Need::SeeTokens { owner }).await?;
                let (token, owner) = self
                    .run(move |store| {
                        let owner = store.read(|tx| tok_store::tokens::owner_now(tx, &token))?;
                        Ok((token, owner))
                    })
                    .await?;
                let source = Source { address: caller.source.address, ..Source::default() };
                Caller { bearer: Bearer::Token(Arc::new(token)), owner, source }
            }
        };
        if ask.address.is_some() {
            asked.source.address = ask.address;
        }
        let need = match ask.repository {
            Some((repo, right)) => Need::Repository { repo, right },
            None => Need::Identity,
        };
        let explained = explain(&asked, need, ask.at.unwrap_or(now));
        let step = |step: &tok_model::decide::Step| ExplainStep {
            link: step.link.to_string(),
            passed: step.passed,
            detail: step.detail.clone(),
        };
        let (rule, reason, hint) = match &explained.verdict {
            Ok(_) => ("allowed", "no rule says no".to_owned(), None),
            Err(refusal) => (refusal.rule.word(), refusal.to_string(), refusal.hint()),
        };
        Ok(Explanation {
            allowed: explained.verdict.is_ok(),
            rule: rule.to_owned(),
            over: explained.verdict.as_ref().is_err_and(|refusal| refusal.rule.is_over()),
            reason,
            hint,
            steps: explained.steps.iter().map(step).collect(),
            token: asked.token().map(|token| TokenRecord::of(token, now)),
        })
    }
}
