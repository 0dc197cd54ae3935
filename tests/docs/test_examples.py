"""The examples in docstrings run."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest
from support import made_results
from support.made_study import BODY_PX, write_run, write_study
from support.scratch import ROOT

from dsnet.config.detector import Variant

TEXTS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): text
    for path in sorted((ROOT / "dsnet").rglob("*.py"))
    if ">>> " in (text := path.read_text(encoding="utf-8"))
}

PROJECT = ("exports/", "cohort/", "results")
"""What examples name of a project in the working folder."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study, its annotations, results and an untrained run folder."""
    folder = tmp_path_factory.mktemp("project")
    study = write_study(folder / "study", {0.0: 150, 30.0: 200, 60.0: 300})
    (folder / "exports").mkdir()
    shutil.make_archive(str(folder / "exports" / "CT"), "zip", study)
    made_results.make(folder, patients=12, images=4)
    write_run(folder / "results/models/resnet50/ds/seed0", Variant(attention="ds"))
    annotations = folder / "cohort" / "annotations"
    annotations.mkdir(parents=True)
    row = ",".join(("IM0002", "L1", *map(str, BODY_PX)))
    (annotations / "boxes.csv").write_text(f"file_name,level,x_min,y_min,x_max,y_max\n{row}\n")
    return folder


@pytest.mark.parametrize("name", TEXTS)
def test_examples(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needed = any(f'"{part}' in TEXTS[name] for part in PROJECT)
    monkeypatch.chdir(request.getfixturevalue("project") if needed else tmp_path)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    outcome = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert outcome.attempted > 0
    assert outcome.failed == 0
