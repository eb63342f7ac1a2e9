//! What must come of an input, said a second time: slowly, with no regard for memory, and all faults at once instead of the
//! first. Nothing of the product's readers is used here but its list of reserved names.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tok_model::name::RESERVED;

use super::doors::Door;

/// The one server that there is.
pub(super) const OURS: &str = "https://git.example.com";
pub(super) const HOST: &str = "git.example.com";

const LARGEST_REQUEST: usize = 262_144;
const LARGEST_ANSWER: usize = 65_536;
const LONGEST_LINE: usize = 65_535;
/// The most that a memory keeps of one credential.
const LARGEST_KEPT: usize = 16_384;

/// What must come of it.
#[derive(Debug)]
pub(super) enum Expected {
    /// Refused for one of these.
    Refused(BTreeSet<&'static str>),
    /// Taken, and no token comes of it.
    Nothing(&'static str),
    /// A token; whether it may write, where a naive reader can say it.
    Token { repo: String, write: Option<bool>, username: String, bearer: bool },
    /// Taken, with these lines for git.
    Passed { lines: Vec<u8>, messages: usize },
}

/// Keys and values, and everything that is wrong with them.
#[derive(Debug, Default)]
struct Said {
    pairs: Vec<(String, String)>,
    faults: BTreeSet<&'static str>,
}

impl Said {
    fn value(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// A list: an empty value forgets what stands before it.
    fn list(&self, key: &str) -> Vec<&str> {
        let all: Vec<&str> = self.pairs.iter().filter(|(known, _)| known == key).map(|(_, value)| &**value).collect();
        let begin = all.iter().rposition(|value| value.is_empty()).map_or(0, |last| last + 1);
        all[begin..].to_vec()
    }

    fn once(&mut self, keys: &[&str]) {
        for key in keys {
            if self.pairs.iter().filter(|(known, _)| known == key).count() > 1 {
                self.faults.insert("repeated");
            }
        }
    }

    fn needs(&mut self, key: &str) {
        if self.value(key).is_none_or(str::is_empty) {
            self.faults.insert("missing");
        }
    }
}

pub(super) fn expect(door: Door, bytes: &[u8]) -> Expected {
    match door {
        Door::Git => {
            let mut said = lines(bytes, LARGEST_REQUEST);
            request(&mut said);
            if said.faults.is_empty() { get(&said) } else { Expected::Refused(said.faults) }
        }
        Door::Socket => socket(bytes),
        Door::Answer => answer(bytes),
        Door::Memory => {
            let mut said = lines(bytes, LARGEST_REQUEST);
            request(&mut said);
            if said.faults.is_empty() { Expected::Nothing(kept(&said)) } else { Expected::Refused(said.faults) }
        }
    }
}

/// Lines up to a blank one.
fn lines(bytes: &[u8], limit: usize) -> Said {
    let mut said = Said::default();
    if bytes.len() > limit {
        said.faults.insert("too large");
        return said;
    }
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ([text @ .., b'\r', b'\n'] | [text @ .., b'\n'] | text) = line;
        if text.is_empty() {
            break;
        }
        if line.len() > LONGEST_LINE {
            said.faults.insert("a long line");
        }
        if text.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
            said.faults.insert("a control character");
        }
        let Ok(text) = String::from_utf8(text.to_vec()) else {
            said.faults.insert("not UTF-8");
            continue;
        };
        match text.find('=') {
            None | Some(0) => {
                said.faults.insert("no key");
            }
            Some(at) => said.pairs.push((text[..at].to_owned(), text[at + 1..].to_owned())),
        }
    }
    said
}

/// What is wrong with a request of git's; a URL is put in its parts.
fn request(said: &mut Said) {
    let urls: Vec<String> = said.pairs.iter().filter(|(key, _)| key == "url").map(|(_, url)| url.clone()).collect();
    let before = said.pairs.len();
    for url in &urls {
        parts(url, said);
    }
    if urls.len() > 1 {
        said.faults.insert("repeated");
    }
    // What a URL says once more is said once.
    for (key, value) in said.pairs.split_off(before) {
        let same = |said: &str| said == value || key == "path" && said.trim_matches('/') == value;
        if !said.value(&key).is_some_and(same) {
            said.pairs.push((key, value));
        }
    }
    said.once(&["protocol", "host", "path", "username", "password", "password_expiry_utc", "oauth_refresh_token"]);
    said.once(&["authtype", "credential", "ephemeral", "continue"]);
    said.needs("protocol");
    said.needs("host");
}

/// `protocol://user:password@host/path`.
fn parts(url: &str, said: &mut Said) {
    let mut found = |key: &str, text: &str| {
        // One that cannot be decoded is there all the same.
        if decoded(text).is_none() {
            said.faults.insert("no such value");
        }
        said.pairs.push((key.to_owned(), decoded(text).unwrap_or_default()));
    };
    let Some(at) = url.find("://") else {
        said.faults.insert("no such value");
        return;
    };
    let mut authority = String::new();
    let mut path = String::new();
    for character in url[at + 3..].chars() {
        if !path.is_empty() || matches!(character, '/' | '?' | '#') {
            path.push(character);
        } else {
            authority.push(character);
        }
    }
    if let Some(end) = authority.find('@') {
        let login = authority[..end].to_owned();
        authority = authority[end + 1..].to_owned();
        match login.find(':') {
            Some(colon) => {
                found("username", &login[..colon]);
                found("password", &login[colon + 1..]);
            }
            None => found("username", &login),
        }
    }
    found("host", &authority);
    let path = path.trim_start_matches('/').trim_end_matches('/');
    if !path.is_empty() {
        found("path", path);
    }
    // This one stands there as it is.
    said.pairs.push(("protocol".to_owned(), url[..at].to_owned()));
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| (byte as char).to_digit(16);
        let byte = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        if byte < 0x20 || byte == 0x7f {
            return None;
        }
        bytes.push(u8::try_from(byte).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// What comes of a `get` that is well formed.
fn get(said: &Said) -> Expected {
    let host = said.value("host").unwrap_or_default().to_lowercase();
    let ours = host == HOST || host == format!("{HOST}:443");
    // Of what is no ASCII, some becomes ASCII in lower case.
    let plain = said.value("host").is_some_and(str::is_ascii);
    if said.value("protocol").is_none_or(|protocol| !protocol.eq_ignore_ascii_case("https")) || !ours || !plain {
        return Expected::Nothing("another server's");
    }
    let Some(repo) = said.value("path").and_then(repository) else { return Expected::Nothing("no token") };
    let state = said.list("state[]").into_iter().rfind(|state| state.starts_with("tok:")).unwrap_or("tok:");
    let round: u32 = state["tok:".len()..].split('.').next().unwrap_or_default().parse().unwrap_or(0);
    if round > 1 {
        return Expected::Nothing("no token");
    }
    let username = match said.value("username") {
        None | Some("") => "ann".to_owned(),
        Some(name) if owner(name) => name.to_owned(),
        Some(_) => return Expected::Nothing("no token"),
    };
    let bearer = said.list("capability[]").contains(&"authtype");
    let write = write(&said.list("wwwauth[]"), &repo);
    Expected::Token { repo, write, username, bearer }
}

/// Whether a push is what the server asked for. The grammar is not read again here: what is said plainly has to be heard,
/// and what is not said in any way must not be.
fn write(challenges: &[&str], repo: &str) -> Option<bool> {
    let plainly = format!("Bearer realm=\"tok\", scope=\"repo:write\", resource=\"{repo}\"");
    match challenges {
        [] => return Some(false),
        [one] if *one == plainly => return Some(true),
        _ => {}
    }
    // A backslash in quotes is no part of the word.
    let said = |line: &&str| line.replace('\\', "").contains("repo:write") && line.to_lowercase().contains("bearer");
    if challenges.iter().any(said) { None } else { Some(false) }
}

/// The repository of a path.
fn repository(path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let usual = |c: char| c.is_ascii_alphanumeric() || "/._-~+:@=,".contains(c);
    if path.len() + 1 > 2048 || !path.chars().all(usual) {
        return None;
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() == 3 && segments[2].is_empty() {
        segments.pop();
    }
    if segments.len() < 2 || segments.iter().any(|segment| ["", ".", ".."].contains(segment)) {
        return None;
    }
    let repo = segments[1].strip_suffix(".git").unwrap_or(segments[1]);
    (owner(segments[0]) && name(repo) && repo.len() <= 100).then(|| format!("{}/{repo}", segments[0]))
}

/// Whether a user or a workspace can be called so.
fn owner(text: &str) -> bool {
    let reserved = RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(text));
    name(text) && text.len() <= 39 && text.parse::<Ipv4Addr>().is_err() && !reserved
}

fn name(text: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let meant = |ending: &str| text.to_ascii_lowercase().ends_with(ending);
    text.chars().all(usual)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with('.')
        && !text.contains("..")
        && !meant(".git")
        && !meant(".lock")
}

/// What is said over the local socket.
fn socket(bytes: &[u8]) -> Expected {
    let text: Vec<u8> = bytes.to_vec();
    let blank =
        |window: &[u8]| text.windows(window.len()).position(|found| found == window).map(|at| at + window.len());
    let length = match (blank(b"\n\n"), blank(b"\n\r\n")) {
        (Some(one), Some(other)) => one.min(other),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Expected::Refused(["no end"].into()),
    };
    let whole = &text[..length];
    // A key before the first line makes it one like the others.
    let mut said = lines(&[b"head=", whole].concat(), LARGEST_REQUEST + "head=".len());
    let head = said.pairs.first().filter(|(key, _)| key == "head").map(|(_, head)| head.clone());
    let known = ["tok/1 get", "tok/1 store", "tok/1 erase"];
    if whole.starts_with(b"\n")
        || whole.starts_with(b"\r\n")
        || !head.is_some_and(|head| known.contains(&head.as_str()))
    {
        said.faults.insert("no head");
    }
    if whole.split(|byte| *byte == b'\n').next().is_some_and(|first| first.len() > LONGEST_LINE) {
        said.faults.insert("a long line");
    }
    if !said.pairs.is_empty() {
        said.pairs.remove(0);
    }
    said.once(&["as", "agent", "operation", "timeout", "profile"]);
    let refused = |key: &str, fine: &dyn Fn(&str) -> bool| said.value(key).is_some_and(|value| !fine(value));
    let strange = refused("as", &owner)
        || refused("timeout", &|text| text.parse::<u32>().is_ok())
        || refused("profile", &|text| !text.is_empty() && text.len() <= 100 && !text.contains(char::is_control));
    if strange {
        said.faults.insert("no such value");
    }
    request(&mut said);
    if !said.faults.is_empty() {
        return Expected::Refused(said.faults);
    }
    match get(&said) {
        // Without a challenge the helper's own guess counts.
        Expected::Token { repo, write, username, bearer } => {
            let ours = said.list("wwwauth[]").iter().any(|line| line.to_lowercase().contains("bearer"));
            let write = match said.value("operation") {
                Some("push") if !ours => Some(true),
                Some("push") => None,
                _ => write,
            };
            Expected::Token { repo, write, username, bearer }
        }
        other => other,
    }
}

/// What a daemon answers.
fn answer(bytes: &[u8]) -> Expected {
    let mut said = lines(bytes, LARGEST_ANSWER);
    said.once(&["protocol", "host", "path", "username", "password", "password_expiry_utc", "oauth_refresh_token"]);
    said.once(&["authtype", "credential", "ephemeral", "continue", "quit"]);
    // Cut off, if what is read ends without a line end.
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let blank = text.starts_with('\n') || text.contains("\n\n");
    if !blank && !text.is_empty() && !text.ends_with('\n') && said.faults.is_empty() {
        said.faults.insert("cut off");
    }
    if !said.faults.is_empty() {
        return Expected::Refused(said.faults);
    }
    let (messages, pairs): (Vec<_>, Vec<_>) = said.pairs.into_iter().partition(|(key, _)| key == "message");
    let lines = pairs.iter().flat_map(|(key, value)| [key, "=", value, "\n"]).collect::<String>().into_bytes();
    Expected::Passed { lines, messages: messages.len() }
}

/// Whether another server's credential is kept.
fn kept(said: &Said) -> &'static str {
    let there = |key: &str| said.value(key).is_some();
    let whole = there("username") && there("password") || there("authtype") || there("credential");
    let yes = ["1", "true", "yes", "on"];
    let ephemeral = said.value("ephemeral").is_some_and(|text| yes.contains(&text.to_ascii_lowercase().as_str()));
    let capabilities = said.list("capability[]");
    let mut size = 0;
    for capability in ["authtype", "state"] {
        size += if capabilities.contains(&capability) { format!("capability[]={capability}\n").len() } else { 0 };
    }
    for key in ["protocol", "host", "path", "username", "password", "oauth_refresh_token", "authtype", "credential"] {
        size += said.value(key).map_or(0, |value| format!("{key}={value}\n").len());
    }
    if let Some(expiry) =
        said.value("password_expiry_utc").and_then(|text| text.parse::<i64>().ok()).filter(|at| *at > 0)
    {
        size += format!("password_expiry_utc={expiry}\n").len();
    }
    if said.value("continue").is_some_and(|text| yes.contains(&text.to_ascii_lowercase().as_str())) {
        size += "continue=1\n".len();
    }
    if whole && !ephemeral && size <= LARGEST_KEPT { "kept" } else { "not kept" }
}
