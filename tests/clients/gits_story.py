"""Gits that others wrote, in Python: they clone from tokd and push to it with what the credential helper answers them.

    gits_story.py URL

Runs with a home of its own, in which git is set up for the server. libgit2 (pygit2) leaves credentials to its caller, which
asks `git credential` as editors do; Dulwich is asked through scmrepo, which reads git's configuration and calls the helper
itself, with its own idea of the protocol.
"""

import os
import subprocess
import sys
from pathlib import Path

import pygit2
from dulwich import porcelain
from scmrepo.git.backend.dulwich import DulwichBackend
from scmrepo.git.credentials import Credential, CredentialNotFoundError, GitCredentialHelper


class Asking(pygit2.RemoteCallbacks):
    """Fills, and says what came of it."""

    def __init__(self):
        super().__init__()
        self._filled: list[str] = []

    def credentials(self, url, username_from_url, allowed_types):
        assert allowed_types & pygit2.enums.CredentialType.USERPASS_PLAINTEXT, allowed_types
        if self._filled:
            # It is asked again only after what it gave was refused.
            git_credential("reject", self._filled.pop())
        filled = git_credential("fill", f"url={url}\n")
        self._filled.append(filled)
        said = dict(line.split("=", 1) for line in filled.splitlines())
        return pygit2.UserPass(said["username"], said["password"])

    def worked(self) -> None:
        for filled in self._filled:
            git_credential("approve", filled)


def git_credential(operation: str, text: str) -> str:
    run = subprocess.run(["git", "credential", operation], input=text + "\n", capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise PermissionError(run.stderr)
    return run.stdout


def pushing(yes: bool) -> None:
    """These do not say what they ask for: who pushes says so."""
    os.environ["TOK_PUSH"] = "1" if yes else ""


def libgit2(url: str, place: Path) -> None:
    repository = pygit2.init_repository(place / "made")
    ann = pygit2.Signature("Ann", "ann@example.com")
    (place / "made/README").write_text("by libgit2\n")
    repository.index.add("README")
    commit = repository.create_commit("refs/heads/main", ann, ann, "first", repository.index.write_tree(), [])
    remote = repository.remotes.create("origin", url)
    asking = Asking()
    pushing(False)
    try:
        remote.push(["refs/heads/main"], callbacks=asking)
    except (pygit2.GitError, PermissionError):
        pass
    else:
        raise AssertionError("a token to read has pushed")
    pushing(True)
    asking = Asking()
    remote.push(["refs/heads/main"], callbacks=asking)
    asking.worked()
    pushing(False)
    cloned = pygit2.clone_repository(url, str(place / "cloned"), callbacks=Asking(), checkout_branch="main")
    assert cloned.head.target == commit and (place / "cloned/README").read_text() == "by libgit2\n"


def dulwich(url: str, place: Path) -> None:
    porcelain.init(place / "made")
    (place / "made/README").write_text("by Dulwich\n")
    porcelain.add(place / "made", [place / "made/README"])
    ann = b"Ann <ann@example.com>"
    commit = porcelain.commit(place / "made", message=b"first", author=ann, committer=ann)
    head = porcelain.active_branch(place / "made").decode()
    pushing(True)
    DulwichBackend(place / "made").push_refspecs(url, f"refs/heads/{head}:refs/heads/main")
    pushing(False)
    DulwichBackend.clone(url, place / "cloned")
    with porcelain.open_repo_closing(place / "cloned") as cloned:
        assert cloned.head() == commit
    assert (place / "cloned/README").read_text() == "by Dulwich\n"


def directly(url: str) -> None:
    """The helper itself, as scmrepo calls it by what it reads in git's configuration."""
    [(command, use_http_path)] = set(GitCredentialHelper.get_matching_commands(url))
    assert use_http_path
    helper = GitCredentialHelper(command, use_http_path)
    filled = helper.get(Credential(url=url))
    assert filled.username == "ann" and filled.password.startswith("tokgit_") and filled.password_expiry_utc
    whole = Credential(url=url, username=filled.username, password=filled.password)
    helper.store(whole)
    assert helper.get(Credential(url=url)).password == filled.password
    helper.erase(whole)
    assert helper.get(Credential(url=url)).password != filled.password
    for other in ("https://github.com/acme/app.git", url.replace("http:", "https:"), url.replace("acme/", "../")):
        try:
            helper.get(Credential(url=other))
        except (CredentialNotFoundError, subprocess.CalledProcessError):
            continue
        raise AssertionError(f"{other} was answered")


def main() -> None:
    server, home = sys.argv[1], Path(os.environ["HOME"])
    for name, story in (("libgit2", libgit2), ("dulwich", dulwich)):
        place = home / "gits" / name
        place.mkdir(parents=True)
        story(f"{server}/acme/{name}.git", place)
    directly(f"{server}/acme/libgit2.git")


if __name__ == "__main__":
    main()
