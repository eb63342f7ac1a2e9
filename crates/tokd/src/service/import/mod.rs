//! Bringing in secrets of other systems, by value or by hash. Each entry stands for itself: what is wrong with one is said
//! and spoils no other, and what is here already is left as it is.

mod entry;
mod fields;
mod githosted;
mod htpasswd;
mod judge;
mod nitro;
mod reposilite;
#[cfg(test)]
mod tests;
mod wick;
mod wit;

use std::collections::HashSet;

use secrecy::ExposeSecret as _;
use tok_api::convert::{ImportReport, ImportedLine, NewImport};
use tok_api::fault::{Fault, FaultCode};
use tok_model::audit::{Action, AuditEvent};
use tok_model::clock::Timestamp;
use tok_model::decide::{Caller, MintRequest, Need, Permit};
use tok_model::grant::{Grant, MOST_REPOS};
use tok_model::id::TokenId;
use tok_model::import::ImportOutcome;
use tok_model::kind::TokenKind;
use tok_model::name::{RepoName, UserName};
use tok_model::route::Routes;
use tok_model::scope::{Scope, ScopeSet};
use tok_model::secret::{Digest, LONGEST_SECRET};
use tok_model::token::{Owner, Token, TokenState, check_description, check_login_name, check_name};
use tok_store::tokens::{NewToken as NewRow, StoredSecret};

use super::tokens::made_through;
use super::{Service, rng};
use entry::{Entry, Reach, Said, Secret};

/// The most entries of one call.
const MOST_ENTRIES: usize = 2_000;
/// The most of them whose secret takes a slow hash, at some 50 ms each: a call is answered within its deadline.
const MOST_SLOW: usize = 200;

/// What became of an entry: the token and words for people, or why it is skipped or refused.
enum Became {
    Imported(Option<TokenId>, String),
    Skipped(Option<TokenId>, String),
}

/// What stops one entry, or all of them.
enum Stop {
    Refused(String),
    Everything(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault.code {
            // Not about this entry: what comes behind it would fare no better.
            FaultCode::Unavailable | FaultCode::Busy | FaultCode::Internal => Self::Everything(fault),
            _ => Self::Refused(match fault.hint {
                Some(hint) => format!("{}; {hint}", fault.message),
                None => fault.message,
            }),
        }
    }
}

fn refused(why: impl std::fmt::Display) -> Stop {
    Stop::Refused(why.to_string())
}

/// What was met in this call already.
#[derive(Default)]
struct Met {
    digests: HashSet<Digest>,
    names: HashSet<String>,
    slow: usize,
}

impl Service {
    /// Brings in the secrets of a file, and says what became of each entry. A dry run changes nothing and says the same.
    pub async fn import_tokens(&self, caller: &Caller, mut new: NewImport) -> Result<ImportReport, Fault> {
        self.permit(caller, Need::Identity)?;
        // Who acts for one workspace need not name it.
        new.workspace = new.workspace.or_else(|| caller.workspace().cloned());
        let entries = entry::read(new.format, new.content.expose_secret()).map_err(|why| {
            Fault::field("content", format!("this is no file of {}: {why}", new.format))
                .hint("docs/import.md has an example of each format")
        })?;
        if entries.len() > MOST_ENTRIES {
            let why = format!("one call brings in {MOST_ENTRIES} entries at most, and this file has {}", entries.len());
            return Err(Fault::field("content", why).hint("cut the file into several"));
        }
        let (mut lines, mut met) = (Vec::with_capacity(entries.len()), Met::default());
        let mut stopped = None;
        for entry in entries {
            let (line, name) = (entry.line, entry.name.clone());
            let shown = name.chars().filter(|c| !c.is_control()).take(200).collect();
            let (outcome, token_id, detail) = match self.import_one(caller, &new, entry, &mut met).await {
                Ok(Became::Imported(id, detail)) => (ImportOutcome::Imported, id, detail),
                Ok(Became::Skipped(id, detail)) => (ImportOutcome::Skipped, id, detail),
                Err(Stop::Refused(why)) => (ImportOutcome::Refused, None, why),
                Err(Stop::Everything(fault)) => {
                    stopped = Some(fault);
                    break;
                }
            };
            lines.push(ImportedLine { line, name: shown, outcome, detail, token_id });
        }
        let report = ImportReport::of(lines);
        if report.imported > 0 && !new.dry_run {
            // That these secrets were nobody's is no longer so.
            self.verdicts.forget_all();
        }
        match stopped {
            None => Ok(report),
            Some(fault) => Err(Fault {
                hint: Some(format!(
                    "{} entries were brought in before; run it again, and what is here is skipped",
                    report.imported
                )),
                ..fault
            }),
        }
    }

    async fn import_one(&self, caller: &Caller, new: &NewImport, entry: Entry, met: &mut Met) -> Result<Became, Stop> {
        let Entry { name, said, .. } = entry;
        let said = said.map_err(Stop::Refused)?;
        check_name(&name).map_err(refused)?;
        check_description(&said.description).map_err(refused)?;
        let (owner, owner_name, manager) = self.import_owner(caller, new, &said).await?;
        let grant = grant(new, &said.reach)?;
        // Else it would manage nothing, and yet reach all that its owner does: further than it did there.
        if let Grant::Personal { scopes, .. } = &grant
            && scopes.iter().any(|scope| scope == Scope::Manager)
            && !manager
        {
            return Err(refused(format!(
                "it manages, and {owner_name} is no manager here: name one with --user, or bring it in without that"
            )));
        }
        let now = self.now();
        let (expires_at, shortened) = self.import_end(caller, new, &said, grant.kind(), now)?;
        let end = expires_at.map_or("never ends".to_owned(), |end| format!("ends {}", end.format("%Y-%m-%d")));
        let detail = format!(
            "{} token of {owner_name}, {}, {end}{}",
            grant.kind(),
            reach(&grant),
            if shortened { ", the latest that may be here" } else { "" }
        );
        let rests_on_maker = caller.owner_id() == Some(owner) || matches!(owner, Owner::Workspace(_));
        let request = MintRequest { owner, grant, expires_at, allow_from: Vec::new() };
        let permit = self.permit(caller, Need::Import(request))?;
        let random = matches!(said.secret, Secret::Random { .. });
        let about = [name.clone(), owner_name, said.user.unwrap_or_default()];
        let secret = judge::judge(said.secret, &about, self.peppers.current()).map_err(refused)?;
        let detail = match &secret {
            Secret::Chosen(_) if random => format!("{detail}; it may be guessed, so it is presented with its name"),
            _ => detail,
        };
        // After the permission, so that nobody learns by trying which tokens others have.
        if let Some(became) = self.here_already(&name, new, owner, &secret, met).await? {
            return Ok(became);
        }
        let (stored, shown) = self.stored(&name, new.dry_run, secret, met).await?;
        let Some(stored) = stored else { return Ok(Became::Imported(None, detail)) };
        // What a manager brings in for somebody else is that somebody's, and does not end with the manager.
        let parent = made_through(caller).filter(|_| rests_on_maker);
        let row = NewRow {
            id: TokenId::random(&mut rng()),
            secret: stored,
            imported_from: Some(new.format.as_str()),
            shown_prefix: shown,
            name,
            description: said.description,
            labels: new.labels.clone(),
            max_uses: None,
            parent: parent.map(|token| token.id),
            parent_version: parent.map(|token| token.version),
            local_uid: None,
        };
        match self.write_imported(permit, row, format!("from {}: {detail}", new.format)).await {
            Ok(id) => Ok(Became::Imported(Some(id), detail)),
            // Somebody else brought it in a moment ago.
            Err(fault) if fault.code == FaultCode::Conflict => Ok(Became::Skipped(None, fault.message)),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Whether it was brought in before: in this call, or ever. What ended since stays ended.
    async fn here_already(
        &self,
        name: &str,
        new: &NewImport,
        owner: Owner,
        secret: &Secret,
        met: &mut Met,
    ) -> Result<Option<Became>, Stop> {
        let in_file = || Ok(Some(Became::Skipped(None, "an earlier entry of this file is the same".to_owned())));
        let (found, taken) = match secret {
            Secret::Random { secret, .. } => {
                let digests: Vec<Digest> = self.peppers.every().map(|pepper| secret.digest(pepper)).collect();
                if !digests.iter().all(|digest| met.digests.insert(*digest)) {
                    return in_file();
                }
                let found = self.run(move |store| store.read(|tx| tok_store::tokens::by_digests(tx, &digests))).await?;
                (found.into_iter().next().map(|(_, token, _)| token), None)
            }
            Secret::Chosen(_) | Secret::Bcrypt(_) => {
                check_login_name(name).map_err(refused)?;
                if !met.names.insert(name.to_lowercase()) {
                    return in_file();
                }
                let (wanted, format) = (name.to_owned(), new.format.as_str());
                self.run(move |store| {
                    store.read(|tx| {
                        let before = tok_store::tokens::imported_before(tx, &wanted, format)?;
                        let taken = tok_store::tokens::by_login(tx, &wanted)?.into_iter().next();
                        Ok((before, taken.map(|stored| stored.token)))
                    })
                })
                .await?
            }
        };
        if let Some(token) = found {
            if token.owner != owner {
                return Ok(Some(Became::Skipped(None, "it is here already, and acts for somebody else".to_owned())));
            }
            let Token { shown_prefix, state, .. } = &token;
            let since = match state {
                TokenState::Revoked { at, .. } => format!(", and was revoked on {}", at.format("%Y-%m-%d")),
                TokenState::Live | TokenState::Rotated { .. } => String::new(),
            };
            return Ok(Some(Became::Skipped(Some(token.id), format!("it is here already ({shown_prefix}){since}"))));
        }
        match taken {
            None => Ok(None),
            Some(_) => Err(refused(
                "a token with a chosen secret has that name, and it is presented by its name; revoke that one, or change the name in the file",
            )),
        }
    }

    /// For whom it acts, and whether that is a manager: the workspace that was named, the user that the entry names, else the one that the call
    /// names, else the caller.
    async fn import_owner(&self, caller: &Caller, new: &NewImport, said: &Said) -> Result<(Owner, String, bool), Stop> {
        if let Reach::Workspace { .. } = said.reach {
            let workspace = new
                .workspace
                .clone()
                .ok_or_else(|| refused("it acts for a workspace: say for which with --workspace"))?;
            let owner = self.workspace_owner(caller, Some(workspace.clone())).await?;
            return Ok((owner, workspace.to_string(), false));
        }
        let named = match (&said.user, &new.user, &said.namesake) {
            (None, Some(name), _) => Some(name.clone()),
            (Some(text), _, _) | (None, None, Some(text)) => Some(text.parse::<UserName>().map_err(refused)?),
            (None, None, None) => None,
        };
        match (caller.user(), named) {
            (Some(own), None) => Ok((Owner::User(own.id), own.name.to_string(), own.manager)),
            (Some(own), Some(name)) if own.name.as_str().eq_ignore_ascii_case(name.as_str()) => {
                Ok((Owner::User(own.id), own.name.to_string(), own.manager))
            }
            (None, None) => Err(refused("you are no user here: say for whom with --user")),
            (_, Some(name)) => {
                // Asked first, so that nobody learns who exists by trying.
                self.permit(caller, Need::Server)?;
                let wanted = name.clone();
                let user = self.run(move |store| store.read(|tx| tok_store::users::now_by_name(tx, &wanted))).await?;
                let user = user.ok_or_else(|| {
                    refused(format!(
                        "no user is named {name}: `tok user create {name}` makes one, --user names another"
                    ))
                })?;
                Ok((Owner::User(user.id), user.name.to_string(), user.manager))
            }
        }
    }

    /// When it ends, and whether that is earlier than the entry says.
    fn import_end(
        &self,
        caller: &Caller,
        new: &NewImport,
        said: &Said,
        kind: TokenKind,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, bool), Stop> {
        let Some(wanted) = said.expires else { return Ok((self.expiry(caller, kind, new.expires, now)?, false)) };
        let wanted = wanted.resolve(now).map_err(|why| refused(format!("it has ended there, or cannot: {why}")))?;
        let latest = self.policy.kinds.latest(kind, now);
        let parents = caller.token().and_then(|token| token.expires_at);
        let end = [wanted, latest, parents].into_iter().flatten().min();
        Ok((end, end != wanted))
    }

    /// What the store keeps of a secret, and what lists show of it. Nothing in a dry run.
    async fn stored(
        &self,
        name: &str,
        dry_run: bool,
        secret: Secret,
        met: &mut Met,
    ) -> Result<(Option<StoredSecret>, String), Stop> {
        let stored = match secret {
            Secret::Random { secret, shown, .. } => {
                let pepper = self.peppers.current();
                let stored = StoredSecret::Digest { digest: secret.digest(pepper), pepper: pepper.id() };
                return Ok(((!dry_run).then_some(stored), shown));
            }
            Secret::Bcrypt(hash) => Some(StoredSecret::Hash(hash)),
            Secret::Chosen(text) => {
                let length = text.expose_secret().len();
                if length == 0 || length > LONGEST_SECRET || text.expose_secret().contains(char::is_control) {
                    return Err(refused("its secret is empty, too long, or has control characters in it"));
                }
                met.slow += 1;
                if met.slow > MOST_SLOW {
                    return Err(refused(format!(
                        "one call hashes {MOST_SLOW} secrets at most: run it again, and what is here by then is skipped"
                    )));
                }
                if dry_run {
                    None
                } else {
                    Some(StoredSecret::Hash(self.strangers.slow.keep(text).await.map_err(Fault::from)?))
                }
            }
        };
        Ok((stored.filter(|_| !dry_run), format!("{name}:")))
    }

    async fn write_imported(&self, permit: Permit, row: NewRow, detail: String) -> Result<TokenId, Fault> {
        self.run(move |store| {
            store.write(|mut tx| {
                let token = tok_store::tokens::create(&mut tx, &permit, row)?;
                let mut event = AuditEvent::done(Action::TokenImport, permit.actor().clone())
                    .token(token.id, &token.shown_prefix)
                    .detail(detail);
                if let (Owner::User(id), Ok(name)) = (token.owner, token.owner_name.parse()) {
                    event = event.subject(id, name);
                }
                tx.commit(event, permit.at())?;
                Ok(token.id)
            })
        })
        .await
    }
}

/// What an entry is given: what it says, else what whoever brings it in says.
fn grant(new: &NewImport, reach: &Reach) -> Result<Grant, Stop> {
    match reach {
        Reach::Personal { scopes, routes } => {
            let scopes = match scopes {
                Some(scopes) => ScopeSet::from_texts(scopes.iter().map(String::as_str)).map_err(refused)?,
                None => new.scopes.clone(),
            };
            let routes = match routes {
                Some(routes) => Some(Routes::from_texts(routes.iter().map(String::as_str)).map_err(refused)?),
                // Who manages reaches everything there and here.
                None if scopes.grants(Scope::Manager) => None,
                None => new.routes.clone(),
            };
            Ok(Grant::Personal { scopes, routes })
        }
        Reach::Workspace { permission, repos } => {
            let workspace = new
                .workspace
                .clone()
                .ok_or_else(|| refused("it acts for a workspace: say for which with --workspace"))?;
            let Some(repos) = repos else { return Ok(Grant::Workspace { workspace, permission: *permission }) };
            if repos.len() > MOST_REPOS {
                return Err(refused(format!("a repo token names at most {MOST_REPOS} repositories")));
            }
            let repos = repos.iter().map(|name| name.parse::<RepoName>().map_err(refused)).collect::<Result<_, _>>()?;
            Ok(Grant::Repo { workspace, permission: *permission, repos })
        }
    }
}

/// What a grant reaches, in a few words.
fn reach(grant: &Grant) -> String {
    let joined = |words: Vec<String>| words.join(" ");
    match grant {
        Grant::Personal { scopes, .. } if scopes.is_empty() => "no scope, so it reaches nothing".to_owned(),
        Grant::Personal { scopes, routes } => {
            let scopes = joined(scopes.iter().map(|scope| scope.to_string()).collect());
            match routes {
                None => scopes,
                Some(routes) => format!("{scopes} on {}", joined(routes.iter().map(ToString::to_string).collect())),
            }
        }
        Grant::Repo { permission, repos, .. } => {
            format!("{permission} on {}", joined(repos.iter().map(ToString::to_string).collect()))
        }
        other => other.permission().map(|permission| permission.to_string()).unwrap_or_default(),
    }
}
