"""SR and SEG: what they say, and that independent validators and readers accept them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from support.made_study import BODY_PX, PATIENT_ID, PATIENT_NAME, model, write_study

import dsnet
from dsnet.use.dicom_objects import VERTEBRAE
from dsnet.use.levels import parse_levels
from dsnet.use.predict import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = write_study(tmp_path_factory.mktemp("study"), {0.0: 150, 30.0: 200, 60.0: 300})
    levels = parse_levels("L2=-5:5,L1=25:35")
    return dsnet.predict(model(), dsnet.read_study(folder), levels=levels)


@pytest.fixture(scope="module")
def folder(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out")
    result.save(path)
    return path / "dicom"


def items(content: Dataset) -> Iterator[Dataset]:
    """Yield every content item below one."""
    for item in content.get("ContentSequence", ()):
        yield item
        yield from items(item)


def named(group: Dataset, code: str) -> list[Dataset]:
    return [item for item in items(group) if item.ConceptNameCodeSequence[0].CodeValue == code]


def test_a_report_has_one_group_for_each_box(result: Result, folder: Path) -> None:
    report = dcmread(folder / "sr-1.dcm")
    groups = named(report, "125007")
    assert len(groups) == len(result.boxes) == 3
    findings, sites = (
        [named(group, code)[0].ConceptCodeSequence[0].CodeValue for group in groups]
        for code in ("121071", "363698007")
    )
    assert findings == ["64859006", "312894000", "17621005"]
    assert sites == ["14293000", "66794005", "51282000"]
    region = next(item for item in items(groups[0]) if item.ValueType == "SCOORD")
    corners = np.array(region.GraphicData).reshape(-1, 2)
    x_min, y_min, x_max, y_max = BODY_PX
    assert np.allclose(corners.min(axis=0), [x_min, y_min], atol=1.01)
    assert np.allclose(corners.max(axis=0), [x_max, y_max], atol=1.01)
    probability = named(groups[0], "122157")[0].MeasuredValueSequence[0].NumericValue
    assert float(probability) == pytest.approx(result.boxes["p_osteoporosis"][0], abs=1e-6)
    density = named(groups[0], "112031")[0].MeasuredValueSequence[0]
    assert float(density.NumericValue) == pytest.approx(150, abs=1)
    assert density.MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
    notes = [item.TextValue for item in named(report, "121106")]
    assert notes == list(result.notes)


def test_codes_of_the_vertebrae_are_those_of_the_standard() -> None:
    assert {level: code.value for level, code in VERTEBRAE.items()} == {
        "L1": "66794005",
        "L2": "14293000",
        "L3": "36470004",
        "L4": "11994002",
    }
    assert all(level in code.meaning for level, code in VERTEBRAE.items())


def test_a_segmentation_fills_the_boxes(folder: Path) -> None:
    seg = hd.seg.segread(folder / "seg-1.dcm")
    labels = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
    assert labels == ["box of a vertebra", "box of L1", "box of L2"]
    x_min, y_min, x_max, y_max = BODY_PX
    area = (x_max - x_min) * (y_max - y_min)
    for frame in seg.pixel_array:
        assert frame.sum() == pytest.approx(area, rel=0.15)
        assert frame[int(y_min) + 2 : int(y_max) - 2, int(x_min) + 2 : int(x_max) - 2].all()


def test_objects_belong_to_the_study_and_carry_its_identity(result: Result, folder: Path) -> None:
    source = dcmread(result.study.paths[result.study.index["file_key"][0]])
    for name in ("sr-1.dcm", "seg-1.dcm"):
        made = dcmread(folder / name)
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID
        assert (made.PatientID, str(made.PatientName)) == (PATIENT_ID, PATIENT_NAME)
        assert "research" in made.Manufacturer


def test_images_without_uids_get_no_objects_and_that_is_stated(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s", {0.0: 200}, StudyInstanceUID="")
    result = dsnet.predict(model(), dsnet.read_study(study))
    assert len(result.boxes) == 1
    assert result.to_sr() == result.to_seg() == []
    result.save(tmp_path / "out")
    assert (
        "no DICOM objects, since its images have blank UIDs"
        in (tmp_path / "out" / "index.html").read_text()
    )


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize("name", ["sr-1.dcm", "seg-1.dcm"])
def test_dciodvfy_finds_no_error(folder: Path, name: str) -> None:
    done = subprocess.run(["dciodvfy", folder / name], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]
    assert errors == []


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dcmtk is not installed")
def test_dsrdump_reads_the_report(folder: Path) -> None:
    done = subprocess.run(
        ["dsrdump", folder / "sr-1.dcm"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("Measurement Group") >= 3
    assert "Osteoporosis" in done.stdout
