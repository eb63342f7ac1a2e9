"""The workflows of docs/ci.md: YAML, as the forges' own schemas have it, with what a job needs to have an identity."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

DOCUMENT = Path(__file__).parents[2] / "docs/ci.md"
GITHUB, GITLAB = "vendor.github-workflows", "vendor.gitlab-ci"
# Forgejo publishes none; its workflows are GitHub's with some keys more.
SCHEMAS = {"GitHub Actions": GITHUB, "GitLab CI/CD": GITLAB, "Forgejo Actions": GITHUB}


def blocks() -> list[tuple[str, str]]:
    """Each with the heading that it stands under."""
    heading, found = "", []
    for part in re.split(r"^(#+ .*|```yaml\n(?:.*\n)*?```)$", DOCUMENT.read_text(), flags=re.MULTILINE):
        if part.startswith("#"):
            heading = part.lstrip("# ")
        elif part.startswith("```yaml"):
            found.append((heading, part.removeprefix("```yaml\n").removesuffix("```")))
    return found


def steps(workflow: dict) -> list[str]:
    [job] = workflow["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def story() -> int:
    yaml, all_blocks = YAML(typ="safe", pure=True), blocks()
    assert {heading for heading, _ in all_blocks} >= set(SCHEMAS), all_blocks
    for heading, text in all_blocks:
        workflow = yaml.load(text)
        if heading == "GitHub Actions":
            assert workflow["permissions"]["id-token"] == "write", workflow
        elif heading == "Forgejo Actions":
            assert workflow.pop("enable-openid-connect") is True, workflow
        elif heading == "GitLab CI/CD":
            [job] = workflow.values()
            assert job["id_tokens"]["TOK_ID_TOKEN"]["aud"] == job["variables"]["TOK_SERVER"], job
        lines = [line for job in workflow.values() for line in job["script"]] if "GitLab" in heading else steps(workflow)
        assert lines and all(line.startswith("tok ci exec -- ") for line in lines), lines
        with TemporaryDirectory() as place:
            path = Path(place) / "workflow.yml"
            with path.open("w") as file:
                yaml.dump(workflow, file)
            check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS.get(heading, GITHUB), path]
            run = subprocess.run(check, capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, f"{heading}: {run.stdout}{run.stderr}"
    return len(all_blocks)


if __name__ == "__main__":
    print(story())
