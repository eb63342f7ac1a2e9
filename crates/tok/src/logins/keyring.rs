//! The keyring of the desktop, over D-Bus: the Secret Service of freedesktop.org (draft 0.2), which GNOME Keyring,
//! `KWallet` and `KeePassXC` speak.
//!
//! Secrets travel as they are (the `plain` session): the bus is a socket of this user alone, and whoever could listen to it
//! could ask the keyring, too. Nothing here runs unless a session has to be kept in or got from the keyring.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use tok_model::name::UserName;
use tok_model::url::Origin;
use zbus::export::ordered_stream::OrderedStreamExt as _;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Proxy};

use super::{Profile, Trouble};

const SERVICE: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
/// The collection that is meant when none is named.
const DEFAULT: &str = "/org/freedesktop/secrets/aliases/default";
/// What stands for no object.
const NOTHING: &str = "/";

/// How long the bus or the keyring may take for one answer. Starting the keyring counts.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a person may take to unlock it.
const PROMPT_PATIENCE: Duration = Duration::from_secs(120);

/// What a session is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    server: String,
    user: String,
    profile: String,
}

/// The parameters, the bytes and the type of a secret, with the session it travels in.
type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

impl Key {
    pub(super) fn new(server: &Origin, user: &UserName, profile: Option<&Profile>) -> Self {
        Self {
            server: server.to_string(),
            user: user.as_str().to_ascii_lowercase(),
            profile: profile.map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn attributes(&self) -> HashMap<&str, &str> {
        HashMap::from([
            ("xdg:schema", "tok.Login"),
            ("server", self.server.as_str()),
            ("user", self.user.as_str()),
            ("profile", self.profile.as_str()),
        ])
    }

    fn label(&self) -> String {
        let profile = if self.profile.is_empty() { String::new() } else { format!(" ({})", self.profile) };
        format!("tok: {} at {}{profile}", self.user, self.server)
    }
}

/// Makes sure that there is a keyring, and that it is unlocked.
///
/// # Errors
/// If there is no keyring, or it stays locked.
pub(super) async fn check() -> Result<(), Trouble> {
    Keyring::open().await?.unlock(&ObjectPath::from_static_str_unchecked(DEFAULT)).await
}

/// Keeps a session, in the place of the one before it.
///
/// # Errors
/// If there is no keyring, or it stays locked.
pub(super) async fn write(key: &Key, secret: &SecretString) -> Result<(), Trouble> {
    let keyring = Keyring::open().await?;
    keyring.unlock(&ObjectPath::from_static_str_unchecked(DEFAULT)).await?;
    let label = key.label();
    let properties: HashMap<&str, Value<'_>> = HashMap::from([
        ("org.freedesktop.Secret.Item.Label", Value::from(label.as_str())),
        ("org.freedesktop.Secret.Item.Attributes", Value::from(key.attributes())),
    ]);
    let bytes = Zeroizing::new(secret.expose_secret().as_bytes().to_vec());
    let wrapped = (&keyring.session, Vec::<u8>::new(), bytes.as_slice(), "text/plain; charset=utf8");
    let collection = keyring.proxy(DEFAULT, "org.freedesktop.Secret.Collection").await?;
    let made: (OwnedObjectPath, OwnedObjectPath) =
        patiently(collection.call("CreateItem", &(properties, wrapped, true))).await?;
    let (item, prompt) = made;
    if item.as_str() == NOTHING {
        keyring.prompt(&prompt).await?;
    }
    Ok(())
}

/// The session that was kept, if it is still there.
///
/// # Errors
/// As [`write()`].
pub(super) async fn read(key: &Key) -> Result<Option<SecretString>, Trouble> {
    let keyring = Keyring::open().await?;
    let Some(item) = keyring.find(key).await? else { return Ok(None) };
    let proxy = keyring.proxy(item.as_str(), "org.freedesktop.Secret.Item").await?;
    let (_, _, bytes, _): Secret = patiently(proxy.call("GetSecret", &(&keyring.session,))).await?;
    let bytes = Zeroizing::new(bytes);
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Trouble::new("what the keyring keeps as a session is not text"))?;
    Ok(Some(text.into()))
}

/// Forgets a session.
///
/// # Errors
/// As [`write()`].
pub(super) async fn remove(key: &Key) -> Result<(), Trouble> {
    let keyring = Keyring::open().await?;
    let Some(item) = keyring.find(key).await? else { return Ok(()) };
    let proxy = keyring.proxy(item.as_str(), "org.freedesktop.Secret.Item").await?;
    let prompt: OwnedObjectPath = patiently(proxy.call("Delete", &())).await?;
    if prompt.as_str() != NOTHING {
        keyring.prompt(&prompt).await?;
    }
    Ok(())
}

/// A keyring that answers.
struct Keyring {
    bus: Connection,
    session: OwnedObjectPath,
}

impl Keyring {
    async fn open() -> Result<Self, Trouble> {
        if !has_bus() {
            return Err(Trouble::new("there is no keyring here: no D-Bus session is running")
                .hint("use `--storage file`, or log in to a desktop"));
        }
        let bus = patiently(Connection::session()).await?;
        let service = proxy(&bus, ROOT, "org.freedesktop.Secret.Service").await?;
        let opened: (OwnedValue, OwnedObjectPath) =
            patiently(service.call("OpenSession", &("plain", Value::from("")))).await?;
        Ok(Self { bus, session: opened.1 })
    }

    async fn proxy(&self, path: &str, interface: &'static str) -> Result<Proxy<'static>, Trouble> {
        proxy(&self.bus, path, interface).await
    }

    async fn service(&self) -> Result<Proxy<'static>, Trouble> {
        self.proxy(ROOT, "org.freedesktop.Secret.Service").await
    }

    /// The item, unlocked.
    async fn find(&self, key: &Key) -> Result<Option<OwnedObjectPath>, Trouble> {
        let found: (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
            patiently(self.service().await?.call("SearchItems", &(key.attributes(),))).await?;
        let (unlocked, locked) = found;
        match (unlocked.into_iter().next(), locked.into_iter().next()) {
            (Some(item), _) => Ok(Some(item)),
            (None, Some(item)) => {
                self.unlock(&item).await?;
                Ok(Some(item))
            }
            (None, None) => Ok(None),
        }
    }

    async fn unlock(&self, object: &ObjectPath<'_>) -> Result<(), Trouble> {
        let unlocked: (Vec<OwnedObjectPath>, OwnedObjectPath) =
            patiently(self.service().await?.call("Unlock", &(vec![object],))).await?;
        match unlocked.1.as_str() {
            NOTHING => Ok(()),
            _ => self.prompt(&unlocked.1).await,
        }
    }

    /// Lets the keyring ask the user, if there is a screen to ask on.
    async fn prompt(&self, prompt: &ObjectPath<'_>) -> Result<(), Trouble> {
        let locked = |why: &str| {
            Trouble::new(format!("the keyring is locked, and {why}"))
                .hint("unlock it (log in to the desktop, or `gnome-keyring-daemon --unlock`), or use `--storage file`")
        };
        let proxy = self.proxy(prompt.as_str(), "org.freedesktop.Secret.Prompt").await?;
        let given = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !given("DISPLAY") && !given("WAYLAND_DISPLAY") {
            let _ = patiently(proxy.call::<_, _, ()>("Dismiss", &())).await;
            return Err(locked("there is no screen to ask for its password on"));
        }
        let mut answers = patiently(proxy.receive_signal("Completed")).await?;
        let () = patiently(proxy.call("Prompt", &("",))).await?;
        let answer = tokio::time::timeout(PROMPT_PATIENCE, answers.next()).await;
        let answer = answer.ok().flatten().ok_or_else(|| locked("nobody unlocked it"))?;
        let body = answer.body();
        let (dismissed, _): (bool, Value<'_>) = body.deserialize().map_err(|why| trouble(&why))?;
        if dismissed { Err(locked("it stays so")) } else { Ok(()) }
    }
}

async fn proxy(bus: &Connection, path: &str, interface: &'static str) -> Result<Proxy<'static>, Trouble> {
    // Properties are never read, so none need be kept up to date.
    let builder = zbus::proxy::Builder::new(bus).cache_properties(zbus::proxy::CacheProperties::No);
    let builder =
        builder.destination(SERVICE).and_then(|b| b.path(path.to_owned())).and_then(|b| b.interface(interface));
    builder.map_err(|why| trouble(&why))?.build().await.map_err(|why| trouble(&why))
}

/// What the bus says, unless it takes too long.
async fn patiently<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(outcome) => outcome.map_err(|why| trouble(&why)),
        Err(_) => Err(Trouble::new(format!("the keyring does not answer within {PATIENCE:?}")).hint(HINT)),
    }
}

const HINT: &str = "is one running (GNOME Keyring, KWallet, KeePassXC)? `--storage file` does without";

fn trouble(why: &zbus::Error) -> Trouble {
    let what = match why {
        zbus::Error::MethodError(name, _, _) if name.ends_with("ServiceUnknown") => {
            "there is no keyring here: nothing on the session's bus is one".to_owned()
        }
        zbus::Error::MethodError(name, text, _) => {
            format!("the keyring says {}", text.as_deref().unwrap_or(name.as_str()))
        }
        other => format!("the keyring cannot be reached: {other}"),
    };
    Trouble::new(crate::output::safe(&what)).hint(HINT)
}

/// Whether there is a bus to ask at all. Looking for one otherwise would start one.
fn has_bus() -> bool {
    let named = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty());
    named || std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|directory| Path::new(&directory).join("bus").exists())
}
