//! The secret of a token that is being made: tok's own, or one that its maker chose.

use secrecy::SecretString;
use tok_api::fault::Fault;
use tok_model::kind::TokenKind;
use tok_model::secret::Plaintext;
use tok_model::token::check_login_name;
use tok_store::tokens::StoredSecret;

use crate::fault::IntoFault;
use crate::service::{Service, rng};

/// A secret for a new token: what its maker sees of it once, and what is kept.
pub struct NewSecret {
    /// The secret itself.
    pub text: SecretString,
    /// What the store keeps.
    pub stored: StoredSecret,
    /// What lists show: `tokpat_a1b2`, or the name before a chosen secret, as in `deploy:`.
    pub shown: String,
}

impl Service {
    /// A secret for a token of this kind and name. `about` are more words that a chosen one must not be made of.
    pub(in crate::service) async fn new_secret(
        &self,
        kind: TokenKind,
        name: &str,
        chosen: Option<SecretString>,
        about: Option<&str>,
    ) -> Result<NewSecret, Fault> {
        let Some(chosen) = chosen else {
            let text = Plaintext::mint(kind, &mut rng());
            let pepper = self.peppers.current();
            return Ok(NewSecret {
                stored: StoredSecret::Digest { digest: text.digest(pepper), pepper: pepper.id() },
                shown: text.shown_prefix(),
                text: SecretString::from(text.reveal()),
            });
        };
        check_login_name(name).map_err(|why| {
            Fault::field("name", why)
                .hint("a token with a chosen secret is presented as name:secret, so choose a name that can stand there")
        })?;
        let about = std::iter::once(name).chain(about).map(str::to_owned).collect();
        let hash = self.hash_of_chosen("secret", chosen.clone(), about).await.map_err(|fault| match &fault.hint {
            Some(hint) => Fault { hint: Some(format!("{hint}; or leave it out and tok makes one")), ..fault },
            None => fault,
        })?;
        Ok(NewSecret { text: chosen, stored: StoredSecret::Hash(hash), shown: format!("{name}:") })
    }

    /// The hash of what somebody chose, or the field with what is wrong with it.
    pub(in crate::service) async fn hash_of_chosen(
        &self,
        field: &str,
        chosen: SecretString,
        about: Vec<String>,
    ) -> Result<String, Fault> {
        match self.strangers.slow.choose(chosen, about).await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(weakness)) => {
                Err(Fault::field(field, format!("this {field} is not taken: {weakness}")).hint(weakness.hint()))
            }
            Err(busy) => Err(busy.into()),
        }
    }
}

impl From<crate::slow_hash::Busy> for Fault {
    fn from(busy: crate::slow_hash::Busy) -> Self {
        tok_store::StoreError::from(busy).into_fault()
    }
}
