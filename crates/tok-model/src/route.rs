//! Routes: path patterns with `r`, `w` or `rw`, matched by whole segments.
//!
//! A pattern is literal segments, `*` for exactly one segment, and `**` at the end for one or more. Of the rules that
//! match a path the most specific decides: segment by segment from the left a literal beats `*`, and `*` beats `**`.
//! No match is no access. Everything is case-sensitive.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The most segments a pattern or a path may have.
pub const MOST_SEGMENTS: usize = 16;
/// The longest pattern, in bytes.
pub const LONGEST_PATTERN: usize = 512;
/// The most rules a token may carry.
pub const MOST_RULES: usize = 64;

/// Why a route was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No `:r`, `:w` or `:rw` at the end.
    #[error("a route ends with what it allows: ':r', ':w' or ':rw', as in 'acme/*:r'")]
    Access,
    /// Nothing before the `:`.
    #[error("a route names a path, as in 'acme/app:rw' or 'acme/**:r'")]
    Empty,
    /// A segment that could be read as something else.
    #[error(
        "the segment {0:?} cannot stand in a route: whole segments of letters, digits, '.', '_' and '-', or '*', or '**' at the end"
    )]
    Segment(String),
    /// Too long, too deep or too many.
    #[error(
        "a route has at most {LONGEST_PATTERN} characters and {MOST_SEGMENTS} segments, and a token at most {MOST_RULES} routes"
    )]
    TooMuch,
    /// The same pattern twice.
    #[error("the pattern {0} is given twice")]
    Twice(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    One,
    Rest,
}

impl Segment {
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 2,
            Self::One => 1,
            Self::Rest => 0,
        }
    }
}

/// What a rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
}

impl Access {
    /// Whether everything `other` allows is allowed here.
    pub fn covers(self, other: Access) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }

    fn text(self) -> &'static str {
        match (self.read, self.write) {
            (true, true) => "rw",
            (false, true) => "w",
            _ => "r",
        }
    }
}

/// One rule: a pattern and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pattern: Vec<Segment>,
    access: Access,
}

impl Route {
    /// What it allows.
    pub fn access(&self) -> Access {
        self.access
    }

    fn matches(&self, path: &[&str]) -> bool {
        let mut rest = path.iter();
        for segment in &self.pattern {
            match (segment, rest.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::One, Some(_)) => {}
                (Segment::Literal(literal), Some(given)) if literal == given => {}
                _ => return false,
            }
        }
        rest.next().is_none()
    }

    /// Whether each path that `other` matches is matched here too.
    fn contains(&self, other: &Route) -> bool {
        let (mut mine, mut theirs) = (self.pattern.iter(), other.pattern.iter());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) | (Some(Segment::Rest), Some(_)) => return true,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => {}
                (Some(Segment::One), Some(Segment::Literal(_) | Segment::One)) => {}
                _ => return false,
            }
        }
    }

    /// Whether some path is matched by both.
    fn meets(&self, other: &Route) -> bool {
        let (mut mine, mut theirs) = (self.pattern.iter(), other.pattern.iter());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) | (Some(Segment::Rest), Some(_)) | (Some(_), Some(Segment::Rest)) => return true,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a != b => return false,
                (None, Some(_)) | (Some(_), None) => return false,
                _ => {}
            }
        }
    }

    /// Greater is more specific; only asked of rules that match the same path.
    fn specificity(&self, other: &Route) -> Ordering {
        self.pattern.iter().map(Segment::rank).cmp(other.pattern.iter().map(Segment::rank))
    }
}

impl FromStr for Route {
    type Err = RouteError;
    fn from_str(text: &str) -> Result<Self, RouteError> {
        let (path, access) = text.rsplit_once(':').ok_or(RouteError::Access)?;
        let access = match access {
            "r" => Access { read: true, write: false },
            "w" => Access { read: false, write: true },
            "rw" => Access { read: true, write: true },
            _ => return Err(RouteError::Access),
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            return Err(RouteError::Empty);
        }
        let segments: Vec<&str> = path.split('/').collect();
        if path.len() > LONGEST_PATTERN || segments.len() > MOST_SEGMENTS {
            return Err(RouteError::TooMuch);
        }
        let last = segments.len() - 1;
        let pattern = segments
            .into_iter()
            .enumerate()
            .map(|(at, segment)| match segment {
                "*" => Ok(Segment::One),
                "**" if at == last => Ok(Segment::Rest),
                _ if is_literal(segment) => Ok(Segment::Literal(segment.to_owned())),
                _ => Err(RouteError::Segment(segment.chars().take(60).collect())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pattern, access })
    }
}

fn is_literal(segment: &str) -> bool {
    !segment.is_empty()
        && segment != "."
        && segment != ".."
        && segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.pattern.iter().enumerate() {
            let slash = if at == 0 { "" } else { "/" };
            match segment {
                Segment::Literal(text) => write!(f, "{slash}{text}")?,
                Segment::One => write!(f, "{slash}*")?,
                Segment::Rest => write!(f, "{slash}**")?,
            }
        }
        write!(f, ":{}", self.access.text())
    }
}

/// A token's rules. Never empty: a token without rules has no route list at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Routes(Vec<Route>);

impl Routes {
    /// Checks that there are some, not too many, and no pattern twice.
    pub fn new(rules: Vec<Route>) -> Result<Self, RouteError> {
        if rules.is_empty() {
            return Err(RouteError::Empty);
        }
        if rules.len() > MOST_RULES {
            return Err(RouteError::TooMuch);
        }
        for (at, rule) in rules.iter().enumerate() {
            if rules[..at].iter().any(|earlier| earlier.pattern == rule.pattern) {
                return Err(RouteError::Twice(rule.to_string()));
            }
        }
        Ok(Self(rules))
    }

    /// Reads each text through the one parser.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, RouteError> {
        Self::new(texts.into_iter().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The rule that decides for this path (segments joined by `/`), if any matches.
    pub fn deciding(&self, path: &str) -> Option<&Route> {
        let segments: Vec<&str> = path.split('/').collect();
        self.0.iter().filter(|rule| rule.matches(&segments)).max_by(|a, b| a.specificity(b))
    }

    /// The first of `wanted`'s rules that could reach further than these rules do.
    ///
    /// Sound, and a little strict: a wanted rule passes when some rule here contains it and every rule here that meets
    /// it allows as much, so whichever of them decides, it decides at least as generously.
    pub fn first_beyond<'w>(&self, wanted: &'w Routes) -> Option<&'w Route> {
        // The very same rules decide the same everywhere, which rule by rule does not show where rules overlap.
        if self == wanted {
            return None;
        }
        wanted.0.iter().find(|rule| {
            let contained = self.0.iter().any(|mine| mine.contains(rule));
            let generous = self.0.iter().filter(|mine| mine.meets(rule)).all(|mine| mine.access.covers(rule.access));
            !(contained && generous)
        })
    }

    /// The rules in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allows(rules: &[&str], path: &str) -> Option<&'static str> {
        Routes::from_texts(rules.iter().copied()).unwrap().deciding(path).map(|r| r.access().text())
    }

    #[test]
    fn the_longest_match_decides_by_whole_segments() {
        let rules = ["acme/**:rw", "acme/*:r", "acme/app:w", "/libs/**:r"];
        assert_eq!(allows(&rules, "acme/app"), Some("w"));
        assert_eq!(allows(&rules, "acme/other"), Some("r"));
        assert_eq!(allows(&rules, "acme/deep/er"), Some("rw"));
        assert_eq!(allows(&rules, "libs/x"), Some("r"));
        for outside in ["acme", "acmex/app", "Acme/app", "libs", "other/app"] {
            assert_eq!(allows(&rules, outside), None, "{outside}");
        }
    }

    #[test]
    fn hostile_patterns_are_refused() {
        for bad in [
            "", ":r", "/:r", "acme", "acme:x", "a//b:r", "a/../b:r", "a/./b:r", "a/**/b:r", "a/x*:r", "a/%2e:r",
            "a/b c:r", "a\\b:r",
        ] {
            assert!(bad.parse::<Route>().is_err(), "{bad}");
        }
        assert!(matches!(Routes::from_texts(["a/b:r", "/a/b:rw"]), Err(RouteError::Twice(_))));
    }

    pub(crate) fn any_route() -> impl Strategy<Value = Route> {
        let segment = prop_oneof![Just("a"), Just("b"), Just("*")];
        (proptest::collection::vec(segment, 1..3), any::<bool>(), prop_oneof![Just("r"), Just("w"), Just("rw")])
            .prop_map(|(mut segments, rest, access)| {
                if rest {
                    segments.push("**");
                }
                format!("{}:{access}", segments.join("/")).parse().unwrap()
            })
    }

    pub(crate) fn any_routes() -> impl Strategy<Value = Routes> {
        proptest::collection::vec(any_route(), 1..5).prop_filter_map("a pattern twice", |rules| Routes::new(rules).ok())
    }

    proptest! {
        #[test]
        fn routes_print_and_parse(route in any_route()) {
            prop_assert_eq!(route.to_string().parse::<Route>().unwrap(), route);
        }

        #[test]
        fn what_is_not_beyond_never_reaches_further(
            mine in any_routes(),
            wanted in any_routes(),
            path in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..5),
        ) {
            let path = path.join("/");
            if mine.first_beyond(&wanted).is_none() && let Some(theirs) = wanted.deciding(&path) {
                let ours = mine.deciding(&path);
                prop_assert!(ours.is_some_and(|o| o.access().covers(theirs.access())), "{mine:?} {wanted:?} {path}");
            }
        }

        #[test]
        fn a_list_is_not_beyond_itself(routes in any_routes()) {
            prop_assert_eq!(routes.first_beyond(&routes), None);
        }
    }
}
