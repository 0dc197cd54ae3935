import json
import re
import subprocess

import pytest
import torch

from dsnet.train.manifest import commit, describe


def test_the_manifest_is_json_and_says_which_versions() -> None:
    record = describe({"seed": 1}, data={"a": 1}, start={}, machine={}, result={"epoch": 2})
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["settings"] == {"seed": 1}
    assert (record["data"], record["result"]) == ({"a": 1}, {"epoch": 2})


def test_the_commit_is_known_in_a_clone_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch("[0-9a-f]{40}|unknown", commit())

    def missing(*_args: object, **_kwargs: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit() == "unknown"
