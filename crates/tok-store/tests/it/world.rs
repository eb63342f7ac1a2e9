//! What a test starts from: a database, a store on it, people in it, and permits that were really decided.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::DateTime;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;

use secrecy::SecretString;
use tok_model::audit::{Action, Actor, AuditEvent, Source};
use tok_model::clock::Timestamp;
use tok_model::decide::{Bearer, Caller, MintRequest, Need, OwnerNow, Permit, decide};
use tok_model::grant::Grant;
use tok_model::id::{ChainId, TokenId, UserId, WorkspaceId};
use tok_model::kind::{Permission, Role};
use tok_model::secret::{Digest, Pepper, PepperId, Peppers, Plaintext};
use tok_model::token::{Owner, Token};
use tok_store::testdb::TestDatabase;
use tok_store::tokens::{Mint, NewToken, StoredSecret};
use tok_store::{Store, StoreError};

/// How many connections a world's store has.
pub const CONNECTIONS: u32 = 4;

/// A database of its own, with a store and a pepper.
pub struct World {
    pub store: Store,
    pub peppers: Peppers,
    pub database: TestDatabase,
}

/// A token, with the text that only its maker sees.
pub struct Made {
    pub text: Plaintext,
    pub digest: Digest,
    pub token: Token,
}

/// The operating system's chance.
pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// So many seconds after the moment at which all tests begin.
pub fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// A database of the current schema.
pub fn database() -> TestDatabase {
    TestDatabase::new(|url| tok_store::migrate(url).map(drop).map_err(Into::into)).unwrap()
}

/// A store on the database at `url`, with `connections` connections; it waits ten seconds for one of them.
pub fn connect(url: &str, connections: u32) -> Result<Store, StoreError> {
    Store::connect(&SecretString::from(url), connections, Duration::from_secs(10))
}

/// The same store with a chain of its own in the trail, so that it can write. Chains begin one after the other.
pub fn writing(store: Store, peppers: &Peppers) -> Store {
    static OPENED: AtomicI64 = AtomicI64::new(0);
    let second = at(OPENED.fetch_add(1, Ordering::Relaxed));
    store.open_trail(peppers, ChainId::random(&mut rng()), second).unwrap()
}

/// root on the local socket: administers the server without being a user of it.
pub fn root() -> Caller {
    let source = Source { uid: Some(0), ..Source::default() };
    Caller { bearer: Bearer::LocalPeer { manager: true }, owner: OwnerNow::Nobody, source }
}

/// What `caller` needs, decided.
#[track_caller]
pub fn permit(caller: &Caller, need: Need, now: Timestamp) -> Permit {
    decide(caller, need, now).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// root's permit to administer the server.
#[track_caller]
pub fn server(now: Timestamp) -> Permit {
    permit(&root(), Need::Server, now)
}

/// The trail of something done by a permit.
pub fn done(action: Action, permit: &Permit) -> AuditEvent {
    AuditEvent::done(action, permit.actor().clone())
}

/// A personal token for a user, with these scopes, that ends after so many seconds of the tests' time.
pub fn personal(owner: UserId, scopes: &str, ends: Option<i64>) -> MintRequest {
    let grant = Grant::Personal { scopes: scopes.parse().unwrap(), routes: None };
    MintRequest { owner: Owner::User(owner), grant, expires_at: ends.map(at), allow_from: Vec::new() }
}

/// A git token for a user, for one repository, that ends after so many seconds of the tests' time.
pub fn git(owner: UserId, repo: &str, permission: Permission, ends: i64) -> MintRequest {
    let grant = Grant::Git { repo: repo.parse().unwrap(), permission };
    MintRequest { owner: Owner::User(owner), grant, expires_at: Some(at(ends)), allow_from: Vec::new() }
}

/// A token that acts for a workspace.
pub fn workspace_token(owner: WorkspaceId, name: &str, permission: Permission) -> MintRequest {
    let grant = Grant::Workspace { workspace: name.parse().unwrap(), permission };
    MintRequest { owner: Owner::Workspace(owner), grant, expires_at: None, allow_from: Vec::new() }
}

/// A grant of each kind, with all that a grant of it can have, for a user and the workspace `acme`.
pub fn every_kind_of_grant(user: Owner, acme: Owner) -> Vec<(Owner, Grant)> {
    let workspace: tok_model::name::WorkspaceName = "acme".parse().unwrap();
    let routes = tok_model::route::Routes::from_texts(["acme/**:rw", "ann/*:r"]).unwrap();
    let repos = ["app", "lib"].map(|repo| repo.parse().unwrap()).into();
    vec![
        (user, Grant::Personal { scopes: "repo:read,token:write".parse().unwrap(), routes: Some(routes) }),
        (user, Grant::Personal { scopes: "".parse().unwrap(), routes: None }),
        (user, Grant::Session),
        (user, Grant::Git { repo: "acme/app.x".parse().unwrap(), permission: Permission::Write }),
        (acme, Grant::Workspace { workspace: workspace.clone(), permission: Permission::Write }),
        (acme, Grant::Repo { workspace, permission: Permission::Read, repos }),
    ]
}

/// A session of a user.
pub fn session(owner: UserId) -> MintRequest {
    MintRequest { owner: Owner::User(owner), grant: Grant::Session, expires_at: None, allow_from: Vec::new() }
}

impl World {
    pub fn new() -> Self {
        let database = database();
        let peppers = Peppers::only(Pepper::random(PepperId(1), &mut rng()));
        let store = writing(connect(database.url(), CONNECTIONS).unwrap(), &peppers);
        let world = Self { store, peppers, database };
        world.change(|tx| tok_store::peppers::register(tx, &world.peppers, PepperId(1), at(0))).unwrap();
        world
    }

    /// Does something in a transaction of its own, with a line in the trail that says only that.
    pub fn change<T>(
        &self,
        work: impl FnOnce(&mut tok_store::WriteTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.store.write(|mut tx| {
            let done = work(&mut tx)?;
            tx.commit(AuditEvent::done(Action::ServerSetup, Actor::daemon()), at(0))?;
            Ok(done)
        })
    }

    /// Does something in a transaction that is then rolled back.
    pub fn attempt<T>(
        &self,
        work: impl FnOnce(&mut tok_store::WriteTx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.store.write(|mut tx| work(&mut tx))
    }

    /// A new user, with the workspace that is theirs.
    pub fn user(&self, name: &str) -> UserId {
        self.user_or_manager(name, false)
    }

    /// A new user who may administer the server.
    pub fn manager(&self, name: &str) -> UserId {
        self.user_or_manager(name, true)
    }

    fn user_or_manager(&self, name: &str, manager: bool) -> UserId {
        let (id, own) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
        let name = name.parse().unwrap();
        self.change(|tx| tok_store::users::create(tx, &server(at(0)), id, own, &name, manager)).unwrap();
        id
    }

    /// A new workspace that belongs to a user.
    pub fn workspace(&self, name: &str, owner: &str) -> WorkspaceId {
        let id = WorkspaceId::random(&mut rng());
        let (name, owner) = (name.parse().unwrap(), owner.parse().unwrap());
        self.change(|tx| tok_store::workspaces::create(tx, &server(at(0)), id, &name, Some(&owner))).unwrap();
        id
    }

    /// Makes a user a member.
    pub fn member(&self, workspace: &str, user: &str, role: Role) {
        let permit = permit(&root(), Need::ManageWorkspace { workspace: workspace.parse().unwrap() }, at(0));
        self.change(|tx| tok_store::workspaces::add_member(tx, &permit, &user.parse().unwrap(), role)).unwrap();
    }

    /// A user on the local socket, with the authority that the database gives them now.
    pub fn local(&self, user: UserId) -> Caller {
        let now = self.store.read(|tx| tok_store::users::now(tx, user)).unwrap().unwrap();
        let source = Source { uid: Some(1000), agent: Some("git/2.47.3".to_owned()), ..Source::default() };
        Caller { bearer: Bearer::LocalPeer { manager: false }, owner: OwnerNow::User(Arc::new(now)), source }
    }

    /// Whoever presents this token over the network, with the authority that the database gives its owner now.
    pub fn holder(&self, digest: Digest) -> Caller {
        let mut found = self.store.read(|tx| tok_store::tokens::by_digests(tx, &[digest])).unwrap();
        let (_, token, owner) = found.pop().unwrap();
        let source = Source { address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))), ..Source::default() };
        Caller { bearer: Bearer::Token(Arc::new(token)), owner, source }
    }

    /// The row of a token that somebody wants made, and its text.
    pub fn draft(&self, permit: &Permit, name: &str) -> (Plaintext, NewToken) {
        let Need::Mint(request) = permit.need() else { panic!("a permit to make a token") };
        let text = Plaintext::mint(request.grant.kind(), &mut rng());
        let pepper = self.peppers.current();
        let row = NewToken {
            id: TokenId::random(&mut rng()),
            secret: StoredSecret::Digest { digest: text.digest(pepper), pepper: pepper.id() },
            imported_from: None,
            shown_prefix: text.shown_prefix(),
            name: name.to_owned(),
            description: String::new(),
            labels: Vec::new(),
            max_uses: None,
            parent: permit.actor().token,
            parent_version: None,
            local_uid: None,
        };
        (text, row)
    }

    /// The same as the store is asked for it when others wait, too: through this parent, and with its line in the trail.
    pub fn asked(&self, permit: Permit, parent: Option<TokenId>) -> Mint {
        let (_, row) = self.draft(&permit, "asked for");
        let event = done(Action::TokenMint, &permit).token(row.id, &row.shown_prefix);
        Mint { permit, new: NewToken { parent, ..row }, event }
    }

    /// Makes the token that a permit allows, through the token that its maker used.
    #[track_caller]
    pub fn make(&self, permit: &Permit, name: &str) -> Made {
        self.make_as(permit, name, |_| ())
    }

    /// The same, with another row than the usual one.
    #[track_caller]
    pub fn make_as(&self, permit: &Permit, name: &str, edit: impl FnOnce(&mut NewToken)) -> Made {
        let (text, mut row) = self.draft(permit, name);
        edit(&mut row);
        let digest = text.digest(self.peppers.current());
        let token = self.change(|tx| tok_store::tokens::create(tx, permit, row)).unwrap();
        Made { text, digest, token }
    }

    /// Makes a token for a caller, who asks for it at this second.
    #[track_caller]
    pub fn mint(&self, caller: &Caller, request: MintRequest, now: i64) -> Made {
        self.make(&permit(caller, Need::Mint(request), at(now)), "a token")
    }

    /// A connection past the store.
    pub fn raw(&self) -> PgConnection {
        self.database.connect().unwrap()
    }

    /// Runs statements past the store.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        self.raw().batch_execute(statements).unwrap();
    }

    /// The number that a query past the store counts.
    #[track_caller]
    pub fn count(&self, query: &str) -> i64 {
        count(&mut self.raw(), query)
    }

    /// Waits until so many backends of this database wait for a lock.
    #[track_caller]
    pub fn until_waiting(&self, backends: i64) {
        let waiting = "SELECT count(*) AS number FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let (mut connection, begin) = (self.raw(), Instant::now());
        while count(&mut connection, waiting) < backends {
            assert!(begin.elapsed() < PATIENCE, "nobody waits for a lock");
            std::thread::yield_now();
        }
    }

    /// Cuts off every connection to this database, and waits until their backends are gone.
    #[track_caller]
    pub fn cut_connections(&self) {
        let cut = "SELECT count(pg_terminate_backend(pid)) AS number FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let (mut connection, begin) = (self.raw(), Instant::now());
        while count(&mut connection, cut) > 0 {
            assert!(begin.elapsed() < PATIENCE, "a backend does not end");
            std::thread::yield_now();
        }
    }
}

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The `number` that a query gives.
#[track_caller]
pub fn count(connection: &mut PgConnection, query: &str) -> i64 {
    diesel::sql_query(query).get_result::<Number>(connection).unwrap().number
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The `line` of each row that a query gives.
#[track_caller]
pub fn lines(connection: &mut PgConnection, query: &str) -> Vec<String> {
    diesel::sql_query(query).load::<Line>(connection).unwrap().into_iter().map(|row| row.line).collect()
}
