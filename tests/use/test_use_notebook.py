"""The notebook of the documentation runs, cell by cell."""

import json
from pathlib import Path

import pytest
from support import made_results
from support.made_study import model, write_study

import dsnet
from dsnet.use import trained

NOTEBOOK = Path(__file__).parents[2] / "docs" / "predict.ipynb"


def test_every_cell_of_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "study", {0.0: 150, 30.0: 200})
    made = made_results.make(tmp_path / "cohort", patients=12, images=4)
    monkeypatch.setenv("DSNET_MODEL", "made")
    monkeypatch.setenv("DSNET_STUDY", str(tmp_path / "study"))
    monkeypatch.setenv("DSNET_RESULTS", str(made.config.results))
    # A network takes no part in what the notebook shows.
    monkeypatch.setattr(trained, "load_model", lambda _: model())
    names: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102 - our own documentation
    assert names["dsnet"] is dsnet
    assert len(names["result"].grades) == 1  # type: ignore[attr-defined]  # a Result
    assert names["reports"]
