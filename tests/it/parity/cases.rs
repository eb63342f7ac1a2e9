//! Who asks what, and what should be said.

use super::calls::*;

/// Stands for the ID of a token that is there.
pub(super) const THERE: &str = "{there}";
pub(super) const NOWHERE: &str = "1b4e28ba-2fa1-4d2e-883f-0016d3cca427";

/// Who asks, what, and what should be said: the code and the field.
pub(super) type Case = (&'static str, &'static Call, Vec<(&'static str, Said)>, &'static str, Option<&'static str>);

pub(super) fn creations() -> Vec<Case> {
    use Said::{Long, Number, Text, Texts, Word};
    let bad = |said: Vec<(&'static str, Said)>, field| ("will", &CREATE, said, "invalid_argument", Some(field));
    // With a name that is good.
    let named = |mut said: Vec<(&'static str, Said)>, field| {
        said.insert(0, ("name", Text("CI")));
        bad(said, field)
    };
    vec![
        bad(vec![("name", Text(" "))], "name"),
        bad(vec![("name", Text("a\u{7}b"))], "name"),
        bad(vec![("name", Text("a\nb"))], "name"),
        bad(vec![("name", Text("CI\u{200b}"))], "name"),
        bad(vec![("name", Text("\u{202e}CI"))], "name"),
        bad(vec![("name", Long(201))], "name"),
        named(vec![("description", Text("a\u{1b}[2J"))], "description"),
        named(vec![("description", Long(201))], "description"),
        named(vec![("expires", Text("soon"))], "expires"),
        named(vec![("expires", Text("2020-01-01"))], "expires"),
        named(vec![("expires", Text("0"))], "expires"),
        named(vec![("expires", Text("-1"))], "expires"),
        named(vec![("expires", Text("2027-02-30"))], "expires"),
        named(vec![("expires", Text("99999999999d"))], "expires"),
        named(vec![("scopes", Texts(&["repo:wrote"]))], "scopes"),
        named(vec![("scopes", Texts(&["REPO:READ"]))], "scopes"),
        named(vec![("scopes", Texts(&["repo:read", "*"]))], "scopes"),
        named(vec![("routes", Texts(&["acme"]))], "routes"),
        named(vec![("routes", Texts(&["acme/../x:r"]))], "routes"),
        named(vec![("routes", Texts(&["acme/*:q"]))], "routes"),
        named(vec![("routes", Texts(&["acme/%2e%2e:r"]))], "routes"),
        named(vec![("allow_cidrs", Texts(&["10.0.0.1/8"]))], "allow_cidrs"),
        named(vec![("allow_cidrs", Texts(&["here"]))], "allow_cidrs"),
        named(vec![("allow_cidrs", Texts(&["10.0.0.0/33"]))], "allow_cidrs"),
        named(vec![("labels", Texts(&["a b"]))], "labels"),
        named(vec![("labels", Texts(&["-x"]))], "labels"),
        named(vec![("repos", Texts(&["acme/app"]))], "repos"),
        named(vec![("kind", Word("repo", 3)), ("permission", Word("read", 1))], "repos"),
        named(vec![("kind", Word("workspace", 2)), ("permission", Word("read", 1))], "workspace"),
        named(vec![("kind", Word("git", 5)), ("permission", Word("read", 1))], "kind"),
        named(vec![("kind", Word("session", 4))], "kind"),
        named(
            vec![("kind", Word("repo", 3)), ("permission", Word("read", 1)), ("repos", Texts(&["acme/.."]))],
            "repos",
        ),
        named(vec![("kind", Word("repo", 3)), ("permission", Word("read", 1)), ("repos", Texts(&["app"]))], "repos"),
        named(
            vec![("kind", Word("workspace", 2)), ("permission", Word("read", 1)), ("workspace", Text("a/b"))],
            "workspace",
        ),
        named(vec![("permission", Word("write", 2))], "permission"),
        named(vec![("idempotency_key", Text("a b"))], "idempotency_key"),
        named(vec![("idempotency_key", Long(256))], "idempotency_key"),
        named(vec![("secret", Text("password1"))], "secret"),
        named(vec![("secret", Text("short"))], "secret"),
        named(vec![("max_uses", Number(u64::MAX))], "max_uses"),
        ("will", &CREATE, vec![("name", Text("CI")), ("scopes", Texts(&["manager"]))], "forbidden", None),
        (
            "will",
            &CREATE,
            vec![
                ("name", Text("CI")),
                ("kind", Word("workspace", 2)),
                ("permission", Word("read", 1)),
                ("workspace", Text("nowhere")),
            ],
            "not_found",
            Some("workspace"),
        ),
    ]
}

pub(super) fn others() -> Vec<Case> {
    use Said::{Number, Text, Word};
    let mut cases: Vec<Case> = Vec::new();
    for call in [&SHOW, &REVOKE, &RESTORE, &ROTATE, &EXPLAIN] {
        for reference in ["!", NOWHERE, "tokpat_zzzz"] {
            cases.push(("will", call, vec![("reference", Text(reference))], "not_found", None));
        }
    }
    let there = |call: &'static Call, name: &'static str, said: Said, code, field| {
        ("will", call, vec![("reference", Text(THERE)), (name, said)], code, field)
    };
    let bad = "invalid_argument";
    cases.extend([
        there(&RENAME, "name", Text("a\u{7}b"), bad, Some("name")),
        there(&RENAME, "name", Text(" "), bad, Some("name")),
        there(&RENAME, "description", Text("a\u{7}b"), bad, Some("description")),
        there(&RENAME, "expires", Text("soon"), bad, Some("expires")),
        there(&RENAME, "expires", Text("2020-01-01"), bad, Some("expires")),
        there(&RENAME, "permission", Word("write", 2), bad, Some("permission")),
        ("will", &RENAME, vec![("reference", Text(NOWHERE)), ("name", Text("x"))], "not_found", None),
        there(&ROTATE, "grace", Text("soon"), bad, Some("grace")),
        there(&ROTATE, "grace", Text("8d"), bad, Some("grace")),
        there(&ROTATE, "expires", Text("soon"), bad, Some("expires")),
        there(&ROTATE, "idempotency_key", Text("a b"), bad, Some("idempotency_key")),
        there(&ROTATE, "secret", Text("violet-kestrel-9-umbrella"), bad, Some("secret")),
        ("will", &EXPLAIN, vec![("repository", Text("app"))], bad, Some("repository")),
        ("will", &EXPLAIN, vec![("address", Text("here"))], bad, Some("address")),
        ("will", &LIST, vec![("cursor", Text("nonsense"))], bad, Some("cursor")),
        ("will", &LIST, vec![("page_size", Number(1001))], bad, Some("page_size")),
        ("will", &LIST, vec![("label", Text("a b"))], bad, Some("label")),
        ("will", &LIST, vec![("user", Text("../x"))], bad, Some("user")),
        ("will", &LIST, vec![("user", Text("mona"))], "forbidden", None),
        ("will", &LIST, vec![("workspace", Text("nowhere"))], "not_found", Some("workspace")),
        ("boss", &LIST, vec![("user", Text("nobody"))], "not_found", Some("user")),
        ("will", &REVOKE_MANY, vec![("label", Text("a b"))], bad, Some("label")),
        ("will", &REVOKE_MANY, vec![("label", Text("ci")), ("reason", Text("a\u{7}b"))], bad, Some("reason")),
        ("will", &REVOKE_MANY, vec![("parent", Text(NOWHERE))], "not_found", None),
        ("will", &REVOKE_MANY, vec![("user", Text("mona"))], "forbidden", None),
        ("boss", &REVOKE_MANY, vec![("user", Text("nobody"))], "not_found", Some("user")),
        ("will", &REVOKE_MANY, vec![("workspace", Text("nowhere"))], "not_found", Some("workspace")),
        ("boss", &AUDIT, vec![("action", Text("token.eat"))], bad, Some("action")),
        ("boss", &AUDIT, vec![("outcome", Text("maybe"))], bad, Some("outcome")),
        ("boss", &AUDIT, vec![("cursor", Text("00"))], bad, Some("cursor")),
        ("boss", &AUDIT, vec![("repository", Text("app"))], bad, Some("repository")),
        ("boss", &AUDIT, vec![("page_size", Number(1001))], bad, Some("page_size")),
        ("boss", &NEW_USER, vec![("name", Text(".."))], bad, Some("name")),
        ("boss", &NEW_USER, vec![("name", Text("a/b"))], bad, Some("name")),
        ("boss", &NEW_USER, vec![("name", Text("WILL"))], "conflict", Some("name")),
        ("will", &NEW_USER, vec![("name", Text("eve"))], "forbidden", None),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("a b"))], bad, Some("name")),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("acme"))], "conflict", Some("name")),
        ("boss", &NEW_WORKSPACE, vec![("name", Text("fresh")), ("owner", Text("nobody"))], "not_found", Some("owner")),
        ("boss", &DELETE_WORKSPACE, vec![("name", Text("nowhere"))], "not_found", Some("workspace")),
        ("will", &MEMBERS, vec![("workspace", Text("nowhere"))], "not_found", None),
        ("will", &LOST_MEMBER, vec![("workspace", Text("acme")), ("user", Text("rita"))], "forbidden", None),
        ("mona", &LOST_MEMBER, vec![("workspace", Text("acme")), ("user", Text("nobody"))], "not_found", Some("user")),
    ]);
    for call in [&SHOW_USER, &DISABLE_USER, &ENABLE_USER, &DELETE_USER] {
        cases.push(("boss", call, vec![("name", Text("nobody"))], "not_found", None));
        cases.push(("will", call, vec![("name", Text("mona"))], "forbidden", None));
    }
    for user in ["nobody", "a/b"] {
        let code = if user == "nobody" { "not_found" } else { bad };
        let said = vec![("workspace", Text("acme")), ("user", Text(user)), ("role", Word("reader", 1))];
        cases.push(("mona", &NEW_MEMBER, said, code, Some("user")));
    }
    cases
}
