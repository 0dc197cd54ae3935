import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dsnet import schemas
from dsnet.config.cohort import Ingest, Phantom
from dsnet.config.output import Deidentify, Ocr, PhiCheck
from dsnet.deidentify import step
from dsnet.deidentify.pixel_data import LETTERS, Reason
from dsnet.deidentify.profile import Keys, Secret
from dsnet.deidentify.step import Task, Written, summary, write_deidentified, write_slice
from dsnet.dicom import header
from dsnet.dicom.pixels import Frame, PixelHash
from dsnet.errors import UserError
from dsnet.ingest.step import ingest
from dsnet.phantom.cases import KEPT, Case, Plan
from dsnet.phantom.examination import Protocol
from dsnet.phantom.patient import write_patient
from dsnet.phi.step import Summary, check
from dsnet.results import Results

SYNTAXES = ("explicit", "implicit", "rle", "jpeg2000", "deflated")


@dataclass(frozen=True)
class Made:
    """A few patients of the phantom, ingested; every slice of the bone series is included."""

    folder: Path
    paths: pd.DataFrame

    @property
    def out(self) -> Path:
        return self.folder / "results" / "deidentified"

    def run(self, ocr: Ocr = "none") -> tuple[pd.DataFrame, pd.DataFrame]:
        write_deidentified(
            deidentify=Deidentify(processes=1, ocr=ocr),
            cohort=self.folder / "cohort",
            private=self.folder / "private",
            source=self.folder / "results" / "cohort" / "source.json",
            ledger=self.folder / "results" / "cohort" / "ledger.csv",
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
        protocol = Protocol("ge", syntax, "BONE", 2.5, 0.5)
        write_patient(Plan(number, "normal", False, True, case, protocol), params, dicom)
    index, source = (folder / "results" / "cohort" / n for n in ("index.parquet", "source.json"))
    ingest(
        ingest=Ingest(processes=1),
        cohort=folder / "cohort",
        private=folder / "private",
        index=index,
        source=source,
    )
    paths = Results(folder / "results").private(folder / "private").read_map()
    rows = schemas.read(schemas.INDEX, index)
    ledger = rows[["file_key", "image_key", "patient_key", "study_key", "series_key"]].assign(
        status="included",
        criterion="",
        code="",
        reason="",
        evidence="",
        threshold="",
        decided_by="machine",
        all_criteria="",
    )
    schemas.write(schemas.LEDGER, ledger, folder / "results" / "cohort" / "ledger.csv")
    made = Made(folder, paths)
    made.run()
    return made


def test_pixels_and_their_coding_are_the_originals(ingested: Made) -> None:
    pairs = ingested.pairs()
    assert len(pairs) == 5 * 10
    syntaxes = set()
    for original, made in pairs:
        before, after = pydicom.dcmread(original), pydicom.dcmread(made)
        if not before.file_meta.TransferSyntaxUID.is_encapsulated:  # comments go from the others
            assert before.PixelData == after.PixelData
        assert before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
        assert (before.pixel_array == after.pixel_array).all()
        syntaxes.add(before.file_meta.TransferSyntaxUID)
    assert len(syntaxes) == 5


def test_files_are_listed_by_patient_and_series(ingested: Made) -> None:
    files = schemas.read(schemas.DEIDENTIFIED, ingested.out / "files.csv")
    written = {path.stem: path for path in ingested.out.rglob("*.dcm")}
    assert set(files["image_key"]) == set(written)
    for key, digest, _ in files.itertuples(index=False):
        assert hashlib.sha256(written[key].read_bytes()).hexdigest() == digest
        assert written[key].parts[-3].startswith("P-")
        assert written[key].parts[-2].startswith("S-")


def test_a_screen_shot_and_what_is_no_ct_are_refused(ingested: Made) -> None:
    refused = schemas.read(schemas.REFUSED, ingested.out / "refused.csv")
    assert set(refused["reason"]) == {Reason.CAPTURE, Reason.FORM}


def search(ingested: Made, folder: Path, report: Path) -> Summary:
    return check(
        [folder],
        PhiCheck(processes=1),
        Results(ingested.folder / "results"),
        private=ingested.folder / "private",
        report=report,
    )


def test_the_self_test_finds_nothing(ingested: Made, tmp_path: Path) -> None:
    summary = search(ingested, ingested.folder / "results", tmp_path / "report.json")
    assert summary.searched > 250
    assert summary.suspects == 0


def test_the_self_test_would_find_an_original(ingested: Made, tmp_path: Path) -> None:
    original, _ = ingested.pairs()[0]
    shutil.copy(original, tmp_path / "leak")
    with pytest.raises(UserError, match="phi-check"):
        search(ingested, tmp_path, tmp_path / "report.json")


def test_what_was_removed_is_kept_for_the_self_test(ingested: Made) -> None:
    (dropped,) = (ingested.folder / "private").glob("*/dropped.parquet")
    assert dropped.stat().st_mode & 0o777 == 0o600
    rows = schemas.read(schemas.IDENTIFYING, dropped)
    assert {"StudyDescription", "StudyInstanceUID", "StationName"} <= set(rows["kind"])
    assert set(rows["patient_key"]) == {path.parts[-3] for _, path in ingested.pairs()}


def test_a_value_that_no_table_names_is_found_in_an_output(ingested: Made, tmp_path: Path) -> None:
    """SoftwareVersions is not in table E.1-1, so that ingestion did not record it."""
    (dropped,) = (ingested.folder / "private").glob("*/dropped.parquet")
    rows = schemas.read(schemas.IDENTIFYING, dropped)
    patient = rows["patient_key"].iloc[0]
    marker = ("Quillonbeck 77Q", "SoftwareVersions", "text", patient)
    content = dropped.read_bytes()
    try:
        rows.loc[len(rows)] = marker
        schemas.write(schemas.IDENTIFYING, rows, dropped)
        (tmp_path / "log.txt").write_text("quillonbeck-77q")
        with pytest.raises(UserError, match="SoftwareVersions"):
            search(ingested, tmp_path, tmp_path / "report.json")
    finally:
        dropped.write_bytes(content)


def with_letters(ingested: Made, folder: Path) -> Task:
    """Return the task of a slice into whose air a name is written."""
    original, _ = ingested.pairs()[0]
    dataset = pydicom.dcmread(original)
    picture = Image.new("L", (dataset.Columns, dataset.Rows), 0)
    ImageDraw.Draw(picture).text((2, 2), "THORNABEE", font=ImageFont.load_default(10), fill=255)
    pixels = dataset.pixel_array.copy()
    pixels[:20] = pixels.min()
    pixels[np.asarray(picture) > 90] = 3000
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(folder / "original")
    digest = PixelHash(header.read(dataset))
    digest.add(Frame.of(pixels))
    return Task(
        Keys("P-1", "S-1", "I-1"),
        "F-1",
        digest.hexdigest(),
        str(folder / "original"),
        str(folder / "out" / "I-1.dcm"),
    )


def test_a_slice_with_letters_beside_the_body_is_flagged(ingested: Made, tmp_path: Path) -> None:
    written = write_slice(with_letters(ingested, tmp_path), Secret(b"k" * 32))
    assert (written.flag, written.reason) == (LETTERS, None)
    files = schemas.read(schemas.DEIDENTIFIED, ingested.out / "files.csv")
    assert set(files["flag"]) == {""}


@pytest.mark.parametrize(("ocr", "reads"), [("none", False), ("flagged", True), ("all", True)])
def test_a_slice_with_letters_is_refused_where_ocr_reads_them(
    ingested: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ocr: Ocr, *, reads: bool
) -> None:
    monkeypatch.setattr(step, "shows_text", lambda _: True)
    written = write_slice(with_letters(ingested, tmp_path), Secret(b"k" * 32), ocr)
    assert written.reason is (Reason.TEXT if reads else None)
    assert Path(written.task.target).exists() is not reads


def test_ocr_that_is_not_installed_stops_before_anything_is_written(
    ingested: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    step.ocr_engine.cache_clear()
    before = (ingested.out / "files.csv").read_bytes()
    with pytest.raises(UserError, match="extra ocr"):
        ingested.run("flagged")
    assert (ingested.out / "files.csv").read_bytes() == before


def test_an_object_of_another_class_and_changed_pixels_are_refused(
    ingested: Made, tmp_path: Path
) -> None:
    task = with_letters(ingested, tmp_path)
    assert write_slice(task._replace(pixel_hash="0" * 32), Secret(b"k")).reason is Reason.CHANGED
    dataset = pydicom.dcmread(task.source)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.save_as(task.source)
    assert write_slice(task, Secret(b"k")).reason is Reason.FORM


def test_the_summary_says_that_pixels_were_not_read(
    ingested: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    ingested.run()
    text = capsys.readouterr().out
    assert "50 slices written (files.csv), 0 of them flagged" in text
    assert "2 refused (refused.csv)" in text
    assert f"1 refused: {Reason.CAPTURE}" in text
    assert "Pixels were not read" in text
    assert "OCR read" in summary(ingested.out / "files.csv", ingested.out / "refused.csv", "all")


def test_a_second_run_writes_the_same_and_removes_the_rest(ingested: Made) -> None:
    before = {path: path.read_bytes() for path in ingested.out.rglob("*") if path.is_file()}
    stale = ingested.out / "P-old" / "S-old" / "I-old.dcm"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    ingested.run()
    after = {path: path.read_bytes() for path in ingested.out.rglob("*") if path.is_file()}
    assert before == after
    assert not stale.parent.parent.exists()


def test_a_slice_that_says_that_it_shows_text_is_refused(ingested: Made, tmp_path: Path) -> None:
    """A reader may have kept it, so that the ledger includes it."""
    task = with_letters(ingested, tmp_path)
    dataset = pydicom.dcmread(task.source)
    dataset.BurnedInAnnotation = "YES"
    dataset.save_as(task.source)
    assert write_slice(task, Secret(b"k" * 32)) == Written(task, reason=Reason.BURNED_IN)
    assert not Path(task.target).exists()


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    source, target = str(tmp_path / "gone"), str(tmp_path / "out" / "I-1.dcm")
    gone = Task(Keys("P-1", "S-1", "I-1"), "F-1", "", source, target)
    assert write_slice(gone, Secret(b"k")) == Written(gone, reason=Reason.UNREADABLE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not here")
def test_a_validator_finds_no_new_error(ingested: Made, tmp_path: Path) -> None:
    pairs = ingested.pairs()[::5]
    for original, made in pairs:
        assert errors(made, tmp_path) <= errors(original, tmp_path)
    assert len(pairs) == 10


def errors(path: Path, folder: Path) -> set[str]:
    """Return the errors that dciodvfy finds, in a deflated file once it is inflated."""
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / "inflated"
        dataset.save_as(path)
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "CTImage" in done.stderr
    return {line for line in done.stderr.splitlines() if line.startswith("Error")}
