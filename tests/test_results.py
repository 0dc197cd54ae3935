"""Results know whose they are: two cohorts whose files have the same names."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.ct_builder import ct_slice, save

from dsnet import schemas
from dsnet.config.cohort import Ingest
from dsnet.config.output import Deidentify, PhiCheck
from dsnet.deidentify.step import write_deidentified
from dsnet.errors import UserError
from dsnet.files import read_json
from dsnet.ingest.step import ingest
from dsnet.phi.step import check
from dsnet.private import PHANTOM_UID_ROOT, cohort_ids
from dsnet.results import SOURCE, Results, check_source

pytestmark = pytest.mark.slow

PEOPLE = {"a": ("000111", "Brannock^Ida"), "b": ("000222", "Thornabee^Greta")}


def write_cohort(folder: Path, name: str, files: range = range(6), **header: Any) -> Path:
    """Write a cohort as CD exports are: the same file names in each."""
    identity, person = PEOPLE[name]
    random = np.random.default_rng(ord(name))
    pixels = random.integers(0, 900, (20, 16, 16))
    for number in files:
        values = {
            "PatientID": identity,
            "PatientName": person,
            "SOPInstanceUID": f"1.2.{ord(name)}.{number}",
            "SeriesInstanceUID": f"1.2.{ord(name)}",
            "ImagePositionPatient": [0, 0, 4 * number],
            **header,
        }
        save(ct_slice(pixels[number], **values), folder / "dicom" / f"IM{number:05d}")
    return folder


def run(tmp_path: Path, cohort: Path, results: str) -> Results:
    out = tmp_path / results / "cohort"
    ingest(
        ingest=Ingest(processes=1),
        cohort=cohort,
        private=tmp_path / "private",
        index=out / "index.parquet",
        source=out / "source.json",
    )
    return Results(tmp_path / results)


@pytest.fixture
def two(tmp_path: Path) -> dict[str, Results]:
    """Results of two cohorts that share one private folder."""
    return {
        name: run(tmp_path, write_cohort(tmp_path / "data" / name, name), f"results-{name}")
        for name in PEOPLE
    }


def write_ledger(results: Results) -> None:
    ledger = results.index[["file_key", "image_key", "patient_key", "study_key", "series_key"]]
    blank = dict.fromkeys(list(schemas.LEDGER.columns)[5:], "")
    ledger = ledger.assign(**{**blank, "status": "included", "decided_by": "rule"})
    schemas.write(schemas.LEDGER, ledger, results.cohort / "ledger.csv")


def test_the_self_test_looks_for_the_identities_of_the_results(
    tmp_path: Path, two: dict[str, Results]
) -> None:
    (two["b"].folder / "leak.csv").write_text("name\nThornabee^Greta\n")
    report = tmp_path / "phi_check.json"
    search = {"params": PhiCheck(processes=1), "private": tmp_path / "private", "report": report}
    with pytest.raises(UserError, match="expected no identifying value"):
        check([two["b"].folder], results=two["b"], **search)
    with pytest.raises(UserError, match="results of another one; search it with --results"):
        check([two["b"].folder], results=two["a"], **search)
    assert check([two["a"].folder], results=two["a"], **search).files > 0


def test_deidentification_never_takes_another_cohorts_pixels(
    tmp_path: Path, two: dict[str, Results]
) -> None:
    write_ledger(two["b"])
    paths = {
        "deidentify": Deidentify(processes=1),
        "private": tmp_path / "private",
        "source": two["b"].folder / SOURCE,
        "ledger": two["b"].cohort / "ledger.csv",
        "files": tmp_path / "out" / "files.csv",
        "refused": tmp_path / "out" / "refused.csv",
    }
    with pytest.raises(UserError, match="results of another one"):
        write_deidentified(cohort=tmp_path / "data" / "a", **paths)
    assert not (tmp_path / "out").exists()
    changed = ct_slice(np.full((16, 16), 77), PatientID="000222", SOPInstanceUID="1.2.98.0")
    save(changed, tmp_path / "data" / "b" / "dicom" / "IM00000")
    write_deidentified(cohort=tmp_path / "data" / "b", **paths)
    refused = schemas.read(schemas.REFUSED, paths["refused"])
    assert refused["reason"].str.contains("not those that were ingested").tolist() == [True]
    assert len(schemas.read(schemas.DEIDENTIFIED, paths["files"])) == 5


def test_each_results_folder_leads_to_its_own_map(tmp_path: Path, two: dict[str, Results]) -> None:
    for name, results in two.items():
        identities = results.private(tmp_path / "private").read_map()
        assert set(identities["patient_id"]) == {PEOPLE[name][0]}
        with pytest.raises(UserError, match="results of another one"):
            results.private(tmp_path / "private", tmp_path / "data" / "ba"[name == "b"])
    assert set(two["a"].index["file_key"]).isdisjoint(two["b"].index["file_key"])


def test_results_are_never_written_over_by_another_cohort(
    tmp_path: Path, two: dict[str, Results]
) -> None:
    before = {path.name: path.read_bytes() for path in two["b"].cohort.iterdir()}
    with pytest.raises(UserError, match="results of another one"):
        run(tmp_path, tmp_path / "data" / "a", "results-b")
    with pytest.raises(UserError, match="results of another one"):
        check_source(two["b"].folder, tmp_path / "private", tmp_path / "data" / "a")
    check_source(two["b"].folder, tmp_path / "private", tmp_path / "data" / "b")
    check_source(two["b"].folder, tmp_path / "private", tmp_path / "data" / "gone")
    assert {path.name: path.read_bytes() for path in two["b"].cohort.iterdir()} == before


def test_a_cohort_is_recognised_after_a_move_a_rename_new_and_removed_files(
    tmp_path: Path, two: dict[str, Results]
) -> None:
    first = two["a"].index.set_index("image_key")["file_key"]
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.move(tmp_path / "data" / "a", moved)
    for path in sorted((moved / "dicom").iterdir()):
        path.rename(path.with_name(f"NEW{path.name}.dcm"))
    assert two["a"].private(tmp_path / "private", moved).cohort_id == two["a"].source.cohort_id
    write_cohort(moved, "a", range(6, 20))
    again = run(tmp_path, moved, "results-a")
    assert again.source.cohort_id == two["a"].source.cohort_id
    assert len(again.index) == 20
    assert set(first.index) <= set(again.index["image_key"])
    assert run(tmp_path, moved, "results-fresh").source.cohort_id == two["a"].source.cohort_id
    assert len(cohort_ids(tmp_path / "private")) == 2


def test_a_restore_into_another_path_finds_the_cohort_again(
    tmp_path: Path, two: dict[str, Results]
) -> None:
    restored = tmp_path / "restored"
    for name in ("private", "data/a"):
        shutil.copytree(tmp_path / name, restored / name)
    again = run(restored, restored / "data" / "a", "results")
    pd.testing.assert_frame_equal(again.index, two["a"].index)


def test_without_uids_pixels_tell(tmp_path: Path) -> None:
    blank = {"SOPInstanceUID": "", "StudyInstanceUID": "", "SeriesInstanceUID": "", "PatientID": ""}
    first = run(tmp_path, write_cohort(tmp_path / "x", "a", **blank), "one")
    shutil.move(tmp_path / "x", tmp_path / "y")
    assert run(tmp_path, tmp_path / "y", "two").source.cohort_id == first.source.cohort_id
    other = run(tmp_path, write_cohort(tmp_path / "z", "b", **blank), "three")
    assert other.source.cohort_id != first.source.cohort_id
    assert set(other.index["patient_key"]).isdisjoint(first.index["patient_key"])


def test_two_candidates_are_a_sentence(tmp_path: Path, two: dict[str, Results]) -> None:
    private = tmp_path / "private"
    shutil.copytree(private / two["a"].source.cohort_id, private / ("0" * 16))
    with pytest.raises(UserError, match="at most one cohort that shares most images") as caught:
        run(tmp_path, tmp_path / "data" / "a", "fresh")
    assert "0" * 16 in str(caught.value)
    run(tmp_path, tmp_path / "data" / "a", "results-a")


def test_a_lost_map_or_key_is_a_sentence(tmp_path: Path, two: dict[str, Results]) -> None:
    shutil.rmtree(tmp_path / "private" / two["a"].source.cohort_id)
    with pytest.raises(UserError, match="expected the map of the cohort"):
        run(tmp_path, tmp_path / "data" / "a", "results-a")
    (tmp_path / "private" / "pseudonym.key").write_text("ab" * 32)
    with pytest.raises(UserError, match="made with another key"):
        run(tmp_path, tmp_path / "data" / "b", "results-b")
    (tmp_path / "private" / "pseudonym.key").unlink()
    with pytest.raises(UserError, match="no file"):
        run(tmp_path, tmp_path / "data" / "b", "results-b")
    assert not (tmp_path / "private" / "pseudonym.key").exists()


def test_a_copied_cohort_json_makes_no_key_public(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "hospital", "a")
    about = {"name": "phantom", "synthetic": True, "phantom_seed": 5}
    (cohort / "cohort.json").write_text(json.dumps(about))
    real = run(tmp_path, cohort, "results")
    assert real.source.phantom_seed is None
    assert (tmp_path / "private" / "pseudonym.key").exists()
    for number in range(6):
        root = f"{PHANTOM_UID_ROOT}5.{number}"
        path = tmp_path / "phantom" / "dicom" / f"{number}"
        save(ct_slice(np.full((4, 4), number), SOPInstanceUID=root), path)
    shutil.copy(cohort / "cohort.json", tmp_path / "phantom")
    phantom = run(tmp_path / "p", tmp_path / "phantom", "results")
    assert phantom.source.phantom_seed == 5
    shutil.copy(cohort / "dicom" / "IM00000", tmp_path / "phantom" / "dicom" / "real")
    with pytest.raises(UserError, match="results of another one"):
        run(tmp_path / "p", tmp_path / "phantom", "results")
    assert not (tmp_path / "p" / "private" / "pseudonym.key").exists()
    blank = ct_slice(np.full((4, 4), 9), SOPInstanceUID="")
    save(blank, tmp_path / "phantom" / "dicom" / "real")
    assert run(tmp_path / "q", tmp_path / "phantom", "results").source.phantom_seed is None


def test_the_stamp_names_the_cohort_by_its_public_name(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "Brannock Hospital", "a")
    about = {"name": "demo", "synthetic": True, "note": "made up"}
    (cohort / "cohort.json").write_text(json.dumps(about))
    results = run(tmp_path, cohort, "results")
    source = results.source
    assert (source.name, source.synthetic, source.note) == ("demo", True, "made up")
    assert "Brannock" not in (results.folder / SOURCE).read_text()


def test_files_of_two_runs_are_refused(two: dict[str, Results]) -> None:
    for results in two.values():
        write_ledger(results)
    shutil.copy(two["b"].cohort / "ledger.csv", two["a"].cohort / "ledger.csv")
    with pytest.raises(
        UserError, match=r"ledger\.csv: expected the file that was written together"
    ):
        _ = Results(two["a"].folder).ledger
    shutil.copy(two["b"].cohort / "index.parquet", two["a"].cohort / "index.parquet")
    with pytest.raises(UserError, match=r"index\.parquet: expected the file that was written"):
        _ = Results(two["a"].folder).index


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_a_stamp_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / SOURCE
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match="the JSON object of an earlier step"):
        _ = Results(tmp_path).source


def test_a_json_file_without_its_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "x.json", "a") == {"a": 1}
    with pytest.raises(UserError, match=r"x\.json"):
        read_json(tmp_path / "x.json", "a", "b")


def test_what_the_workflow_loads_is_light() -> None:
    code = "import sys, dsnet.results; print({'pandas', 'pydicom', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
