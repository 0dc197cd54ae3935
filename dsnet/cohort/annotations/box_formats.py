"""Boxes in the formats of annotation tools: COCO, LabelMe, Pascal VOC, YOLO and CSV.

COCO (https://cocodataset.org/#format-data)
    One JSON with ``images``, ``annotations`` and ``categories``. An image is named by
    ``file_name``, counted from ``dicom/``, or by the field ``sop_instance_uid`` that this project
    adds. Only boxes are read, no segmentations.
LabelMe (https://github.com/wkentaro/labelme)
    One JSON per image, with rectangles and polygons. Its points are positions on the image, pixel i
    covering [i, i + 1), so that their hull is a box. The image is named by ``imagePath``, or by the
    field ``sop_instance_uid`` that this project adds.
Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC)
    One XML per image. The format's own definition numbers pixels from 1, both ends included: xmin
    1, xmax W is the whole width. labelImg and others write the edges instead; the config key
    ``annotations.voc`` says which.
YOLO (https://docs.ultralytics.com/datasets/detect)
    One TXT per image. A line is the class number and the box's centre, width and height (or the
    polygon's points) in fractions of the image's width and height. The image is the one of the same
    name without its suffix.
CSV
    One row per box: ``sop_instance_uid`` or ``file_name`` (or both), ``level``, and ``x_min``,
    ``y_min``, ``x_max``, ``y_max``, the edges in pixels as `dsnet.schemas.BOX` counts them, in any
    order and among other columns. With semicolons between cells, numbers may have decimal commas.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree import ElementTree as ET

import yaml

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source, positive_size
from dsnet.errors import UserError
from dsnet.schemas import BOX

CLASS_LISTS: Final = frozenset({"classes.txt", "obj.names", "predefined_classes.txt"})
"""Names of the files that list YOLO's classes, one a line."""

ClassNames = dict[int, str]
"""Names of YOLO's classes by number."""

_COCO_KEYS: Final = ("images", "annotations", "categories")
_COCO_REMEDY: Final = "correct the annotation file"
_LEAST_POINTS: Final = {"rectangle": 2, "polygon": 3}
_VOC_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")
_CSV_IMAGES: Final = ("sop_instance_uid", "file_name")


def read_coco(source: Source, content: Any) -> list[Annotation] | None:
    """Return the boxes of parsed JSON, or None if it is no COCO file.

    Raises
    ------
    UserError
        Naming the row that cannot be read.
    """
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k), list) for k in _COCO_KEYS
    ):
        return None
    images = _by_id(source, content["images"], "image row")
    categories = _by_id(source, content["categories"], "category row")
    return [
        _coco_annotation(source, number, entry, images, categories)
        for number, entry in enumerate(content["annotations"], start=1)
    ]


def _by_id(source: Source, entries: list[Any], kind: str) -> dict[Any, Mapping[str, Any]]:
    by_id: dict[Any, Mapping[str, Any]] = {}
    rows: dict[Any, int] = {}
    for number, entry in enumerate(entries, start=1):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str):
            raise source.error("an entry with an id", "none", _COCO_REMEDY, f"{kind} {number}")
        if key in by_id:
            came = f"the id of row {rows[key]} again"
            raise source.error("an id of its own", came, _COCO_REMEDY, f"{kind} {number}")
        by_id[key] = entry
        rows[key] = number
    return by_id


def _coco_annotation(
    source: Source,
    row: int,
    entry: Any,
    images: Mapping[Any, Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
) -> Annotation:
    if not isinstance(entry, dict):
        raise _coco_error(source, row, "an object", "something else")
    image = _entry(images, entry.get("image_id"))
    if image is None:
        raise _coco_error(source, row, "the image_id of a listed image", "one that images lacks")
    uid, file_name = _stripped(image.get("sop_instance_uid")), _stripped(image.get("file_name"))
    if not uid and not file_name:
        raise _coco_error(source, row, "an image with sop_instance_uid or file_name", "neither")
    category = _entry(categories, entry.get("category_id"))
    if category is None:
        expected = "the category_id of a listed category"
        raise _coco_error(source, row, expected, "one that categories lacks")
    return Annotation(
        source,
        "coco",
        "annotation row",
        row,
        _stripped(category.get("name")),
        _coco_edges(source, row, entry.get("bbox")),
        sop_instance_uid=uid,
        file_name=file_name,
        size=positive_size(image.get("width"), image.get("height")),
    )


def _entry(entries: Mapping[Any, Mapping[str, Any]], key: Any) -> Mapping[str, Any] | None:
    return entries.get(key) if isinstance(key, int | str) else None


def _stripped(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _coco_edges(source: Source, row: int, box: Any) -> Edges:
    numbers = isinstance(box, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in box
    )
    if not numbers or len(box) != 4:
        raise _coco_error(
            source, row, "a bbox of four numbers: x, y, width, height", "something else"
        )
    x, y, width, height = (float(value) for value in box)
    # Rounded so that 100.1 + 27.9 is 128: a millionth of a pixel is the noise of binary floats.
    return x, y, round(x + width, 6), round(y + height, 6)


def _coco_error(source: Source, row: int, expected: str, came: str) -> UserError:
    return source.error(expected, came, _COCO_REMEDY, f"annotation row {row}")


def read_labelme(source: Source, content: Any) -> list[Annotation] | None:
    """Return the boxes of parsed JSON, or None if it is no LabelMe file.

    Raises
    ------
    UserError
        Naming the shape that is neither a rectangle nor a polygon.
    """
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return None
    names = {
        key: content[key].strip()
        for key in ("imagePath", "sop_instance_uid")
        if isinstance(content.get(key), str) and content[key].strip()
    }
    if not names:
        return None
    size = positive_size(content.get("imageWidth"), content.get("imageHeight"))
    return [
        Annotation(
            source,
            "labelme",
            "shape",
            row,
            str(shape.get("label", "")) if isinstance(shape, dict) else "",
            _labelme_edges(source, row, shape),
            sop_instance_uid=names.get("sop_instance_uid", ""),
            file_name=names.get("imagePath", ""),
            size=size,
        )
        for row, shape in enumerate(content["shapes"], start=1)
    ]


def _labelme_edges(source: Source, row: int, shape: Any) -> Edges:
    # Versions before 4 name no type and have polygons only.
    kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None
    least = _LEAST_POINTS.get(str(kind))
    if least is None:
        raise _shape_error(source, row, "a rectangle or a polygon", "a shape of another type")
    try:
        xs, ys = zip(*((float(x), float(y)) for x, y in shape["points"]), strict=True)
    except (KeyError, TypeError, ValueError):
        xs = ys = ()
    if len(xs) < least:
        expected = f"at least {least} points of two numbers each"
        raise _shape_error(source, row, expected, f"{len(xs)}" if xs else "something else")
    return min(xs), min(ys), max(xs), max(ys)


def _shape_error(source: Source, row: int, expected: str, came: str) -> UserError:
    return source.error(expected, came, "correct the shape, or delete it", f"shape {row}")


def read_voc(source: Source, numbers: Literal["pixels", "edges"]) -> list[Annotation]:
    """Return the boxes of a VOC file.

    Parameters
    ----------
    source : Source
    numbers : {"pixels", "edges"}
        Numbers of the outermost pixels, from 1; or edges, from 0.

    Raises
    ------
    UserError
        If it is no such file, naming the object that cannot be read.
    """
    try:
        # The user's own file, and expat bounds what entities may grow to.
        root = ET.parse(source.path).getroot()  # noqa: S314
    except (ET.ParseError, OSError, ValueError) as error:
        raise source.error(
            "a readable XML file", "something else", "export it again, or move it away"
        ) from error
    file_name, uid = _xml_text(root, "filename"), _xml_text(root, "sop_instance_uid")
    if root.tag != "annotation" or not (file_name or uid):
        raise source.error(
            "Pascal VOC XML: an annotation with a filename",
            "XML of another kind",
            "convert it, or move it out of annotations/",
        )
    size = positive_size(_xml_text(root, "size/width"), _xml_text(root, "size/height"))
    return [
        Annotation(
            source,
            "voc",
            "object",
            row,
            _xml_text(entry, "name"),
            _voc_edges(source, row, entry, numbers),
            sop_instance_uid=uid,
            file_name=file_name,
            size=size,
        )
        for row, entry in enumerate(root.findall("object"), start=1)
    ]


def _xml_text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _voc_edges(source: Source, row: int, entry: ET.Element, numbers: str) -> Edges:
    try:
        x_min, y_min, x_max, y_max = (
            float(_xml_text(entry, f"bndbox/{name}")) for name in _VOC_EDGES
        )
    except ValueError as error:
        expected = "a bndbox with xmin, ymin, xmax and ymax"
        raise source.error(expected, "something else", "correct it", f"object {row}") from error
    if numbers == "edges":
        return x_min, y_min, x_max, y_max
    if x_min < 1 or y_min < 1:
        raise source.error(
            "pixel numbers from 1 on, as VOC defines them",
            f"xmin {x_min:g}, ymin {y_min:g}",
            "set annotations.voc: edges if your tool writes edges from 0, as labelImg does",
            f"object {row}",
        )
    return x_min - 1, y_min - 1, x_max, y_max


def read_yolo(source: Source, cache: dict[Path, ClassNames | None]) -> list[Annotation] | None:
    """Return the boxes of a YOLO file, or None if its first line does not begin with a number.

    Parameters
    ----------
    source : Source
    cache : dict of Path to ClassNames
        A cache of the class names that apply in each folder; new ones are added.

    Raises
    ------
    UserError
        Naming the line that cannot be read, or if nothing names the classes.
    """
    try:
        lines = source.path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return None
    filled = [(row, line.split()) for row, line in enumerate(lines, start=1) if line.strip()]
    if not filled or not filled[0][1][0].isdecimal():
        return None
    root = source.path.parents[source.relative.count("/")]
    names = _class_names(source.path.parent, root, cache)
    if names is None:
        raise source.error(
            "class names in classes.txt or data.yaml, beside it or in a folder above",
            "none",
            "add the list of classes, one a line",
        )
    image = source.relative.removesuffix(source.path.suffix)
    return [
        Annotation(
            source,
            "yolo",
            "line",
            row,
            _class_name(source, row, cells[0], names),
            _yolo_edges(source, row, cells[1:]),
            file_name=image,
            fraction=True,
        )
        for row, cells in filled
    ]


def _class_names(
    folder: Path, root: Path, cache: dict[Path, ClassNames | None]
) -> ClassNames | None:
    """Return the class names of the nearest list in `folder` or above, up to `root`."""
    if folder not in cache:
        lists = (_names_of(path) for path in sorted(folder.iterdir()))
        here = next((names for names in lists if names is not None), None)
        above = None if folder == root else folder.parent
        cache[folder] = here if here or not above else _class_names(above, root, cache)
    return cache[folder]


def _names_of(path: Path) -> ClassNames | None:
    """Return the names of a list (one a line), or of a data.yaml (``names``: a list or a map)."""
    one_a_line = path.name.lower() in CLASS_LISTS
    if not one_a_line and path.suffix.lower() not in (".yaml", ".yml"):
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = {"names": text.splitlines()} if one_a_line else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return None
    return {int(k): str(v).strip() for k, v in names.items() if str(k).isdecimal()}


def _class_name(source: Source, row: int, cell: str, names: ClassNames) -> str:
    number = int(cell) if cell.isdecimal() else -1
    if number not in names:
        raise _line_error(source, row, "the number of a listed class, from 0", "another")
    return names[number]


def _yolo_edges(source: Source, row: int, cells: Sequence[str]) -> Edges:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        numbers = []
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        xs, ys = numbers[::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    expected = "a class and four numbers (x, y, width, height), or a class and a polygon's points"
    raise _line_error(source, row, expected, f"{len(cells)} cells after the class")


def _line_error(source: Source, row: int, expected: str, came: str) -> UserError:
    remedy = "correct the line, or move the file out of annotations/"
    return source.error(expected, came, remedy, f"line {row}")


def read_box_table(source: Source) -> list[Annotation]:
    """Return the boxes of a CSV table; wholly blank rows are left out, but counted.

    Raises
    ------
    UserError
        If it is no such table, naming the row that cannot be read.
    """
    lines, delimiter = _csv_lines(source)
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if not {"level", *BOX} <= set(header) or not set(_CSV_IMAGES) & set(header):
        raise source.error(
            "a CSV with level, x_min, y_min, x_max, y_max and sop_instance_uid or file_name",
            "another header",
            "rename its columns, or move it out of annotations/",
        )
    annotations = []
    for row, line in enumerate(lines[1:], start=2):
        cells = dict(zip(header, (cell.strip() for cell in line), strict=False))
        if any(cells.values()):
            annotations.append(_csv_annotation(source, row, cells, decimal_comma=delimiter == ";"))
    return annotations


def _csv_lines(source: Source) -> tuple[list[list[str]], str]:
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = ";" if header.count(";") > header.count(",") else ","
            return list(csv.reader(stream, strict=True, delimiter=delimiter)), delimiter
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise source.error(
            "a readable CSV file in UTF-8", "something else", "save it as CSV UTF-8"
        ) from error


def _csv_annotation(
    source: Source, row: int, cells: Mapping[str, str], *, decimal_comma: bool
) -> Annotation:
    uid, file_name = (cells.get(name, "") for name in _CSV_IMAGES)
    if not uid and not file_name:
        expected = "a sop_instance_uid or a file_name"
        raise source.error(expected, "neither", "fill in one of them", f"row {row}")
    return Annotation(
        source,
        "csv",
        "row",
        row,
        cells.get("level", ""),
        _csv_edges(source, row, cells, decimal_comma=decimal_comma),
        sop_instance_uid=uid,
        file_name=file_name,
    )


def _csv_edges(source: Source, row: int, cells: Mapping[str, str], *, decimal_comma: bool) -> Edges:
    texts = [cells.get(name, "") for name in BOX]
    try:
        x_min, y_min, x_max, y_max = (
            float(text.replace(",", ".") if decimal_comma else text) for text in texts
        )
    except ValueError as error:
        expected = f"numbers in {', '.join(BOX)}"
        raise source.error(expected, "something else", "correct the cells", f"row {row}") from error
    return x_min, y_min, x_max, y_max
