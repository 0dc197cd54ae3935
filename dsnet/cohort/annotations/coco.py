"""Boxes in COCO's JSON format (https://cocodataset.org/#format-data).

One image may be named by ``file_name``, counted from ``dicom/``, and by the field
``sop_instance_uid`` that this project adds. Only boxes count; segmentations are left alone.
"""

from collections.abc import Mapping
from typing import Any

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source, positive_size
from dsnet.errors import UserError

_KEYS = ("images", "annotations", "categories")
_REMEDY = "correct the annotation file"


def read_coco(source: Source, content: Any) -> list[Annotation] | None:
    """Return the boxes of parsed JSON, or None if it is no COCO file.

    Raises
    ------
    UserError
        Naming the row that cannot be read.
    """
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in _KEYS):
        return None
    images = _by_id(source, content["images"], "image row")
    categories = _by_id(source, content["categories"], "category row")
    return [
        _annotation(source, number, entry, images, categories)
        for number, entry in enumerate(content["annotations"], start=1)
    ]


def _by_id(source: Source, entries: list[Any], place: str) -> dict[Any, Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {}
    rows: dict[Any, int] = {}
    for number, entry in enumerate(entries, start=1):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str):
            raise source.error("an entry with an id", "none", _REMEDY, f"{place} {number}")
        if key in found:
            came = f"the id of row {rows[key]} again"
            raise source.error("an id of its own", came, _REMEDY, f"{place} {number}")
        found[key] = entry
        rows[key] = number
    return found


def _annotation(
    source: Source,
    row: int,
    entry: Any,
    images: Mapping[Any, Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
) -> Annotation:
    if not isinstance(entry, dict):
        raise _error(source, row, "an object", "something else")
    image = _find(images, entry.get("image_id"))
    if image is None:
        raise _error(source, row, "the image_id of a listed image", "one that images lacks")
    uid, file_name = _text(image.get("sop_instance_uid")), _text(image.get("file_name"))
    if not uid and not file_name:
        raise _error(source, row, "an image with sop_instance_uid or file_name", "neither")
    category = _find(categories, entry.get("category_id"))
    if category is None:
        expected = "the category_id of a listed category"
        raise _error(source, row, expected, "one that categories lacks")
    return Annotation(
        source,
        "coco",
        "annotation row",
        row,
        _text(category.get("name")),
        _edges(source, row, entry.get("bbox")),
        sop_instance_uid=uid,
        file_name=file_name,
        size=positive_size(image.get("width"), image.get("height")),
    )


def _find(entries: Mapping[Any, Mapping[str, Any]], key: Any) -> Mapping[str, Any] | None:
    return entries.get(key) if isinstance(key, int | str) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _edges(source: Source, row: int, box: Any) -> Edges:
    numbers = isinstance(box, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in box
    )
    if not numbers or len(box) != 4:
        raise _error(source, row, "a bbox of four numbers: x, y, width, height", "something else")
    x, y, width, height = (float(value) for value in box)
    # Rounded so that 100.1 + 27.9 is 128: a millionth of a pixel is the noise of binary floats.
    return x, y, round(x + width, 6), round(y + height, 6)


def _error(source: Source, row: int, expected: str, came: str) -> UserError:
    return source.error(expected, came, _REMEDY, f"annotation row {row}")
