//! The exchange of a CI job's identity token, as OAuth has it (RFC 8693): one grant of the token endpoint.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tok_api::convert::Exchange;
use tok_model::audit::Source;
use tok_model::kind::Permission;
use tok_model::name::RepoPath;
use tok_model::scope::{RepoRight, Scope};
use tok_model::url::{GitPath, Origin};
use utoipa::ToSchema;

use super::extract::Form;
use super::oauth::missing;
use super::problem::Problem;
use super::{Answer, Api};

/// The grant (RFC 8693, section 2.1).
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What an identity token is called (RFC 8693, section 3).
const SUBJECT_TYPES: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
/// What a git token is called there.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A git token, exchanged for an identity token (RFC 8693, section 2.2.1).
#[derive(Serialize, ToSchema)]
pub(super) struct ExchangedToken {
    /// Its text, shown this once.
    #[schema(format = Password)]
    access_token: String,
    /// What it is: `urn:ietf:params:oauth:token-type:access_token`.
    issued_token_type: &'static str,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds until it ends.
    expires_in: i64,
    /// `repo:read` or `repo:write`.
    scope: &'static str,
    /// The repository that it is for, and nothing else.
    #[schema(example = "acme/app")]
    resource: String,
    /// Its ID.
    token_id: String,
}

/// Exchanges what the form says.
pub(super) async fn exchange(api: &Api, source: Source, form: &mut Form) -> Answer<ExchangedToken> {
    let kind = form.take("subject_token_type").ok_or_else(|| missing("subject_token_type"))?;
    if !SUBJECT_TYPES.contains(&&*kind) {
        return Err(invalid("subject_token_type", "an identity token is what is exchanged here")
            .hint(format!("say {}", SUBJECT_TYPES.join(" or "))));
    }
    if form.take("requested_token_type").is_some_and(|wanted| &*wanted != ACCESS_TOKEN) {
        return Err(invalid("requested_token_type", "there are access tokens here").hint(format!("say {ACCESS_TOKEN}")));
    }
    if form.take("actor_token").is_some() {
        return Err(invalid("actor_token", "nobody acts for a job").hint("leave it out"));
    }
    let place = api.service.place();
    if let Some(audience) = form.take("audience")
        && !Origin::parse(&audience).is_ok_and(|origin| place.origins.contains(&origin))
    {
        return Err(Problem::new("invalid_target", "the audience is another server")
            .field("audience")
            .hint(format!("say {}, or leave it out", place.public_url)));
    }
    let repository = match form.take("resource") {
        Some(text) => Some(resource(&text, &place.origins)?),
        None => None,
    };
    let permission = match form.take("scope") {
        Some(text) => Some(scope(&text)?),
        None => None,
    };
    let token = form.take("subject_token").ok_or_else(|| missing("subject_token"))?;
    let wish = Exchange { token: SecretString::from(&*token), repository, permission };
    let exchanged = api.service.exchange(source, wish).await?;
    Ok(ExchangedToken {
        access_token: exchanged.secret.expose_secret().to_owned(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: (exchanged.expires_at - api.service.now()).num_seconds().max(0),
        scope: exchanged.permission.right().scope().as_str(),
        resource: exchanged.repository.to_string(),
        token_id: exchanged.id.to_string(),
    })
}

fn invalid(field: &str, why: &str) -> Problem {
    Problem::new("invalid_argument", why).field(field)
}

/// `acme/app`, or its URL.
fn resource(text: &str, origins: &[Origin]) -> Answer<RepoPath> {
    let wrong = || {
        Problem::new("invalid_target", "that is no repository of this server")
            .field("resource")
            .hint("say workspace/repository, or what it is cloned from")
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        let text = text.strip_suffix(".git").unwrap_or(text);
        return text.parse().map_err(|_| wrong());
    };
    let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
    let origin = Origin::from_credential(scheme, authority).map_err(|_| wrong())?;
    if !origins.contains(&origin) {
        return Err(wrong());
    }
    GitPath::parse(&format!("/{path}")).map(|path| path.repo().clone()).map_err(|_| wrong())
}

/// The most that is asked for: a scope that includes another need not be said beside it.
fn scope(text: &str) -> Answer<Permission> {
    let mut most = None;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let permission = match word.parse::<Scope>() {
            Ok(scope) if scope == RepoRight::Read.scope() => Permission::Read,
            Ok(scope) if scope == RepoRight::Write.scope() => Permission::Write,
            _ => {
                return Err(invalid("scope", "a job gets a token to read a repository, or to write to it")
                    .hint("say repo:read or repo:write"));
            }
        };
        most = most.max(Some(permission == Permission::Write));
    }
    match most {
        Some(true) => Ok(Permission::Write),
        Some(false) => Ok(Permission::Read),
        None => Err(invalid("scope", "it is empty").hint("say repo:read or repo:write")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_a_repository_by_its_name_or_by_its_url() {
        let origins = ["https://git.example.com".parse().unwrap()];
        for good in
            ["acme/app", "acme/app.git", "https://git.example.com/acme/app.git", "https://git.example.com/acme/app"]
        {
            let path = resource(good, &origins).map_err(|problem| problem.code()).unwrap();
            assert_eq!(path.to_string(), "acme/app", "{good}");
        }
        for bad in [
            "acme",
            "https://evil.example/acme/app",
            "https://git.example.com",
            "https://git.example.com/../x",
            "a/b/c",
        ] {
            assert_eq!(
                resource(bad, &origins).map_err(|problem| problem.code()).unwrap_err(),
                "invalid_target",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_scope_is_to_read_or_to_write() {
        let read = |text| scope(text).map_err(|problem| problem.code());
        assert_eq!(read("repo:read"), Ok(Permission::Read));
        assert_eq!(read("repo:read repo:write"), Ok(Permission::Write));
        for bad in ["repo:admin", "all", "", "write"] {
            assert_eq!(read(bad), Err("invalid_argument"), "{bad:?}");
        }
    }
}
