"""Identity tokens of an issuer that others wrote (oidc-provider, with their own cryptography), exchanged for git tokens."""

import re
import subprocess
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlparse

import requests
from daemon import Daemon

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
CALLBACK = "https://localhost/callback"


class Issuer:
    """Runs for as long as a `with` lasts; `url` is its `iss`, `trust` who signed its certificate."""

    def __init__(self, place: Path):
        self._place, self.trust = place, place / "ca.pem"

    def __enter__(self):
        self._place.mkdir()
        self._certify()
        script = Path(__file__).parent / "issuer/issuer.mjs"
        command = ["node", script, self._place / "cert.pem", self._place / "key.pem"]
        with (self._place / "log").open("w") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(command, stderr=log, text=True, **pipes)
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise SystemExit(f"the issuer did not start:\n{(self._place / 'log').read_text()}")
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print((self._place / "log").read_text())
        self._process.stdin.close()
        self._process.wait(60)

    def _certify(self) -> None:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=self._place, check=True, capture_output=True)

        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority of the tests", "-days", "2")
        openssl("req", "-new", *ec, "-keyout", "key.pem", "-out", "cert.csr", "-subj", "/CN=localhost")
        (self._place / "names").write_text("subjectAltName=DNS:localhost\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", "cert.csr", "-out", "cert.pem", *signed)

    def job(self, what: str, algorithm: str) -> str:
        """A token of a job's."""
        form = {"grant_type": "client_credentials", "resource": f"urn:tok:{what}:{algorithm}"}
        login = ("job", "the-secret-of-a-job-of-the-tests")
        reply = requests.post(f"{self.url}/token", data=form, auth=login, verify=self.trust, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()["access_token"]

    def person(self, name: str) -> str:
        """The ID token of somebody who logs in, with a browser's few steps."""
        session = requests.Session()
        session.verify, session.trust_env = str(self.trust), False
        verifier = "v" * 43
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
        query = {"client_id": "people", "response_type": "code", "scope": "openid", "redirect_uri": CALLBACK}
        query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        reply = session.get(f"{self.url}/auth", params=query, allow_redirects=False, timeout=60)
        for _ in range(12):
            if reply.is_redirect:
                target = urljoin(reply.url, reply.headers["location"])
                if target.startswith(CALLBACK):
                    [code] = parse_qs(urlparse(target).query)["code"]
                    break
                reply = session.get(target, allow_redirects=False, timeout=60)
            else:
                [prompt] = re.findall(r'name="prompt" value="(\w+)"', reply.text)
                [action] = re.findall(r'action="([^"]+)"', reply.text)
                form = {"prompt": prompt, "login": name, "password": "any"}
                reply = session.post(urljoin(reply.url, action), data=form, allow_redirects=False, timeout=60)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
        login = ("people", "the-secret-of-people-of-the-tests")
        reply = session.post(f"{self.url}/token", data=form, auth=login, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()["id_token"]


def exchanged(daemon: Daemon, token: str) -> requests.Response:
    form = {"grant_type": GRANT, "subject_token_type": JWT, "subject_token": token}
    return requests.post(f"{daemon.url}/oauth2/token", data=form, timeout=60)


def refused(daemon: Daemon, token: str, words: str) -> None:
    reply = exchanged(daemon, token)
    assert reply.status_code == 400 and words in reply.text, reply.text


def story(daemon: Daemon) -> None:
    with Issuer(daemon.log.parent / "issuer") as issuer:
        about = ("--issuer", issuer.url, "--ca-file", str(issuer.trust), "--repo", "acme/app", "--permission", "write")
        algorithms = [word for algorithm in ALGORITHMS for word in ("--algorithm", algorithm)]
        claims = ("--claim", "repository=acme/app", "--claim", "ref=refs/heads/main")
        daemon.tok("trust", "add", "jobs", *about, "--audience", "tok", *algorithms, *claims)
        for algorithm in ALGORITHMS:
            token = issuer.job("identity", algorithm)
            granted = exchanged(daemon, token)
            assert granted.status_code == 200, f"{algorithm}: {granted.text}"
            assert granted.json()["access_token"].startswith("tokgit_") and granted.json()["scope"] == "repo:write"
            refused(daemon, token, "exchanged before")
            head, claims_part, signature = token.split(".")
            other = "A" if signature[10] != "A" else "B"
            refused(daemon, f"{head}.{claims_part}.{signature[:10]}{other}{signature[11:]}", "not believed here")
        # What is for a resource server says so, and identifies nobody.
        refused(daemon, issuer.job("access", "RS256"), "at+jwt")
        # Somebody's ID token: what the jobs' rule expects is not told to who is none of them.
        refused(daemon, issuer.person("ann"), "none is about it: it says aud=people, sub=ann")
        daemon.tok("trust", "remove", "jobs", "--force")
        daemon.tok("trust", "add", "people", *about, "--audience", "people", "--algorithm", "RS256", "--claim", "sub=ann")
        mine = issuer.person("ann")
        granted = exchanged(daemon, mine)
        assert granted.status_code == 200, granted.text
        refused(daemon, mine, "exchanged before")
        refused(daemon, issuer.person("bob"), "none is about it: it says aud=people, sub=bob")
