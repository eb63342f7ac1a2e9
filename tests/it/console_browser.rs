//! The console in a real browser: people get through it, other sites do not, and everybody can read it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::{env, fs, thread};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tok_tests::binaries;
use tok_tests::browser::Browser;
use tok_tests::environment::Environment;

use crate::console::{self, begin};

const PASSWORD: &str = "violet-tractor-97-moon";

fn people() -> Environment {
    let environment = Environment::dev();
    environment.users(&["ann"]);
    environment.tok(&["user", "passwd", "ann"]).input(format!("{PASSWORD}\n")).ok();
    environment
}

fn poll(environment: &Environment, begun: &Value) -> Value {
    let reply = console::poll(environment, begun).json();
    if let Some(token) = reply["access_token"].as_str() {
        environment.canaries().register_shown(token.as_bytes());
    }
    reply
}

fn sign_in(browser: &Browser, password: &str) {
    browser.fill("#user", "ann");
    browser.fill("#password", password);
    browser.click("main button");
}

/// What axe finds wrong with the page, on a wide screen and a narrow one, by day and by night.
fn judge(browser: &Browser, page: &str) {
    let script = binaries::workspace().join("tests/browser/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(&script)
        .unwrap_or_else(|error| panic!("{}: {error}; `just browser` installs it", script.display()));
    for (width, scheme) in [(1200, "light"), (1200, "dark"), (500, "light")] {
        browser.resize(width, 900);
        browser.prefer(scheme);
        // For whoever wants to see the pages: TOK_TEST_PICTURES names a directory.
        if let Some(directory) = env::var_os("TOK_TEST_PICTURES") {
            let picture = STANDARD.decode(browser.picture()).unwrap();
            fs::write(Path::new(&directory).join(format!("{page} {width} {scheme}.png")), picture).unwrap();
        }
        browser.run(&axe);
        let found = browser.run_to_the_end(
            "const done = arguments[arguments.length - 1];
             axe.run().then(r => done(r), e => done({violations: [{id: String(e), nodes: []}], passes: []}));",
        );
        let wrong: Vec<String> = found["violations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| format!("{}: {}", rule["id"], rule["nodes"]))
            .collect();
        assert!(wrong.is_empty(), "{page}, {width} wide, {scheme}: {}", wrong.join("\n"));
        assert!(found["passes"].as_array().unwrap().len() > 10, "axe looked at the page: {found}");
        let wide = browser.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth");
        assert_eq!(wide, false, "{page} does not fit into {width} pixels");
    }
}

#[test]
fn a_person_signs_in_and_lets_one_device_in_and_another_not() {
    let environment = people();
    let browser = Browser::start(&environment);
    let begun = begin(&environment, "<script>alert(1)</script>");
    browser.open(begun["verification_uri_complete"].as_str().unwrap());
    assert_eq!(browser.text("h1"), "Sign in");
    judge(&browser, "the login page");
    sign_in(&browser, "wrong-tractor-97-moon");
    assert!(browser.text("[role=alert]").contains("The user name or the password is wrong"));
    judge(&browser, "the login page after a mistake");
    sign_in(&browser, PASSWORD);
    assert_eq!(browser.text("h1"), "Let this device sign in?");
    // What the machine calls itself is text, and stays it.
    assert!(browser.text("dl").contains("<script>alert(1)</script>") && !browser.alerted());
    assert_eq!(browser.text(".shown-code strong"), begun["user_code"].as_str().unwrap());
    judge(&browser, "the question");
    environment.execute("UPDATE device_logins SET address = '203.0.113.9'");
    browser.open(begun["verification_uri_complete"].as_str().unwrap());
    assert!(browser.text(".warning").contains("another address than yours"));
    judge(&browser, "the question from elsewhere");
    browser.click("button[value=approve]");
    assert_eq!(browser.text("h1"), "Approved");
    judge(&browser, "the answer");
    assert_eq!(poll(&environment, &begun)["user"], "ann");
    // Sent once more by the browser, it does nothing.
    browser.run("location.reload()");

    let second = begin(&environment, "box");
    browser.open(&format!("{}/device", environment.url()));
    judge(&browser, "the form for the code");
    browser.fill("#user_code", "bcdf ghjk");
    browser.click("main button");
    assert!(browser.text("[role=alert]").contains("No device waits with this code"));
    judge(&browser, "the form for the code after a mistake");
    browser.fill("#user_code", &second["user_code"].as_str().unwrap().to_lowercase());
    browser.click("main button");
    browser.click("button[value=deny]");
    assert_eq!(browser.text("h1"), "Denied");
    assert_eq!(poll(&environment, &second)["error"], "access_denied");
    browser.click("header button");
    assert!(browser.text("[role=status]").contains("You are signed out"));
    browser.open(&format!("{}/device", environment.url()));
    assert_eq!(browser.text("h1"), "Sign in");
    assert_eq!(browser.run("return document.cookie"), "", "no script sees a cookie");
}

/// A site of somebody else's, with one page.
fn another_site(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), page) = (stream, page.clone()) else { return };
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 16 * 1024]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len());
            });
        }
    });
    address
}

#[test]
fn other_sites_can_neither_send_the_forms_nor_show_the_pages() {
    let environment = people();
    let browser = Browser::start(&environment);
    let url = environment.url();
    let begun = begin(&environment, "victim");
    let complete = begun["verification_uri_complete"].as_str().unwrap();
    browser.open(complete);
    sign_in(&browser, PASSWORD);
    assert_eq!(browser.text("h1"), "Let this device sign in?");
    // Even with the seal of that very page, which no other site can read.
    let seal = browser.run("return document.querySelector('main input[name=seal]').value");
    let (seal, code) = (seal.as_str().unwrap(), begun["user_code"].as_str().unwrap());
    let page = format!(
        "<!doctype html><title>evil</title><form method=post action='{url}/device'>\
         <input name=seal value='{seal}'><input name=user_code value='{code}'>\
         <button name=decision value=approve>Win a prize</button></form>\
         <form method=post action='{url}/login'><input name=user value=ann><input name=password value=x>\
         <button id=login>Log in</button></form>\
         <iframe src='{complete}' width=600 height=400></iframe>"
    );
    let evil = another_site(page);
    // Of the same host by its number, and of another one by its name.
    for host in ["127.0.0.1", "localhost"] {
        for button in ["button[value=approve]", "#login"] {
            browser.open(&format!("http://{host}:{}/", evil.port()));
            browser.click(button);
            let heading = browser.text("h1");
            assert!(["That form was not taken", "Sign in"].contains(&heading.as_str()), "{host} {button}: {heading}");
        }
        browser.open(&format!("http://{host}:{}/", evil.port()));
        browser.enter("iframe");
        let framed = browser.run("return document.body ? document.body.innerText : ''");
        assert!(!framed.as_str().unwrap().contains("sign in"), "{host}: {framed}");
    }
    assert_eq!(poll(&environment, &begun)["error"], "authorization_pending");
    browser.open(complete);
    browser.click("button[value=approve]");
    assert_eq!(poll(&environment, &begun)["user"], "ann");
}
