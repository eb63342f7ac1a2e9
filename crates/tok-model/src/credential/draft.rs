//! A request while it is read: which keys there are, what may come twice, and what `url=` stands for.

use std::borrow::Cow;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::lines::Malformed;
use super::request::{Capabilities, CredentialRequest};

/// The largest request that is read, in bytes.
pub const LARGEST_REQUEST: usize = 256 * 1024;

/// The keys that have one value. A second one is how a smuggled line shows itself, so it refuses the whole request.
const SINGLE: [&str; 11] = [
    "protocol",
    "host",
    "path",
    "username",
    "password",
    "password_expiry_utc",
    "oauth_refresh_token",
    "authtype",
    "credential",
    "ephemeral",
    "continue",
];

/// How many of them, from the first on, a URL stands for.
const IN_URL: usize = 5;

/// A request while it is read.
#[derive(Default)]
pub(super) struct Draft<'a> {
    single: [Option<Cow<'a, str>>; SINGLE.len()],
    /// What `url=` stands for. gitoxide sends it beside its parts, so the same may be said in both ways.
    in_url: [Option<Cow<'a, str>>; IN_URL],
    capabilities: Capabilities,
    state: Vec<String>,
    wwwauth: Vec<String>,
}

impl<'a> Draft<'a> {
    /// Takes one line in; what it does not know it ignores.
    pub(super) fn take(&mut self, key: &'a str, value: &'a str) -> Result<(), Malformed> {
        match key {
            "url" => self.take_url(value)?,
            "capability[]" => match value {
                "" => self.capabilities = Capabilities::default(),
                "authtype" => self.capabilities.authtype = true,
                "state" => self.capabilities.state = true,
                _ => {}
            },
            "state[]" => append(&mut self.state, value),
            "wwwauth[]" => append(&mut self.wwwauth, value),
            _ => set(&mut self.single, key, Cow::Borrowed(value))?,
        }
        Ok(())
    }

    /// `url=` stands for its parts, cut where git cuts them.
    fn take_url(&mut self, url: &'a str) -> Result<(), Malformed> {
        let broken = Malformed::Value { key: "url" };
        let (protocol, rest) = url.split_once("://").ok_or(broken)?;
        let (authority, path) =
            rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())).ok_or(broken)?;
        let host = match authority.split_once('@') {
            None => authority,
            Some((login, host)) => {
                let (username, password) = match login.split_once(':') {
                    Some((username, password)) => (username, Some(password)),
                    None => (login, None),
                };
                set(&mut self.in_url, "username", unescape(username).ok_or(broken)?)?;
                if let Some(password) = password {
                    set(&mut self.in_url, "password", unescape(password).ok_or(broken)?)?;
                }
                host
            }
        };
        set(&mut self.in_url, "protocol", Cow::Borrowed(protocol))?;
        set(&mut self.in_url, "host", unescape(host).ok_or(broken)?)?;
        let path = path.trim_matches('/');
        if path.is_empty() { Ok(()) } else { set(&mut self.in_url, "path", unescape(path).ok_or(broken)?) }
    }

    /// Puts together what was said and what the URL says: where both say something, it has to be the same.
    fn settle(&mut self) -> Result<(), Malformed> {
        for ((key, said), meant) in SINGLE.iter().zip(&mut self.single).zip(&mut self.in_url) {
            match (&*said, meant.take()) {
                (_, None) => {}
                (None, meant) => *said = meant,
                // Slashes at either end are no part of what a URL means.
                (Some(said), Some(meant)) if *said == meant || *key == "path" && said.trim_matches('/') == meant => {}
                (Some(_), Some(_)) => return Err(Malformed::Repeated { key }),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<CredentialRequest, Malformed> {
        self.settle()?;
        let [protocol, host, path, username, password, expiry, refresh, authtype, credential, ephemeral, continued] =
            self.single;
        let needed = |key, value: Option<Cow<'a, str>>| {
            value.filter(|v| !v.is_empty()).map(Cow::into_owned).ok_or(Malformed::Missing { key })
        };
        let secret = |value: Cow<'a, str>| SecretString::from(value.into_owned());
        Ok(CredentialRequest {
            protocol: needed("protocol", protocol)?,
            host: needed("host", host)?,
            path: path.map(Cow::into_owned),
            username: username.map(Cow::into_owned),
            password: password.map(secret),
            password_expiry_utc: expiry.and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0),
            oauth_refresh_token: refresh.map(secret),
            authtype: authtype.map(Cow::into_owned),
            credential: credential.map(secret),
            ephemeral: ephemeral.is_some_and(|text| truth(&text)),
            continued: continued.is_some_and(|text| truth(&text)),
            capabilities: self.capabilities,
            state: self.state,
            wwwauth: self.wwwauth,
        })
    }
}

/// Sets one of the keys that have one value, if it is one.
fn set<'a>(slots: &mut [Option<Cow<'a, str>>], key: &str, value: Cow<'a, str>) -> Result<(), Malformed> {
    for (known, slot) in SINGLE.iter().zip(slots) {
        if *known == key {
            return match slot.replace(value) {
                None => Ok(()),
                Some(_) => Err(Malformed::Repeated { key: known }),
            };
        }
    }
    Ok(())
}

/// An empty element empties the list, as git documents it.
fn append(list: &mut Vec<String>, value: &str) {
    if value.is_empty() { list.clear() } else { list.push(value.to_owned()) }
}

/// A boolean as git's config writes it; what is none counts as false.
fn truth(text: &str) -> bool {
    text == "1" || ["true", "yes", "on"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Percent-decodes a part of a URL; nothing if the result could not stand in a line.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| hex && !byte.is_ascii_control())?;
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    str::from_utf8(&bytes).ok().map(|decoded| Cow::Owned(decoded.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::LONGEST_LINE;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    fn parse(text: &str) -> Result<CredentialRequest, Malformed> {
        CredentialRequest::parse(text.as_bytes())
    }

    #[test]
    fn hostile_requests_are_refused_whole() {
        use Malformed as M;
        let good = "protocol=https\nhost=h\n";
        let long = format!("{good}path={}\n", "x".repeat(LONGEST_LINE - "path=".len() + 1));
        let large = format!("{good}{}", format!("wwwauth[]={}\n", "x".repeat(60_000)).repeat(5));
        for (text, why) in [
            ("protocol=https\nhost=good\nhost=evil\n", M::Repeated { key: "host" }),
            ("protocol=https\nprotocol=https\nhost=h\n", M::Repeated { key: "protocol" }),
            ("protocol=https\nhost=h\nusername=a\nusername=a\n", M::Repeated { key: "username" }),
            ("url=https://h/x\nhost=evil\n", M::Repeated { key: "host" }),
            ("host=evil\nurl=https://h/x\n", M::Repeated { key: "host" }),
            ("url=https://h/x\npath=y\n", M::Repeated { key: "path" }),
            ("url=https://ann@h/x\nusername=bob\n", M::Repeated { key: "username" }),
            ("url=https://h/x\nurl=https://h/x\n", M::Repeated { key: "protocol" }),
            ("url=https://h/x\nhost=h\nhost=h\n", M::Repeated { key: "host" }),
            (
                "protocol=https\nhost=h\npassword_expiry_utc=0\npassword_expiry_utc=0",
                M::Repeated { key: "password_expiry_utc" },
            ),
            ("", M::Missing { key: "protocol" }),
            ("\nprotocol=https\nhost=h\n", M::Missing { key: "protocol" }),
            ("host=h\n", M::Missing { key: "protocol" }),
            ("protocol=https\n", M::Missing { key: "host" }),
            ("protocol=https\nhost=\n", M::Missing { key: "host" }),
            ("protocol=cert\nhost=\n", M::Missing { key: "host" }),
            ("protocol=https\nhost=good\rhost=evil\n", M::Control { line: 2 }),
            ("protocol=https\nhost=h\r\r\n", M::Control { line: 2 }),
            ("protocol=https\nhost=h\r", M::Control { line: 2 }),
            ("protocol=https\nhost=h\npath=a\0b\n", M::Control { line: 3 }),
            ("protocol=https\nhost=h\nunknown=\x1b[2J\n", M::Control { line: 3 }),
            ("protocol=https\nhost=h\npath=\x7f\n", M::Control { line: 3 }),
            ("protocol=https\nhost=h\npath=\t\n", M::Control { line: 3 }),
            ("protocol=https\nnonsense\nhost=h\n", M::NoKey { line: 2 }),
            ("protocol=https\n=x\nhost=h\n", M::NoKey { line: 2 }),
            ("url=git.example.com/x\n", M::Value { key: "url" }),
            ("url=https://h%0ahost=evil/x\n", M::Value { key: "url" }),
            ("url=https://h/%zz\n", M::Value { key: "url" }),
            ("url=https:///x\n", M::Missing { key: "host" }),
            (&long, M::LongLine { line: 3 }),
            (long.trim_end(), M::LongLine { line: 3 }),
            (&large, M::TooLarge { limit: LARGEST_REQUEST }),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{}", &text[..text.len().min(60)]);
        }
        assert_eq!(CredentialRequest::parse(b"protocol=https\nhost=\xff\n").unwrap_err(), M::NotText { line: 2 });
        assert!(parse(&long.replacen("xx", "", 1)).is_ok(), "the longest line that git documents is read");
    }

    #[test]
    fn a_url_stands_for_its_parts() {
        let request = parse("url=https://ann:p%40ss@h:8443//o/%2e%2e/r.git/\n").unwrap();
        assert_eq!((request.protocol(), request.host(), request.username()), ("https", "h:8443", Some("ann")));
        assert_eq!(request.password().unwrap().expose_secret(), "p@ss");
        assert_eq!(request.path(), Some("o/../r.git"));
        assert!(request.git_path().unwrap().is_err());
        assert_eq!(parse("url=https://h/o/r?x=1#f\n").unwrap().path(), Some("o/r?x=1#f"));
        // As gitoxide stores and erases: the URL, and all of its parts again.
        let both = "url=https://h:8443/o/r.git\npath=o/r.git\nprotocol=https\nhost=h:8443\nusername=ann\npassword=x\n";
        let request = parse(both).unwrap();
        assert_eq!((request.host(), request.path(), request.username()), ("h:8443", Some("o/r.git"), Some("ann")));
        assert_eq!(parse("url=https://h/o/r/\npath=/o/r\n").unwrap().path(), Some("/o/r"));
    }

    /// Lines as git could write them, each key at most once.
    fn any_lines() -> impl Strategy<Value = Vec<(String, String)>> {
        let value = "[ !-~é€]{0,20}";
        let single = proptest::sample::subsequence(SINGLE[2..].to_vec(), 0..=SINGLE.len() - 2);
        let lists = proptest::sample::select(vec!["state[]", "wwwauth[]", "capability[]", "x", "future[]"]);
        (
            single,
            proptest::collection::vec((lists, value), 0..8),
            proptest::collection::vec(value, 9),
            "[a-z]{1,6}",
            "[!-~]{1,9}",
        )
            .prop_map(|(keys, lists, values, protocol, host)| {
                let mut lines = vec![("protocol".to_owned(), protocol), ("host".to_owned(), host)];
                lines.extend(keys.into_iter().map(str::to_owned).zip(values));
                lines.extend(lists.into_iter().map(|(k, v)| (k.to_owned(), v)));
                lines
            })
            .prop_shuffle()
    }

    fn text(lines: &[(String, String)]) -> String {
        lines.iter().flat_map(|(key, value)| [key, "=", value, "\n"]).collect()
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CredentialRequest::parse(&bytes);
        }

        #[test]
        fn random_lines_never_panic(text in "((protocol|host|path|url|wwwauth\\[\\]|x)?=?(https|://|%0a|@|:|/|\\PC)*[\n\r]?){0,8}") {
            let _ = parse(&text);
        }

        #[test]
        fn the_normal_form_is_read_as_the_same_request(lines in any_lines()) {
            let request = parse(&text(&lines)).unwrap();
            let normal = request.to_bytes();
            prop_assert_eq!(&CredentialRequest::parse(&normal).unwrap().to_bytes(), &normal);
            for (key, found) in [("host", Some(request.host())), ("path", request.path()), ("username", request.username())] {
                prop_assert_eq!(lines.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()), found);
            }
            let password = lines.iter().find(|(k, _)| k == "password").map(|(_, v)| v.as_str());
            prop_assert_eq!(password, request.password().map(ExposeSecret::expose_secret));
        }

        #[test]
        fn one_hostile_byte_anywhere_refuses_everything(lines in any_lines(), at in any::<prop::sample::Index>(), byte in prop_oneof![0_u8..10, 11_u8..32, Just(127), Just(255)]) {
            let mut bytes = text(&lines).into_bytes();
            let at = at.index(bytes.len());
            // One CR directly before LF is the one that is forgiven.
            prop_assume!(!(byte == b'\r' && bytes[at] == b'\n'));
            bytes.insert(at, byte);
            prop_assert!(CredentialRequest::parse(&bytes).is_err());
        }

        #[test]
        fn a_second_value_of_any_single_key_refuses_everything(lines in any_lines(), at in any::<prop::sample::Index>(), value in "[a-z]{0,5}") {
            let (key, _) = at.get(&lines).clone();
            prop_assume!(SINGLE.contains(&key.as_str()));
            let repeated = format!("{}{key}={value}\n", text(&lines));
            let refused = matches!(parse(&repeated), Err(Malformed::Repeated { .. }));
            prop_assert!(refused);
        }
    }
}
