"""`dsnet.predict` on made studies: where boxes lie, what is refused, which levels are claimed."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.ct_builder import ct_slice, save
from support.made_study import (
    BODY_PX,
    PATIENT_ID,
    PATIENT_NAME,
    body_mm,
    image,
    model,
    write_study,
)

import dsnet
from dsnet.errors import UserError
from dsnet.schemas import BOX
from dsnet.use.levels import LevelSource, count_levels, parse_levels
from dsnet.use.predict import CORNERS, PROBABILITIES, Result

pytestmark = pytest.mark.slow

HEIGHTS = {0.0: 150, 30.0: 200, 60.0: 300}
"""z in mm of three slices, and the HU of their vertebral bodies: one of each class."""


@pytest.fixture
def study(tmp_path: Path) -> dsnet.use.study.Study:
    return dsnet.read_study(write_study(tmp_path / "study", HEIGHTS))


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_lie_on_the_body_in_pixels_of_the_file_and_in_patient_coordinates(
    tmp_path: Path, turned: bool
) -> None:
    folder = write_study(tmp_path, {12.5: 300}, turned=turned)
    (box,) = dsnet.predict(model(), dsnet.read_study(folder)).boxes.to_dict("records")
    x_min, y_min, x_max, y_max = BODY_PX
    expected = (100 - x_max, 90 - y_max, 100 - x_min, 90 - y_min) if turned else BODY_PX
    # The grid is coarser than the borders of the bone: a pixel of it either way.
    assert np.allclose([box[edge] for edge in BOX], expected, atol=1.01)
    corners = np.array([box[name] for name in CORNERS]).reshape(2, 3)
    made = np.array(body_mm(12.5)).reshape(2, 3)
    assert np.allclose(np.sort(corners, axis=0), np.sort(made, axis=0), atol=2.6)
    assert box["z_mm"] == 12.5


def test_classes_probabilities_and_hu_of_each_box(study: dsnet.use.study.Study) -> None:
    boxes = dsnet.predict(model(), study).boxes
    assert boxes["label"].tolist() == ["osteoporosis", "osteopenia", "normal"]
    assert np.allclose(boxes[list(PROBABILITIES)].sum(axis=1), 1)
    assert np.allclose(boxes["core_mean_hu"], [150, 200, 300], atol=1)


def test_a_temperature_softens_probabilities_and_its_lack_is_stated(
    study: dsnet.use.study.Study,
) -> None:
    plain, soft = (dsnet.predict(model(temperature=t), study) for t in (None, 2.0))
    highest = [one.boxes[list(PROBABILITIES)].max(axis=1) for one in (plain, soft)]
    assert (highest[1] < highest[0]).all()
    assert any("not calibrated" in note for note in plain.notes)
    assert not any("not calibrated" in note for note in soft.notes)


def test_what_training_would_refuse_is_left_out_with_its_reason(tmp_path: Path) -> None:
    write_study(tmp_path / "plain", {0.0: 200})
    write_study(tmp_path / "contrast", {0.0: 210}, patient_id="other", ContrastBolusAgent="Iomeron")
    (tmp_path / "notes.txt").write_text("no DICOM")
    result = dsnet.predict(model(), dsnet.read_study(tmp_path))
    by_code = result.slices.set_index("code")
    assert by_code.loc["E08", "reason"] == "The scan was made with a contrast agent."
    assert by_code.loc["E08", "evidence"] == "contrast agent in the header"
    assert by_code.loc["E01", "evidence"] == "not_dicom"
    assert by_code.loc["E01", "patient"] == ""
    assert len(result.boxes) == 1
    assert any("E08" in line for line in result.summary())


def test_force_lifts_criteria_but_not_those_without_an_image_and_is_stated(
    tmp_path: Path,
) -> None:
    write_study(tmp_path, {0.0: 200}, ContrastBolusAgent="Iomeron")
    save(ct_slice(image(), PatientID="second", RescaleSlope=None), tmp_path / "no_scale")
    result = dsnet.predict(model(), dsnet.read_study(tmp_path), force=True)
    forced = result.slices[result.slices["forced"]]
    assert forced["all_criteria"].tolist() == ["contrast_enhanced"]
    assert "predicted all the same" in forced["look_at"].iloc[0]
    assert result.slices.loc[result.slices["status"] == "excluded", "code"].tolist() == ["E07"]
    assert any("FORCED: 1 slices" in note and "contrast_enhanced" in note for note in result.notes)
    result.save(tmp_path / "out")
    for name in ("predictions.json", "index.html", "slices.csv"):
        assert "contrast_enhanced" in (tmp_path / "out" / name).read_text()
    assert "FORCED" in result.to_sr()[0].SeriesDescription


def test_evidence_names_files_by_number_and_never_by_a_key(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {0.0: 200})
    shutil.copy(folder / "IM0000", folder / "IM0001")
    slices = dsnet.predict(model(), dsnet.read_study(folder)).slices
    copy = slices[slices["code"] == "E03"]
    assert copy["evidence"].tolist() == ["same SOP Instance UID as file 1"]


def test_an_image_without_a_body_is_left_out(tmp_path: Path) -> None:
    save(ct_slice(np.full((40, 40), -800) + np.eye(40, dtype=int) * 400), tmp_path / "IM1")
    result = dsnet.predict(model(), dsnet.read_study(tmp_path))
    assert result.slices["status"].tolist() == ["excluded"]
    assert result.slices["reason"].tolist() == ["Nothing on the image is denser than air."]


def test_without_a_source_no_level_is_claimed(study: dsnet.use.study.Study) -> None:
    result = dsnet.predict(model(), study)
    assert set(result.boxes["level"]) == {""}
    assert result.grades.empty
    assert any("No level is claimed" in note for note in result.notes)


def test_levels_that_the_user_states(study: dsnet.use.study.Study) -> None:
    result = dsnet.predict(model(), study, levels=parse_levels("L2=-5:5,L1=25:35"))
    assert result.boxes["level"].tolist() == ["L2", "L1", ""]
    grades = result.grades.set_index("level")
    assert grades.loc["L1", "label"] == "osteopenia"
    # The patient's grade is pooled from the lumbar boxes alone.
    assert grades.loc["L1-L4", "boxes"] == 2
    assert np.allclose(
        grades.loc["L1-L4", list(PROBABILITIES)].to_numpy(float),
        result.boxes.loc[:1, list(PROBABILITIES)].mean().to_numpy(),
    )


def test_a_range_grades_the_patient_and_no_level(study: dsnet.use.study.Study) -> None:
    result = dsnet.predict(model(), study, levels=parse_levels(span="20:70"))
    assert result.grades["unit"].tolist() == ["patient"]
    assert result.grades["boxes"].tolist() == [2]


def test_levels_of_annotations(study: dsnet.use.study.Study, tmp_path: Path) -> None:
    uid = study.identities["sop_instance_uid"][1]
    x_min, y_min, x_max, y_max = BODY_PX
    table = tmp_path / "boxes.csv"
    table.write_text(
        "sop_instance_uid,level,x_min,y_min,x_max,y_max\n"
        f"{uid},L3,{x_min},{y_min},{x_max},{y_max}\n"
    )
    result = dsnet.predict(model(), study, levels=parse_levels(annotations=table))
    assert result.boxes["level"].tolist() == ["", "L3", ""]
    assert result.slices["level"].tolist() == ["", "L3", ""]


def spine(*bodies: tuple[float, float], step: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Return z of slices with boxes, and of all slices, for bodies from low to high."""
    every = np.arange(-100.0, 200.0, step)
    boxed = [z for z in every if any(low <= z <= high for low, high in bodies)]
    return np.array(boxed), every


BODIES = ((0, 24), (36, 60), (72, 96), (108, 132), (144, 168))


@pytest.mark.parametrize(
    ("anchor", "lowest"), [("sacrum=-10", "L4"), ("L3=84", "L4"), ("last-rib=150", "L4")]
)
def test_levels_are_counted_from_an_anchor(anchor: str, lowest: str) -> None:
    spans, why = count_levels(*spine(*BODIES), parse_levels(anchor=anchor))
    assert why == ""
    names = [level for level, _, _ in spans]
    assert names[0] == lowest
    assert names == sorted(names, reverse=True)
    first = {"sacrum=-10": 36, "L3=84": 36, "last-rib=150": 0}[anchor]
    assert spans[0][1] == first - 2


@pytest.mark.parametrize(
    ("bodies", "anchor", "why"),
    [
        (((0, 96),), "L3=20", "more than one vertebra"),
        (BODIES, "L3=-60", "no box lies at the anchor"),
        (BODIES, "sacrum=-90", "no vertebra stands on the sacrum"),
        ((), "L3=0", "no box lies at the anchor"),
    ],
)
def test_levels_are_not_counted_where_the_boxes_are_no_row_of_vertebrae(
    bodies: tuple[tuple[float, float], ...], anchor: str, why: str
) -> None:
    spans, said = count_levels(*spine(*bodies), parse_levels(anchor=anchor))
    assert spans == []
    assert why in said


@pytest.mark.parametrize(
    ("bodies", "counted", "why"),
    [
        (((0, 24), (108, 132)), ["L3"], "above z = 26 mm would be 108 mm apart"),
        (((0, 24), (36, 60), (72, 196)), ["L3", "L2"], "on 128 mm of slices without a gap"),
        (((-90, -20), (0, 24), (36, 60), (72, 96)), ["L3", "L2", "L1"], "from z = -90 mm"),
        (((-36, -12), (0, 24), (36, 60), (72, 196)), ["L4", "L3", "L2"], "from z = 70 mm"),
        (((-96, -44), (-36, -12), (0, 24), (36, 60), (72, 96)), ["L4", "L3", "L2", "L1"], ""),
    ],
)
def test_counting_ends_where_the_next_stretch_is_not_the_next_vertebra(
    bodies: tuple[tuple[float, float], ...], counted: list[str], why: str
) -> None:
    spans, said = count_levels(*spine(*bodies), parse_levels(anchor="L3=12"))
    assert [level for level, _, _ in spans] == counted
    assert why in said
    assert bool(said) == (len(counted) < 4)


def test_why_levels_were_not_counted_is_a_note(study: dsnet.use.study.Study) -> None:
    result = dsnet.predict(model(), study, levels=LevelSource("anchor", anchor=("L3", 500.0)))
    assert result.notes[-1].startswith("patient-1, series-1: L1, L2, L3, L4 were not")
    assert set(result.boxes["level"]) == {""}


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": "L9=0:1"},
        {"levels": "L1=0"},
        {"span": "L1=0:1"},
        {"anchor": "coccyx=3"},
        {"anchor": "T13=3"},
        {"levels": "L1=0:1", "span": "0:1"},
    ],
)
def test_levels_that_cannot_be_read_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(UserError):
        parse_levels(**arguments)


def test_slices_that_a_person_should_look_at(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {0.0: 0, 4.0: 300, 8.0: 300, 12.0: 150})
    result = dsnet.predict(model(), dsnet.read_study(folder), levels=parse_levels("L2=-1:20"))
    look_at = result.slices["look_at"].tolist()
    assert look_at[0] == "no box on a lumbar slice"
    assert look_at[1] == look_at[2] == ""
    assert look_at[3] == "graded otherwise than its level, normal"


def test_a_zip_file_is_read_as_its_folder(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", HEIGHTS)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    of_folder, of_zip = (
        dsnet.predict(model(), dsnet.read_study(path)).boxes for path in (folder, packed)
    )
    assert of_folder.equals(of_zip)


def test_several_studies_and_patients_have_names_of_their_own(tmp_path: Path) -> None:
    one = write_study(tmp_path / "a", {0.0: 200}, patient_id="first")
    other = write_study(tmp_path / "b", {0.0: 210}, patient_id="second")
    study = dsnet.read_study(one, other, patient_name="case")
    assert sorted(study.index["patient"]) == ["case-1", "case-2"]
    assert dsnet.read_study(one, patient_name="case").index["patient"].tolist() == ["case"]


def test_paths_that_are_no_study_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    damaged = tmp_path / "cut.zip"
    shutil.make_archive(str(tmp_path / "cut"), "zip", write_study(tmp_path / "s", {0.0: 1}))
    content = bytearray(damaged.read_bytes())
    content[60:200] = bytes(140)
    damaged.write_bytes(content)
    for name, came in (
        ("empty", "none"),
        ("text", "something else"),
        ("missing", "no such file"),
        ("cut.zip", "damaged"),
    ):
        with pytest.raises(UserError, match=came):
            dsnet.read_study(tmp_path / name)
    with pytest.raises(UserError, match="--name"):
        dsnet.read_study(tmp_path / "s", patient_name="../x")


@pytest.fixture
def saved(study: dsnet.use.study.Study, tmp_path: Path) -> tuple[Result, Path]:
    result = dsnet.predict(model(), study, levels=parse_levels("L2=-5:5,L1=25:35"))
    result.save(tmp_path / "out")
    return result, tmp_path / "out"


def test_no_output_but_dicom_names_the_patient(saved: tuple[Result, Path]) -> None:
    result, folder = saved
    uids = result.study.identities["sop_instance_uid"].tolist()
    forbidden = [PATIENT_ID, *re.split(r"\^", PATIENT_NAME), "19500101", *uids]
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert {path.suffix for path in files} == {".csv", ".json", ".html", ".png"}
    for path in files:
        content = path.read_bytes()
        assert not [text for text in forbidden if text.encode() in content], path.name
        assert not any(text in path.name for text in forbidden)


def test_the_files_of_a_run_hold_what_the_result_holds(saved: tuple[Result, Path]) -> None:
    result, folder = saved
    content = json.loads((folder / "predictions.json").read_text())
    assert content["format_version"] == 1
    assert len(content["boxes"]) == len(result.boxes) == 3
    assert content["boxes"][0]["p_osteoporosis"] == pytest.approx(
        result.boxes["p_osteoporosis"][0], abs=1e-9
    )
    assert content["slices"][2]["label"] == "normal"
    page = (folder / "index.html").read_text()
    for note in result.notes:
        assert note in page
    pictures = re.findall(r'src="([^"]+)"', page)
    assert pictures
    assert all((folder / name).is_file() for name in pictures)
    assert len(list((folder / "overlays").rglob("*.png"))) == 3


def test_a_box_smaller_than_a_pixel_is_written_like_any_other(
    saved: tuple[Result, Path], tmp_path: Path
) -> None:
    result, _ = saved
    boxes = result.boxes.copy()
    boxes.loc[0, list(BOX)] = [20.0, 30.0, 20.3, 30.1]
    boxes.loc[1, list(BOX)] = [99.9, 0.0, 100.0, 0.2]  # at the border
    dataclasses.replace(result, boxes=boxes).save(tmp_path / "tiny")
    assert len(list((tmp_path / "tiny" / "overlays").rglob("*.png"))) == 3
    assert (tmp_path / "tiny" / "dicom" / "seg-1.dcm").exists()


def test_an_overlay_is_a_figure_with_the_box_on_the_bone(saved: tuple[Result, Path]) -> None:
    figure = saved[0].overlay(1)
    (axes,) = figure.axes
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == (384, 384, 3)
    # The casing of the box is white, and no soft tissue is.
    rows, _ = np.nonzero((picture > 250).all(axis=-1))
    assert len(rows) > 100
    assert "patient-1, series-1, slice 2" in axes.get_title()
