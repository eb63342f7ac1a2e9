//! Which login is meant. Nobody is ever answered with another login than the one that was named.

use tok_model::name::RepoPath;
use tok_model::url::Origin;

use super::{Login, PathPrefix, Profile};
use crate::output::safe;

/// Which login a request is made with.
#[derive(Debug, Clone)]
pub(crate) enum Choice<'a> {
    /// This one, by this rule.
    One(&'a Login, Rule),
    /// None.
    None(Absence),
    /// Any of these, and nothing says which.
    Ambiguous(Vec<&'a Login>),
}

/// Why it is this login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Its profile was named.
    Profile,
    /// The user name was given, as in `https://alice@host/…`.
    Username,
    /// It is for this path, and no other is for a longer part of it.
    Path,
    /// It is the only one without a profile.
    NoProfile,
    /// It was made the default.
    Default,
    /// There is no other.
    Only,
}

impl Rule {
    /// The rule in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "its profile was named",
            Self::Username => "the user name in the URL says so",
            Self::Path => "it is for this path",
            Self::NoProfile => "it is the one without a profile",
            Self::Default => "it is the default",
            Self::Only => "it is the only one",
        }
    }
}

/// Why there is no login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Nobody is logged in, there or anywhere.
    NotLoggedIn,
    /// Somebody is, but not this user. With those who are.
    OtherUser { users: Vec<String> },
    /// The profile that was named is of others than the user that was named. With those.
    OtherUserOfProfile { profile: Profile, users: Vec<String>, named: String },
    /// Somebody is, but not under this profile. With the profiles there are.
    OtherProfile { profiles: Vec<String> },
    /// Somebody is, but not for this path. With what the logins are for.
    OtherPath { paths: Vec<String> },
}

/// The login for a request to `server`: first the profile decides, then the user name, then the path. Where all that
/// leaves several, one without a profile goes before one with, and the default before the rest.
pub(super) fn choose<'a>(
    logins: &'a [Login],
    server: &Origin,
    username: Option<&str>,
    path: Option<&RepoPath>,
    profile: Option<&Profile>,
) -> Choice<'a> {
    let there: Vec<&Login> = logins.iter().filter(|login| login.server == *server).collect();
    if there.is_empty() {
        return Choice::None(Absence::NotLoggedIn);
    }
    let mut rule = Rule::Only;
    let mut left = there.clone();
    if let Some(profile) = profile {
        left.retain(|login| login.profile.as_ref() == Some(profile));
        if left.is_empty() {
            return Choice::None(Absence::OtherProfile { profiles: profiles(&there) });
        }
        rule = Rule::Profile;
    }
    if let Some(username) = username.filter(|name| !name.is_empty()) {
        let before = left.clone();
        left.retain(|login| login.user.as_str().eq_ignore_ascii_case(username));
        if left.is_empty() {
            return Choice::None(match profile {
                Some(profile) => Absence::OtherUserOfProfile {
                    profile: profile.clone(),
                    users: users(&before),
                    named: username.to_owned(),
                },
                None => Absence::OtherUser { users: users(&there) },
            });
        }
        rule = Rule::Username;
    }
    let before = left.clone();
    if let Some(closest) = left.iter().filter_map(|login| fit(login, path)).max() {
        left.retain(|login| fit(login, path) == Some(closest));
        if closest > Fit::Everything {
            rule = Rule::Path;
        }
    } else {
        return Choice::None(Absence::OtherPath { paths: paths(&before) });
    }
    settle(left, rule)
}

/// The login for commands that name no server: of the defaults the last that was made one, or the only login there is.
pub(super) fn choose_for_commands<'a>(logins: &'a [Login], profile: Option<&Profile>) -> Choice<'a> {
    let mut left: Vec<&Login> = logins.iter().collect();
    if left.is_empty() {
        return Choice::None(Absence::NotLoggedIn);
    }
    let mut rule = Rule::Only;
    if let Some(profile) = profile {
        left.retain(|login| login.profile.as_ref() == Some(profile));
        if left.is_empty() {
            return Choice::None(Absence::OtherProfile { profiles: profiles(&logins.iter().collect::<Vec<_>>()) });
        }
        rule = Rule::Profile;
    }
    if left.len() > 1
        && let Some(login) = left.iter().find(|login| login.default_server)
    {
        return Choice::One(login, Rule::Default);
    }
    settle(left, rule)
}

/// The server of commands that name none: that of the login they would be made with, or the only one there is.
pub(super) fn server_for_commands<'a>(
    logins: &'a [Login],
    profile: Option<&Profile>,
) -> Result<&'a Origin, Vec<&'a Origin>> {
    if let Choice::One(login, _) = choose_for_commands(logins, profile) {
        return Ok(&login.server);
    }
    let mut servers: Vec<&Origin> = Vec::new();
    for login in logins {
        if !servers.contains(&&login.server) {
            servers.push(&login.server);
        }
    }
    match servers.as_slice() {
        [server] => Ok(server),
        _ => Err(servers),
    }
}

/// One of those that are left, if anything tells them apart.
fn settle(mut left: Vec<&Login>, rule: Rule) -> Choice<'_> {
    if let [login] = left.as_slice() {
        return Choice::One(login, rule);
    }
    let mut defaults = left.iter().filter(|login| login.default);
    // Each server has one, so that there are two only for whoever names no server.
    if let (Some(login), None) = (defaults.next(), defaults.next()) {
        return Choice::One(login, Rule::Default);
    }
    if left.iter().any(|login| login.profile.is_none()) {
        left.retain(|login| login.profile.is_none());
    }
    match left.as_slice() {
        [login] => Choice::One(login, Rule::NoProfile),
        _ => Choice::Ambiguous(left),
    }
}

/// How closely a login fits a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Everything,
    Workspace,
    Repository,
}

/// None if it is for other paths alone. Whoever names no path means the whole server.
fn fit(login: &Login, path: Option<&RepoPath>) -> Option<Fit> {
    let Some(path) = path.filter(|_| !login.paths.is_empty()) else { return Some(Fit::Everything) };
    let fits = login.paths.iter().filter(|prefix| prefix.covers(path)).map(|prefix| match prefix {
        PathPrefix::Workspace(_) => Fit::Workspace,
        PathPrefix::Repository(_) => Fit::Repository,
    });
    fits.max()
}

fn users(logins: &[&Login]) -> Vec<String> {
    sorted(logins.iter().map(|login| login.user.to_string()))
}

fn profiles(logins: &[&Login]) -> Vec<String> {
    sorted(logins.iter().filter_map(|login| login.profile.as_ref().map(ToString::to_string)))
}

fn paths(logins: &[&Login]) -> Vec<String> {
    sorted(logins.iter().flat_map(|login| login.paths.iter().map(ToString::to_string)))
}

fn sorted(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words: Vec<_> = words.collect();
    words.sort();
    words.dedup();
    words
}

impl Absence {
    /// In words for a person, for a line on stderr, and what to do.
    pub(crate) fn explain(&self, server: &Origin) -> (String, String) {
        match self {
            Self::NotLoggedIn => (format!("nobody is logged in at {server}"), format!("`tok login {server}`")),
            Self::OtherUser { users } => (
                format!("the URL names another user than those logged in at {server}: {}", users.join(", ")),
                format!("take the user name out of the URL, or `tok login {server}` as that user"),
            ),
            Self::OtherUserOfProfile { profile, users, named } => (
                format!("the profile {profile} is {} at {server}, and the URL says {}", users.join(", "), safe(named)),
                "leave the profile out, or take the user name out of the URL".to_owned(),
            ),
            Self::OtherProfile { profiles } if profiles.is_empty() => (
                format!("no login at {server} has a profile"),
                format!("`tok login {server} --profile NAME`, or leave the profile out"),
            ),
            Self::OtherProfile { profiles } => (
                format!("no login at {server} has that profile; there are {}", profiles.join(", ")),
                format!("`tok login {server} --profile NAME`, or name one of these"),
            ),
            Self::OtherPath { paths } => (
                format!("the logins at {server} are for other paths: {}", paths.join(", ")),
                format!("`tok login {server}` with `--path` for this one, or without for all"),
            ),
        }
    }
}

impl Choice<'_> {
    /// What to say when nothing tells several logins apart.
    pub(crate) fn ambiguous(logins: &[&Login]) -> (String, String) {
        let list: Vec<_> = logins.iter().map(ToString::to_string).collect();
        let first = logins.first().map_or_else(|| "NAME".to_owned(), |login| login.user.to_string());
        (
            format!("several logins fit, and nothing says which is meant: {}", list.join(", ")),
            format!(
                "put the user name into the URL (https://{first}@…), name a profile, or log in again with `--path` or `--default`"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::login;
    use super::*;

    const A: &str = "https://a.example";

    fn chosen(logins: &[Login], username: Option<&str>, path: Option<&str>, profile: Option<&str>) -> String {
        let path = path.map(|path| path.parse().unwrap());
        let profile = profile.map(|profile| profile.parse().unwrap());
        said(&choose(logins, &A.parse().unwrap(), username, path.as_ref(), profile.as_ref()))
    }

    fn said(choice: &Choice<'_>) -> String {
        match choice {
            Choice::One(login, rule) => {
                format!(
                    "{}{} {rule:?}",
                    login.user,
                    login.profile.as_ref().map(|p| format!("@{p}")).unwrap_or_default()
                )
            }
            Choice::None(absence) => format!("{absence:?}"),
            Choice::Ambiguous(logins) => format!("{} fit", logins.len()),
        }
    }

    #[test]
    fn one_login_is_for_everything_but_for_another_user() {
        let one = [login(A, "alice"), login("https://b.example", "bob")];
        assert_eq!(chosen(&one, None, None, None), "alice Only");
        assert_eq!(chosen(&one, Some(""), Some("acme/app"), None), "alice Only");
        assert_eq!(chosen(&one, Some("Alice"), None, None), "alice Username");
        assert_eq!(chosen(&one, Some("bob"), None, None), r#"OtherUser { users: ["alice"] }"#);
        assert_eq!(chosen(&one, None, None, Some("work")), "OtherProfile { profiles: [] }");
        assert_eq!(chosen(&[], None, None, None), "NotLoggedIn");
    }

    #[test]
    fn two_users_need_a_word_about_which() {
        let two = [login(A, "alice"), login(A, "bob")];
        assert_eq!(chosen(&two, None, None, None), "2 fit");
        assert_eq!(chosen(&two, Some("bob"), None, None), "bob Username");
        let meant = [login(A, "alice").meant(), login(A, "bob")];
        assert_eq!(chosen(&meant, None, None, None), "alice Default");
        assert_eq!(chosen(&meant, Some("bob"), None, None), "bob Username");
    }

    #[test]
    fn the_longest_path_wins_and_a_login_for_other_paths_is_not_used() {
        let three =
            [login(A, "alice"), login(A, "bob").only_for(&["acme"]), login(A, "carol").only_for(&["acme/app", "libs"])];
        assert_eq!(chosen(&three, None, Some("acme/app"), None), "carol Path");
        assert_eq!(chosen(&three, None, Some("acme/lib"), None), "bob Path");
        assert_eq!(chosen(&three, None, Some("acmee/app"), None), "alice Only");
        assert_eq!(chosen(&three, Some("bob"), Some("acme/app"), None), "bob Path");
        assert_eq!(
            chosen(&three[1..], None, Some("home/x"), None),
            r#"OtherPath { paths: ["acme", "acme/app", "libs"] }"#
        );
    }

    #[test]
    fn a_profile_is_used_where_it_is_named_or_alone() {
        let both = [login(A, "alice"), login(A, "alice-work").under("work")];
        assert_eq!(chosen(&both, None, None, None), "alice NoProfile");
        assert_eq!(chosen(&both, None, None, Some("work")), "alice-work@work Profile");
        assert_eq!(chosen(&both, None, None, Some("home")), r#"OtherProfile { profiles: ["work"] }"#);
        assert_eq!(chosen(&both[1..], None, None, None), "alice-work@work Only");
        assert_eq!(
            chosen(&both, Some("alice"), None, Some("work")),
            r#"OtherUserOfProfile { profile: Profile("work"), users: ["alice-work"], named: "alice" }"#
        );
        let work = "work".parse().unwrap();
        let Choice::None(absence) = choose(&both, &A.parse().unwrap(), Some("alice"), None, Some(&work)) else {
            panic!("nobody is answered with another login than the one that was named")
        };
        let (what, _) = absence.explain(&A.parse().unwrap());
        assert_eq!(what, "the profile work is alice-work at https://a.example, and the URL says alice");
    }

    #[test]
    fn commands_go_to_the_default_or_the_only_server() {
        let of = |logins: &[Login], profile: Option<&str>| {
            let profile = profile.map(|profile| profile.parse().unwrap());
            said(&choose_for_commands(logins, profile.as_ref()))
        };
        let two = [login(A, "alice"), login("https://b.example", "bob").under("b")];
        assert_eq!(of(&two, None), "alice NoProfile");
        assert_eq!(of(&two, Some("b")), "bob@b Profile");
        assert_eq!(of(&[login(A, "alice"), login("https://b.example", "bob")], None), "2 fit");
        assert_eq!(of(&[login(A, "alice"), login("https://b.example", "bob").meant()], None), "bob Default");
        assert_eq!(of(&[], None), "NotLoggedIn");
        // Of two servers' defaults the one that was made it last.
        let (mut a, b) = (login(A, "alice").meant(), login("https://b.example", "bob").meant());
        a.default_server = false;
        assert_eq!(of(&[a.clone(), b.clone()], None), "bob Default");
        assert_eq!(of(&[a.clone(), Login { default_server: false, ..b }], None), "2 fit");
        assert_eq!(chosen(&[a, login(A, "carol")], None, None, None), "alice Default");
    }

    #[test]
    fn the_server_of_a_command_that_names_none_is_the_only_one_there_is() {
        let b = "https://b.example";
        let of = |logins: &[Login]| server_for_commands(logins, None).map(ToString::to_string).map_err(|all| all.len());
        assert_eq!(of(&[login(A, "alice"), login(A, "bob")]), Ok(A.to_owned()));
        assert_eq!(of(&[login(A, "alice"), login(b, "bob")]), Err(2));
        assert_eq!(of(&[login(A, "alice"), login(A, "carol"), login(b, "bob").meant()]), Ok(b.to_owned()));
        assert_eq!(of(&[]), Err(0));
        let other = "other".parse().unwrap();
        assert!(server_for_commands(&[login(A, "alice")], Some(&other)).is_ok(), "a profile that is to be made");
    }
}
