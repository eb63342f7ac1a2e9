//! Trust rules, and identity tokens that are good once, whichever daemon they are brought to.

use std::sync::Arc;
use std::thread;

use tok_model::audit::Action;
use tok_model::clock::Period;
use tok_model::decide::{Bearer, Caller, MintRequest, Need, OwnerNow, Permit};
use tok_model::grant::Grant;
use tok_model::id::{TrustId, WorkspaceId};
use tok_model::kind::Permission;
use tok_model::token::Owner;
use tok_model::trust::{Once, Pin, Reach, System, TrustRule};
use tok_store::trusts::{Burnt, Exchanged};
use tok_store::{Store, StoreError};

use crate::world::{World, at, connect, done, permit, rng, server, writing};

fn rule(name: &str, workspace: WorkspaceId) -> TrustRule {
    TrustRule {
        id: TrustId::random(&mut rng()),
        name: name.parse().unwrap(),
        system: System::GitHub,
        issuer: "https://ci.example.com".to_owned(),
        audience: "tok".to_owned(),
        claims: vec!["repository=acme/app".parse().unwrap()],
        algorithms: System::GitHub.algorithms().to_vec(),
        ca: Some("PEM".to_owned()),
        reach: Reach::new(vec!["acme/app".parse().unwrap(), "acme/lib-*".parse().unwrap()]).unwrap(),
        workspace,
        permission: Permission::Write,
        lifetime: Period::from_seconds(600).unwrap(),
        max_age: Period::from_seconds(3600).unwrap(),
        once: Once::Token,
        allow_recycled_names: false,
    }
}

fn place() -> (World, TrustRule) {
    let world = World::new();
    world.user("ann");
    let workspace = world.workspace("acme", "ann");
    let rule = rule("CI", workspace);
    world.change(|tx| tok_store::trusts::add(tx, &server(at(0)), &rule)).unwrap();
    (world, rule)
}

fn job(rule: &TrustRule, now: i64) -> Permit {
    let owner = OwnerNow::Workspace { id: rule.workspace, name: "acme".parse().unwrap(), disabled_maker: None };
    let caller = Caller {
        bearer: Bearer::Trusted { rule: Arc::new(rule.clone()) },
        owner,
        source: tok_model::audit::Source::default(),
    };
    let request = MintRequest {
        owner: Owner::Workspace(rule.workspace),
        grant: Grant::Git { repo: "acme/app".parse().unwrap(), permission: Permission::Write },
        expires_at: Some(at(now + 600)),
        allow_from: Vec::new(),
    };
    permit(&caller, Need::Mint(request), at(now))
}

fn pin(id: &str) -> Pin {
    let text = str::to_owned;
    Pin { claim: text("repository"), name: text("acme/app"), id_claim: text("repository_id"), id: text(id) }
}

fn exchanged(
    world: &World,
    store: &Store,
    rule: &TrustRule,
    digest: u8,
    id: &str,
    now: i64,
) -> Result<Exchanged, StoreError> {
    let permit = job(rule, now);
    let (_, row) = world.draft(&permit, "exchanged");
    let burnt = Burnt { trust: rule.id, digest: [digest; 32], until: at(now + 300), pins: vec![pin(id)] };
    let event = done(Action::TokenExchange, &permit).token(row.id, &row.shown_prefix);
    tok_store::trusts::exchange(store, &permit, &burnt, row, event)
}

#[test]
fn a_rule_comes_back_as_it_was_made_and_only_for_managers() {
    let (world, rule) = place();
    let shown = |name: &str| world.store.read(|tx| tok_store::trusts::show(tx, &server(at(0)), &name.parse().unwrap()));
    assert_eq!(shown("ci").unwrap().rule, Ok(rule.clone()));
    assert_eq!(shown(&rule.id.to_string()).unwrap().name, "CI", "by its ID, too");
    assert!(matches!(shown("other"), Err(StoreError::NotFound { .. })));
    let found = world.store.read(|tx| tok_store::trusts::of_issuer(tx, "https://ci.example.com")).unwrap();
    assert_eq!(found.into_iter().map(|trust| trust.rule).collect::<Vec<_>>(), [Ok(rule.clone())]);
    assert!(world.store.read(|tx| tok_store::trusts::of_issuer(tx, "https://ci.example.com/")).unwrap().is_empty());
    let again = world.change(|tx| {
        tok_store::trusts::add(
            tx,
            &server(at(0)),
            &TrustRule { name: "ci".parse().unwrap(), ..self::rule("ci", rule.workspace) },
        )
    });
    assert!(matches!(again, Err(StoreError::Taken { field: "name", .. })), "{again:?}");
    let listed = world.store.read(|tx| tok_store::trusts::list(tx, &job(&rule, 0)));
    assert!(matches!(listed, Err(StoreError::Permit(_))));
}

#[test]
fn a_rule_that_cannot_be_read_is_none_hides_no_other_and_can_be_removed() {
    let (world, rule) = place();
    let other = TrustRule { id: TrustId::random(&mut rng()), ..self::rule("other", rule.workspace) };
    world.change(|tx| tok_store::trusts::add(tx, &server(at(0)), &other)).unwrap();
    world.sql(
        "ALTER TABLE trusts DROP CONSTRAINT trusts_permission_check;
         ALTER TABLE trusts DROP CONSTRAINT trusts_once_check;
         ALTER TABLE trusts DROP CONSTRAINT trusts_lifetime_seconds_check;",
    );
    for (change, said) in [
        ("claims = '{ref=*}'", "do not say whose jobs are meant"),
        ("claims = '{nothing}'", "name=value"),
        ("system = 'buildkite'", "buildkite"),
        ("algorithms = '{RS256,ES521}'", "ES521"),
        ("repos = '{a/b}'", ""),
        ("permission = 'admin'", "admin"),
        ("once = 'branch'", "branch"),
        ("lifetime_seconds = 7200", "1 hour"),
        ("lifetime_seconds = -1", "-1 s"),
        ("name = 'a b'", ""),
    ] {
        world.sql(&format!("CREATE TABLE kept AS SELECT * FROM trusts; UPDATE trusts SET {change} WHERE name = 'CI'"));
        let found = world.store.read(|tx| tok_store::trusts::of_issuer(tx, "https://ci.example.com")).unwrap();
        assert_eq!(world.store.read(|tx| tok_store::trusts::list(tx, &server(at(1)))).unwrap(), found, "{change}");
        let (bad, good): (Vec<_>, Vec<_>) = found.into_iter().partition(|trust| trust.id == rule.id);
        assert!(bad[0].rule.as_ref().unwrap_err().contains(said), "{change}: {:?}", bad[0].rule);
        assert_eq!(good.into_iter().map(|trust| trust.rule).collect::<Vec<_>>(), [Ok(other.clone())], "{change}");
        let id = rule.id.to_string().parse().unwrap();
        let (removed, _) = world.change(|tx| tok_store::trusts::remove(tx, &server(at(2)), &id)).unwrap();
        assert_eq!(removed, bad[0], "{change}");
        world.sql("TRUNCATE trusts CASCADE; INSERT INTO trusts SELECT * FROM kept; DROP TABLE kept");
    }
}

#[test]
fn two_daemons_that_are_brought_one_identity_token_make_one_git_token() {
    let (world, rule) = place();
    let stores: Vec<Store> =
        (0..2).map(|_| writing(connect(world.database.url(), 4).unwrap(), &world.peppers)).collect();
    for digest in 0..10 {
        let made: usize = thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|number| {
                    let (world, rule, store) = (&world, &rule, &stores[number % 2]);
                    scope.spawn(move || exchanged(world, store, rule, digest, "42", 10).unwrap())
                })
                .collect();
            let ended = all.into_iter().map(|one| one.join().unwrap());
            ended.map(|done| usize::from(matches!(done, Exchanged::Made(_)))).sum()
        });
        assert_eq!(made, 1);
    }
    assert_eq!(world.count("SELECT count(*) AS number FROM tokens WHERE kind = 'git' AND parent_id IS NULL"), 10);
    assert_eq!(world.count("SELECT uses AS number FROM trusts"), 10);
}

#[test]
fn another_id_is_refused_and_nothing_of_the_try_stays() {
    let (world, rule) = place();
    let done = |digest, id, now| exchanged(&world, &world.store, &rule, digest, id, now).unwrap();
    assert!(matches!(done(1, "42", 10), Exchanged::Made(_)));
    let Exchanged::Recycled { now, pinned } = done(2, "43", 11) else { panic!("another ID was let in") };
    assert_eq!((now, pinned), (pin("43"), ("repository_id".to_owned(), "42".to_owned())));
    // It was not burnt either.
    assert!(matches!(done(2, "42", 12), Exchanged::Made(_)));
    assert!(matches!(done(2, "42", 13), Exchanged::Replayed));
    assert_eq!(world.count("SELECT uses AS number FROM trusts"), 2);
}

#[test]
fn what_was_burnt_stays_so_until_neither_token_is_good_and_with_the_rule_its_tokens_end() {
    let (world, rule) = place();
    let done = |digest, now| exchanged(&world, &world.store, &rule, digest, "42", now).unwrap();
    assert!(matches!(done(1, 10), Exchanged::Made(_)));
    assert!(matches!(done(1, 600), Exchanged::Replayed), "the git token lives longer than the identity token");
    assert!(matches!(done(2, 620), Exchanged::Made(_)));
    assert_eq!(world.count("SELECT count(*) AS number FROM trust_uses"), 1, "what is past is forgotten");
    let (_, ended) =
        world.change(|tx| tok_store::trusts::remove(tx, &server(at(630)), &"ci".parse().unwrap())).unwrap();
    assert_eq!(ended.len(), 1);
    assert!(matches!(done(3, 640), Exchanged::RuleGone));
    assert_eq!(world.count("SELECT count(*) AS number FROM trust_pins"), 0);
    // A rule of the same name is another one; what was exchanged under the old one stays burnt.
    let again = TrustRule { id: TrustId::random(&mut rng()), ..rule.clone() };
    world.change(|tx| tok_store::trusts::add(tx, &server(at(650)), &again)).unwrap();
    assert!(matches!(exchanged(&world, &world.store, &again, 2, "42", 660).unwrap(), Exchanged::Replayed));
}

#[test]
fn a_workspace_takes_its_rules_along() {
    let (world, rule) = place();
    assert!(matches!(exchanged(&world, &world.store, &rule, 1, "42", 10).unwrap(), Exchanged::Made(_)));
    let (_, ended) =
        world.change(|tx| tok_store::workspaces::delete(tx, &server(at(20)), &"acme".parse().unwrap())).unwrap();
    assert_eq!(ended, 1);
    assert_eq!(world.count("SELECT count(*) AS number FROM trusts"), 0);
    let late = world.change(|tx| tok_store::trusts::add(tx, &server(at(30)), &rule));
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
}
