import json
import os
import re
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from dsnet.train import manifest
from dsnet.train.manifest import commit, describe


def test_the_manifest_is_json_and_says_which_versions() -> None:
    record = describe({"seed": 1}, data={"a": 1}, start={}, machine={}, result={"epoch": 2})
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["settings"] == {"seed": 1}
    assert (record["data"], record["result"]) == ({"a": 1}, {"epoch": 2})


def test_the_package_need_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in conda's environment, where steps import it from the clone."""
    installed = manifest.version

    def version(name: str) -> str:
        if name == "dsnet":
            raise PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(manifest, "version", version)
    assert describe({}, data={}, start={}, machine={}, result={})["versions"]["dsnet"]


def test_the_commit_is_known_in_a_clone_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch("[0-9a-f]{40}|unknown", commit())

    def missing(*_args: object, **_kwargs: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit() == "unknown"
    monkeypatch.setenv("DSNET_COMMIT", "a" * 40)
    assert commit() == "a" * 40


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root changes owners")
def test_the_commit_of_another_users_clone_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "a"]):
        subprocess.run([*git, *words], check=True)
    made = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    refused = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=False)
    assert b"dubious ownership" in refused.stderr
    monkeypatch.setattr(manifest, "__file__", str(tmp_path / "manifest.py"))
    assert commit() == made
