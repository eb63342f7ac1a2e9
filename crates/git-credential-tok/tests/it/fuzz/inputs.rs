//! Made-up bytes: mostly what could be meant, mostly spoiled a little.

use super::chance::Chance;
use super::doors::Door;

const PROTOCOLS: &[&str] = &["https", "https", "https", "https", "HTTPS", "http", "cert", "ssh", "", "https\u{2028}"];
const HOSTS: &[&str] = &[
    "git.example.com",
    "git.example.com",
    "git.example.com",
    "git.example.com",
    "Git.Example.COM",
    "git.example.com:443",
    "git.example.com:444",
    "git.example.com:0443",
    "git.example.com.",
    "xgit.example.com",
    "git.example.com.attacker.example",
    "git.example.com@evil.example",
    "ann@git.example.com",
    "gıt.example.com",
    "\u{212a}.example.com",
    "git.example.com/x",
    "[::1]:8443",
    "127.0.0.1:7650",
    "localhost",
    "-oProxyCommand=x",
    "",
];
const PATHS: &[&str] = &[
    "acme/app.git",
    "acme/app.git",
    "acme/app.git",
    "acme/app",
    "/acme/app.git",
    "acme/app/",
    "acme/app.git/info/lfs",
    "acme/app.git//info",
    "acme/../app.git",
    "acme/./app",
    "acme//app",
    "acme%2fapp",
    "acme/app%00",
    "acme\\app",
    "acme/app.git?x=1#f",
    "v1/tokens",
    "127.0.0.1/app",
    "acme/app.lock",
    "acme/.git",
    "acme",
    "",
    "/",
];
const USERS: &[&str] = &["ann", "bob", "", "-rf", "a b", "root", "ann@example.com", "é", "v1", "x-oauth-basic"];
const SECRETS: &[&str] = &["tokgit_abc", "hunter2", "", "tokpat_x", "p=a=s=s", "ü", "Bearer x"];
const NUMBERS: &[&str] = &["0", "1", "1800000000", "-1", "99999999999999999999", "", "1.5", "true", "YES", "off"];
const STATES: &[&str] = &[
    "tok:1.1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
    "tok:1.1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
    "tok:2.1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
    "tok:",
    "tok:99999999999999999999",
    "tok:+3",
    "osx:1",
    "",
];
const CHALLENGES: &[&str] = &[
    "Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/app\"",
    "Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/app\"",
    "Bearer realm=\"tok\", scope=\"repo:read\", resource=\"acme/app\"",
    "Basic realm=\"tok\", Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/app\", error=\"invalid_token\"",
    "Bearer realm=\"tok\", scope=\"repo:admin\"",
    "Bearer realm=\"other\", scope=\"repo:write\"",
    "Bearer realm=\"tok\", scope=\"repo:write\", resource=\"acme/other\"",
    "Basic realm=\"x\"",
    "Negotiate",
    "Bearer realm=\"tok",
    "",
];
const URLS: &[&str] = &[
    "https://git.example.com/acme/app.git",
    "https://git.example.com/acme/app.git",
    "https://ann@git.example.com/acme/app",
    "https://ann:p%40ss@git.example.com:443//acme/app.git/",
    "https://git.example.com%0ahost=evil.example/acme/app",
    "https://git.example.com/acme/app%0d",
    "https://git.example.com/acme/app%",
    "https://git.example.com/acme/%zz",
    "https://git.example.com/acme/%ff",
    "https://git.example.com/acme/a%2bpp",
    "https:///acme/app",
    "://git.example.com/acme/app",
    "git.example.com/acme/app",
    "https://evil.example\\@git.example.com/acme/app",
    "https://a@b@git.example.com/acme/app",
    "https://git.example.com?x#y",
    "https://",
];
const STRANGE: &[&str] =
    &["future", "future[]", "url", "host ", " host", "HOST", "as", "operation", "message", "quit", "wwwauth", "é"];
/// What spoils a line, and what spoils a number.
const BYTES: &[u8] = b"\0\r\n\t\x1b\x7f\x80\xff= %:/@\"\\.,";

/// An input for a door.
pub(super) fn of(chance: &mut Chance, door: Door) -> Vec<u8> {
    let mut lines: Vec<(&str, String)> = Vec::with_capacity(16);
    match door {
        Door::Git => request(chance, &mut lines),
        Door::Socket => {
            request(chance, &mut lines);
            relay(chance, &mut lines);
            if chance.below(4) == 0 {
                secrets(chance, &mut lines);
            }
        }
        Door::Answer => answer(chance, &mut lines),
        Door::Memory => {
            request(chance, &mut lines);
            secrets(chance, &mut lines);
        }
    }
    for _ in 0..[0, 0, 0, 1, 3][chance.below(5)] {
        let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
        lines.swap(one, other);
    }
    let mut bytes = Vec::with_capacity(512);
    if door == Door::Socket {
        let heads =
            ["tok/1 get", "tok/1 get", "tok/1 get", "tok/1 store", "tok/1 erase", "tok/2 get", "tok/1 list", ""];
        bytes.extend_from_slice(chance.one_of(&heads).as_bytes());
        bytes.push(b'\n');
    }
    let end: &[u8] = if chance.below(8) == 0 { b"\r\n" } else { b"\n" };
    for (key, value) in &lines {
        bytes.extend_from_slice(key.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(if chance.below(64) == 0 { b"\r\n" } else { end });
    }
    match chance.below(8) {
        0 => {}
        1 => bytes.extend_from_slice(b"\nhost=evil.example\n\xff"),
        2 => {
            bytes.pop();
        }
        _ => bytes.extend_from_slice(end),
    }
    for _ in 0..[0, 0, 0, 1, 1, 2, 3, 6][chance.below(8)] {
        spoil(chance, &mut bytes);
    }
    if chance.below(1_000) == 0 {
        swell(chance, &mut bytes);
    }
    bytes
}

fn add(chance: &mut Chance, lines: &mut Vec<(&'static str, String)>, key: &'static str, values: &[&str]) {
    lines.push((key, (*chance.one_of(values)).to_owned()));
}

fn request(chance: &mut Chance, lines: &mut Vec<(&'static str, String)>) {
    if chance.below(2) == 0 {
        add(chance, lines, "capability[]", &["authtype", "authtype", "state", ""]);
        add(chance, lines, "capability[]", &["state", "state", "telepathy", "authtype"]);
    }
    let url = chance.below(5) == 0;
    if url {
        add(chance, lines, "url", URLS);
    }
    if !url || chance.below(4) == 0 {
        add(chance, lines, "protocol", PROTOCOLS);
        add(chance, lines, "host", HOSTS);
        if chance.below(8) > 0 {
            add(chance, lines, "path", PATHS);
        }
    }
    for (key, values, often) in [
        ("username", USERS, 3),
        ("wwwauth[]", CHALLENGES, 2),
        ("wwwauth[]", CHALLENGES, 6),
        ("state[]", STATES, 4),
        ("state[]", STATES, 9),
        ("password_expiry_utc", NUMBERS, 20),
        ("continue", NUMBERS, 20),
    ] {
        if chance.below(often) == 0 {
            add(chance, lines, key, values);
        }
    }
    if chance.below(12) == 0 {
        let key = *chance.one_of(STRANGE);
        add(chance, lines, key, SECRETS);
    }
}

fn secrets(chance: &mut Chance, lines: &mut Vec<(&'static str, String)>) {
    for (key, values, often) in [
        ("username", USERS, 2),
        ("password", SECRETS, 2),
        ("oauth_refresh_token", SECRETS, 4),
        ("authtype", &["Bearer", "Basic", ""], 4),
        ("credential", SECRETS, 4),
        ("ephemeral", NUMBERS, 6),
    ] {
        if chance.below(often) == 0 && lines.iter().all(|(known, _)| *known != key) {
            add(chance, lines, key, values);
        }
    }
}

fn relay(chance: &mut Chance, lines: &mut Vec<(&'static str, String)>) {
    for (key, values, often) in [
        ("as", USERS, 4),
        ("agent", &["git-credential-tok/0.1.0", "é\u{9b}", ""][..], 2),
        ("operation", &["push", "push", "fetch", "all", ""], 3),
        ("timeout", NUMBERS, 6),
        ("profile", USERS, 6),
    ] {
        if chance.below(often) == 0 {
            add(chance, lines, key, values);
        }
    }
}

fn answer(chance: &mut Chance, lines: &mut Vec<(&'static str, String)>) {
    add(chance, lines, "capability[]", &["authtype", "state"]);
    for (key, values, often) in [
        ("username", USERS, 2),
        ("password", SECRETS, 2),
        ("authtype", &["Bearer"][..], 2),
        ("credential", SECRETS, 2),
        ("ephemeral", NUMBERS, 2),
        ("state[]", STATES, 2),
        ("continue", NUMBERS, 4),
        ("quit", NUMBERS, 4),
        ("message", &["no\u{9b}2J", "bob may not", ""], 2),
        ("message", &["then"], 4),
    ] {
        if chance.below(often) == 0 {
            add(chance, lines, key, values);
        }
    }
    if chance.below(12) == 0 {
        let key = *chance.one_of(STRANGE);
        add(chance, lines, key, SECRETS);
    }
}

/// Changes a few bytes.
fn spoil(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let at = chance.below(bytes.len() + 1);
    let byte = match chance.below(4) {
        0 => u8::try_from(chance.below(256)).unwrap(),
        _ => *chance.one_of(BYTES),
    };
    match chance.below(8) {
        0 | 1 => bytes.insert(at, byte),
        2 if at < bytes.len() => {
            bytes.remove(at);
        }
        3 if at < bytes.len() => bytes[at] = byte,
        4 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        // A line twice, or the end lost, or a piece of it somewhere else.
        5 => {
            let begin = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
            let line = bytes[begin..end].to_vec();
            bytes.splice(end..end, line);
        }
        6 if chance.below(4) == 0 => bytes.truncate(at),
        7 if at < bytes.len() => {
            let end = at + chance.below((bytes.len() - at).min(20));
            let piece = bytes[at..end].to_vec();
            let to = chance.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {}
    }
}

/// Makes it as long as a line, or all of it, may be, give or take a few bytes.
fn swell(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(4) {
        0 => {
            let lines = chance.below(20_000);
            let line = *chance.one_of(&["state[]=x\n", "wwwauth[]=x\n", "\n", "x=\n", "a"]);
            bytes.splice(at..at, line.repeat(lines).into_bytes());
        }
        1 | 2 => {
            let size = [1_000, 16_250, 65_450, 131_000][chance.below(4)] + chance.below(150);
            bytes.splice(at..at, vec![b'x'; size]);
        }
        _ => {
            // Many lines that are not too long, up to one of the two limits.
            let limit = [65_536, 262_144][chance.below(2)] - 5 + chance.below(10);
            let mut rest = limit.saturating_sub(bytes.len());
            let mut more = Vec::with_capacity(rest);
            while rest > 10 {
                let size = rest.min(60_000);
                more.extend_from_slice(b"future=");
                more.resize(more.len() + size - 8, b'x');
                more.push(b'\n');
                rest -= size;
            }
            bytes.splice(0..0, more);
        }
    }
}
