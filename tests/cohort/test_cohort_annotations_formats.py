import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_annotations import COLUMNS, ROWS, WRITERS, Boxes, collected, images, key, written

from dsnet.cohort.annotations import LEVEL_NAMES, VERSE, level_of
from dsnet.errors import UserError
from dsnet.schemas import BOX, LEVELS

PATHS = ("a/1.dcm", "a/2.dcm", "b/2.dcm")
TABLES = images(*PATHS)


def _span(length: int) -> st.SearchStrategy[tuple[float, float]]:
    """Return two edges, at least a pixel between them, in hundredths of a pixel."""
    low = st.integers(0, 100 * length - 100)
    return low.flatmap(
        lambda at: st.tuples(st.just(at / 100), st.integers(at + 100, 100 * length))
    ).map(lambda pair: (pair[0], pair[1] / 100))


_EDGES = st.tuples(_span(COLUMNS), _span(ROWS)).map(lambda b: (b[0][0], b[1][0], b[0][1], b[1][1]))
_BOXES = st.dictionaries(
    st.sampled_from(PATHS),
    st.dictionaries(st.sampled_from((*LEVELS, "T12", "S1")), _EDGES, min_size=1, max_size=3),
    min_size=1,
)


@pytest.mark.parametrize("name", WRITERS)
@given(boxes=_BOXES)
@settings(deadline=None, max_examples=15, derandomize=True)
def test_every_format_reads_back_what_was_annotated(name: str, boxes: Boxes) -> None:
    write, params = WRITERS[name]
    with TemporaryDirectory() as folder:
        write(Path(folder), boxes)
        table = collected(Path(folder), TABLES, **params)
    assert set(table["status"]) == {"used"}
    assert set(table["format"]) == {name}
    read = {
        (row["file_key"], row["level"]): [row[edge] for edge in BOX]
        for row in table.to_dict("records")
    }
    expected = {
        (key(PATHS.index(path)), level): pytest.approx(list(edges), abs=1e-9)
        for path, levels in boxes.items()
        for level, edges in levels.items()
    }
    assert read == expected


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a/1.dcm", "sop_instance_uid": "1.2.3.0"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 5]}],
        "categories": [{"id": 1, "name": "L1"}],
        **changes,
    }


def edges_of(folder: Path, **params: Any) -> list[float]:
    (row,) = collected(folder, TABLES, **params).to_dict("records")
    return [row[edge] for edge in BOX]


def test_float_noise_does_not_leave_the_image(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [72.1, 20, 27.9, 5]}
    written(tmp_path, "boxes.json", json.dumps(coco(annotations=[entry])))
    assert edges_of(tmp_path) == [72.1, 20.0, 100.0, 25.0]


BAD_BOX = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]
NO_IMAGE = [{"id": 1, "image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (coco(annotations=BAD_BOX), "annotation row 1: expected a bbox of four"),
        (coco(annotations=NO_IMAGE), "annotation row 1: expected the image_id of"),
        (coco(categories=[]), "annotation row 1: expected the category_id of a listed category"),
        (
            coco(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]),
            "image row 2: expected an id of its own, but found the id of row 1",
        ),
        (coco(images=[{"file_name": "a"}]), "image row 1: expected an entry with"),
        (coco(images=[{"id": 1}]), "annotation row 1: expected an image with"),
    ],
)
def test_a_broken_coco_row_is_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    written(tmp_path, "boxes.json", json.dumps(content))
    with pytest.raises(UserError) as caught:
        collected(tmp_path, TABLES)
    assert str(caught.value).startswith(f"annotations[1] {sentence}")
    assert caught.value.private == "boxes.json"


VOC = (
    "<annotation><filename>1.dcm</filename><object><name>L1</name><bndbox><xmin>{}</xmin>"
    "<ymin>1</ymin><xmax>100</xmax><ymax>80</ymax></bndbox></object></annotation>"
)


def test_voc_numbers_pixels_from_one_by_default(tmp_path: Path) -> None:
    path = written(tmp_path, "1.xml", VOC.format(1))
    assert edges_of(tmp_path) == [0, 0, 100, 80]
    assert edges_of(tmp_path, voc="edges") == [1, 1, 100, 80]
    path.write_text(VOC.format(0))
    with pytest.raises(UserError, match=r"object 1: expected pixel numbers from 1 .*voc: edges"):
        collected(tmp_path, TABLES)
    path.write_text(VOC.format("left"))
    with pytest.raises(UserError, match="object 1: expected a bndbox with xmin"):
        collected(tmp_path, TABLES)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"shape_type": "circle", "points": [[1, 2], [3, 4]]}, "a rectangle or a polygon"),
        ({"shape_type": "polygon", "points": [[1, 2], [3, 4]]}, "at least 3 points"),
        ({"shape_type": "rectangle", "points": "none"}, "at least 2 points"),
        (7, "a rectangle or a polygon"),
    ],
)
def test_a_broken_labelme_shape_is_one_sentence(tmp_path: Path, shape: Any, sentence: str) -> None:
    content = {"imagePath": "1.dcm", "shapes": [shape]}
    written(tmp_path, "1.json", json.dumps(content))
    with pytest.raises(UserError, match=rf"annotations\[1\] shape 1: expected {sentence}"):
        collected(tmp_path, TABLES)


def test_yolo_takes_the_nearest_class_list_and_polygons(tmp_path: Path) -> None:
    written(tmp_path, "classes.txt", "L1\nL2\n")
    written(tmp_path, "labels/1.txt", "1 0.10 0.10 0.30 0.20 0.20 0.40\n\n")
    written(tmp_path, "labels/empty.txt", "\n")
    (row,) = collected(tmp_path, TABLES).to_dict("records")
    assert row["level"] == "L2"
    assert [row[edge] for edge in BOX] == [10, 8, 30, 32]
    written(tmp_path, "labels/obj.names", "T12\nL3\n")
    assert list(collected(tmp_path, TABLES)["level"]) == ["L3"]


def test_yolo_up_to_the_edge_stays_inside(tmp_path: Path) -> None:
    written(tmp_path, "classes.txt", "L1\n")
    written(tmp_path, "1.txt", "0 0.8333335 0.5 0.333334 1.000000")
    assert edges_of(tmp_path) == [66.67, 0, 100, 80]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("3 0.1 0.1 0.1 0.1", "the number of a listed class"),
        ("0 0.1 0.1 0.1", "a class and four numbers"),
        ("0 0.1 0.1 O.1 0.1", "a class and four numbers"),
        ("0 0.1 0.1 0.1 0.1 0.9 0.9 0.9", "a class and four numbers"),
    ],
)
def test_a_broken_yolo_line_is_one_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    written(tmp_path, "classes.txt", "L1\n")
    written(tmp_path, "1.txt", f"0 0.1 0.1 0.1 0.1\n{line}\n")
    with pytest.raises(UserError, match=rf"annotations\[1\] line 2: expected {sentence}"):
        collected(tmp_path, TABLES)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [(",1,L1,1,2,3,4", ""), (",,L1,1,2,3,4", "a sop_instance"), ("1.dcm,,L1,a,2,3,4", "numbers")],
)
def test_a_box_table_names_image_and_edges(tmp_path: Path, row: str, sentence: str) -> None:
    header = "file_name,SOP_Instance_UID,Level,x_min,y_min,x_max,y_max,by"
    written(tmp_path, "x.csv", f"{header}\n1.dcm,,L2,5,6,7,8\n,,,,\n{row}\n")
    if sentence:
        with pytest.raises(UserError, match=rf"annotations\[1\] row 4: expected {sentence}"):
            collected(tmp_path, TABLES)
    else:
        table = collected(tmp_path, TABLES, unmatched="report")
        assert list(table["row"]) == [2, 4]
        assert list(table["status"]) == ["used", "no_image"]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("L1", "L1"),
        (" l1 ", "L1"),
        ("vertebrae_L1", "L1"),
        ("L1 body", "L1"),
        ("L-01", "L1"),
        ("Lumbar vertebra 4", "L4"),
        ("fourth lumbar vertebra", "L4"),
        ("4th lumbar vertebra", "L4"),
        ("lumbar vertebrae 4 (L4)", ""),
        ("L4Vertebra", "L4"),
        ("Th12", "T12"),
        ("D12", "T12"),
        ("vertebrae_C7", "C7"),
        ("20", "L1"),
        ("25", "L6"),
        ("1", ""),
        ("T13", ""),
        ("L7", ""),
        ("L1-L2", ""),
        ("L1 pedicle", ""),
        ("disc", ""),
        ("", ""),
    ],
)
def test_levels_are_understood_as_tools_spell_them(name: str, level: str) -> None:
    assert level_of(name, {}) == level


@given(st.sampled_from(sorted(LEVEL_NAMES)))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_a_level_means_itself_however_it_is_dressed(level: str) -> None:
    for dressed in (level, level.lower(), f"vertebrae_{level}", f"{level} (body)"):
        assert level_of(dressed, {}) == level


def test_the_config_has_the_first_word_on_names(tmp_path: Path) -> None:
    assert level_of("LWK 1", {"lwk 1": "L1"}) == "L1"
    assert level_of("L1", {"L1": "L2"}) == "L2"
    assert VERSE[20] == "L1"
    written(tmp_path, "x.json", json.dumps(coco(categories=[{"id": 1, "name": "disc"}])))
    table = collected(tmp_path, TABLES, level_names={"Disc": "ignore"})
    assert list(table["status"]) == ["ignored"]


def test_a_box_that_cvat_turned_is_turned(tmp_path: Path) -> None:
    entry = {"image_id": 1, "category_id": 1, "bbox": [40, 20, 10, 30]}
    for degrees, edges in (
        (90, [30, 30, 60, 40]),
        (180, [40, 20, 50, 50]),
        (360, [40, 20, 50, 50]),
    ):
        turned = {**entry, "attributes": {"occluded": False, "rotation": degrees}}
        written(tmp_path, "boxes.json", json.dumps(coco(annotations=[turned])))
        assert edges_of(tmp_path) == edges
    turned = {**entry, "attributes": {"rotation": 45.0}}
    written(tmp_path, "boxes.json", json.dumps(coco(annotations=[turned])))
    half = 40 / 2**0.5 / 2
    assert edges_of(tmp_path) == pytest.approx([45 - half, 35 - half, 45 + half, 35 + half])
    assert list(collected(tmp_path, TABLES)["read_as"]) == ["rotated"]
    written(
        tmp_path,
        "boxes.json",
        json.dumps(coco(annotations=[{**turned, "attributes": {"rotation": "x"}}])),
    )
    with pytest.raises(UserError, match="annotation row 1: expected a rotation in degrees"):
        collected(tmp_path, TABLES)


@pytest.mark.parametrize("number", ["9" * 400, "true", "NaN", "Infinity", '"1"', "null"])
def test_what_is_no_number_is_no_edge(tmp_path: Path, number: str) -> None:
    text = json.dumps(coco()).replace("[10, 20, 30, 5]", f"[10, 20, {number}, 5]")
    written(tmp_path, "boxes.json", text)
    with pytest.raises(UserError, match="annotation row 1: expected a bbox of four numbers"):
        collected(tmp_path, TABLES)


def test_json_that_is_too_deep_is_one_sentence(tmp_path: Path) -> None:
    written(tmp_path, "boxes.json", "[" * 100_000)
    with pytest.raises(UserError, match="expected a readable JSON file"):
        collected(tmp_path, TABLES)


def test_a_fraction_in_one_voc_file_makes_edges_of_all(tmp_path: Path) -> None:
    written(tmp_path, "1.xml", VOC.format(1))
    assert edges_of(tmp_path) == [0, 0, 100, 80]
    whole = VOC.replace("1.dcm", "a/2.dcm").replace("<name>L1", "<name>L2")
    written(tmp_path, "2.xml", whole.format("10.5"))
    table = collected(tmp_path, TABLES)
    assert list(table["x_min"]) == [1, 10.5]
    assert list(table["read_as"]) == ["edges", "edges"]
    assert list(collected(tmp_path, TABLES, voc="edges")["read_as"]) == ["", ""]


def test_a_voc_box_that_cvat_turned_is_turned(tmp_path: Path) -> None:
    attribute = "<attributes><attribute><name>rotation</name><value>{}</value></attribute>"
    turned = VOC.replace("<bndbox>", attribute + "</attributes><bndbox>")
    written(tmp_path, "1.xml", turned.format("180.0", 1))
    table = collected(tmp_path, TABLES)
    assert table[list(BOX)].to_numpy().tolist() == [[0, 0, 100, 80]]
    assert list(table["read_as"]) == ["rotated"]
    written(tmp_path, "1.xml", turned.format("left", 1))
    with pytest.raises(UserError, match="object 1: expected a rotation in degrees"):
        collected(tmp_path, TABLES)


@pytest.mark.parametrize(
    ("line", "edges", "read_as"),
    [
        ("0 0.5 0.5 0.4 0.5 0.91", [30, 20, 70, 60], "confidence"),
        ("0 0.5 0.5 0.4 0.5 7", [30, 20, 70, 60], "track"),
        ("0 0.5 0.5 0.4 0.5 0.91 12", [30, 20, 70, 60], "track"),
        ("0 0.5 0.5 0.4 0.5 0.9 0.75", [40, 40, 90, 60], ""),
    ],
)
def test_yolo_lines_are_known_by_their_form(
    tmp_path: Path, line: str, edges: list[float], read_as: str
) -> None:
    written(tmp_path, "classes.txt", "L1\n")
    written(tmp_path, "1.txt", line)
    assert edges_of(tmp_path) == edges
    assert list(collected(tmp_path, TABLES)["read_as"]) == [read_as]


def test_yolo_keypoints_follow_the_nearest_shape(tmp_path: Path) -> None:
    points = "0.6 0.6 0.8 0.6 0.8 0.8 0.6 0.8"
    written(tmp_path, "data.yaml", "kpt_shape: [4, 2]\nnames: [L1]\n")
    written(tmp_path, "labels/train/a/1.txt", f"0 0.7 0.7 0.2 0.2 {points}")
    table = collected(tmp_path, TABLES)
    assert table[list(BOX)].to_numpy().tolist() == [[60, 48, 80, 64]]
    assert list(table["read_as"]) == ["keypoints"]
    written(tmp_path, "data.yaml", "names: [L1]\nkpt_shape: many\n")
    with pytest.raises(UserError, match=r"expected a vertebral body of .* kpt_shape in data"):
        collected(tmp_path, TABLES, edge_mm=(15, 45))


@pytest.mark.parametrize("name", ["labels/1", "labels/val/1", "set/labels/a/1", "labels/x/a/1"])
def test_yolo_folders_are_no_part_of_the_images_path(tmp_path: Path, name: str) -> None:
    written(tmp_path, "classes.txt", "L1\n")
    written(tmp_path, f"{name}.txt", "0 0.5 0.5 0.4 0.5")
    assert list(collected(tmp_path, TABLES)["file_key"]) == [key(0)]


def test_a_box_table_may_state_the_size_of_its_pictures(tmp_path: Path) -> None:
    header = "file_name,level,x_min,y_min,x_max,y_max,width,height\n"
    written(tmp_path, "x.csv", header + "1.dcm,L1,1,2,30,40,100,80\n")
    assert edges_of(tmp_path) == [1, 2, 30, 40]
    written(tmp_path, "x.csv", header + "1.dcm,L1,1,2,30,40,50,40\n")
    with pytest.raises(UserError, match="its image of 100 x 80 pixels, but found one on 50 x 40"):
        collected(tmp_path, TABLES)
