import json
import shutil
from pathlib import Path

import pytest
import yaml
from support.scratch import ROOT

from dsnet.cohort.folder import CohortFolder
from dsnet.config.load import LOCAL, config_files, load
from dsnet.errors import UserError
from dsnet.start.project import lay_out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the files that `lay_out` reads."""
    for name in ("config/config.yaml", "config/paper.yaml", "dvc.yaml", "all/dvc.yaml"):
        target = tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return tmp_path / "project"


def settings(path: Path) -> dict[str, object]:
    values: dict[str, object] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


def test_a_folder_and_a_config_are_laid_out(project: Path, tmp_path: Path) -> None:
    said = list(lay_out(tmp_path / "raw", project=project))
    assert said[-1] == "Fill the folder, then call dsnet check."
    folder = CohortFolder(tmp_path / "raw")
    folder.check()
    assert folder.strangers() == []
    assert folder.dxa.read_text(encoding="utf-8").startswith("patient_id,exam_date,L1_t_score,")
    assert not folder.synthetic
    ignored = (project / "results-own" / ".gitignore").read_text(encoding="utf-8")
    assert ignored == (ROOT / "results" / ".gitignore").read_text(encoding="utf-8")
    local = settings(project / LOCAL)
    assert local == {"cohort": (tmp_path / "raw").as_posix(), "results": "results-own"}
    assert config_files(project) == [project / "config/config.yaml", project / LOCAL]
    assert load({**settings(project / "config/config.yaml"), **local}).cohort == tmp_path / "raw"


def test_what_is_there_stays(project: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "DXA.xlsx").write_bytes(b"a workbook")
    (raw / "cohort.json").write_text('{"name": "ours"}', encoding="utf-8")
    list(lay_out(raw, project=project))
    assert sorted(path.name for path in raw.iterdir()) == [
        "DXA.xlsx",
        "annotations",
        "clinical.csv",
        "cohort.json",
        "dicom",
    ]
    assert json.loads((raw / "cohort.json").read_text(encoding="utf-8")) == {"name": "ours"}


def test_a_second_config_is_not_written_over_the_first(project: Path, tmp_path: Path) -> None:
    list(lay_out(tmp_path / "raw", project=project))
    before = (project / LOCAL).read_bytes()
    with pytest.raises(UserError, match="expected no config of your own yet"):
        list(lay_out(tmp_path / "other", project=project))
    assert (project / LOCAL).read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_the_settings_of_the_paper_are_taken_over(project: Path, tmp_path: Path) -> None:
    list(lay_out(tmp_path / "raw", paper=True, project=project))
    local = settings(project / LOCAL)
    assert local["train"] == settings(project / "config/paper.yaml")["train"]


def test_own_stages_are_those_of_the_demo_with_the_own_config(
    project: Path, tmp_path: Path
) -> None:
    list(lay_out(tmp_path / "raw", project=project))
    own = settings(project / "own" / "dvc.yaml")
    demo = settings(project / "dvc.yaml")
    assert own["vars"] == ["../config/local.yaml:cohort,results"]
    stages, of_demo = own["stages"], demo["stages"]
    assert isinstance(stages, dict)
    assert isinstance(of_demo, dict)
    assert set(stages) == {"pipeline", "all"}
    assert stages["pipeline"]["outs"] == of_demo["pipeline"]["outs"]
    assert {"config/local.yaml": None} in stages["pipeline"]["params"]
    assert all(stage["wdir"] == ".." for stage in stages.values())
