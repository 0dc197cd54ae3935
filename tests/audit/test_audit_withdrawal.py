"""A withdrawal of consent as a session: what is listed, what is removed, what stays out."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.ct_builder import ct_slice, save
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.audit import withdrawal
from dsnet.cli import app
from dsnet.config.cohort import Annotations, Clinical, Dxa, Exclude, Ingest, Label
from dsnet.config.output import PhiCheck
from dsnet.exclude.step import exclude
from dsnet.ingest.step import ingest
from dsnet.match.step import match
from dsnet.phi.step import check
from dsnet.private import PrivateCohort
from dsnet.results import Results

pytestmark = pytest.mark.slow

IDS = ("000111", "000222")
NAMES = ("Brannock^Ida", "Thornabee^Greta")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder in which two patients went through the exclusions."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for number, (identity, name) in enumerate(zip(IDS, NAMES, strict=True)):
        for position in range(3):
            dataset = ct_slice(
                random.integers(0, 900, (16, 16)),
                PatientID=identity,
                PatientName=name,
                SOPInstanceUID=f"1.2.{number}.{position}",
                StudyInstanceUID=f"1.2.{number}",
                ImagePositionPatient=[0, 0, 4 * position],
            )
            save(dataset, tmp_path / "cohort" / "dicom" / name / f"IM{position}")
    rows = [f"{identity},2020-02-29,-1.5" for identity in IDS]
    table = "\n".join(["patient_id,exam_date,L1-L4_t_score", *rows]) + "\n"
    (tmp_path / "cohort" / "dxa.csv").write_text(table)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("cohort: cohort\nprivate: private\n")
    run_steps()
    return tmp_path


def run_steps() -> Results:
    """Run ingestion, match and exclusions."""
    folder = Path("results/cohort")
    common = {"cohort": Path("cohort"), "private": Path("private")}
    index, source = folder / "index.parquet", folder / "source.json"
    ingest(ingest=Ingest(processes=1), index=index, source=source, **common)
    names = ("boxes", "exams", "patients", "decisions")
    matched = {name: folder / f"{name}.csv" for name in names}
    matched["boxes"] = folder / "annotations.csv"
    match(
        annotations=Annotations(),
        clinical=Clinical(),
        dxa=Dxa(),
        label=Label(),
        source=source,
        index=index,
        **matched,
        **common,
    )
    exclude(
        exclude=Exclude(),
        label=Label(),
        source=source,
        index=index,
        **matched,
        ledger=folder / "ledger.csv",
        exclusions=folder / "exclusions.csv",
        flow=folder / "flow.json",
    )
    return Results(Path("results"))


def call(*arguments: str) -> str:
    """Return what ``dsnet withdraw`` prints."""
    done = CliRunner().invoke(app, ["withdraw", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def add_later_results(results: Results, patient: str, other: str) -> list[Path]:
    """Write what later steps would have written, and return the paths of what is the patient's.

    The patient is in the training subset; in the leaky trial, which has a split of its own, too.
    The other patient is in the test subset alone.
    """
    folder, leaky = results.folder, results.folder / "leakage" / "LEAKY" / "true"
    keys = results.ledger.set_index("patient_key")["image_key"]
    for path, subset in ((results.cohort, {patient: "train"}), (leaky, {other: "train"})):
        rows = keys[[patient, other]].reset_index()
        subsets = rows["patient_key"].map(subset).fillna("test")
        split = rows[["image_key", "patient_key"]].assign(subset=subsets, stratum="normal")
        path.mkdir(parents=True, exist_ok=True)
        schemas.write(schemas.SPLIT, split, path / "split.csv")
    mine = [
        folder / "models" / "resnet50" / "ds" / "seed0" / "weights.pt",
        folder / "checkpoints" / "resnet50" / "ds" / "seed0" / "last.pt",
        folder / "baseline" / "model.json",
        folder / "deidentified" / patient / "S-1" / "I-1.dcm",
        results.cohort / "slices.npy",
        folder / "report.html",
        leaky / "predictions" / "vgg16" / "none" / "seed0" / "coco_results.json",
        folder / "metrics" / "per_patient.json",
        results.cohort / "thumbnails.parquet",
    ]
    others = [
        leaky / "models" / "vgg16" / "none" / "seed0" / "weights.pt",
        folder / "checkpoints" / "leakage" / "LEAKY" / "true" / "vgg16" / "none" / "last.pt",
        folder / "checkpoints" / "resnet50" / "ds" / "seed0" / "busy",
        folder / "predictions" / "resnet50" / "ds" / "seed0" / "test.parquet",
        leaky / "model.json",
        folder / "deidentified" / other / "S-1" / "I-1.dcm",
        folder / "metrics.json",
    ]
    for path in (*mine, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made from patients")
    (folder / "metrics" / "per_patient.json").write_text(f'{{"worst": "{patient}"}}')
    pd.DataFrame({"image_key": keys[[patient]]}).to_parquet(mine[-1])
    pd.DataFrame({"image_key": keys[[other]]}).to_parquet(others[3])
    return [*mine, results.cohort / "split.csv", leaky / "split.csv"]


def add_dropped(private: PrivateCohort, patient: str, other: str) -> Path:
    """Write what de-identification would have removed of both patients."""
    path = private.identifying_path.with_name(schemas.DROPPED_NAME)
    rows = [(f"for {key}", "StudyComments", "text", key) for key in (patient, other)]
    frame = pd.DataFrame(rows, columns=list(schemas.IDENTIFYING.columns))
    schemas.write(schemas.IDENTIFYING, frame, path)
    return path


def key_of(results: Results, identity: str) -> str:
    identities = results.private(Path("private")).read_map()
    return str(identities.loc[identities["patient_id"] == identity, "patient_key"].iloc[0])


def test_a_withdrawal_lists_removes_and_keeps_out(project: Path) -> None:
    results = Results(Path("results"))
    key, other = (key_of(results, identity) for identity in IDS)
    private = results.private(Path("private"))
    later, dropped = add_later_results(results, key, other), add_dropped(private, key, other)
    before = {path for path in project.rglob("*") if path.is_file()}

    listed = call("000111")
    assert "Nothing was removed" in listed
    assert {path for path in project.rglob("*") if path.is_file()} == before
    for path in (*later, results.cohort / "ledger.csv", results.cohort / "index.parquet"):
        assert str(path) in listed, path
    assert listed.count("a model trained on the patient") == 3
    assert "ledger.csv: 3 rows" in listed
    assert f"{dropped}: 1 rows" in listed
    assert "private/ingest-" in listed
    assert "000111" not in listed
    assert call(key) == listed

    removed = call(key, "--yes")
    assert "excluded (withdrawn) if they are found again" in removed
    assert not any(path.exists() for path in later)
    assert set(schemas.read(schemas.IDENTIFYING, dropped)["patient_key"]) == {other}
    values = schemas.read(schemas.IDENTIFYING, private.identifying_path)["value"]
    assert not values.str.contains("Brannock|000111").any()
    cohort = {path for path in before if path.is_relative_to(project / "cohort")}
    assert set((project / "cohort").rglob("*")) >= cohort

    again = run_steps()
    flow = {step["slug"]: step["removed"]["files"] for step in again.flow["steps"]}
    assert flow["withdrawn"] == 3
    mine = again.index[again.index["patient_key"] == key]
    assert mine["fault"].tolist() == ["withdrawn"] * 3
    assert set(mine["image_key"]) | set(mine["pixel_hash"]) == {""}
    assert set(again.exams["patient_key"]) == {other}
    assert set(again.patients["patient_key"]) == {other}
    assert again.index["patient_key"].eq(other).sum() == 3
    for path in (*Path("private").rglob("*"), *Path("results").rglob("*")):
        if path.is_file():
            table = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else ""
            content = path.read_bytes() + table.encode()
            assert b"Brannock" not in content, path
            assert b"1.2.0.0" not in content, path
    record = pd.read_csv(again.private(Path("private")).withdrawn_path)
    assert record["patient_key"].tolist() == [key]
    run_steps()
    report = project / "phi_check.json"
    check([Path("results")], PhiCheck(processes=1), again, private=Path("private"), report=report)


def test_what_others_gave_stays(project: Path) -> None:
    results = Results(Path("results"))
    key, other = (key_of(results, identity) for identity in IDS)
    mine = add_later_results(results, key, other)
    later = {path for path in (project / "results").rglob("*") if path.is_file()}
    listed = call("000222", "--yes")
    assert listed.count("a model trained on the patient") == 3
    kept = {path.resolve() for path in mine if "models" in path.parts or path.name == "model.json"}
    kept |= {path for path in later if path.name in ("busy", "last.pt", "metrics.json")}
    kept = {path for path in kept if "leakage" not in path.parts}
    assert kept
    assert all(path.exists() for path in kept)


def test_a_patient_who_withdrew_is_left_out_of_other_cohorts(project: Path) -> None:
    """A new export has other images, and so is another cohort with the same key."""
    key = key_of(Results(Path("results")), "000111")
    call("000111", "--yes")
    for path in sorted((project / "cohort" / "dicom").rglob("IM*")):
        path.unlink()
    for number, identity in enumerate(IDS):
        for position in range(2):
            dataset = ct_slice(
                np.random.default_rng(9 + position).integers(0, 900, (16, 16)),
                PatientID=identity,
                SOPInstanceUID=f"1.2.9.{number}.{position}",
                ImagePositionPatient=[0, 0, 4 * position],
            )
            save(dataset, project / "cohort" / "dicom" / str(number) / f"IM{position}")
    for path in Path("results").rglob("*.*"):
        path.unlink()
    again = run_steps()
    withdrawn = again.index["fault"] == "withdrawn"
    assert set(again.index["patient_key"][withdrawn]) == {key}
    assert withdrawn.sum() == 2


def test_copies_in_the_cache_of_dvc_are_counted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = next((project / "cohort" / "dicom" / "Brannock^Ida").iterdir())
    digest = hashlib.md5(original.read_bytes(), usedforsecurity=False).hexdigest()
    cache = project / "cache" / "files" / "md5"
    (cache / digest[:2]).mkdir(parents=True)
    (cache / digest[:2] / digest[2:]).write_bytes(original.read_bytes())
    assert "0 copies of these in DVC's cache" in call("000111")
    (project / ".dvc").mkdir()
    answer = subprocess.CompletedProcess([], 0, stdout=f"{project / 'cache'}\n")
    monkeypatch.setattr(withdrawal.subprocess, "run", lambda *_, **__: answer)
    assert "1 copies of these in DVC's cache, which only dvc gc removes" in call("000111")
    assert "0 copies of these" in call("000222")


def test_an_unknown_patient_is_a_sentence(project: Path) -> None:
    assert project.is_dir()
    done = CliRunner().invoke(app, ["withdraw", "999"])
    assert done.exit_code == 1
