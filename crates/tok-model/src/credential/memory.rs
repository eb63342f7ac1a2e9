//! Credentials of other servers, kept for a while in memory, with the meaning that git's own `credential-cache` gives to
//! each operation.
//!
//! What is asked for matches what is kept if each part that it names is the same: an absent path asks for any, an empty
//! one for none. Of several that match, the one kept longest answers. An `erase` that names a password removes only what
//! has that password.

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::lines::print;
use super::request::CredentialRequest;

/// So many at most; whoever stores more loses the one that would end first.
const MOST: usize = 4096;
/// The largest that is kept, in bytes as git's lines: with as many as there can be, all of it stays in memory that can be
/// locked, and each can be told to a helper in one answer.
const LARGEST: usize = 16 * 1024;

/// What is kept. Times are seconds on any clock that never goes back.
#[derive(Default)]
pub struct Memory {
    // In credential-cache's order: what ends is replaced by the last one.
    entries: Vec<Entry>,
}

struct Entry {
    item: CredentialRequest,
    ends: u64,
}

impl Memory {
    /// What matches, as lines for git; empty if nothing does.
    pub fn get(&mut self, wanted: &CredentialRequest, now: u64) -> Zeroizing<Vec<u8>> {
        self.sweep(now);
        match self.entries.iter().find(|entry| matches(wanted, &entry.item, false)) {
            Some(entry) => printed(&entry.item, wanted.capabilities().authtype),
            None => Zeroizing::default(),
        }
    }

    /// Keeps a credential for so many seconds, in the place of those it matches. What is partial, ephemeral or larger than
    /// any honest credential is not kept.
    pub fn store(&mut self, given: &CredentialRequest, seconds: u32, now: u64) {
        self.sweep(now);
        let login = given.username().is_some() && given.password().is_some();
        if (!login && given.authtype().is_none() && given.credential().is_none()) || given.ephemeral() {
            return;
        }
        self.remove(given, false);
        // Not swept yet: what was replaced keeps its place until the next call, as it does in credential-cache.
        let item = CredentialRequest { state: Vec::new(), wwwauth: Vec::new(), ..given.clone() };
        if item.to_bytes().len() > LARGEST {
            return;
        }
        self.entries.push(Entry { item, ends: now.saturating_add(u64::from(seconds)) });
        if self.entries.len() > MOST
            && let Some((first, _)) = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.ends)
        {
            self.entries.swap_remove(first);
        }
    }

    /// Forgets what matches, password included if one is named.
    pub fn erase(&mut self, refused: &CredentialRequest, now: u64) {
        self.sweep(now);
        self.remove(refused, true);
    }

    /// Forgets all; says how many there were.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.entries).len()
    }

    /// How many are kept.
    pub fn count(&mut self, now: u64) -> usize {
        self.sweep(now);
        self.entries.len()
    }

    fn remove(&mut self, wanted: &CredentialRequest, password: bool) {
        for entry in &mut self.entries {
            if matches(wanted, &entry.item, password) {
                entry.ends = 0;
            }
        }
    }

    fn sweep(&mut self, now: u64) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if entry.ends <= now {
                self.entries.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }
}

/// Whether each part that is wanted is there and the same.
fn matches(wanted: &CredentialRequest, kept: &CredentialRequest, password: bool) -> bool {
    let same = |wanted: Option<&str>, kept: Option<&str>| wanted.is_none() || wanted == kept;
    let secret = |wanted: Option<&SecretString>, kept: Option<&SecretString>| {
        same(wanted.map(ExposeSecret::expose_secret), kept.map(ExposeSecret::expose_secret))
    };
    wanted.protocol == kept.protocol
        && wanted.host == kept.host
        && same(wanted.path(), kept.path())
        && same(wanted.username(), kept.username())
        && (!password || (secret(wanted.password(), kept.password()) && secret(wanted.credential(), kept.credential())))
}

fn printed(item: &CredentialRequest, authtype: bool) -> Zeroizing<Vec<u8>> {
    let expiry = item.password_expiry_utc().map(|seconds| seconds.to_string());
    print("", "", |visit| {
        visit("capability[]", "authtype");
        for (key, value) in [
            ("username", item.username()),
            ("password", item.password().map(ExposeSecret::expose_secret)),
            ("authtype", item.authtype().filter(|_| authtype)),
            ("credential", item.credential().map(ExposeSecret::expose_secret).filter(|_| authtype)),
            ("password_expiry_utc", expiry.as_deref()),
            ("oauth_refresh_token", item.oauth_refresh_token().map(ExposeSecret::expose_secret)),
        ] {
            if let Some(value) = value {
                visit(key, value);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: &str) -> CredentialRequest {
        CredentialRequest::parse(format!("protocol=https\nhost=h\n{extra}").as_bytes()).unwrap()
    }

    fn said(memory: &mut Memory, extra: &str, now: u64) -> String {
        String::from_utf8(memory.get(&request(extra), now).to_vec()).unwrap()
    }

    #[test]
    fn it_answers_for_as_long_as_it_was_told_to() {
        let mut memory = Memory::default();
        memory.store(&request("username=a\npassword=x\npassword_expiry_utc=5\noauth_refresh_token=r\n"), 10, 100);
        let whole = "capability[]=authtype\nusername=a\npassword=x\npassword_expiry_utc=5\noauth_refresh_token=r\n";
        assert_eq!(said(&mut memory, "", 109), whole);
        assert_eq!(said(&mut memory, "", 110), "");
        memory.store(&request("username=a\npassword=x\n"), 0, 100);
        assert_eq!(memory.count(100), 0);
    }

    #[test]
    fn absent_is_any_and_empty_is_empty() {
        let mut memory = Memory::default();
        memory.store(&request("path=p\nusername=a\npassword=x\n"), 10, 0);
        assert_ne!(said(&mut memory, "", 1), "");
        assert_ne!(said(&mut memory, "path=p\n", 1), "");
        assert_eq!(said(&mut memory, "path=\n", 1), "");
        assert_eq!(said(&mut memory, "username=b\n", 1), "");
        let other = CredentialRequest::parse(b"protocol=http\nhost=h\n").unwrap();
        assert!(memory.get(&other, 1).is_empty());
    }

    #[test]
    fn another_password_erases_nothing() {
        let mut memory = Memory::default();
        memory.store(&request("username=a\npassword=x\n"), 10, 0);
        memory.erase(&request("username=a\npassword=y\n"), 1);
        assert_eq!(memory.count(1), 1);
        memory.erase(&request("password=x\n"), 1);
        assert_eq!(memory.count(1), 0);
        memory.store(&request("username=a\npassword=x\n"), 10, 0);
        memory.erase(&request(""), 1);
        assert_eq!(memory.count(1), 0);
    }

    #[test]
    fn what_is_partial_or_ephemeral_is_not_kept_and_bearers_need_a_git_that_knows_them() {
        let mut memory = Memory::default();
        memory.store(&request("username=a\n"), 10, 0);
        memory.store(&request("username=a\npassword=x\nephemeral=1\n"), 10, 0);
        assert_eq!(memory.count(1), 0);
        memory.store(&request("username=a\nauthtype=Bearer\ncredential=t\n"), 10, 0);
        assert_eq!(said(&mut memory, "", 1), "capability[]=authtype\nusername=a\n");
        let new = "capability[]=authtype\nusername=a\nauthtype=Bearer\ncredential=t\n";
        assert_eq!(said(&mut memory, "capability[]=authtype\n", 1), new);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut memory = Memory::default();
        let huge = format!("username=a\npassword={}\n", "x".repeat(LARGEST));
        memory.store(&request("username=a\npassword=x\n"), 10, 0);
        memory.store(&request(&huge), 10, 0);
        assert_eq!(memory.count(0), 0, "what it would have replaced is good no more, and it is not there either");
        memory.store(&request(&huge.replacen(&"x".repeat(1_000), "", 1)), 10, 0);
        assert_eq!(memory.count(0), 1);
        memory.clear();
        for number in 0..MOST + 10 {
            memory.store(&request(&format!("username=u{number}\npassword=x\n")), 100, 0);
        }
        assert_eq!(memory.count(1), MOST);
    }
}
