"""Boxes in the formats of annotation tools: COCO, LabelMe, Pascal VOC and CSV (YOLO: `read`).

COCO (https://cocodataset.org/#format-data)
    One JSON with ``images``, ``annotations`` and ``categories``. An image is named by
    ``file_name``, counted from ``dicom/``, or by the field ``sop_instance_uid`` that this project
    adds. Only boxes are read, no segmentations. CVAT writes the box before it is turned by
    ``attributes.rotation``.
LabelMe (https://github.com/wkentaro/labelme)
    One JSON per image, with rectangles and polygons. Its points are positions on the image, pixel i
    covering [i, i + 1), so that their hull is a box. The image is named by ``imagePath``, or by the
    field ``sop_instance_uid`` that this project adds.
Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC)
    One XML per image. The format's own definition numbers pixels from 1, both ends included: xmin
    1, xmax W is the whole width. labelImg and others write the edges instead; the config key
    ``annotations.voc`` says which. `read_voc` returns the numbers as they are: fractions in one
    file say that all are edges, which `dsnet.cohort.annotations.read` decides.
CSV
    One row per box: ``sop_instance_uid`` or ``file_name`` (or both), ``level``, and ``x_min``,
    ``y_min``, ``x_max``, ``y_max``, the edges in pixels as `dsnet.schemas.BOX` counts them, in any
    order and among other columns; ``width`` and ``height`` of the annotated picture, where there
    are such columns. With semicolons between cells, numbers may have decimal commas.
"""

import csv
import math
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from dsnet.cohort.annotations import (
    Annotation,
    Edges,
    Source,
    positive_size,
    read_each,
)
from dsnet.errors import UserError, collectable
from dsnet.schemas import BOX

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
    return read_each(
        content["annotations"],
        lambda number, entry: _coco_annotation(source, number, entry, images, categories),
    )


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
        rotation_deg=_rotation(source, row, entry),
    )


def _rotation(source: Source, row: int, entry: Mapping[str, Any]) -> float:
    attributes = entry.get("attributes")
    value = attributes.get("rotation") if isinstance(attributes, dict) else None
    degrees = 0.0 if value is None else _number(value)
    if not math.isfinite(degrees):
        raise _coco_error(source, row, "a rotation in degrees", "something else")
    return degrees


def _number(value: Any) -> float:
    """Return a number of JSON; NaN for anything else, and for more than a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _entry(entries: Mapping[Any, Mapping[str, Any]], key: Any) -> Mapping[str, Any] | None:
    return entries.get(key) if isinstance(key, int | str) else None


def _stripped(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _coco_edges(source: Source, row: int, box: Any) -> Edges:
    values = [_number(value) for value in box] if isinstance(box, list) else []
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise _coco_error(
            source, row, "a bbox of four numbers: x, y, width, height", "something else"
        )
    x, y, width, height = values
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
    return read_each(
        content["shapes"],
        lambda row, shape: Annotation(
            source,
            "labelme",
            "shape",
            row,
            str(shape.get("label", "")) if isinstance(shape, dict) else "",
            _labelme_edges(source, row, shape),
            sop_instance_uid=names.get("sop_instance_uid", ""),
            file_name=names.get("imagePath", ""),
            size=size,
        ),
    )


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


def read_voc(source: Source) -> list[Annotation]:
    """Return the boxes of a VOC file, their edges as the file's numbers are.

    Raises
    ------
    UserError
        If it is no such file, naming the object that cannot be read.
    """
    try:
        root = ET.parse(source.path).getroot()  # noqa: S314 - the user's own; expat bounds entities
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
    return read_each(
        root.findall("object"),
        lambda row, entry: Annotation(
            source,
            "voc",
            "object",
            row,
            _xml_text(entry, "name"),
            _voc_edges(source, row, entry),
            sop_instance_uid=uid,
            file_name=file_name,
            size=size,
            rotation_deg=_voc_rotation(source, row, entry),
        ),
    )


def _xml_text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _voc_edges(source: Source, row: int, entry: ET.Element) -> Edges:
    try:
        x_min, y_min, x_max, y_max = (float(_xml_text(entry, f"bndbox/{n}")) for n in _VOC_EDGES)
    except ValueError as error:
        expected = "a bndbox with xmin, ymin, xmax and ymax"
        raise source.error(expected, "something else", "correct it", f"object {row}") from error
    return x_min, y_min, x_max, y_max


def _voc_rotation(source: Source, row: int, entry: ET.Element) -> float:
    """Return the attribute ``rotation`` that CVAT writes."""
    for attribute in entry.findall("attributes/attribute"):
        if _xml_text(attribute, "name") == "rotation":
            try:
                return float(_xml_text(attribute, "value"))
            except ValueError as error:
                raise source.error(
                    "a rotation in degrees", "something else", "correct it", f"object {row}"
                ) from error
    return 0.0


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
            with collectable():
                one = _csv_annotation(source, row, cells, decimal_comma=delimiter == ";")
                annotations.append(one)
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
    texts = [cells.get(name, "") for name in BOX]
    try:
        x_min, y_min, x_max, y_max = (
            float(text.replace(",", ".") if decimal_comma else text) for text in texts
        )
    except ValueError as error:
        expected = f"numbers in {', '.join(BOX)}"
        raise source.error(expected, "something else", "correct the cells", f"row {row}") from error
    return Annotation(
        source,
        "csv",
        "row",
        row,
        cells.get("level", ""),
        (x_min, y_min, x_max, y_max),
        sop_instance_uid=uid,
        file_name=file_name,
        size=positive_size(cells.get("width"), cells.get("height")),
    )
