//! Real proxies with TLS in front, each with the recipe of docs/proxies.md as it is written there: git through them, each
//! "no" as what it is, headers of clients that change nothing, and a tokd that is away.

mod gateway;
mod verdict;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tok_tests::cgi::Backend;
use tok_tests::environment::Environment;
use tok_tests::front::{Front, Recipe, Site, free_address};
use tok_tests::git::{Git, noise};
use tok_tests::http::{Reply, Request};
use tok_tests::normalise::invented_token;
use tok_tests::tls::{Authority, Connection};
use tok_tests::wait;

const READ: &str = "git-upload-pack";
const WRITE: &str = "git-receive-pack";
/// The secret of a temporary token, `ops`, which may do everything.
const TEMPORARY: &str = "seven-herons-over-wet-slate-71";

/// A proxy in front of tokd, and perhaps of another git server beside it.
struct Stand {
    /// Ends first: before what it stands in front of, and before its directory.
    _front: Front,
    environment: Environment,
    authority: Authority,
    backend: Backend,
    address: SocketAddr,
    /// What git is told to speak, where its page says so.
    speaks: Option<&'static str>,
}

impl Stand {
    /// tokd, with rita who may read in acme, will who may write, and sten who may nothing; a git server that believes its
    /// proxy, with acme/app; and the proxy before them.
    fn new(recipe: Recipe, own_gateway: bool) -> Self {
        let environment = Environment::migrated();
        let authority = Authority::new(&environment.path("tls"));
        authority.issue(&["localhost", "127.0.0.1"]);
        let address = free_address();
        let configuration = format!(
            "[server]\npublic_url = \"https://localhost:{}\"\nbehind_proxy = true\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
             [git]\ncreate_on_push = true\n",
            address.port()
        );
        let mut serve = environment.serve_recipe(&configuration);
        if !own_gateway {
            serve.variables.retain(|(name, _)| name != "TOKD_GIT_ROOT");
        }
        let file = environment.canaries().exempt().join("temporary");
        fs::write(&file, format!("ops:{TEMPORARY}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        environment.canaries().register("a temporary token", TEMPORARY);
        environment.start_with(&serve.arguments(&["--token-file", file.to_str().unwrap()]));
        environment.users(&["rita", "will", "sten"]).workspace("acme", &[("rita", "reader"), ("will", "writer")]);
        let repositories = if own_gateway { environment.data().join("git") } else { environment.path("repositories") };
        let bare = repositories.join("acme/app.git");
        fs::create_dir_all(&bare).unwrap();
        environment.git(&bare, &["init", "--quiet", "--bare"]).ok();
        let backend = Backend::start(&repositories);
        let site = Site {
            directory: &environment.path("front"),
            address,
            authority: &authority,
            tokd: environment.address(),
            backend: backend.address(),
        };
        let front = Front::start(recipe, &site);
        let speaks = (recipe == Recipe::NginxGateway).then_some("HTTP/1.1");
        let stand = Self { _front: front, environment, authority, backend, address, speaks };
        stand.environment.tok(&["git", "setup", &stand.place()]).ok();
        stand
    }

    /// What people clone from, without a path.
    fn place(&self) -> String {
        format!("https://{}", self.host())
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    fn url(&self, repo: &str) -> String {
        format!("{}/{repo}.git", self.place())
    }

    fn git(&self, work: &str, arguments: &[&str]) -> Git {
        let git = self.environment.git(&self.environment.work(work), arguments);
        let git = git.setting("http.sslCAInfo", self.authority.trust().to_string_lossy());
        match self.speaks {
            Some(version) => git.setting("http.version", version),
            None => git,
        }
    }

    fn clone(&self, user: &str, name: &str) -> PathBuf {
        self.git("", &["clone", "--quiet", &self.url("acme/app"), name]).acting_as(user).ok();
        self.environment.work(name)
    }

    fn ask(&self, request: &Request) -> Reply {
        request.clone().host(self.host()).send_securely(self.address, &self.authority.trust())
    }

    fn refs(&self, repo: &str, service: &str, token: &str) -> Reply {
        self.ask(&Request::refs(repo, service).bearer(token))
    }

    /// The status that somebody at this address of this machine gets who reads acme/app with this token and these headers.
    fn status_from(&self, address: &str, token: &str, headers: &[&str]) -> String {
        let trust = self.authority.trust();
        let target = format!("{}/info/refs?service={READ}", self.url("acme/app"));
        let call = self.environment.call("curl").arguments(["-s", "-4", "--http1.1", "-o", "/dev/null"]);
        let call = call.arguments(["-w", "%{http_code}", "--interface", address, "-K", "-", "--cacert"]);
        let lines = headers.iter().map(|header| format!("header = \"{header}\"\n")).collect::<Vec<_>>().concat();
        let call = call.argument(trust).argument(target);
        call.input(format!("header = \"Authorization: Bearer {token}\"\n{lines}")).ok().text().to_owned()
    }
}

/// A clone, a small push and one that is larger than `http.postBuffer`, a whole clone and a shallow one.
fn clones_and_pushes(stand: &Stand) {
    let work = stand.clone("will", "wills");
    stand.environment.commit(&work, "first", "content");
    stand.git("wills", &["push", "--quiet", "origin", "HEAD"]).acting_as("will").ok();
    // Larger than http.postBuffer (1 MiB): git asks with four bytes first, without its token.
    let large = noise(3 << 20, 7);
    stand.environment.commit(&work, "large", &large);
    let push = stand.git("wills", &["push", "--quiet", "origin", "HEAD"]).acting_as("will").ok();
    let posts: Vec<_> = push.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts.len(), 2, "the probe and the push: {posts:?}");
    assert!(push.sent_header("Transfer-Encoding", "chunked"), "over HTTP/2, where libcurl 7.88 may stand still");
    let work = stand.clone("rita", "ritas");
    assert!(fs::read(work.join("large")).unwrap() == large, "what was pushed is what was cloned");
    let shallow = ["clone", "--quiet", "--depth", "1", &stand.url("acme/app"), "shallow"];
    stand.git("", &shallow).acting_as("rita").ok();
    let (first, last) = (stand.environment.revision(&work, "HEAD"), stand.git("shallow", &["rev-parse", "HEAD"]).ok());
    assert_eq!(last.line(), first);
    assert_eq!(stand.git("shallow", &["rev-list", "--count", "HEAD"]).ok().line(), "1");
}

/// What each of them gets, who presents what, in front of either. A "no" that hides what there is has the status `hidden`.
fn each_no_is_what_it_is(stand: &Stand, hidden: u16) {
    let [rita, will, sten] = ["rita", "will", "sten"].map(|user| stand.environment.token(user, &[]));
    for (token, service, status) in
        [(&rita, READ, 200), (&rita, WRITE, 403), (&will, WRITE, 200), (&sten, READ, hidden)]
    {
        assert_eq!(stand.refs("acme/app", service, token).status, status, "{service}");
    }
    // A reader's push: the sentence, as git shows it.
    let refused = stand.refs("acme/app", WRITE, &rita);
    assert!(refused.text().contains("takes the role writer"), "{}", refused.text());
    let work = stand.clone("rita", "ritas");
    stand.environment.commit(&work, "mine", "content");
    let (exempt, url) = (stand.environment.canaries().exempt().to_owned(), stand.url("acme/app"));
    let push = stand.git("ritas", &["push", "origin", "HEAD"]).with_password(&url, "rita", &rita, &exempt);
    push.fails().says(&["remote: ", "takes the role writer"]);
    // Nobody learns what there is: a stranger, and who presents nothing, get the same for what is there and what is not.
    let [there, nowhere] = ["acme/app", "acme/none"].map(|repo| stand.refs(repo, READ, &sten));
    assert_eq!((there.status, &there.body), (nowhere.status, &nowhere.body));
    let [there, nowhere] = ["acme/app", "acme/none"].map(|repo| stand.ask(&Request::refs(repo, READ)));
    assert_eq!((there.status, nowhere.status, &there.body), (401, 401, &nowhere.body));
    // One challenge line with both schemes, the scope and the repository in it; and the same for a token that is none.
    for (reply, scope) in [
        (there, "repo:read"),
        (stand.refs("acme/app", READ, &invented_token()), "repo:read"),
        (stand.refs("acme/app", WRITE, &invented_token()), "repo:write"),
    ] {
        let line = reply.header("www-authenticate").expect("it has a challenge");
        let begin = "Basic realm=\"tok\", Bearer realm=\"tok\"";
        assert!(reply.status == 401 && line.starts_with(begin), "{}: {line}", reply.status);
        assert!(line.contains(scope) && line.contains("resource=\"acme/app\""), "{line}");
    }
    // The probe of git is answered for every address alike, and only the probe.
    let probe =
        |path: &str, body: &str| stand.ask(&Request::post(path, "application/x-git-receive-pack-request", body));
    for path in ["/acme/app.git/git-receive-pack", "/no/such.git/git-upload-pack"] {
        assert_eq!((probe(path, "0000").status, probe(path, "0000").body.len()), (200, 0), "{path}");
        assert_eq!(probe(path, "00000").status, 401, "{path}");
    }
}

/// Where a client says that it is changes nothing; where it is does.
fn addresses_are_those_that_the_proxy_saw(stand: &Stand) {
    let token = |network: &str| stand.environment.token("will", &["--allow-cidr", network]);
    let (near, proxys) = (token("127.0.0.9/32"), token("127.0.0.1/32"));
    let status = |address: &str, token: &str, headers: &[&str]| stand.status_from(address, token, headers);
    assert_eq!(status("127.0.0.9", &near, &[]), "200");
    assert_eq!(status("127.0.0.9", &near, &["X-Forwarded-For: 203.0.113.7"]), "200");
    assert_eq!(status("127.0.0.9", &near, &["Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7"]), "200");
    for forged in [
        &["X-Forwarded-For: 127.0.0.9"][..],
        &["X-Forwarded-For: 127.0.0.9, 127.0.0.9"],
        &["X_Forwarded_For: 127.0.0.9"],
        &["Connection: X-Forwarded-For", "X-Forwarded-For: 127.0.0.9"],
    ] {
        assert_ne!(status("127.0.0.1", &near, forged), "200", "{forged:?}");
    }
    // To be taken for the proxy itself is no way out either.
    for forged in [&["X-Forwarded-For: 127.0.0.1"][..], &["Connection: close, X-Forwarded-For"]] {
        assert_ne!(status("127.0.0.9", &proxys, forged), "200", "{forged:?}");
    }
}

/// Whoever asks while tokd is away.
fn without_tokd_it_is_not_known(stand: &Stand) {
    let will = stand.environment.token("will", &[]);
    assert_eq!(stand.refs("acme/app", READ, &will).status, 200);
    stand.environment.stop();
    for request in [
        Request::refs("acme/app", READ).bearer(&will),
        Request::refs("acme/app", WRITE).bearer(&will),
        Request::refs("acme/app", READ),
    ] {
        assert_eq!(stand.ask(&request).status, 503);
    }
}

/// A large answer arrives while it is made. What is behind is the other git server, or stands where tokd would.
fn answers_stream(address: SocketAddr, authority: &Authority, backend: &Backend, root: &Path, token: &str) {
    let large = noise(4 << 20, 3);
    let object = root.join("acme/app.git/objects/aa");
    fs::create_dir_all(&object).unwrap();
    fs::write(object.join("0".repeat(38)), &large).unwrap();
    backend.hold_answers();
    let mut connection = Connection::open(address, &authority.trust()).unwrap();
    write!(
        connection,
        "GET /acme/app.git/objects/aa/{} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n",
        "0".repeat(38),
        address.port()
    )
    .unwrap();
    let mut answer = vec![0; 1 << 20];
    connection.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..200]));
    backend.let_go();
    let _ = connection.read_to_end(&mut answer);
    assert!(answer.windows(64).any(|window| window == &large[large.len() - 64..]), "to its end");
}

/// A large question arrives while it is asked: the server behind knows of it before its last byte is sent.
fn questions_stream(address: SocketAddr, authority: &Authority, token: &str, arrived: impl FnMut() -> bool) {
    let mut connection = Connection::open(address, &authority.trust()).unwrap();
    write!(
        connection,
        "POST /acme/app.git/git-receive-pack HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 4000000\r\n\r\n",
        address.port()
    )
    .unwrap();
    connection.write_all(&noise(2_000_000, 5)).unwrap();
    connection.flush().unwrap();
    wait::until_true("the push is on its way", arrived);
}
