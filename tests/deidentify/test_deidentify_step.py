import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from dsnet.pseudonym import open_vault

from dsnet import schemas
from dsnet.cohort.folder import CohortFolder
from dsnet.config.cohort import Ingest, Phantom
from dsnet.config.output import Deidentify, PhiCheck
from dsnet.deidentify.burned_in import Reason
from dsnet.deidentify.profile import Keys, Secret
from dsnet.deidentify.step import Task, write_deidentified, write_slice
from dsnet.errors import UserError
from dsnet.ingest.step import ingest
from dsnet.phantom.cases import KEPT, Case
from dsnet.phantom.patient import Plan, write_patient
from dsnet.phi.step import check

SYNTAXES = ("explicit", "implicit", "rle", "jpeg2000", "deflated")


@dataclass(frozen=True)
class Made:
    """A few patients of the phantom, ingested; every slice of the bone series is included."""

    folder: Path
    paths: pd.DataFrame

    @property
    def out(self) -> Path:
        return self.folder / "results" / "deidentified"

    def run(self, **params: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        write_deidentified(
            params=Deidentify(processes=1, **params),
            cohort=self.folder / "cohort",
            private=self.folder / "private",
            ledger=self.folder / "results" / "ledger.csv",
            files=self.out / "files.csv",
            refused=self.out / "refused.csv",
        )
        files = schemas.read(schemas.DEIDENTIFIED, self.out / "files.csv")
        return files, schemas.read(schemas.REFUSED, self.out / "refused.csv")

    def pairs(self) -> list[tuple[Path, Path]]:
        """Return each original with what was made of it."""
        made = {path.stem: path for path in self.out.rglob("*.dcm")}
        paths = zip(self.paths["relative_path"], self.paths["image_key"], strict=True)
        dicom = self.folder / "cohort" / "dicom"
        return [(dicom / path, made[key]) for path, key in paths if key in made]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("deidentify")
    dicom = folder / "cohort" / "dicom"
    capture = next(case for case in KEPT if "secondary_capture" in case.extras)
    params = Phantom(matrix_px=128)
    for number, syntax in enumerate(SYNTAXES, start=1):
        case = Case("plain", syntax=syntax, extras=capture.extras if number == 1 else ())
        write_patient(Plan(number, "normal", False, True, case), params, dicom)
    index, source = folder / "results" / "index.parquet", folder / "results" / "source.json"
    ingest(
        params=Ingest(processes=1),
        cohort=folder / "cohort",
        private=folder / "private",
        index=index,
        source=source,
    )
    vault = open_vault(folder / "private", CohortFolder(folder / "cohort"))
    paths = schemas.read(schemas.MAP, vault.map_path)
    rows = schemas.read(schemas.INDEX, index)
    ledger = rows[["file_key", "image_key", "patient_key", "series_key"]].assign(
        status="included",
        criterion="",
        code="",
        reason="",
        evidence="",
        threshold="",
        decided_by="machine",
        all_criteria="",
    )
    schemas.write(schemas.LEDGER, ledger, folder / "results" / "ledger.csv")
    made = Made(folder, paths)
    made.run()
    return made


def test_pixels_and_their_coding_are_the_originals(ingested: Made) -> None:
    pairs = ingested.pairs()
    assert len(pairs) == 5 * 10 + 1
    syntaxes = set()
    for original, made in pairs:
        before, after = pydicom.dcmread(original), pydicom.dcmread(made)
        assert before.PixelData == after.PixelData
        assert before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
        assert (before.pixel_array == after.pixel_array).all()
        syntaxes.add(before.file_meta.TransferSyntaxUID)
    assert len(syntaxes) == 5


def test_files_are_listed_by_patient_and_series(ingested: Made) -> None:
    files = schemas.read(schemas.DEIDENTIFIED, ingested.out / "files.csv")
    written = {path.stem: path for path in ingested.out.rglob("*.dcm")}
    assert set(files["image_key"]) == set(written)
    for key, digest in files.itertuples(index=False):
        assert hashlib.sha256(written[key].read_bytes()).hexdigest() == digest
        assert written[key].parts[-3].startswith("P-")
        assert written[key].parts[-2].startswith("S-")


def test_a_screen_shot_is_refused(ingested: Made) -> None:
    refused = schemas.read(schemas.REFUSED, ingested.out / "refused.csv")
    assert list(refused["reason"]) == [Reason.CAPTURE]


def test_the_self_test_finds_nothing(ingested: Made) -> None:
    summary = check(
        [ingested.folder / "results"],
        PhiCheck(processes=1),
        cohort=ingested.folder / "cohort",
        private=ingested.folder / "private",
        index=ingested.folder / "results" / "index.parquet",
        report=ingested.folder / "phi_check.json",
    )
    assert summary.searched > 250


def test_the_self_test_would_find_an_original(ingested: Made, tmp_path: Path) -> None:
    original, _ = ingested.pairs()[0]
    shutil.copy(original, tmp_path / "leak")
    with pytest.raises(UserError, match="phi-check"):
        check(
            [tmp_path],
            PhiCheck(processes=1),
            cohort=ingested.folder / "cohort",
            private=ingested.folder / "private",
            index=ingested.folder / "results" / "index.parquet",
            report=tmp_path / "phi_check.json",
        )


def test_a_second_run_writes_the_same_and_removes_the_rest(ingested: Made) -> None:
    before = {path: path.read_bytes() for path in ingested.out.rglob("*") if path.is_file()}
    stale = ingested.out / "P-old" / "S-old" / "I-old.dcm"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    ingested.run()
    after = {path: path.read_bytes() for path in ingested.out.rglob("*") if path.is_file()}
    assert before == after
    assert not stale.parent.parent.exists()


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    gone = Task(
        Keys("P-1", "S-1", "I-1"), "F-1", str(tmp_path / "gone"), str(tmp_path / "out" / "I-1.dcm")
    )
    assert write_slice(gone, Secret(b"k")) == (gone, "", Reason.UNREADABLE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not here")
def test_a_validator_finds_no_new_error(ingested: Made) -> None:
    read = 0
    for original, made in ingested.pairs()[::5]:
        if b"1.2.840.10008.1.2.1.99" not in original.read_bytes()[:400]:  # deflated: it cannot
            assert errors(made) <= errors(original)
            read += 1
    assert read >= 8


def errors(path: Path) -> set[str]:
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}
