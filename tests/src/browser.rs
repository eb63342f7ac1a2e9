//! A real browser, driven as a person would: Chromium by its own driver, over the W3C's `WebDriver` protocol.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::binaries;
use crate::environment::Environment;
use crate::http::Request;
use crate::wait;

/// How `WebDriver` writes a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own, which goes with it.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

/// A part of a page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Browser {
    /// Starts one that keeps what it keeps in the environment's directory.
    pub fn start(environment: &Environment) -> Self {
        let mut driver = Command::new(program(&["chromedriver"]))
            .arg("--port=0")
            .env_clear()
            .env("PATH", binaries::search_path())
            .env("HOME", environment.home())
            .env("TMPDIR", environment.root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts: ./dev e2e installs it");
        let said = BufReader::new(driver.stdout.take().expect("its stdout is a pipe"));
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("on port ")?.1.trim_end_matches('.').to_owned();
            rest.parse::<u16>().ok().filter(|_| line.contains("successfully"))
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("chromedriver says its port")));
        let mut browser = Self { driver, address, session: String::new() };
        // The sandbox cannot be had by root, who runs the tests in a container.
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en-US"];
        let binary = program(&["chromium", "chromium-browser", "google-chrome"]);
        let options = json!({"binary": binary, "args": arguments});
        let wished = json!({"browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options});
        let made = browser.ask("POST", "/session", &json!({"capabilities": {"alwaysMatch": wished}}));
        made["sessionId"].as_str().expect("a session has an ID").clone_into(&mut browser.session);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_to(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_to(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let request = match method {
            "GET" => Request::get(path),
            _ => Request::json(method, path, body),
        };
        let reply = request.attempt_measured(self.address).unwrap_or_else(|| panic!("chromedriver is silent: {path}"));
        let value = reply.json()["value"].clone();
        if reply.status == 200 { Ok(value) } else { Err(value["message"].clone()) }
    }

    fn of(&self, path: &str) -> String {
        format!("/session/{}{path}", self.session)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.ask("POST", &self.of("/url"), &json!({"url": url}));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        self.ask("GET", &self.of("/url"), &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// The first part of the page that a CSS selector fits.
    #[track_caller]
    pub fn find(&self, selector: &str) -> Element {
        let found = self.ask("POST", &self.of("/element"), &json!({"using": "css selector", "value": selector}));
        Element(found[ELEMENT].as_str().expect("an element has an ID").to_owned())
    }

    /// Clicks on it, and waits for the page that comes of that: another one, whole.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let Element(id) = self.find(selector);
        self.ask("POST", &self.of(&format!("/element/{id}/click")), &json!({}));
        let there = self.of(&format!("/element/{id}/name"));
        wait::until_true("the page makes way for the next", || self.try_to("GET", &there, &Value::Null).is_err());
        wait::until_true("the next page is whole", || self.run("return document.readyState") == "complete");
    }

    /// Types into it, over what is there.
    pub fn fill(&self, selector: &str, text: &str) {
        let Element(id) = self.find(selector);
        self.ask("POST", &self.of(&format!("/element/{id}/clear")), &json!({}));
        self.ask("POST", &self.of(&format!("/element/{id}/value")), &json!({"text": text}));
    }

    /// What a person reads there.
    pub fn text(&self, selector: &str) -> String {
        let Element(id) = self.find(selector);
        let text = self.ask("GET", &self.of(&format!("/element/{id}/text")), &Value::Null);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page, as only the driver can there.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", &self.of("/execute/sync"), &json!({"script": script, "args": []}))
    }

    /// The same for one that answers by calling its last argument.
    pub fn run_to_the_end(&self, script: &str) -> Value {
        self.ask("POST", &self.of("/execute/async"), &json!({"script": script, "args": []}))
    }

    /// Looks into a frame of the page.
    pub fn enter(&self, selector: &str) {
        let Element(id) = self.find(selector);
        self.ask("POST", &self.of("/frame"), &json!({"id": {ELEMENT: id}}));
    }

    /// Whether a page has opened a box of its own, as `alert` does.
    pub fn alerted(&self) -> bool {
        self.try_to("GET", &self.of("/alert/text"), &Value::Null).is_ok()
    }

    /// As somebody sees it who likes it `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": feature}});
        self.ask("POST", &self.of("/goog/cdp/execute"), &command);
    }

    /// On a screen of this size.
    pub fn resize(&self, width: u32, height: u32) {
        self.ask("POST", &self.of("/window/rect"), &json!({"width": width, "height": height}));
    }

    /// What is on the screen, as PNG in base64.
    pub fn picture(&self) -> String {
        self.ask("GET", &self.of("/screenshot"), &Value::Null).as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = Request::get(self.of("")).method("DELETE").attempt_measured(self.address);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The first of these that there is.
fn program(names: &[&str]) -> PathBuf {
    let path = binaries::search_path();
    let found = names
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()));
    found.unwrap_or_else(|| panic!("none of {names:?} is here: ./dev e2e installs Chromium and its driver"))
}
