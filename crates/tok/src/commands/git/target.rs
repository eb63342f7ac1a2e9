//! The URL that a question is about: of a server, of a repository, or of a remote by its name.

use tok_model::kind::TokenKind;
use tok_model::name::RepoPath;
use tok_model::url::{GitPath, Origin};

use super::process::Git;
use super::settings::{Entry, Settings};
use crate::exit::Failure;

/// No token is shorter, and hardly a user name is longer, in characters.
const SHORTEST_TOKEN: usize = 20;

/// A URL of git's, taken apart. Its password, if it has one, is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Target {
    pub(in crate::commands) server: Origin,
    pub(in crate::commands) username: Option<String>,
    pub(in crate::commands) repository: Option<RepoPath>,
    /// Whether a password stands in it, or a token in the place of the user name.
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
        Self::of_remote(git, &[], text).map(|(target, _)| target)
    }

    /// The first URL of a remote, and how many it has.
    fn of_remote(git: &Git, which: &[&str], name: &str) -> Result<(Self, usize), Failure> {
        let words = [&["remote", "get-url"], which, &["--", name]].concat();
        let urls = git.says(&words)?.unwrap_or_default();
        let Some(first) = urls.lines().next() else {
            return Err(Failure::usage("that is neither a URL nor a remote of this repository")
                .hint("as in https://git.example.com/acme/app.git; `git remote -v` lists the remotes"));
        };
        Ok((Self { remote: Some(name.to_owned()), ..Self::parse(first)? }, urls.lines().count()))
    }

    /// What git goes to for a URL or a remote, to fetch or to push: `pushurl`, `insteadOf` and `pushInsteadOf` have their say.
    /// With how many there are: git pushes to each of them.
    pub(super) fn of_command(settings: &Settings, text: &str, push: bool) -> Result<(Self, usize), Failure> {
        if text.contains("://") {
            // What cannot be taken apart is not put anywhere else either.
            Self::parse(text)?;
            return Ok((Self::parse(&rewritten(settings, text, push))?, 1));
        }
        Self::of_remote(settings.git(), if push { &["--push", "--all"] } else { &[] }, text)
    }

    /// The same with the user that git's configuration names, if the URL names none; and the line that does.
    pub(in crate::commands) fn with_configured_user(
        self,
        settings: &Settings,
    ) -> Result<(Self, Option<Entry>), Failure> {
        let entry = match self.username {
            Some(_) => None,
            None => settings.credential("username", &self.url())?.filter(|entry| !entry.value.is_empty()).cloned(),
        };
        let username = self.username.or_else(|| entry.as_ref().map(|entry| entry.value.clone()));
        Ok((Self { username, ..self }, entry))
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
            Some((name, _)) if is_token(name) => (None, true),
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

/// The same URL without what stands before the host, if a password or a token stands there.
pub(in crate::commands) fn without_secret(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |end| rest.split_at(end));
    let (user, host) = authority.rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    (!password.is_empty() || is_token(name)).then(|| format!("{scheme}://{host}{path}"))
}

/// Whether a user name is none: a token of ours, or of a system whose tokens are used in its place, too.
fn is_token(name: &str) -> bool {
    let ours = TokenKind::every().map(TokenKind::prefix);
    let others = ["ghp_", "gho_", "ghu_", "ghs_", "github_pat_", "glpat-", "gldt-"];
    name.len() >= SHORTEST_TOKEN && ours.chain(others).any(|prefix| name.starts_with(prefix))
}

/// Where git goes in the place of a URL: of all prefixes that fit the longest counts, and to push those for pushing.
fn rewritten(settings: &Settings, url: &str, push: bool) -> String {
    let longest = |name: &str| {
        let fitting = settings.section("url", name).filter(|entry| url.starts_with(&entry.value));
        let best = fitting.max_by_key(|entry| entry.value.len())?;
        Some(format!("{}{}", best.parts().1?, url.get(best.value.len()..)?))
    };
    let to_push = if push { longest("pushinsteadof") } else { None };
    to_push.or_else(|| longest("insteadof")).unwrap_or_else(|| url.to_owned())
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
        let token = "tokpat_0123456789abcdefghijklmnopqrstuvwxyz";
        for url in
            [format!("https://{token}@h.example/a/b.git"), format!("https://{token}:x-oauth-basic@h.example/a/b.git")]
        {
            let target = Target::parse(&url).unwrap();
            assert!(target.password && target.username.is_none() && !format!("{target:?}").contains(token));
            assert_eq!(without_secret(&url).unwrap(), "https://h.example/a/b.git");
        }
        for well in ["https://alice@h.example/a", "https://h.example/a@b:c", "ssh://a:b@h/x", "https://tokpat_x@h/a"] {
            assert_eq!(without_secret(well), None, "{well}");
        }
        for bad in
            ["git@host:acme/app", "ssh://host/acme/app", "https://host/../x", "https:///acme/app", "https://h/acme"]
        {
            assert_eq!(Target::parse(bad).unwrap_err().exit(), 2, "{bad}");
        }
    }
}
