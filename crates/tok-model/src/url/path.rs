//! The one path normaliser: from the path of a URL to a repository and what is wanted of it.

use std::borrow::Cow;
use std::fmt;

use crate::name::{NameError, RepoPath};

/// The longest path that is read, in bytes.
pub const LONGEST_PATH: usize = 2048;

/// Why a path was refused. The text names the rule, never the path, which may be hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// Longer than [`LONGEST_PATH`].
    #[error("the path is longer than {} bytes", LONGEST_PATH)]
    TooLong,
    /// Fewer than two segments, or a request target that does not begin with a slash.
    #[error("the path names no repository; it is /workspace/repository.git")]
    NoRepository,
    /// `//`, or a slash at the end of something other than the repository.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`, in whatever spelling.
    #[error("the path has a '.' or '..' segment")]
    DotSegment,
    /// A percent sign that does not spell exactly one harmless character: `%2F`, `%5C`, `%00`, `%25`, `%zz`.
    #[error("the path has a percent sign that spells a separator, a control character or nothing at all")]
    Encoding,
    /// Git keeps the query and fragment of a URL in the path it gives to helpers.
    #[error("the path has a query or a fragment")]
    Query,
    /// A character that no path of ours has: a backslash, a space, a control character, anything beyond ASCII.
    #[error("the path has the character {character:?}, which no path of a repository has")]
    Character {
        /// The character (printed escaped).
        character: char,
    },
    /// The first two segments cannot name a repository.
    #[error("the path names no repository that can exist")]
    Name(#[from] NameError),
}

/// What of the repository is wanted: the path behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tail {
    /// The repository itself.
    Root,
    /// `/info/refs`, the first request of every fetch and push; its query says which.
    InfoRefs,
    /// `/git-upload-pack`: clone and fetch.
    UploadPack,
    /// `/git-receive-pack`: push.
    ReceivePack,
    /// `/git-upload-archive`: `git archive --remote`.
    UploadArchive,
    /// `/HEAD`
    Head,
    /// `/info/lfs` and what is behind it.
    Lfs(LfsTail),
    /// Anything else, beginning with a slash: the files of the dumb protocol, or nothing at all.
    Other(String),
}

/// What of Git LFS is wanted (the API's paths, behind `/info/lfs`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LfsTail {
    /// `/info/lfs`: what git-lfs gives to credential helpers.
    Root,
    /// `/objects/batch`; the body says whether for upload or download.
    Batch,
    /// `/locks`
    Locks,
    /// `/locks/verify`
    VerifyLocks,
    /// Anything else, beginning with a slash.
    Other(String),
}

/// A path on a tok server, read and checked: which repository, and what of it.
///
/// It prints as its normal form, `/workspace/repo.git` and the tail, in which nothing is percent-encoded. Build file
/// names and forwarded requests from that, never from the text that came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitPath {
    repo: RepoPath,
    tail: Tail,
}

impl GitPath {
    /// Reads the path of an HTTP request target: begins with a slash, still percent-encoded, without its query.
    pub fn parse(path: &str) -> Result<Self, PathRefusal> {
        if path.starts_with('/') { Self::read(&decode(path)?) } else { Err(PathRefusal::NoRepository) }
    }

    /// Reads the `path` line of git's credential format: already percent-decoded by git, the leading slash optional.
    pub fn from_credential(path: &str) -> Result<Self, PathRefusal> {
        // A percent sign that is still here was `%25` in the URL: the server would have refused it, and so do we.
        if path.contains('%') {
            return Err(PathRefusal::Encoding);
        }
        if path.starts_with('/') { Self::read(path) } else { Self::read(&format!("/{path}")) }
    }

    /// The repository itself.
    pub fn root(repo: RepoPath) -> Self {
        Self { repo, tail: Tail::Root }
    }

    /// The repository.
    pub fn repo(&self) -> &RepoPath {
        &self.repo
    }

    /// What of it is wanted.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Reads a decoded path that begins with a slash.
    fn read(path: &str) -> Result<Self, PathRefusal> {
        if path.len() > LONGEST_PATH {
            return Err(PathRefusal::TooLong);
        }
        if path == "/" {
            return Err(PathRefusal::NoRepository);
        }
        if let Some(character) = path.chars().find(|c| !plain(*c)) {
            return Err(match character {
                '?' | '#' => PathRefusal::Query,
                _ => PathRefusal::Character { character },
            });
        }
        let mut segments = path.split('/').skip(1).peekable();
        let mut cut = 0;
        let mut count = 0;
        while let Some(segment) = segments.next() {
            // One slash behind the repository is how people type an address; it changes nothing.
            let final_slash = count == 2 && segments.peek().is_none();
            match segment {
                "" if !final_slash => return Err(PathRefusal::EmptySegment),
                "." | ".." => return Err(PathRefusal::DotSegment),
                _ => {}
            }
            count += 1;
            if count <= 2 {
                cut += segment.len() + 1;
            }
        }
        if count < 2 {
            return Err(PathRefusal::NoRepository);
        }
        let (repo, tail) = path.split_at_checked(cut).ok_or(PathRefusal::NoRepository)?;
        let repo = repo.strip_suffix(".git").unwrap_or(repo);
        Ok(Self { repo: repo.trim_start_matches('/').parse()?, tail: Tail::read(tail) })
    }
}

impl fmt::Display for GitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}.git{}", self.repo, self.tail.as_str())?;
        match &self.tail {
            Tail::Lfs(tail) => f.write_str(tail.as_str()),
            _ => Ok(()),
        }
    }
}

impl Tail {
    fn read(tail: &str) -> Self {
        match tail {
            "" | "/" => Self::Root,
            "/info/refs" => Self::InfoRefs,
            "/git-upload-pack" => Self::UploadPack,
            "/git-receive-pack" => Self::ReceivePack,
            "/git-upload-archive" => Self::UploadArchive,
            "/HEAD" => Self::Head,
            _ => match tail.strip_prefix("/info/lfs") {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::Lfs(LfsTail::read(rest)),
                _ => Self::Other(tail.to_owned()),
            },
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Root => "",
            Self::InfoRefs => "/info/refs",
            Self::UploadPack => "/git-upload-pack",
            Self::ReceivePack => "/git-receive-pack",
            Self::UploadArchive => "/git-upload-archive",
            Self::Head => "/HEAD",
            Self::Lfs(_) => "/info/lfs",
            Self::Other(tail) => tail,
        }
    }
}

impl LfsTail {
    fn read(tail: &str) -> Self {
        match tail {
            "" => Self::Root,
            "/objects/batch" => Self::Batch,
            "/locks" => Self::Locks,
            "/locks/verify" => Self::VerifyLocks,
            _ => Self::Other(tail.to_owned()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Root => "",
            Self::Batch => "/objects/batch",
            Self::Locks => "/locks",
            Self::VerifyLocks => "/locks/verify",
            Self::Other(tail) => tail,
        }
    }
}

/// What may stand in a decoded path: RFC 3986's unreserved characters, the slash, and the few others that object
/// files and LFS lock names use. Everything here means the same encoded or not.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~' | '+' | ':' | '@' | '=' | ',')
}

/// Percent-decodes once. What would change the path's shape, or would need decoding again, is refused.
fn decode(path: &str) -> Result<Cow<'_, str>, PathRefusal> {
    if path.len() > LONGEST_PATH {
        return Err(PathRefusal::TooLong);
    }
    let mut parts = path.split('%');
    let Some(first) = parts.next().filter(|first| first.len() < path.len()) else {
        return Ok(Cow::Borrowed(path));
    };
    let mut decoded = String::with_capacity(path.len());
    decoded.push_str(first);
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(PathRefusal::Encoding)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PathRefusal::Encoding);
        }
        let byte = u8::from_str_radix(digits, 16).map_err(|_| PathRefusal::Encoding)?;
        let character = char::from(byte);
        if !plain(character) || character == '/' {
            return Err(PathRefusal::Encoding);
        }
        decoded.push(character);
        decoded.push_str(rest);
    }
    Ok(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_one_repository_is_the_same() {
        for path in ["/acme/app", "/acme/app.git", "/acme/app/", "/acme/app.git/", "/acm%65/%61pp%2egit"] {
            assert_eq!(GitPath::parse(path).unwrap().to_string(), "/acme/app.git", "{path}");
        }
        for path in ["acme/app", "acme/app.git", "/acme/app.git", "acme/app.git/"] {
            assert_eq!(GitPath::from_credential(path).unwrap().to_string(), "/acme/app.git", "{path}");
        }
        assert_eq!(GitPath::from_credential("acme/App").unwrap().repo().repo.as_str(), "App");
    }

    #[test]
    fn the_tail_says_what_is_wanted() {
        for (tail, means) in [
            ("", Tail::Root),
            ("/info/refs", Tail::InfoRefs),
            ("/git-upload-pack", Tail::UploadPack),
            ("/git-receive-pack", Tail::ReceivePack),
            ("/git-upload-archive", Tail::UploadArchive),
            ("/HEAD", Tail::Head),
            ("/info/lfs", Tail::Lfs(LfsTail::Root)),
            ("/info/lfs/objects/batch", Tail::Lfs(LfsTail::Batch)),
            ("/info/lfs/locks", Tail::Lfs(LfsTail::Locks)),
            ("/info/lfs/locks/verify", Tail::Lfs(LfsTail::VerifyLocks)),
            ("/info/lfs/locks/7/unlock", Tail::Lfs(LfsTail::Other("/locks/7/unlock".to_owned()))),
            ("/info/lfsx", Tail::Other("/info/lfsx".to_owned())),
            ("/objects/info/packs", Tail::Other("/objects/info/packs".to_owned())),
            ("/GIT-RECEIVE-PACK", Tail::Other("/GIT-RECEIVE-PACK".to_owned())),
        ] {
            for repo in ["/acme/app", "/acme/app.git"] {
                let path = GitPath::parse(&format!("{repo}{tail}")).unwrap();
                assert_eq!((path.repo().to_string().as_str(), path.tail()), ("acme/app", &means));
            }
        }
    }

    #[test]
    fn ambiguous_paths_are_refused_with_the_rule_they_break() {
        use PathRefusal as P;
        let long = format!("/acme/app/{}", "x".repeat(LONGEST_PATH));
        for (path, why) in [
            ("", P::NoRepository),
            ("/", P::NoRepository),
            ("/acme", P::NoRepository),
            ("acme/app", P::NoRepository),
            ("//acme/app", P::EmptySegment),
            ("/acme//app", P::EmptySegment),
            ("/acme/", P::EmptySegment),
            ("/acme/app//", P::EmptySegment),
            ("/acme/app//info/refs", P::EmptySegment),
            ("/acme/app/info/refs/", P::EmptySegment),
            ("/acme/../app", P::DotSegment),
            ("/acme/%2e%2E/app", P::DotSegment),
            ("/acme/.%2e/app", P::DotSegment),
            ("/acme/app.git/objects/../../x", P::DotSegment),
            ("/acme/./app", P::DotSegment),
            ("/acme%2Fapp", P::Encoding),
            ("/acme/app%5c", P::Encoding),
            ("/acme/app%00", P::Encoding),
            ("/acme/app%252e", P::Encoding),
            ("/acme/app%0a", P::Encoding),
            ("/acme/app%c3%a9", P::Encoding),
            ("/acme/app%", P::Encoding),
            ("/acme/app%4", P::Encoding),
            ("/acme/app%+1", P::Encoding),
            ("/acme/app%zz", P::Encoding),
            ("/acme/app%é", P::Encoding),
            ("/acme/app?x=1", P::Query),
            ("/acme/app#f", P::Query),
            ("/acme\\app/x", P::Character { character: '\\' }),
            ("/acme/a\0pp", P::Character { character: '\0' }),
            ("/acme/a pp", P::Character { character: ' ' }),
            ("/acme/é", P::Character { character: 'é' }),
            (&long, P::TooLong),
        ] {
            assert_eq!(GitPath::parse(path), Err(why), "{path}");
        }
        for path in
            ["/acme/.git", "/acme/app.git.git", "/acme/app.GIT", "/acme/-rf", "/v1/tokens", "/acme/a~b", "/a..b/app"]
        {
            assert!(matches!(GitPath::parse(path), Err(P::Name(_))), "{path}");
        }
    }

    #[test]
    fn what_git_decoded_before_us_is_refused_too() {
        use PathRefusal as P;
        for (path, why) in [
            ("", P::NoRepository),
            ("o/../r", P::DotSegment),
            ("o//r.git", P::EmptySegment),
            ("//o/r.git", P::EmptySegment),
            ("o/r?x=1#f", P::Query),
            ("o/r%00", P::Encoding),
            ("o/r%41", P::Encoding),
            ("o\\r", P::Character { character: '\\' }),
        ] {
            assert_eq!(GitPath::from_credential(path), Err(why), "{path}");
        }
    }

    fn any_path() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,40}",
            "/[a-zA-Z0-9._~-]{1,9}/[a-zA-Z0-9._-]{1,9}(\\.git)?(/[a-zA-Z0-9%.,:]{0,9}){0,4}",
            "(/|//|\\.|%2e|%2f|%5c|%00|\\\\|a|B|\\.git|/info/lfs|/info/refs|\\?|#){0,12}",
        ]
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in any_path()) {
            if let Ok(read) = GitPath::parse(&path) {
                let normal = read.to_string();
                prop_assert_eq!(GitPath::parse(&normal), Ok(read.clone()));
                prop_assert_eq!(GitPath::from_credential(&normal), Ok(read.clone()));
                prop_assert_eq!(GitPath::from_credential(&normal[1..]), Ok(read));
                prop_assert!(!normal.contains("//") && !normal.contains(['%', '\\', '?', '#', '\0']));
                prop_assert!(normal.split('/').skip(1).all(|s| !matches!(s, "" | "." | "..")));
            }
        }

        #[test]
        fn helper_and_server_never_see_two_repositories_in_one_path(path in any_path()) {
            if let (Ok(server), Ok(helper)) = (GitPath::parse(&path), GitPath::from_credential(&path)) {
                prop_assert_eq!(server, helper);
            }
        }
    }
}
