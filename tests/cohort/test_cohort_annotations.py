import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_annotations import (
    ANY_SIZE,
    collected,
    images,
    key,
    write_coco,
    write_csv,
    written,
)

from dsnet import schemas
from dsnet.cohort.annotations import Annotation, Source
from dsnet.cohort.annotations.collect import collect, match, used
from dsnet.cohort.annotations.image_files import ImageFiles
from dsnet.config.cohort import Annotations
from dsnet.errors import UserError

TABLES = images("a/1.dcm", "a/2.dcm", "b/2.dcm", uids=["1.1", "1.2", ""])
ANY = Annotations(**ANY_SIZE)
FILES = ImageFiles(*TABLES)
SOURCE = Source(1, Path("t.json"), "t.json")


def box(file_name: str = "", uid: str = "", level: str = "L1", row: int = 1) -> Annotation:
    return Annotation(
        SOURCE,
        "coco",
        "annotation row",
        row,
        level,
        (1, 2, 3, 4),
        sop_instance_uid=uid,
        file_name=file_name,
    )


def annotated(*edges: float, row: int = 1, **given: Any) -> Annotation:
    x_min, y_min, x_max, y_max = edges
    image = {"sop_instance_uid": "1.1", **given}
    return Annotation(
        SOURCE, "coco", "annotation row", row, "L1", (x_min, y_min, x_max, y_max), **image
    )


def keys(*annotations: Annotation, among: ImageFiles = FILES) -> list[str]:
    return list(used(match(list(annotations), among, ANY))["file_key"])


def statuses(*annotations: Annotation, **params: Any) -> list[str]:
    table = match(list(annotations), FILES, Annotations(**{**ANY_SIZE, **params}))
    schemas.ANNOTATIONS.validate(table)
    return list(table["status"])


def test_images_are_found_by_uid_or_path() -> None:
    assert keys(box(uid="1.2")) == [key(1)]
    assert keys(box(uid="1.2", file_name="renamed.dcm")) == [key(1)]
    for name in ("b/2.dcm", "./b/2.dcm", "b\\2.dcm", "dicom/b/2.dcm", "/b/2.dcm", "../b/2.png"):
        assert keys(box(name)) == [key(2)]
    for name in ("x/y/a/1.png", "1.PNG", "1.1", "export/1.1.png"):
        assert keys(box(name)) == [key(0)]


@pytest.mark.parametrize(
    ("annotation", "sentence", "status"),
    [
        (box(uid="9.9"), "expected an image that lies in dicom/", "no_image"),
        (box(uid="9.9", file_name="a/1.dcm"), "expected an image that lies in dicom/", "no_image"),
        (box("c/9.dcm"), "expected an image that lies in dicom/", "no_image"),
        (box("c/1.dcm"), "expected an image that lies in dicom/", "no_image"),
        (
            box("2.dcm"),
            "expected a file name or UID that fits one image, but found one",
            "ambiguous",
        ),
        (box("a/1.dcm", level="Miller"), "expected a level C1 to C7", "unknown_level"),
    ],
)
def test_a_box_without_image_or_level_stops_or_is_reported(
    annotation: Annotation, sentence: str, status: str
) -> None:
    with pytest.raises(UserError) as caught:
        keys(annotation)
    assert str(caught.value).startswith(f"annotations[1] annotation row 1: {sentence}")
    assert "annotations.unmatched: report" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("9.9", "dcm", "Miller"))
    assert statuses(annotation, box(uid="1.2"), unmatched="report") == [status, "used"]


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        ((0.0, 0.0, 0.0, 5.0), "a box wider and higher than zero pixels"),
        ((9.0, 5.0, 12.0, 4.0), "a box wider and higher than zero pixels"),
        ((-0.1, 0.0, 5.0, 5.0), "a box inside its image of 100 x 80 pixels"),
        ((90.0, 70.0, 101.0, 75.0), "a box inside its image of 100 x 80 pixels"),
        ((90.0, 70.0, 95.0, 80.5), "a box inside its image of 100 x 80 pixels"),
        ((1.0, 2.0, float("nan"), 4.0), "a box with finite edges"),
        ((1.0, 2.0, float("inf"), 4.0), "a box with finite edges"),
    ],
)
def test_a_wrong_box_is_one_sentence(
    edges: tuple[float, float, float, float], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        keys(annotated(*edges, row=4))
    assert str(caught.value).startswith(f"annotations[1] annotation row 4: expected {sentence}")


def test_a_box_of_a_scaled_picture_is_refused() -> None:
    assert keys(annotated(1, 2, 3, 4, size=(100, 80))) == [key(0)]
    with pytest.raises(UserError, match="its image of 100 x 80 pixels, but found one on 200 x 160"):
        keys(annotated(1, 2, 3, 4, size=(200, 160)))


@given(
    st.tuples(st.floats(-5, 105), st.floats(-5, 85), st.floats(-5, 105), st.floats(-5, 85)),
)
@settings(deadline=None, max_examples=30, derandomize=True)
def test_a_box_stays_exactly_where_it_was_annotated_or_is_refused(
    edges: tuple[float, float, float, float],
) -> None:
    x_min, y_min, x_max, y_max = edges
    if 0 <= x_min < x_max <= 100 and 0 <= y_min < y_max <= 80:
        one = match([annotated(*edges)], FILES, ANY).iloc[0]
        assert (one.x_min, one.y_min, one.x_max, one.y_max) == edges
    else:
        with pytest.raises(UserError):
            match([annotated(*edges)], FILES, ANY)


def test_the_same_box_twice_is_merged_and_others_are_in_conflict() -> None:
    first, same, other = (
        annotated(10, 10, 50, 50),
        annotated(10, 10, 50, 51),
        annotated(10, 10, 50, 60, row=7),
    )
    assert statuses(first, same, box(uid="1.1", level="L2")) == ["used", "merged", "used"]
    with pytest.raises(UserError) as caught:
        keys(first, other)
    assert str(caught.value).startswith(
        f"annotations[1] annotation row 7: expected one box of L1 on {key(0)}, but found another "
        "in annotations[1] annotation row 1"
    )
    reported = statuses(first, same, other, box(uid="1.2"), conflict="report")
    assert reported == ["conflict", "conflict", "conflict", "used"]
    assert statuses(first, other, conflict_iou=0.7) == ["used", "merged"]


def test_one_format_confirms_another(tmp_path: Path) -> None:
    boxes = {"a/1.dcm": {"L1": (10.0, 20.0, 40.0, 50.0), "L2": (60.0, 20.0, 90.0, 50.0)}}
    write_coco(tmp_path, boxes)
    write_csv(tmp_path, boxes)
    table = collected(tmp_path, TABLES)
    assert list(table["format"]) == ["csv", "csv", "coco", "coco"]
    assert list(table["status"]) == ["used", "used", "merged", "merged"]


def test_of_copies_the_file_name_picks_one() -> None:
    copies = ImageFiles(*images("a/1.dcm", "z/copy.dcm", uids=["1.1", "1.1"]))
    for name, named in (("z/copy.dcm", [False, True]), ("", [False, False])):
        table = used(match([box(name, "1.1")], copies, ANY))
        assert list(table["file_key"]) == [key(0), key(1)]
        assert list(table["named"]) == named
    both = [box("", "1.1"), box("z/copy.dcm", "1.1")]
    assert list(used(match(both, copies, ANY))["named"]) == [False, True]


def test_no_annotations_are_an_empty_table(tmp_path: Path) -> None:
    table = collected(tmp_path / "annotations", TABLES)
    schemas.ANNOTATIONS.validate(table)
    assert used(table).empty
    assert used(table)["named"].dtype == bool


def test_the_list_survives_its_file(tmp_path: Path) -> None:
    table = match(
        [annotated(1, 2.5, 30, 40), box("c/9.dcm")],
        FILES,
        Annotations(**ANY_SIZE, unmatched="report"),
    )
    schemas.write(schemas.ANNOTATIONS, table, tmp_path / "annotations.csv")
    again = schemas.read(schemas.ANNOTATIONS, tmp_path / "annotations.csv")
    assert again.equals(table)
    assert list(again["area_mm2"].fillna(-1)) == [1087.5, -1]


def test_files_are_numbered_by_path_and_others_passed_over(tmp_path: Path) -> None:
    write_coco(tmp_path / "b", {"a/1.dcm": {"L1": (1.0, 2.0, 3.0, 4.0)}})
    write_coco(tmp_path / "a", {"a/1.dcm": {"T12": (1.0, 2.0, 3.0, 4.0)}})
    for name in ("a/notes.txt", "._b.json", "picture.png", "a/LIESMICH"):
        written(tmp_path, name, "not an annotation")
    table = collected(tmp_path, TABLES)
    assert list(zip(table["table"], table["level"], strict=True)) == [(1, "T12"), (2, "L1")]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("x.json", "[1]", "COCO JSON with images"),
        ("x.json", '{"shapes": []}', "COCO JSON with images"),
        ("x.json", '{"images": [', "a readable JSON file"),
        ("x.xml", "<annotations/>", "Pascal VOC XML"),
        ("x.xml", "<annotation>", "a readable XML file"),
        ("x.csv", "a,b\n1,2\n", "a CSV with level"),
        ("x.nrrd", "NRRD0004", "an annotation format of docs/annotations.md, but found a file .nr"),
        ("x.txt", "0 0.5 0.5 0.1 0.1", "class names in classes.txt or data.yaml"),
        ("x.nii", "no volume", "a readable NIfTI volume"),
        ("x.nii.gz", "no volume", "a readable NIfTI volume"),
        ("x.dcm", "\0" * 128 + "DICM", "a DICOM Segmentation"),
    ],
)
def test_a_file_of_a_known_kind_that_cannot_be_read_stops(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    written(tmp_path, name, text)
    with pytest.raises(UserError) as caught:
        collected(tmp_path, TABLES)
    assert str(caught.value).startswith(f"annotations[1]: expected {sentence}")
    assert caught.value.private == name


def test_a_list_of_annotations_holds_no_names(tmp_path: Path) -> None:
    written(tmp_path, "DOE_JANE.json", json.dumps({"x": 1}))
    with pytest.raises(UserError) as caught:
        collected(tmp_path, TABLES)
    assert "DOE" not in str(caught.value)


def sized(*edges: float, level: str = "L1", file: str = "a/1.dcm", **given: Any) -> Annotation:
    """Return a box on a picture of the image's own size."""
    x_min, y_min, x_max, y_max = edges
    image = {"file_name": file, "size": (100, 80), **given}
    return Annotation(SOURCE, "coco", "row", 1, level, (x_min, y_min, x_max, y_max), **image)


def outcome(
    *annotations: Annotation, files: ImageFiles = FILES, **params: Any
) -> list[tuple[str, str]]:
    table = match(list(annotations), files, Annotations(implausible="report", **params))
    return list(zip(table["level"], table["status"], strict=True))


@pytest.mark.parametrize(
    ("edges", "status"),
    [
        ((20, 20, 60, 50), "used"),
        ((20, 20, 35, 35), "used"),
        ((20, 20, 34.9, 50), "implausible"),
        ((0.2, 0.25, 0.6, 0.6), "implausible"),
        ((0, 0, 91, 30), "implausible"),
    ],
)
def test_a_box_has_the_size_of_a_vertebral_body(
    edges: tuple[float, float, float, float], status: str
) -> None:
    assert outcome(sized(*edges)) == [("L1", status)]
    assert outcome(sized(*edges, level="S1")) == [("S1", "used")]


def test_a_box_of_another_size_stops_and_says_why() -> None:
    with pytest.raises(UserError) as caught:
        match([sized(0.2, 0.2, 0.6, 0.6)], FILES, Annotations())
    assert str(caught.value).startswith(
        "annotations[1] row 1: expected a vertebral body of 15 to 90 mm (annotations.edge_mm), but "
        "found a box of 0.4 x 0.4 mm; multiply its numbers, which are fractions, by"
    )
    index, identities = TABLES
    for fault in ({"geometry_fault": "no_spacing"}, {"column_spacing_mm": float("nan")}):
        files = ImageFiles(index.assign(**fault), identities)
        assert outcome(sized(1, 2, 3, 4), files=files) == [("L1", "used")]
    assert outcome(sized(1, 2, 3, 4), edge_mm=(1, 90)) == [("L1", "used")]


def test_the_size_of_the_picture_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"expected the width and height of the annotated picture"):
        outcome(sized(20, 20, 60, 50, size=None))
    assert outcome(sized(20, 20, 60, 50, size=None), missing_size="dicom") == [("L1", "used")]
    table = replace(sized(20, 20, 60, 50, size=None), format="csv")
    assert outcome(table) == [("L1", "used")]


def spine(step_mm: float, *levels: str, on_each: int = 1) -> tuple[ImageFiles, list[Annotation]]:
    """Return images from the head down, `step_mm` from level to level, and a box on each."""
    paths = [f"{level}/{n}" for level in levels for n in range(on_each)]
    index, identities = images(*paths)
    z = [-step_mm * at - 2.0 * n for at in range(len(levels)) for n in range(on_each)]
    identities["plane"] = [f"0 0 {mm} 1 0 0 0 1 0" for mm in z]
    boxes = [sized(20, 20, 60, 50, level=path.partition("/")[0], file=path) for path in paths]
    return ImageFiles(index, identities), boxes


@pytest.mark.parametrize(
    ("step_mm", "levels", "status"),
    [
        (35, ("T12", "L1", "L2", "L3", "L4", "L5", "S1"), "used"),
        (35, ("L4", "L3", "L2", "L1"), "implausible"),
        (35, ("L1", "L3", "L2", "L4"), "implausible"),
        (35, ("L1", "L4"), "implausible"),
        (90, ("L1", "L2"), "implausible"),
        (70, ("L1", "L3"), "used"),
        (19, ("L1", "L2", "L3", "L4"), "implausible"),
        (19, ("T4", "T5", "T6", "T7"), "used"),
        (0, ("L4", "L5"), "used"),
    ],
)
def test_levels_descend_in_steps_of_a_vertebra(
    step_mm: float, levels: tuple[str, ...], status: str
) -> None:
    files, boxes = spine(step_mm, *levels, on_each=1 if step_mm in (0, 70) else 16)
    assert {found for _, found in outcome(*boxes, files=files)} == {status}


def test_levels_out_of_order_stop_and_leave_other_series_alone() -> None:
    files, boxes = spine(35, "L2", "L1")
    with pytest.raises(UserError) as caught:
        match(boxes, files, Annotations())
    assert "row 1: expected L1 above L2 along the patient's axis, but found it 35 mm below;" in str(
        caught.value
    )
    index, identities = files.index.assign(series_key=["S1", "S2"]), files.identities
    assert {status for _, status in outcome(*boxes, files=ImageFiles(index, identities))} == {
        "used"
    }
    # One SeriesInstanceUID of two patients is two series.
    two = ImageFiles(files.index, files.identities.assign(patient_id=["007", "008"]))
    assert {status for _, status in outcome(*boxes, files=two)} == {"used"}


def test_a_name_in_another_folder_is_no_match_but_named_in_private() -> None:
    for name in ("c/1.dcm", "P2/SER1/1.png", "labels/1"):
        with pytest.raises(UserError, match="but 1 of its name in other folders") as caught:
            keys(box(name))
        assert "a/1.dcm" in caught.value.private
        assert "a/1" not in str(caught.value)
    assert keys(box("x/y/b/2.png")) == [key(2)]
    flat = ImageFiles(*images("IM1", "P1/IM1", "P1/IM2"))
    assert keys(box("P1/IM1.png"), among=flat) == [key(1)]
    assert keys(box("export/P1/IM1.png"), among=flat) == [key(1)]
    assert keys(box("export/IM1.png"), among=flat) == [key(0)]


def test_one_uid_of_two_images_is_ambiguous() -> None:
    index, identities = images("a/1", "b/1", uids=["1.1", "1.1"])
    assert keys(box(uid="1.1"), among=ImageFiles(index, identities)) == [key(0), key(1)]
    for other in ({"patient_id": ["007", "008"]}, {"plane": ["0 0 0 1 0 0 0 1 0", ""]}):
        files = ImageFiles(index, identities.assign(**other))
        if "plane" in other:
            assert keys(box(uid="1.1"), among=files) == [key(0), key(1)]
            continue
        with pytest.raises(UserError, match="expected a file name or UID that fits one image"):
            keys(box(uid="1.1"), among=files)
    slices = identities.assign(plane=["0 0 0 1 0 0 0 1 0", "0 0 5 1 0 0 0 1 0"])
    with pytest.raises(UserError, match="expected a file name or UID that fits one image"):
        keys(box(uid="1.1"), among=ImageFiles(index, slices))


def test_near_names_go_to_a_private_file(tmp_path: Path) -> None:
    near = tmp_path / "private" / "near.csv"
    write_coco(tmp_path / "annotations", {"c/2.png": {"L1": (20.0, 20.0, 60.0, 50.0)}})
    for unmatched in ("report", "stop"):
        params = Annotations(missing_size="dicom", unmatched=unmatched)
        with pytest.raises(UserError) if unmatched == "stop" else nullcontext():
            collect(tmp_path / "annotations", *TABLES, params, near)
        assert near.read_text().replace(chr(34), "").splitlines() == [
            "table,row,file_name,same_name",
            "1,1,c/2.png,a/2.dcm",
            "1,1,c/2.png,b/2.dcm",
        ]
        assert near.stat().st_mode & 0o777 == 0o600
        near.unlink()
