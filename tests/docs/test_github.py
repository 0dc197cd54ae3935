"""What only a code host runs is at least well formed."""

import re
from typing import Any

import pytest
import yaml
from support.scratch import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Any) -> dict[str, Any]:
    # PyYAML reads the key `on` as true, as YAML 1.1 has it.
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_are_bounded_named_and_least_privileged(path: Any) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["on"]
    for name, job in workflow["jobs"].items():
        needed = job.get("needs", [])
        assert set([needed] if isinstance(needed, str) else needed) <= set(workflow["jobs"]), name
        assert job.get("timeout-minutes") or "id-token" in job.get("permissions", {}), name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w./-]+@[\w./-]+", step.get("uses", "a/b@v1"))


def test_commands_of_the_workflows_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in WORKFLOWS:
        for target in re.findall(r"make ([\w-]+)", path.read_text(encoding="utf-8")):
            assert target in targets


def test_forms_for_issues_ask_for_no_patient_data() -> None:
    form = load(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml")
    assert {"name", "description", "body"} <= form.keys()
    assert "No patient data" in form["body"][0]["attributes"]["value"]
