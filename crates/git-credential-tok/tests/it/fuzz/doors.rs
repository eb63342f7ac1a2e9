//! The places where bytes of others are read, in the very order in which the product reads them.

use tok_model::clock::Timestamp;
use tok_model::credential::{
    Answer, CredentialRequest, Given, Malformed, Memory, Operation, RelayRequest, RelayedAnswer, Wish, refused,
};
use tok_model::kind::Permission;
use tok_model::name::UserName;
use tok_model::url::Origin;

use super::naive::{Expected, HOST, OURS};

/// Where something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// The helper reads what git says, and all that follows from it up to git's answer.
    Git,
    /// The daemon or the agent reads what a helper says, which may be anybody.
    Socket,
    /// The helper reads what a daemon answers.
    Answer,
    /// The agent keeps what git stores for other servers.
    Memory,
}

/// All of them.
pub(super) const DOORS: [Door; 4] = [Door::Git, Door::Socket, Door::Answer, Door::Memory];

const MALFORMED: [&str; 9] = [
    "too large",
    "a long line",
    "a control character",
    "not UTF-8",
    "no key",
    "repeated",
    "missing",
    "no such value",
    "cut off",
];

/// What has to come of some input or other at a door.
pub(super) fn outcomes(door: Door) -> Vec<&'static str> {
    let of = |cut: &[&'static str], more: &[&'static str]| {
        MALFORMED.into_iter().filter(|name| !cut.contains(name)).chain(more.iter().copied()).collect()
    };
    match door {
        Door::Git => of(&["cut off"], &["another server's", "no token", "a token to read", "a token to write"]),
        Door::Socket => of(&["cut off"], &["no end", "no head", "another server's", "a token to read"]),
        // A line that is too long hardly fits into an answer that is not.
        Door::Answer => of(&["missing", "no such value", "a long line"], &["passed on"]),
        Door::Memory => of(&["cut off"], &["kept", "not kept"]),
    }
}

/// What was seen to come of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Refused whole, and for this.
    Refused(&'static str),
    /// Taken, and no token came of it.
    Nothing(&'static str),
    /// A token for this repository.
    Token { repo: String, write: bool, username: String, bearer: bool },
    /// Taken: these lines are for git, and there are so many messages for the person.
    Passed { lines: Vec<u8>, messages: usize },
}

/// Has an input read; the words say what is wrong with what came out.
pub(super) fn enter(door: Door, bytes: &[u8]) -> Result<Seen, String> {
    match door {
        Door::Git => match CredentialRequest::parse(bytes) {
            Ok(request) => relayed(request),
            Err(why) => Ok(Seen::Refused(name(why))),
        },
        Door::Socket => match RelayRequest::length(bytes) {
            None => Ok(Seen::Refused("no end")),
            Some(length) => match RelayRequest::parse(&bytes[..length]) {
                Ok(request) => served(&request),
                Err(why) => Ok(Seen::Refused(name(why))),
            },
        },
        Door::Answer => match RelayedAnswer::parse(bytes) {
            Ok(answer) => passed(&answer),
            Err(why) => Ok(Seen::Refused(name(why))),
        },
        Door::Memory => match CredentialRequest::parse(bytes) {
            Ok(request) => kept(&request),
            Err(why) => Ok(Seen::Refused(name(why))),
        },
    }
}

/// The helper passes it on as the daemon reads it.
fn relayed(request: CredentialRequest) -> Result<Seen, String> {
    let normal = request.to_bytes();
    let message = RelayRequest::new(Operation::Get, request).with_agent("git-credential-tok/fuzz");
    let bytes = message.to_bytes();
    if RelayRequest::length(&bytes) != Some(bytes.len()) {
        return Err("what is relayed ends too early".to_owned());
    }
    let arrived = RelayRequest::parse(&bytes).map_err(|why| format!("what is relayed is refused: {why}"))?;
    if arrived.to_bytes() != bytes || arrived.credential().to_bytes() != normal {
        return Err("what is relayed changes on the way".to_owned());
    }
    served(&arrived)
}

/// What the daemon makes of it, as `door/socket/helper.rs` does, for the one user that there is.
fn served(request: &RelayRequest) -> Result<Seen, String> {
    let credential = request.credential();
    // Whatever it is, it can be asked whether it is ours.
    let _ = (credential.answered_by_tok(), refused(credential), format!("{request:?}").len());
    let ours = Origin::parse(OURS).map_err(|why| why.to_string())?;
    if !credential.origin().is_ok_and(|origin| origin.acceptable() && origin == ours) {
        return Ok(Seen::Nothing("another server's"));
    }
    let wish = match Wish::of(request, &OURS) {
        Ok(wish) => wish,
        Err(answer) => return told(&answer),
    };
    let named = credential.username().filter(|name| !name.is_empty());
    if named.is_some_and(|name| name.parse::<UserName>().is_err()) {
        return told(&Answer::refuse("no such user"));
    }
    let end = Timestamp::from_timestamp(1_800_000_000, 0).ok_or("no time")?;
    let id = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".parse().map_err(|_| "no ID")?;
    let given = Given { username: "ann", text: "tokgit_fuzz".into(), id, expires_at: end };
    let answer = wish.answer(credential, given).map_err(|why| why.to_string())?;
    let lines = checked(&answer)?;
    let text = str::from_utf8(&lines).map_err(|_| "an answer is not UTF-8")?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let bearer = value("credential") == Some("tokgit_fuzz");
    if bearer != credential.capabilities().authtype || bearer != text.contains("\nephemeral=1\n") {
        return Err(format!("not the form that git understands: {text}"));
    }
    if !bearer && value("password") != Some("tokgit_fuzz") || value("password_expiry_utc") != Some("1800000000") {
        return Err(format!("no whole answer: {text}"));
    }
    let username = value("username").ok_or("an answer without a user name")?.to_owned();
    Ok(Seen::Token { repo: wish.repo.to_string(), write: wish.permission == Permission::Write, username, bearer })
}

/// An answer without a token.
fn told(answer: &Answer) -> Result<Seen, String> {
    let lines = checked(answer)?;
    match lines.as_slice() {
        b"" | b"quit=1\n" => Ok(Seen::Nothing("no token")),
        other => Err(format!("a no that says {}", other.escape_ascii())),
    }
}

/// What the helper prints of an answer of ours: it has to find nothing wrong with it.
fn checked(answer: &Answer) -> Result<Vec<u8>, String> {
    let relayed =
        RelayedAnswer::parse(&answer.to_bytes()).map_err(|why| format!("our own answer is refused: {why}"))?;
    match passed(&relayed)? {
        Seen::Passed { lines, .. } => Ok(lines),
        other => Err(format!("{other:?}")),
    }
}

fn passed(answer: &RelayedAnswer) -> Result<Seen, String> {
    let lines = answer.for_git().to_vec();
    // git stops at a line without `=`, and a terminal obeys control characters.
    let whole = lines.is_empty() || lines.ends_with(b"\n");
    let fine = |line: &[u8]| line.contains(&b'=') && !line.iter().any(u8::is_ascii_control);
    if !whole || !lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(fine) {
        return Err(format!("git would stumble over {}", lines.escape_ascii()));
    }
    if answer.messages().iter().any(|message| message.contains(char::is_control)) {
        return Err(format!("a terminal would obey {:?}", answer.messages()));
    }
    Ok(Seen::Passed { lines, messages: answer.messages().len() })
}

/// Stored, asked for, and erased again.
fn kept(request: &CredentialRequest) -> Result<Seen, String> {
    let mut memory = Memory::default();
    memory.store(request, 10, 0);
    let there = memory.count(0) == 1;
    let said = memory.get(request, 1);
    if said.is_empty() == there {
        return Err("what is kept is not what is answered".to_owned());
    }
    let answer = RelayedAnswer::parse(&said).map_err(|why| format!("what was kept cannot be read: {why}"))?;
    passed(&answer)?;
    memory.erase(request, 2);
    if memory.count(2) != 0 {
        return Err("what is erased is still there".to_owned());
    }
    Ok(Seen::Nothing(if there { "kept" } else { "not kept" }))
}

fn name(why: Malformed) -> &'static str {
    match why {
        Malformed::TooLarge { .. } => "too large",
        Malformed::LongLine { .. } => "a long line",
        Malformed::Control { .. } => "a control character",
        Malformed::NotText { .. } => "not UTF-8",
        Malformed::NoKey { .. } => "no key",
        Malformed::Repeated { .. } => "repeated",
        Malformed::Missing { .. } => "missing",
        Malformed::Value { .. } => "no such value",
        Malformed::CutOff => "cut off",
        Malformed::Head => "no head",
    }
}

impl Expected {
    /// Whether this is what was seen; says in one word what it was.
    pub(super) fn meets(&self, seen: &Seen) -> Result<&'static str, String> {
        let differ = || Err(format!("expected {self:?}\nseen {seen:?}"));
        match (self, seen) {
            (Self::Refused(reasons), Seen::Refused(why)) if reasons.contains(why) => Ok(*why),
            (Self::Nothing(one), Seen::Nothing(other)) if one == other => Ok(*one),
            (Self::Passed { lines, messages }, Seen::Passed { lines: found, messages: number })
                if lines == found && messages == number =>
            {
                Ok("passed on")
            }
            (
                Self::Token { repo, write, username, bearer },
                Seen::Token { repo: given, write: writes, username: user, bearer: form },
            ) if repo == given && username == user && bearer == form && write.is_none_or(|write| write == *writes) => {
                Ok(if *writes { "a token to write" } else { "a token to read" })
            }
            _ => differ(),
        }
    }
}

#[test]
fn the_made_up_server_is_one() {
    assert_eq!(OURS, format!("https://{HOST}"));
}
