"""A `tokd dev` of its own in a temporary directory, with a maintainer and a manager, for as long as a `with` lasts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 60


class Daemon:
    """`url` and `address` are where it answers; `maintainer` and `manager` are tokens that may do all that they may."""

    def __init__(self, programs: Path):
        self._programs = programs

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="tokt-clients-", dir="/tmp")
        root = Path(self._directory.name)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "TOK_SOCKET": str(root / "data/tokd.sock"),
            "LC_ALL": "C.UTF-8",
        }
        self.log = root / "tokd.log"
        arguments = [self._programs / "tokd", "dev", "--data", root / "data", "--listen", "127.0.0.1:0"]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                arguments, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        # It prints one line when it answers, or ends without one.
        ready = self._process.stdout.readline().split()
        if len(ready) < 2 or ready[0] != "ready":
            self._process.wait(PATIENCE)
            raise SystemExit(f"tokd did not start:\n{self.log.read_text()}")
        self.url = ready[1]
        self.address = self.url.removeprefix("http://")
        self.tok("user", "create", "ann")
        self.tok("user", "create", "boss", "--manager")
        self.tok("workspace", "create", "acme")
        self.tok("workspace", "member", "add", "acme", "ann", "--role", "maintainer")
        self.maintainer = self.token("ann")
        self.manager = self.token("boss")
        return self

    def __exit__(self, kind, *_):
        self._process.terminate()
        code = self._process.wait(PATIENCE)
        log = self.log.read_text()
        self._directory.cleanup()
        if kind is None and (code != 0 or "panicked" in log):
            raise SystemExit(f"tokd ended with {code}:\n{log}")

    def tok(self, *arguments: str, user: str | None = None) -> str:
        """Runs `tok` on the local socket."""
        environment = self._environment | ({"TOK_USER": user} if user else {})
        run = subprocess.run(
            [self._programs / "tok", *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        if run.returncode != 0:
            raise SystemExit(f"tok {' '.join(arguments)}: {run.stderr}")
        return run.stdout.strip()

    def script(self, user: str, *arguments: str | Path) -> None:
        """Runs a Python script of these here, at home with git set up for this server, in the name of this user."""
        self.tok("git", "setup", self.url)
        environment = self._environment | {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "GIT_TERMINAL_PROMPT": "0",
            "TOK_USER": user,
        }
        run = subprocess.run([sys.executable, "-B", *arguments], env=environment, capture_output=True, text=True, timeout=300)
        if run.returncode != 0:
            raise SystemExit(f"{arguments[0]}: {run.stdout}\n{run.stderr}\n{self.log.read_text()}")

    def token(self, user: str) -> str:
        """A new token of this user's, of every scope."""
        return self.tok("token", "create", "for the clients", "--scopes", "all", user=user)
