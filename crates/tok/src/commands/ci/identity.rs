//! A job's identity: where its CI system gives it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use tok_api::fetch::Fetcher;

use crate::exit::Failure;
use crate::secret;

/// What has a secret in it, and is not handed on to what runs in a job.
pub(super) const SECRET_VARIABLES: [&str; 4] =
    ["TOK_TOKEN", "TOK_ID_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"];

/// What a job can prove itself with.
pub(super) enum Identity {
    /// GitHub Actions and Forgejo Actions give one whenever they are asked.
    Asked { url: String, token: SecretString, audience: String },
    /// GitLab CI/CD gives one in a variable, good for the whole job.
    Given(SecretString),
    /// Others write one to a file, and a new one in its place in time.
    InFile(PathBuf),
    /// None: a stored token of the job's instead.
    Stored(SecretString),
}

#[derive(Deserialize)]
struct Answered {
    value: SecretText,
}

/// A secret as JSON has it.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretText(String);

impl Drop for SecretText {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl Identity {
    /// What this job has: a file that was named, `TOK_ID_TOKEN`, what the runner offers, `TOK_TOKEN`; in this order.
    pub(super) fn find(file: Option<&Path>, audience: String) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let secret = |name: &str| variable(name).map(|value| SecretString::from(value.trim()));
        if let Some(path) = file {
            return Ok(Self::InFile(path.to_owned()));
        }
        if let Some(token) = secret("TOK_ID_TOKEN") {
            return Ok(Self::Given(token));
        }
        if let (Some(url), Some(token)) =
            (variable("ACTIONS_ID_TOKEN_REQUEST_URL"), secret("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
        {
            return Ok(Self::Asked { url, token, audience });
        }
        if let Some(token) = secret("TOK_TOKEN") {
            return Ok(Self::Stored(token));
        }
        Err(Failure::local("this job has neither an identity token nor TOK_TOKEN").hint(missing(
            variable("GITHUB_ACTIONS").is_some() && variable("FORGEJO_ACTIONS").is_none(),
            variable("GITLAB_CI").is_some(),
            variable("FORGEJO_ACTIONS").is_some(),
            &audience,
        )))
    }

    /// Whether there is another one whenever it is asked for.
    pub(super) fn renews(&self) -> bool {
        matches!(self, Self::Asked { .. } | Self::InFile(_))
    }

    /// An identity token.
    pub(super) async fn token(&self) -> Result<SecretString, Failure> {
        match self {
            Self::Given(token) | Self::Stored(token) => Ok(token.clone()),
            Self::InFile(path) => secret::long_from_any_file(path, "the identity token"),
            Self::Asked { url, token, audience } => {
                let url = with_audience(url, audience);
                // Forgejo on a network of its own may be asked in the clear; it is the runner that names the address.
                let fetcher = Fetcher::new(None)?.in_the_clear_too();
                let document = fetcher.get(&url, Some(token)).await.map_err(|why| {
                    Failure::local(format!("the CI runner gives no identity token: {why}"))
                        .hint("has the job the permission? At GitHub: `permissions: id-token: write`")
                })?;
                let answered: Answered = serde_json::from_slice(&document)
                    .map_err(|_| Failure::local("the CI runner's answer is no identity token"))?;
                Ok(SecretString::from(answered.value.0.as_str()))
            }
        }
    }
}

fn missing(github: bool, gitlab: bool, forgejo: bool, audience: &str) -> String {
    if github {
        "let the job have one: `permissions: { id-token: write, contents: read }` in the workflow".to_owned()
    } else if gitlab {
        format!("let the job have one: `id_tokens: {{ TOK_ID_TOKEN: {{ aud: \"{audience}\" }} }}` in .gitlab-ci.yml")
    } else if forgejo {
        "let the job have one: `enable-openid-connect: true` in the workflow's job".to_owned()
    } else {
        "put an identity token into TOK_ID_TOKEN or a file (--id-token-file), or a stored token into TOK_TOKEN"
            .to_owned()
    }
}

fn with_audience(url: &str, audience: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    let mut text = format!("{url}{joint}audience=");
    for byte in audience.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_put_into_the_address_that_the_runner_gave() {
        assert_eq!(
            with_audience("https://r/x?api-version=2", "https://git.example.com"),
            "https://r/x?api-version=2&audience=https%3A%2F%2Fgit.example.com"
        );
        assert_eq!(with_audience("https://r/x", "tok"), "https://r/x?audience=tok");
    }

    #[test]
    fn each_system_is_told_in_its_own_words() {
        assert!(missing(true, false, false, "x").contains("id-token: write"));
        assert!(missing(false, true, false, "https://g").contains("aud: \"https://g\""));
        assert!(missing(false, false, true, "x").contains("enable-openid-connect"));
        assert!(missing(false, false, false, "x").contains("TOK_ID_TOKEN"));
    }
}
