"""Clients that others wrote, against a live tokd: `./dev clients` installs them and runs this.

    run.py DIRECTORY-OF-THE-PROGRAMS [SEED]

One walks a token's life by /openapi.json alone, one by gRPC's reflection alone, two are gits that clone and push, one is an issuer
of identity tokens, and one throws what it makes up at every operation of the document and holds every answer against it.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import grpc_story
import issuer_story
import openapi_story
import workflows
from daemon import Daemon

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,ignored_auth"
)


def everything(daemon: Daemon, seed: str) -> None:
    """Made-up requests to every operation, by a manager, who gets furthest."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{daemon.url}/openapi.json"]
    command += ["--header", f"Authorization: Bearer {daemon.manager}", "--checks", CHECKS, "--seed", seed]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "30"]
    command += ["--no-color", "--warnings", "off", "--generation-database", "none"]
    here = str(Path(__file__).parent)
    paths = os.pathsep.join(path for path in (here, os.environ.get("PYTHONPATH", "")) if path)
    around = os.environ | {"SCHEMATHESIS_HOOKS": "magic_words", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=daemon.log.parent, env=around, capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        raise SystemExit(f"{run.stdout}\n{run.stderr}\nthe seed was {seed}")
    print("\n".join(line for line in run.stdout.splitlines() if "generated" in line or "Tested:" in line))


def main() -> None:
    programs = Path(sys.argv[1]).resolve()
    seed = sys.argv[2] if len(sys.argv) > 2 else str(secrets.randbelow(1 << 32))
    with Daemon(programs) as daemon:
        openapi_story.story(daemon.url, daemon.maintainer)
        print("a client of the OpenAPI document: every answer is as the document says")
        grpc_story.story(daemon.address, daemon.maintainer)
        print("a client of gRPC's reflection: every answer is as it should be")
        daemon.script("ann", Path(__file__).with_name("gits_story.py"), daemon.url)
        print("libgit2 and Dulwich: clone and push")
        issuer_story.story(daemon)
        print("oidc-provider: identity tokens in " + ", ".join(issuer_story.ALGORITHMS))
        print(f"workflows: {workflows.story()}, as the forges' schemas have them")
        everything(daemon, seed)


if __name__ == "__main__":
    main()
