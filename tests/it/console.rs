//! The console's pages, as a browser without JavaScript goes through them.

use serde_json::Value;
use tok_tests::environment::Environment;
use tok_tests::http::{FORM, Reply, Request, encoded, form_of};
use tok_tests::pages::{Form, Visitor, attribute, form, guarded};

const PASSWORD: &str = "violet-tractor-97-moon";
const WRONG: &str = "violet-tractor-97-moor";

fn people() -> Environment {
    let environment = Environment::dev();
    environment.users(&["ann", "bob"]);
    for secret in [PASSWORD, WRONG] {
        environment.canaries().register("a password", secret);
    }
    for user in ["ann", "bob"] {
        environment.tok(&["user", "passwd", user]).input(format!("{PASSWORD}\n")).ok();
    }
    environment
}

/// Started anew with few tries for each source: the next is forgiven after ten seconds.
pub(crate) fn limited(environment: &Environment) {
    environment.stop();
    environment.start_with(&environment.serve_recipe("[server]\nfailed_logins_per_minute = 6\n"));
}

fn post(environment: &Environment, path: &str, fields: &[(&str, &str)]) -> Reply {
    environment.send(&Request::form(path, fields))
}

/// A login that waits for somebody to let it in.
pub(crate) fn begin(environment: &Environment, machine: &str) -> Value {
    let reply = post(environment, "/oauth2/device_authorization", &[("client_id", "tok"), ("machine", machine)]);
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{}", reply.text());
    let begun = reply.json();
    environment.canaries().register("a device code", begun["device_code"].as_str().unwrap());
    begun
}

/// Asks whether somebody did.
pub(crate) fn poll(environment: &Environment, begun: &Value) -> Reply {
    let code = begun["device_code"].as_str().unwrap();
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    post(environment, "/oauth2/token", &[("grant_type", grant), ("device_code", code), ("client_id", "tok")])
}

fn error(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (reply.status, reply.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn is(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[test]
fn a_device_is_let_in_by_somebody_who_signs_in_and_says_yes() {
    let environment = people();
    let begun = begin(&environment, "build-7");
    assert_eq!(error(&poll(&environment, &begun)), is(400, "authorization_pending"));
    assert_eq!(error(&poll(&environment, &begun)), is(400, "slow_down"));
    let mut browser = Visitor::new(&environment);
    // The whole address asks who one is, then who the device is.
    let whole = begun["verification_uri_complete"].as_str().unwrap().strip_prefix(&environment.url()).unwrap();
    let page = browser.open(whole);
    assert!(page.text().contains("<h1>Sign in</h1>"), "{}", page.text());
    let wrong = browser.follow(&form(&page, "/login"), &[("user", "ann"), ("password", WRONG)]);
    assert_eq!(wrong.status, 403);
    assert!(wrong.text().contains("aria-invalid") && wrong.text().contains("value=\"ann\""), "{}", wrong.text());
    let page = browser.follow(&form(&wrong, "/login"), &[("user", "ann"), ("password", PASSWORD)]);
    let text = page.text();
    let code = begun["user_code"].as_str().unwrap();
    for shown in [code, "build-7", "127.0.0.1", "Approve", "Deny", "Signed in as <strong>ann</strong>"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("another address") && !text.contains("administer"), "{text}");
    let consent = form(&page, "/device");
    let done = browser.submit(&consent, &[("decision", "approve")]);
    assert!(done.status == 200 && done.text().contains("build-7 is signed in as ann"), "{}", done.text());
    let granted = poll(&environment, &begun);
    assert_eq!((granted.status, granted.header("pragma")), (200, Some("no-cache")), "{}", granted.text());
    let token = granted.json()["access_token"].as_str().unwrap().to_owned();
    environment.canaries().register_shown(token.as_bytes());
    assert_eq!((&granted.json()["token_type"], &granted.json()["scope"]), (&"Bearer".into(), &"all".into()));
    assert_eq!(environment.send(&Request::get("/v1/whoami").bearer(&token)).json()["user"], "ann");
    assert_eq!(error(&poll(&environment, &begun)), is(400, "invalid_grant"));
    // The same form again does nothing.
    let again = browser.submit(&consent, &[("decision", "approve")]);
    assert!(again.status == 404 && again.text().contains("No device waits"), "{}", again.text());
    let told = environment.rows(
        "SELECT action, actor_name, detail FROM audit WHERE action LIKE 'session.%' AND outcome = 'done' ORDER BY at, id",
    );
    let told: Vec<String> = told
        .iter()
        .map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["detail"].as_str().unwrap()))
        .collect();
    let expected = [
        "session.ask on build-7",
        "session.open browser without a name",
        "session.approve on build-7 from 127.0.0.1",
        "session.open login of ann on build-7",
    ];
    assert_eq!(told, expected);
    // Signed out, the browser's session is over, and the device's is not.
    let cookie = browser.cookies["tok"].clone();
    let page = browser.open("/device");
    let out = browser.follow(&form(&page, "/logout"), &[]);
    assert!(out.text().contains("You are signed out"), "{}", out.text());
    assert!(!browser.cookies.contains_key("tok"));
    assert_eq!(environment.send(&Request::get("/v1/whoami").bearer(&cookie)).status, 401);
    assert_eq!(environment.send(&Request::get("/v1/whoami").bearer(&token)).status, 200);
}

#[test]
fn what_was_approved_ends_with_the_session_that_approved_it_and_with_everything_of_a_user_who_is_cut_off() {
    let environment = people();
    let mut browser = Visitor::new(&environment);
    browser.sign_in("ann", PASSWORD);
    let approve = |browser: &mut Visitor| {
        let begun = begin(&environment, "waits");
        let page = browser.open(&format!("/device?user_code={}", begun["user_code"].as_str().unwrap()));
        let done = browser.submit(&form(&page, "/device"), &[("decision", "approve")]);
        assert!(done.text().contains("Approved"), "{}", done.text());
        begun
    };
    let before = approve(&mut browser);
    environment.tok(&["token", "revoke", "--user", "ann", "--minted-before", "now", "--force"]).ok();
    assert_eq!(error(&poll(&environment, &before)), is(400, "access_denied"));
    // What she approves afterwards is good.
    browser.sign_in("ann", PASSWORD);
    let after = approve(&mut browser);
    assert_eq!(poll(&environment, &after).status, 200);
    // So is what she approves before she signs out; not when somebody ends her session.
    let signed_out = approve(&mut browser);
    let page = browser.open("/device");
    browser.follow(&form(&page, "/logout"), &[]);
    assert_eq!(poll(&environment, &signed_out).status, 200);
    browser.sign_in("ann", PASSWORD);
    let ended = approve(&mut browser);
    environment.tok(&["token", "revoke", "--user", "ann", "--kind", "session", "--force"]).ok();
    assert_eq!(error(&poll(&environment, &ended)), is(400, "access_denied"));
}

#[test]
fn a_device_is_refused_or_came_too_late_or_was_never_there() {
    let environment = people();
    let mut browser = Visitor::new(&environment);
    browser.sign_in("ann", PASSWORD);
    let begun = begin(&environment, "<script>alert(1)</script>");
    let typed = form(&browser.open("/device"), "/device");
    let code = begun["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let page = browser.follow(&typed, &[("user_code", &code)]);
    assert!(page.text().contains("&#60;script&#62;alert(1)"), "{}", page.text());
    let done = browser.submit(&form(&page, "/device"), &[("decision", "deny")]);
    assert!(done.text().contains("was not signed in"), "{}", done.text());
    assert_eq!(error(&poll(&environment, &begun)), is(400, "access_denied"));
    let late = begin(&environment, "late");
    environment.execute(
        "UPDATE device_logins SET created_at = now() - interval '11 minutes', expires_at = now() - interval '1 second' \
         WHERE machine = 'late'",
    );
    assert_eq!(error(&poll(&environment, &late)), is(400, "expired_token"));
    for code in [late["user_code"].as_str().unwrap(), "BCDF-GHJK", "no", "<script>"] {
        let page = browser.follow(&typed, &[("user_code", code)]);
        assert!(page.status == 404 && page.text().contains("No device waits with this code"), "{}", page.text());
    }
    // Codes can be guessed, so not for long.
    limited(&environment);
    let stopped = (0..200).map(|_| browser.send(Request::get("/device?user_code=BCDFGHJK"))).find(|r| r.status != 404);
    let stopped = stopped.unwrap();
    assert!(stopped.status == 429 && stopped.header("retry-after").is_some(), "{}", stopped.text());
    let waiting = begin(&environment, "waits");
    let right = browser.send(Request::get(format!("/device?user_code={}", waiting["user_code"].as_str().unwrap())));
    assert_eq!(right.status, 429, "the right one is not looked at either");
}

#[test]
fn forms_are_taken_from_pages_of_this_server_and_from_whom_they_were_made_for() {
    let environment = people();
    let mut ann = Visitor::new(&environment);
    ann.sign_in("ann", PASSWORD);
    let mut bob = Visitor::new(&environment);
    bob.sign_in("bob", PASSWORD);
    let begun = begin(&environment, "victim");
    let path = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
    let consent = form(&ann.open(&path), "/device");
    let theirs = form(&bob.open(&path), "/device");
    let body = |form: &Form| {
        let fields = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        form_of(fields.chain([("decision", "approve")]))
    };
    let whole = body(&consent);
    let unsealed = format!("user_code={}&decision=approve", begun["user_code"].as_str().unwrap());
    let logout = form(&ann.open("/device"), "/logout");
    let mixed = whole.replace(&encoded(&consent.fields[0].1), &encoded(&logout.fields[0].1));
    for (what, body, headers) in [
        ("no seal", &unsealed, &[][..]),
        ("another user's seal", &body(&theirs), &[]),
        ("another form's seal", &mixed, &[]),
        ("another site", &whole, &[("Origin", "https://evil.example")]),
        ("no site", &whole, &[("Origin", "null")]),
        ("another site, as the browser says", &whole, &[("Sec-Fetch-Site", "cross-site")]),
        ("a neighbour", &whole, &[("Sec-Fetch-Site", "same-site")]),
    ] {
        let request = headers.iter().fold(Request::post("/device", FORM, body.as_bytes()), |request, (name, value)| {
            request.header(name, value)
        });
        let reply = ann.send(request);
        assert_eq!(reply.status, 403, "{what}: {}", reply.text());
    }
    // Without the cookie it is nobody's.
    let nobody = environment.send(&Request::post("/device", FORM, whole.as_bytes()));
    assert!(nobody.status == 303 && nobody.header("location").unwrap().starts_with("/login?next="));
    assert_eq!(error(&poll(&environment, &begun)), is(400, "authorization_pending"));
    // Logging in takes a page of ours, too: nobody is signed in as somebody else without knowing.
    let stranger = Request::post("/login", FORM, format!("user=ann&password={PASSWORD}"));
    assert_eq!(environment.send(&stranger).status, 403);
    let page = Visitor::new(&environment).open("/login");
    let seal = &form(&page, "/login").fields[0].1.clone();
    let sealed = format!("seal={}&user=ann&password={PASSWORD}", encoded(seal));
    assert_eq!(environment.send(&Request::post("/login", FORM, sealed)).status, 403, "the cookie is missing");
    assert_eq!(ann.send(Request::post("/logout", FORM, "")).status, 403);
    assert_eq!(ann.open("/device").status, 200, "still signed in");
}

#[test]
fn nobody_is_sent_on_to_another_site_and_old_logins_approve_nothing() {
    let environment = people();
    for (next, goes) in [
        ("/device?user_code=BCDF-GHJK", "/device?user_code=BCDF-GHJK"),
        ("https://evil.example/", "/device"),
        ("//evil.example", "/device"),
        ("/\\evil.example", "/device"),
        ("javascript:alert(1)", "/device"),
    ] {
        let mut browser = Visitor::new(&environment);
        let page = browser.open(&format!("/login?next={}", encoded(next)));
        let sent = form(&page, "/login");
        let reply = browser.submit(&sent, &[("user", "ann"), ("password", PASSWORD), ("next", next)]);
        assert_eq!((reply.status, reply.header("location")), (303, Some(goes)), "{next}");
    }
    let mut browser = Visitor::new(&environment);
    browser.sign_in("ann", PASSWORD);
    let sessions =
        || environment.count("SELECT count(*) FROM tokens WHERE name LIKE 'browser %' AND revoked_at IS NULL");
    let before = sessions();
    let first = browser.cookies["tok"].clone();
    environment.execute("UPDATE tokens SET created_at = created_at - interval '16 minutes' WHERE kind = 'session'");
    environment.stop();
    environment.start();
    let begun = begin(&environment, "x");
    let path = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
    let page = browser.open(&path);
    assert!(page.text().contains("say your password again"), "{}", page.text());
    let page = browser.follow(&form(&page, "/login"), &[("user", "ann"), ("password", PASSWORD)]);
    assert!(page.text().contains("Let this device sign in?"), "{}", page.text());
    // The one before it ended with that: a browser has one.
    assert_ne!(browser.cookies["tok"], first);
    assert_eq!(sessions(), before);
    assert_eq!(environment.send(&Request::get("/v1/whoami").bearer(&first)).status, 401);
    // A token of another kind is no login, and nor is what was made up.
    for cookie in [environment.token("ann", &["--scopes", "all"]), "x".to_owned()] {
        let reply = environment.send(&Request::get("/device").header("Cookie", &format!("tok={cookie}")));
        assert!(reply.status == 303 && reply.header("location").unwrap().starts_with("/login"), "{}", reply.text());
    }
    // And a session in a cookie is no credential for calls.
    let cookie = format!("tok={}", browser.cookies["tok"]);
    assert_eq!(environment.send(&Request::get("/v1/whoami").header("Cookie", &cookie)).status, 401);
}

#[test]
fn pages_say_what_they_take_and_the_looks_are_kept() {
    let environment = people();
    for (method, path, status) in [
        ("PUT", "/login", 405),
        ("GET", "/logout", 405),
        ("DELETE", "/device", 405),
        ("POST", "/console/style.css", 405),
        ("HEAD", "/login", 200),
    ] {
        let reply = environment.send(&Request::get(path).method(method));
        assert_eq!(reply.status, status, "{method} {path}");
        guarded(&reply);
        assert_eq!(reply.header("allow").is_some(), status == 405);
    }
    let page = environment.send(&Request::get("/login"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    let style = attribute(text.split("<link rel=\"stylesheet\"").nth(1).unwrap(), "href").unwrap();
    let looks = environment.send(&Request::get(style));
    assert_eq!((looks.status, looks.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(looks.header("cache-control").unwrap().contains("immutable"));
    let huge = Request::post("/login", FORM, "x".repeat(70_000));
    assert_eq!(environment.send(&huge).status, 413);
}

#[test]
fn over_tls_cookies_are_tied_to_the_host_and_another_address_is_said_plainly() {
    let environment = Environment::tls();
    environment.users(&["ann"]);
    environment.tok(&["user", "passwd", "ann"]).input(format!("{PASSWORD}\n")).ok();
    let mut browser = Visitor::new(&environment);
    let page = browser.open("/login");
    browser.submit(&form(&page, "/login"), &[("user", "ann"), ("password", PASSWORD)]);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["__Host-tok", "__Host-tok-visit"]);
    let begun = begin(&environment, "elsewhere");
    environment.execute("UPDATE device_logins SET address = '203.0.113.9'");
    let page = browser.open(&format!("/device?user_code={}", begun["user_code"].as_str().unwrap()));
    let text = page.text();
    assert!(
        text.contains("203.0.113.9") && text.contains("another address than yours") && text.contains("127.0.0.1"),
        "{text}"
    );
}

#[test]
fn the_token_endpoint_fails_as_its_rfc_says() {
    let environment = people();
    let token = |fields: &[(&str, &str)]| post(&environment, "/oauth2/token", fields);
    let granted = token(&[("grant_type", "password"), ("username", "ann"), ("password", PASSWORD), ("machine", "box")]);
    assert_eq!(granted.status, 200, "{}", granted.text());
    let granted = granted.json();
    environment.canaries().register_shown(granted["access_token"].as_str().unwrap().as_bytes());
    assert!(granted["expires_in"].as_i64().unwrap() > 86_400, "{granted}");
    let names = environment.tok(&["token", "list", "--kind", "session"]).acting_as("ann").ok();
    assert!(names.text().contains("login of ann on box"));
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    for (fields, expected) in [
        (&[("grant_type", "password"), ("username", "ann"), ("password", WRONG)][..], is(400, "invalid_grant")),
        (&[("grant_type", "password"), ("username", "zed"), ("password", WRONG)], is(400, "invalid_grant")),
        (&[("grant_type", "password"), ("username", "ann")], is(400, "invalid_request")),
        (&[("grant_type", "client_credentials")], is(400, "unsupported_grant_type")),
        (&[("grant_type", device)], is(400, "invalid_request")),
        (&[("grant_type", device), ("device_code", "x")], is(400, "invalid_grant")),
        (&[("username", "ann")], is(400, "invalid_request")),
        (&[("grant_type", device), ("grant_type", device)], is(400, "invalid_request")),
    ] {
        assert_eq!(error(&token(fields)), expected, "{fields:?}");
    }
    let metadata = environment.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    let url = environment.url();
    assert_eq!(metadata["token_endpoint"], format!("{url}/oauth2/token"));
    assert_eq!(metadata["device_authorization_endpoint"], format!("{url}/oauth2/device_authorization"));
    let grants = metadata["grant_types_supported"].as_array().unwrap();
    assert!(grants.contains(&device.into()) && grants.contains(&"password".into()), "{grants:?}");
}
