import json
import subprocess
import sys
from pathlib import Path

import pytest

from dsnet.cohort.folder import CohortFolder
from dsnet.errors import UserError
from dsnet.ingest.source import check_source, stamp
from dsnet.pseudonym import open_vault


@pytest.fixture
def cohort(tmp_path: Path) -> CohortFolder:
    (tmp_path / "cohort").mkdir()
    return CohortFolder(tmp_path / "cohort")


@pytest.fixture
def source(tmp_path: Path, cohort: CohortFolder) -> Path:
    path = tmp_path / "results" / "source.json"
    path.parent.mkdir()
    path.write_text(json.dumps(stamp(cohort, open_vault(tmp_path / "p", cohort, create=True))))
    return path


def test_the_same_cohort_and_key_may(tmp_path: Path, cohort: CohortFolder, source: Path) -> None:
    check_source(source, cohort, tmp_path / "p")


def test_results_without_a_stamp_are_anybodys(tmp_path: Path, cohort: CohortFolder) -> None:
    check_source(tmp_path / "none.json", cohort, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_another_cohort_may_not(tmp_path: Path, source: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="results of another one"):
        check_source(source, CohortFolder(tmp_path / "other"), tmp_path / "p")


def test_another_key_may_not(tmp_path: Path, cohort: CohortFolder, source: Path) -> None:
    (tmp_path / "p" / "pseudonym.key").write_text("ab" * 32)
    with pytest.raises(UserError, match="another key"):
        check_source(source, cohort, tmp_path / "p")


def test_a_lost_key_is_not_made_anew(tmp_path: Path, cohort: CohortFolder, source: Path) -> None:
    (tmp_path / "p" / "pseudonym.key").unlink()
    with pytest.raises(UserError, match="no file"):
        check_source(source, cohort, tmp_path / "p")
    assert not (tmp_path / "p" / "pseudonym.key").exists()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_stamp_that_is_none(tmp_path: Path, cohort: CohortFolder, text: str) -> None:
    path = tmp_path / "source.json"
    path.write_text(text)
    with pytest.raises(UserError, match="the JSON object that ingestion writes"):
        check_source(path, cohort, tmp_path / "p")


def test_a_phantom_of_another_seed_may(tmp_path: Path) -> None:
    folder = tmp_path / "phantom"
    folder.mkdir()
    about = folder / "cohort.json"
    about.write_text('{"synthetic": true, "phantom_seed": 1}')
    path = tmp_path / "source.json"
    path.write_text(
        json.dumps(stamp(CohortFolder(folder), open_vault(tmp_path, CohortFolder(folder))))
    )
    about.write_text('{"synthetic": true, "phantom_seed": 2}')
    check_source(path, CohortFolder(folder), tmp_path / "p")


def test_a_stamp_names_the_cohort_by_its_public_name(tmp_path: Path) -> None:
    (tmp_path / "cohort.json").write_text('{"name": "demo", "synthetic": true, "note": "made up"}')
    cohort = CohortFolder(tmp_path)
    found = stamp(cohort, open_vault(tmp_path / "p", cohort, create=True))
    assert (found["name"], found["synthetic"], found["note"]) == ("demo", True, "made up")
    assert tmp_path.name not in json.dumps(found)


def test_the_guard_is_light() -> None:
    code = (
        "import sys, dsnet.ingest.source; print({'pandas', 'pydicom', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
