import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsnet.cohort.annotation import Annotation
from dsnet.cohort.annotations import ImageFiles, place, read_annotations
from dsnet.errors import UserError


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a/1.dcm", "sop_instance_uid": "1.1"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 5]}],
        "categories": [{"id": 1, "name": "L1"}],
        **changes,
    }


def written(folder: Path, content: Any, name: str = "boxes.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def files(*rows: tuple[str, str, str]) -> ImageFiles:
    """Return files of 100 columns and 80 rows from (key, path, uid)."""
    keys, paths, uids = zip(*rows, strict=True)
    index = pd.DataFrame({"file_key": keys, "rows": 80, "columns": 100})
    identities = pd.DataFrame({"file_key": keys, "relative_path": paths, "sop_instance_uid": uids})
    return ImageFiles.of(index, identities)


def box(file_name: str = "", uid: str = "", level: str = "L1", row: int = 1) -> Annotation:
    return Annotation(
        f"annotations[1] annotation row {row}", "t", uid, file_name, level, (1, 2, 3, 4)
    )


FILES = files(("F1", "a/1.dcm", "1.1"), ("F2", "a/2.dcm", "1.2"), ("F3", "b/2.dcm", ""))


def keys(*annotations: Annotation, among: ImageFiles = FILES) -> list[str]:
    return list(place(list(annotations), among)["file_key"])


def test_coco_boxes_become_edges(tmp_path: Path) -> None:
    (one,) = read_annotations(written(tmp_path / "annotations", coco()))
    assert one.edges == (10.0, 20.0, 40.0, 25.0)
    assert (one.level, one.sop_instance_uid, one.file_name) == ("L1", "1.1", "a/1.dcm")
    assert one.where == "annotations[1] annotation row 1"


def test_float_noise_does_not_leave_the_image(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [72.1, 20, 27.9, 5]}
    (one,) = read_annotations(written(tmp_path / "annotations", coco(annotations=[entry])))
    assert one.edges[2] == 100.0
    assert keys(one) == ["F1"]


def test_tables_are_found_by_content_and_numbered_by_path(tmp_path: Path) -> None:
    folder = written(tmp_path / "annotations", coco(), "b.json")
    written(folder, coco(categories=[{"id": 1, "name": "t12"}]), "a.JSON")
    (folder / "notes.txt").write_text("not a table")
    (folder / "._b.json").write_bytes(b"\0")
    found = read_annotations(folder)
    assert [(one.where[:14], one.level) for one in found] == [
        ("annotations[1]", "T12"),
        ("annotations[2]", "L1"),
    ]


def test_no_folder_is_no_annotation(tmp_path: Path) -> None:
    assert read_annotations(tmp_path / "annotations") == []


BAD_BOX = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]
NO_IMAGE = [{"id": 1, "image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1], "annotations[1]: expected COCO JSON"),
        ({"shapes": []}, "annotations[1]: expected COCO JSON"),
        (coco(annotations=BAD_BOX), "annotations[1] annotation row 1: expected a bbox of four"),
        (coco(annotations=NO_IMAGE), "annotations[1] annotation row 1: expected the image_id of"),
        (coco(categories=[]), "annotations[1] annotation row 1: expected a category named"),
        (
            coco(categories=[{"id": 1, "name": "Miller"}]),
            "annotations[1] annotation row 1: expected a category named T1 to T12, L1 to L6 or "
            "S1 to S5, but found a name of 6 characters",
        ),
        (
            coco(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]),
            "annotations[1] image row 2: expected an id of its own, but found the id of row 1",
        ),
        (coco(images=[{"file_name": "a"}]), "annotations[1] image row 1: expected an entry with"),
        (coco(images=[{"id": 1}]), "annotations[1] annotation row 1: expected an image with"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_annotations(written(tmp_path / "annotations", content))
    assert str(caught.value).startswith(sentence)
    assert caught.value.private == "boxes.json"


def test_a_cut_table_is_one_sentence(tmp_path: Path) -> None:
    folder = written(tmp_path / "annotations", coco())
    (folder / "boxes.json").write_text('{"images": [')
    with pytest.raises(UserError, match="expected a readable JSON file"):
        read_annotations(folder)


def test_images_are_found_by_uid_or_path() -> None:
    assert keys(box(uid="1.2")) == ["F2"]
    assert keys(box(uid="1.2", file_name="renamed.dcm")) == ["F2"]
    for name in ("b/2.dcm", "./b/2.dcm", "b\\2.dcm", "dicom/b/2.dcm", "/b/2.dcm"):
        assert keys(box(name)) == ["F3"]
    assert keys(box("elsewhere/1.dcm")) == ["F1"]


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (box(uid="9.9"), "expected an image that lies in dicom/"),
        (box(uid="9.9", file_name="a/1.dcm"), "expected an image that lies in dicom/"),
        (box("c/9.dcm"), "expected an image that lies in dicom/"),
        (box("2.dcm"), "expected a file name that fits one image, but found one that fits 2"),
    ],
)
def test_a_box_without_its_image_is_one_sentence(annotation: Annotation, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        keys(annotation)
    assert str(caught.value).startswith(f"annotations[1] annotation row 1: {sentence}")


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
    wrong = Annotation("annotations[1] annotation row 4", "t", "1.1", "", "L1", edges)
    with pytest.raises(UserError) as caught:
        keys(wrong)
    assert str(caught.value).startswith(f"annotations[1] annotation row 4: expected {sentence}")


@given(
    st.tuples(st.floats(-5, 105), st.floats(-5, 85), st.floats(-5, 105), st.floats(-5, 85)),
)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_a_box_is_placed_exactly_where_it_was_drawn_or_refused(
    edges: tuple[float, float, float, float],
) -> None:
    x_min, y_min, x_max, y_max = edges
    fits = 0 <= x_min < x_max <= 100 and 0 <= y_min < y_max <= 80
    drawn = Annotation("annotations[1] annotation row 1", "t", "1.1", "", "L1", edges)
    if fits:
        placed = place([drawn], FILES).iloc[0]
        assert (placed.x_min, placed.y_min, placed.x_max, placed.y_max) == edges
    else:
        with pytest.raises(UserError):
            place([drawn], FILES)


def test_a_level_twice_names_both_rows() -> None:
    assert keys(box(uid="1.1"), box(uid="1.1", level="L2")) == ["F1", "F1"]
    with pytest.raises(UserError) as caught:
        keys(box(uid="1.1"), box("a/1.dcm", row=7))
    assert str(caught.value).startswith(
        "annotations[1] annotation row 7: expected one box of L1 on F1, but found another in "
        "annotations[1] annotation row 1"
    )


def test_of_copies_the_file_name_picks_one() -> None:
    copies = files(("F1", "a/1.dcm", "1.1"), ("F2", "z/copy.dcm", "1.1"))
    for name, named in (("z/copy.dcm", [False, True]), ("", [False, False])):
        placed = place([box(name, "1.1")], copies)
        assert list(placed["file_key"]) == ["F1", "F2"]
        assert list(placed["named"]) == named


def test_no_annotations_are_an_empty_table() -> None:
    placed = place([], FILES)
    assert placed.empty
    assert placed["named"].dtype == bool
