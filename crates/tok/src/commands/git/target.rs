//! The URL that a question is about: of a server, of a repository, or of a remote by its name.

use tok_model::name::RepoPath;
use tok_model::url::{GitPath, Origin};

use super::process::Git;
use crate::exit::Failure;

/// A URL of git's, taken apart. Its password, if it has one, is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Target {
    pub(in crate::commands) server: Origin,
    pub(in crate::commands) username: Option<String>,
    pub(in crate::commands) repository: Option<RepoPath>,
    /// Whether a password stands in it.
    pub(in crate::commands) password: bool,
    /// The remote that it is of.
    pub(in crate::commands) remote: Option<String>,
}

impl Target {
    /// A URL, or the name of a remote of the repository one is in.
    pub(in crate::commands) fn read(git: &Git, text: &str) -> Result<Self, Failure> {
        if text.contains("://") {
            return Self::parse(text);
        }
        let named = git.says(&["remote", "get-url", "--", text])?;
        let Some(url) = named else {
            return Err(Failure::usage("that is neither a URL nor a remote of this repository")
                .hint("as in https://git.example.com/acme/app.git; `git remote -v` lists the remotes"));
        };
        Ok(Self { remote: Some(text.to_owned()), ..Self::parse(&url)? })
    }

    /// A URL of http or https.
    pub(in crate::commands) fn parse(url: &str) -> Result<Self, Failure> {
        let refused = |why: &dyn std::fmt::Display| {
            Failure::usage(why).hint("give the URL that git uses, as in https://git.example.com/acme/app.git")
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused(&"that is no URL of http or https"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let server = Origin::from_credential(scheme, host).map_err(|why| refused(&why))?;
        let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) => (Some(name.to_owned()).filter(|name| !name.is_empty()), !password.is_empty()),
            None => (None, false),
        };
        let path = path.trim_end_matches('/');
        let repository = match path {
            "" => None,
            path => Some(GitPath::parse(&format!("/{path}")).map_err(|why| refused(&why))?.repo().clone()),
        };
        Ok(Self { server, username, repository, password, remote: None })
    }

    /// The URL without a password.
    pub(in crate::commands) fn url(&self) -> String {
        let origin = self.server.to_string();
        let (scheme, host) = origin.split_once("://").unwrap_or(("https", &origin));
        let user = self.username.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let path = self.repository.as_ref().map(|repo| format!("/{repo}.git")).unwrap_or_default();
        format!("{scheme}://{user}{host}{path}")
    }

    /// The same, spoken to over TLS.
    pub(in crate::commands) fn over_tls(&self) -> Self {
        Self { server: self.server.over_tls(), ..self.clone() }
    }

    /// The URL without user name and password.
    pub(in crate::commands) fn plain(&self) -> String {
        Self { username: None, ..self.clone() }.url()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_password_forgotten() {
        let target = Target::parse("https://alice:hunter2@Git.Example.com:8443/acme/app.git").unwrap();
        assert!(target.password && !format!("{target:?}").contains("hunter2"));
        assert_eq!(target.url(), "https://alice@git.example.com:8443/acme/app.git");
        assert_eq!(target.plain(), "https://git.example.com:8443/acme/app.git");
        let server = Target::parse("http://127.0.0.1:7650/").unwrap();
        assert_eq!((server.repository.as_ref(), server.username.as_ref(), server.password), (None, None, false));
        for bad in
            ["git@host:acme/app", "ssh://host/acme/app", "https://host/../x", "https:///acme/app", "https://h/acme"]
        {
            assert_eq!(Target::parse(bad).unwrap_err().exit(), 2, "{bad}");
        }
    }
}
