"""A withdrawal of consent as a session: what is listed, what is removed, what stays out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.ct_builder import ct_slice, save
from typer.testing import CliRunner

from dsnet import schemas
from dsnet.cli import app
from dsnet.config.cohort import Annotations, Dxa, Exclude, Ingest, Label
from dsnet.exclude.step import exclude
from dsnet.ingest.step import ingest
from dsnet.match.step import match
from dsnet.results import Results

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


def add_later_results(results: Results, patient: str) -> list[Path]:
    """Write what later steps would have written of a patient, and return the paths."""
    ledger = results.ledger
    mine = ledger[ledger["patient_key"] == patient]
    split = mine[["image_key", "patient_key"]].assign(subset="train", stratum="normal")
    schemas.write(schemas.SPLIT, split, results.cohort / "split.csv")
    paths = [
        results.folder / "models" / "resnet50" / "ds" / "seed0" / "weights.pt",
        results.folder / "deidentified" / patient / "S-1" / "I-1.dcm",
        results.cohort / "slices.npy",
        results.folder / "report.html",
        results.folder / "predictions" / "test.parquet",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made from patients")
    pd.DataFrame({"image_key": mine["image_key"].tolist()}).to_parquet(paths[-1])
    return [*paths, results.cohort / "split.csv"]


def key_of(results: Results, identity: str) -> str:
    identities = results.private(Path("private")).read_map()
    return str(identities.loc[identities["patient_id"] == identity, "patient_key"].iloc[0])


def test_a_withdrawal_lists_removes_and_keeps_out(project: Path) -> None:
    results = Results(Path("results"))
    key, other = (key_of(results, identity) for identity in IDS)
    later = add_later_results(results, key)
    before = {path for path in project.rglob("*") if path.is_file()}

    listed = call("000111")
    assert "Nothing was removed" in listed
    assert {path for path in project.rglob("*") if path.is_file()} == before
    for path in (*later, results.cohort / "ledger.csv", results.cohort / "index.parquet"):
        assert str(path) in listed, path
    assert "a model trained on the patient" in listed
    assert "private/ingest-" in listed
    assert "000111" not in listed
    assert call(key) == listed

    removed = call(key, "--yes")
    assert "excluded (withdrawn) if they are found again" in removed
    assert not any(path.exists() for path in later)
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
            content = path.read_bytes()
            assert b"Brannock" not in content, path
            assert b"1.2.0.0" not in content, path
    record = pd.read_csv(again.private(Path("private")).withdrawn_path)
    assert record["patient_key"].tolist() == [key]
    run_steps()


def test_an_unknown_patient_is_a_sentence(project: Path) -> None:
    assert project.is_dir()
    done = CliRunner().invoke(app, ["withdraw", "999"])
    assert done.exit_code == 1
