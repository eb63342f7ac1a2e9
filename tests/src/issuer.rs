//! An OpenID Connect issuer, as CI systems are one: real keys, discovery and key set over TLS, and a runner's address that
//! gives identity tokens to whoever has its secret. It can misbehave.

mod key;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::Authority;
use key::Key;

/// How it answers when it is asked for its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Well,
    /// It hangs up.
    Gone,
    /// It sends somebody elsewhere.
    Redirects,
    /// It sends more than anybody reads.
    Huge,
    /// It says nothing for longer than anybody waits.
    Slow,
}

/// An issuer that runs until it is dropped.
pub struct Issuer {
    authority: Authority,
    state: Arc<State>,
}

struct State {
    address: SocketAddr,
    keys: Mutex<Vec<Key>>,
    manner: Mutex<Manner>,
    asked: AtomicUsize,
    /// What a runner's job says of itself, and the secret that the runner gave it.
    job: Mutex<Option<(String, Value)>>,
}

impl Issuer {
    /// A new one, with its files in this directory.
    pub fn new(directory: &Path) -> Self {
        let authority = Authority::new(directory);
        authority.issue(&["127.0.0.1", "localhost"]);
        let certificates = CertificateDer::pem_file_iter(authority.certificate()).expect("it was just written");
        let certificates = certificates.collect::<Result<Vec<_>, _>>().expect("it is PEM");
        let key = PrivateKeyDer::from_pem_file(authority.key()).expect("it was just written");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .expect("the pair fits");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let state = Arc::new(State {
            address: listener.local_addr().expect("it is bound"),
            keys: Mutex::new(vec![Key::new("first", "ES256")]),
            manner: Mutex::new(Manner::Well),
            asked: AtomicUsize::new(0),
            job: Mutex::default(),
        });
        let (serving, config) = (Arc::clone(&state), Arc::new(config));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, config) = (Arc::clone(&serving), Arc::clone(&config));
                thread::spawn(move || state.serve(stream, config));
            }
        });
        Self { authority, state }
    }

    /// The claim `iss`.
    pub fn url(&self) -> String {
        self.state.url()
    }

    /// The certificate that has to be trusted.
    pub fn trust(&self) -> PathBuf {
        self.authority.trust()
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Behaves like this from now on.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.state.manner) = manner;
    }

    /// Signs with another key from now on, and publishes only that.
    pub fn rotate(&self, kid: &str) {
        *lock(&self.state.keys) = vec![Key::new(kid, "ES256")];
    }

    /// Publishes one key more, which is called as its algorithm is.
    pub fn publish(&self, algorithm: &'static str) {
        lock(&self.state.keys).push(Key::new(algorithm, algorithm));
    }

    /// An identity token that says this, besides what all say; `null` takes a claim away.
    pub fn token(&self, claims: &Value) -> String {
        self.state.token(claims)
    }

    /// The same, with something else in its header; a `kid` of ours has it signed by that key.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.state.signed(header, &self.state.claims(claims))
    }

    /// The environment of a job on a runner of GitHub's or Forgejo's: where it gets identity tokens that say this.
    pub fn job(&self, secret: &str, claims: Value) -> [(&'static str, String); 2] {
        *lock(&self.state.job) = Some((secret.to_owned(), claims));
        [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/runner?api-version=2.0", self.url())),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", secret.to_owned()),
        ]
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "an issuer has a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl State {
    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn claims(&self, more: &Value) -> Value {
        let mut claims = json!({
            "iss": self.url(), "sub": "repo:acme/app:ref:refs/heads/main", "aud": "tok",
            "iat": now(), "nbf": now(), "exp": now() + 300, "jti": random(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        if let Some(claims) = claims.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        claims
    }

    fn token(&self, more: &Value) -> String {
        self.signed(&json!({}), &self.claims(more))
    }

    fn signed(&self, more: &Value, claims: &Value) -> String {
        let keys = lock(&self.keys);
        let key = keys.iter().find(|key| more["kid"] == key.kid).unwrap_or(&keys[0]);
        let mut header = json!({"alg": key.algorithm, "typ": "JWT", "kid": key.kid});
        for (name, value) in more.as_object().into_iter().flatten() {
            header[name] = value.clone();
        }
        if let Some(header) = header.as_object_mut() {
            header.retain(|_, value| !value.is_null());
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signature = key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let Ok(connection) = ServerConnection::new(config) else { return };
        let mut stream = StreamOwned::new(connection, stream);
        let Some((target, authorization)) = read(&mut stream) else { return };
        let manner = *lock(&self.manner);
        let answer = |status: &str, more: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
        };
        let keys = || json!({"keys": lock(&self.keys).iter().map(Key::public).collect::<Vec<_>>()}).to_string();
        let reply = match target.split('?').next().unwrap_or_default() {
            "/.well-known/openid-configuration" => {
                let url = self.url();
                let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "id_token_signing_alg_values_supported": ["ES256"]});
                answer("200 OK", "", &document.to_string())
            }
            "/keys" => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                match manner {
                    Manner::Well => answer("200 OK", "content-type: application/json\r\n", &keys()),
                    Manner::Gone => return,
                    Manner::Redirects => answer("302 Found", &format!("location: {}/other\r\n", self.url()), ""),
                    Manner::Huge => answer("200 OK", "", &format!("{}{}", keys(), " ".repeat(1 << 20))),
                    Manner::Slow => {
                        // Holds on until the other side gives up.
                        let _ = stream.read(&mut [0]);
                        return;
                    }
                }
            }
            "/other" => answer("200 OK", "", &keys()),
            "/runner" => self.run(&target, &authorization, answer),
            _ => answer("404 Not Found", "", ""),
        };
        let _ = stream.write_all(reply.as_bytes()).and_then(|()| stream.flush());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn run(&self, target: &str, authorization: &str, answer: impl Fn(&str, &str, &str) -> String) -> String {
        let job = lock(&self.job).clone();
        let Some((_, mut claims)) = job.filter(|(secret, _)| authorization == format!("Bearer {secret}")) else {
            return answer("401 Unauthorized", "", "");
        };
        if let Some(audience) = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("audience=")) {
            claims["aud"] = json!(audience.replace("%3A", ":").replace("%2F", "/"));
        }
        answer("200 OK", "", &json!({"count": 1, "value": self.token(&claims)}).to_string())
    }
}

/// What nobody has said before.
fn random() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("there is chance");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The target of a request, and who asks.
fn read(stream: &mut impl Read) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut authorization = String::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            value.clone_into(&mut authorization);
        }
    }
    Some((first.split(' ').nth(1)?.to_owned(), authorization))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
