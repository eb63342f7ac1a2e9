//! Whom the kernel names on the local socket, and whom a manager acts as.

use std::sync::Arc;

use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::Source;
use tok_model::decide::{Bearer, Caller, Class, Need, OwnerNow, UserNow, decide};
use tok_model::name::UserName;

use crate::fault::IntoFault;
use crate::service::Service;
use crate::verdicts::{PeerFacts, PeerKey};

impl Service {
    /// The caller behind a peer of the local socket: root and the daemon's own user are managers, others the tok user of
    /// their system name. `acting_as` is for managers, who then have that user's authority and no more.
    pub async fn caller_by_peer(
        &self,
        uid: u32,
        acting_as: Option<UserName>,
        agent: Option<String>,
    ) -> Result<Caller, Fault> {
        let manager = uid == 0 || uid == self.place.own_uid;
        let mut source = Source { uid: Some(uid), agent, ..Source::default() };
        let key = (uid, acting_as.clone());
        let (user, own) = match self.verdicts.peer(&key) {
            Some(PeerFacts { user, own }) => (Some(user), own),
            None => self.look_up_peer(key, manager).await?,
        };
        // The trail names both: whose authority it was, and who really acted.
        if acting_as.is_some() && acting_as != own {
            source.behind = Some(own.as_ref().map_or_else(|| format!("uid {uid}"), ToString::to_string));
        }
        match acting_as {
            Some(name) if !manager && own.as_ref() != Some(&name) => {
                self.note_acting_refused(source, &name);
                Err(Fault::new(FaultCode::Forbidden, format!("only a manager may act as {name}"))
                    .hint("leave out --as and TOK_USER, or run this as root"))
            }
            Some(name) if user.is_none() => Err(nobody_named(&name)),
            acting_as => Ok(Caller {
                bearer: Bearer::LocalPeer { manager: manager && acting_as.is_none() },
                owner: user.map_or(OwnerNow::Nobody, OwnerNow::User),
                source,
            }),
        }
    }

    async fn look_up_peer(
        &self,
        key: PeerKey,
        manager: bool,
    ) -> Result<(Option<Arc<UserNow>>, Option<UserName>), Fault> {
        let map = self.place.map_system_users || manager;
        let (uid, wanted) = key.clone();
        let asked = self.verdicts.asking();
        let (user, own) = self
            .run(move |store| {
                let own = if map { system_name(uid) } else { None };
                let user = match wanted.as_ref().or(own.as_ref()) {
                    Some(name) => store.read(|tx| tok_store::users::now_by_name(tx, name))?,
                    None => None,
                };
                // System names are case-sensitive: the system's `Ann` is not tok's `ann`, however alike tok finds them.
                let user = user.filter(|user| wanted.is_some() || own.as_ref() == Some(&user.name));
                Ok((user.map(Arc::new), own))
            })
            .await?;
        if let Some(user) = &user {
            self.verdicts.remember_peer(key, PeerFacts { user: Arc::clone(user), own: own.clone() }, asked);
        }
        Ok((user, own))
    }

    /// A manager's token lets its holder act as another user, with that user's authority and no more.
    pub(super) async fn acting(&self, caller: Caller, name: UserName) -> Result<Caller, Fault> {
        match decide(&caller, Need::Server, self.now()) {
            Ok(_) => {}
            Err(refusal) if refusal.class() == Class::Unauthenticated => return Err(refusal.into_fault()),
            Err(refusal) => {
                self.note_refusal(&caller, &Need::Server, &refusal);
                return Err(Fault::new(FaultCode::Forbidden, format!("only a manager may act as {name}"))
                    .hint("leave out --as and TOK_USER, or use a manager's token in TOK_TOKEN"));
            }
        }
        let wanted = name.clone();
        let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
        let user = user.ok_or_else(|| nobody_named(&name))?;
        // The trail names both: whose authority it was, and who really acted.
        let source = Source { behind: Some(caller.actor().describe()), ..caller.source };
        let bearer = Bearer::Acting { by: Arc::new(caller.bearer) };
        Ok(Caller { bearer, owner: OwnerNow::User(Arc::new(user)), source })
    }
}

fn nobody_named(name: &UserName) -> Fault {
    Fault::new(FaultCode::NotFound, format!("no user is named {name}"))
        .hint(format!("`tok user list` shows them; `tok user create {name}` makes one"))
}

/// The login name of a user ID, if it can be a tok user's.
pub(in crate::service) fn system_name(uid: u32) -> Option<UserName> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten()?.name.parse().ok()
}
