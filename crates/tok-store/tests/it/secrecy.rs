//! Whoever takes the whole cluster away, data and WAL, has no token.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tok_model::audit::{Action, Actor, AuditEvent};
use tok_model::decide::{MintRequest, Need};
use tok_model::id::{UserId, WorkspaceId};
use tok_model::kind::Permission;
use tok_model::secret::{BODY_LENGTH, CHECKSUM_LENGTH, Pepper, PepperId, Peppers, Plaintext};
use tok_store::embedded::{Cluster, ClusterOptions, DATABASE};
use tok_store::tokens::{NewToken, StoredSecret, by_digests, create};
use tok_store::{migrate, peppers, users};

use crate::world::{at, connect, git, permit, personal, rng, server, session, workspace_token, writing};

/// Which of these texts stand in some file below `directory`. grep reads a hundred times faster than a debug build would.
fn found(directory: &Path, texts: &BTreeSet<String>) -> BTreeSet<String> {
    let mut grep = Command::new("grep")
        .env("LC_ALL", "C")
        .args(["-r", "-h", "-a", "-o", "-F", "-f", "-", "--"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Not in its arguments, where everybody on the machine could read them.
    let mut input = grep.stdin.take().unwrap();
    input.write_all(texts.iter().flat_map(|text| [text, "\n"]).collect::<String>().as_bytes()).unwrap();
    drop(input);
    let output = grep.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "grep could not read everything");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn no_text_of_a_token_comes_to_rest() {
    let data = tempfile::tempdir().unwrap();
    // As it runs in earnest: with every page and every change in the WAL.
    let cluster = Cluster::start(ClusterOptions::new(data.path())).unwrap();
    let url = cluster.url(DATABASE);
    migrate(&url).unwrap();
    let pepper_file = Peppers::only(Pepper::random(PepperId(1), &mut rng()));
    let store = writing(connect(&url, 2).unwrap(), &pepper_file);
    let (ann, acme) = (UserId::random(&mut rng()), WorkspaceId::random(&mut rng()));
    let event = || AuditEvent::done(Action::TokenCreate, Actor::daemon());
    store
        .write(|mut tx| {
            peppers::register(&mut tx, &pepper_file, PepperId(1), at(0))?;
            users::create(&mut tx, &server(at(0)), ann, acme, &"ann".parse().unwrap(), false)?;
            tx.commit(event(), at(0))
        })
        .unwrap();
    let caller = store.read(|tx| users::now(tx, ann)).unwrap().unwrap();
    let caller = tok_model::decide::Caller {
        owner: tok_model::decide::OwnerNow::User(caller.into()),
        bearer: tok_model::decide::Bearer::LocalPeer { manager: false },
        source: tok_model::audit::Source::default(),
    };

    let mut texts = Vec::new();
    let mut first = None;
    for number in 0..50 {
        let request: MintRequest = match number % 4 {
            0 => session(ann),
            1 => personal(ann, "all", None),
            2 => workspace_token(acme, "ann", Permission::Write),
            _ => git(ann, "ann/app", Permission::Write, 600),
        };
        let permit = permit(&caller, Need::Mint(request.clone()), at(0));
        let text = Plaintext::mint(request.grant.kind(), &mut rng());
        let row = NewToken {
            id: tok_model::id::TokenId::random(&mut rng()),
            secret: StoredSecret::Digest { digest: text.digest(pepper_file.current()), pepper: PepperId(1) },
            imported_from: None,
            shown_prefix: text.shown_prefix(),
            name: format!("control {number:02} of fifty"),
            description: String::new(),
            labels: Vec::new(),
            max_uses: None,
            parent: first,
            parent_version: None,
            local_uid: None,
        };
        let digest = text.digest(pepper_file.current());
        let token = store.write(|mut tx| {
            let token = create(&mut tx, &permit, row)?;
            tx.commit(event().token(token.id, &token.shown_prefix), at(0))?;
            Ok(token)
        });
        first = first.or(Some(token.unwrap().id));
        // Presented, as git does.
        let presented = Plaintext::parse(text.reveal()).unwrap().digest(pepper_file.current());
        assert_eq!(store.read(|tx| by_digests(tx, &[presented])).unwrap()[0].0, digest);
        texts.push(text);
    }
    PgConnection::establish(&url).unwrap().batch_execute("CHECKPOINT").unwrap();

    // What was put there is found where it came to rest: the search can find.
    let names: BTreeSet<String> = (0..50).map(|number| format!("control {number:02} of fifty")).collect();
    let shown: BTreeSet<String> = texts.iter().map(Plaintext::shown_prefix).collect();
    assert_eq!(found(&data.path().join("pg/base"), &names), names);
    assert_eq!(found(&data.path().join("pg/base"), &shown), shown);
    assert!(!found(&data.path().join("pg/pg_wal"), &names).is_empty());

    // Neither the whole text, nor what follows the characters that lists show, nor the pepper.
    let length = BODY_LENGTH + CHECKSUM_LENGTH - 4;
    let mut secrets: BTreeSet<String> =
        texts.iter().map(|text| text.reveal()[text.reveal().len() - length..].to_owned()).collect();
    assert_eq!(secrets.len(), 50);
    secrets.extend(texts.iter().map(|text| text.reveal().to_owned()));
    let pepper = secrecy::ExposeSecret::expose_secret(&pepper_file.to_file()).trim_end().to_owned();
    secrets.insert(pepper.split_once(':').unwrap().1.to_owned());
    assert_eq!(found(data.path(), &secrets), BTreeSet::new());
    cluster.stop();
    // Nor in what a clean stop writes.
    assert_eq!(found(data.path(), &secrets), BTreeSet::new());
}
