//! Who is asking, and how the server is.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::field::given;
use super::identity::MembershipRecord;
use super::tokens::TokenRecord;
use crate::fault::Fault;
use crate::wire::v1;

/// Who the caller is to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Whoami {
    /// Login name; none if the caller is no user, as root on the local socket.
    #[schema(required)]
    pub user: Option<String>,
    /// May administer the whole server.
    pub manager: bool,
    /// How the daemon knows, for people: `local socket, uid 0`.
    pub via: String,
    /// The caller's user ID on this machine, if they came by the local socket.
    #[schema(required)]
    pub peer_uid: Option<u32>,
    /// The token, if they came with one.
    #[schema(required)]
    pub token: Option<TokenRecord>,
    /// Where they belong.
    pub memberships: Vec<MembershipRecord>,
}

impl From<Whoami> for v1::WhoamiReply {
    fn from(who: Whoami) -> Self {
        Self {
            user: who.user.unwrap_or_default(),
            manager: who.manager,
            via: who.via,
            peer_uid: who.peer_uid,
            token: who.token.map(Into::into),
            memberships: who.memberships.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::WhoamiReply> for Whoami {
    type Error = Fault;
    fn try_from(reply: v1::WhoamiReply) -> Result<Self, Fault> {
        Ok(Self {
            user: given(reply.user),
            manager: reply.manager,
            via: reply.via,
            peer_uid: reply.peer_uid,
            token: reply.token.map(TryInto::try_into).transpose()?,
            memberships: reply.memberships.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerStatus {
    /// Of the daemon.
    pub version: String,
    /// Of the wire.
    pub protocol: u32,
    /// Since it began to answer.
    pub uptime_seconds: u64,
    /// What git clones from.
    #[schema(required)]
    pub listen_url: Option<String>,
    /// The path of its local socket; for managers, as all that follows about its insides.
    #[schema(required)]
    pub socket: Option<String>,
    /// `embedded` or `postgres`.
    #[schema(required)]
    pub store: Option<String>,
    /// Of the database.
    #[schema(required)]
    pub postgres_version: Option<String>,
    /// The newest migration applied.
    #[schema(required)]
    pub schema_version: Option<String>,
    /// Of the git that serves repositories.
    #[schema(required)]
    pub git_version: Option<String>,
    /// Where the repositories are, for those who may know.
    #[schema(required)]
    pub git_root: Option<String>,
    /// How many there are.
    #[schema(required)]
    pub users: Option<u64>,
    /// How many there are.
    #[schema(required)]
    pub workspaces: Option<u64>,
    /// How many there are.
    #[schema(required)]
    pub repositories: Option<u64>,
    /// Neither expired nor revoked, of every kind.
    #[schema(required)]
    pub live_tokens: Option<u64>,
    /// What is in effect of tokd.toml, by key with its section: lifetimes for everybody, the rest for managers.
    #[schema(value_type = BTreeMap<String, Setting>)]
    pub settings: Settings,
}

/// Keys of tokd.toml with their sections, as in `tokens.personal.max_lifetime`, and what is in effect.
pub type Settings = BTreeMap<String, Setting>;

/// The value of a key of tokd.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Setting {
    /// A text; times and sizes are texts, too, as in the file.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A list.
    Texts(Vec<String>),
}

impl From<Setting> for v1::setting::Value {
    fn from(setting: Setting) -> Self {
        match setting {
            Setting::Text(text) => Self::Text(text),
            Setting::Number(number) => Self::Number(number),
            Setting::Flag(flag) => Self::Flag(flag),
            Setting::Texts(values) => Self::Texts(v1::Texts { values }),
        }
    }
}

impl From<v1::setting::Value> for Setting {
    fn from(value: v1::setting::Value) -> Self {
        use v1::setting::Value;
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Number(number) => Self::Number(number),
            Value::Flag(flag) => Self::Flag(flag),
            Value::Texts(texts) => Self::Texts(texts.values),
        }
    }
}

impl From<ServerStatus> for v1::ServerStatusReply {
    fn from(status: ServerStatus) -> Self {
        Self {
            version: status.version,
            protocol: status.protocol,
            uptime_seconds: status.uptime_seconds,
            listen_url: status.listen_url.unwrap_or_default(),
            socket: status.socket.unwrap_or_default(),
            store: status.store.unwrap_or_default(),
            postgres_version: status.postgres_version.unwrap_or_default(),
            schema_version: status.schema_version.unwrap_or_default(),
            git_version: status.git_version.unwrap_or_default(),
            git_root: status.git_root.unwrap_or_default(),
            users: status.users,
            workspaces: status.workspaces,
            repositories: status.repositories,
            live_tokens: status.live_tokens,
            settings: status
                .settings
                .into_iter()
                .map(|(key, value)| v1::Setting { key, value: Some(value.into()) })
                .collect(),
        }
    }
}

impl From<v1::ServerStatusReply> for ServerStatus {
    fn from(reply: v1::ServerStatusReply) -> Self {
        Self {
            version: reply.version,
            protocol: reply.protocol,
            uptime_seconds: reply.uptime_seconds,
            listen_url: given(reply.listen_url),
            socket: given(reply.socket),
            store: given(reply.store),
            postgres_version: given(reply.postgres_version),
            schema_version: given(reply.schema_version),
            git_version: given(reply.git_version),
            git_root: given(reply.git_root),
            users: reply.users,
            workspaces: reply.workspaces,
            repositories: reply.repositories,
            live_tokens: reply.live_tokens,
            // A value of a kind that only a newer server knows is left out.
            settings: reply
                .settings
                .into_iter()
                .filter_map(|setting| Some((setting.key, setting.value?.into())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_every_kind_survive_the_wire() {
        let values = [
            Setting::Text("never".to_owned()),
            Setting::Number(7),
            Setting::Flag(false),
            Setting::Texts(vec!["127.0.0.0/8".to_owned()]),
            Setting::Texts(Vec::new()),
        ];
        let settings: Settings = values.into_iter().enumerate().map(|(n, value)| (format!("key{n}"), value)).collect();
        let status = ServerStatus::from(v1::ServerStatusReply::default());
        let status = ServerStatus { settings, ..status };
        assert_eq!(ServerStatus::from(v1::ServerStatusReply::from(status.clone())), status);
        let json = serde_json::to_value(&status.settings).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"key0": "never", "key1": 7, "key2": false, "key3": ["127.0.0.0/8"], "key4": []})
        );
    }
}
