"""Boxes in COCO's JSON format (https://cocodataset.org/#format-data).

One image may be named by ``file_name``, counted from ``dicom/``, and by the field
``sop_instance_uid`` that this project adds. Only boxes count; segmentations are left alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsnet.cohort.annotation import LEVEL_NAMES, Annotation
from dsnet.errors import UserError

_KEYS = ("images", "annotations", "categories")


def read_coco(path: Path, table: str) -> list[Annotation] | None:
    """Return the boxes of a COCO file, or None if it is something else.

    Parameters
    ----------
    path : Path
    table : str
        The file's name in messages.

    Raises
    ------
    UserError
        Naming the row that cannot be read.
    """
    if path.suffix.lower() != ".json":
        return None
    content = _load(path, table)
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in _KEYS):
        return None
    images = _by_id(content["images"], f"{table} image row", path.name)
    categories = _by_id(content["categories"], f"{table} category row", path.name)
    return [
        _annotation(entry, f"{table} annotation row {number}", path.name, images, categories)
        for number, entry in enumerate(content["annotations"], start=1)
    ]


def _load(path: Path, table: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(
            table,
            expected="a readable JSON file in UTF-8",
            came="something else",
            remedy="export it again, or move it out of annotations/",
            private=path.name,
        ) from error


def _by_id(entries: list[Any], where: str, name: str) -> dict[Any, Mapping[str, Any]]:
    found: dict[Any, Mapping[str, Any]] = {}
    rows: dict[Any, int] = {}
    for number, entry in enumerate(entries, start=1):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str):
            raise _error(f"{where} {number}", name, "an entry with an id", "none")
        if key in found:
            came = f"the id of row {rows[key]} again"
            raise _error(f"{where} {number}", name, "an id of its own", came)
        found[key] = entry
        rows[key] = number
    return found


def _annotation(
    entry: Any,
    where: str,
    name: str,
    images: Mapping[Any, Mapping[str, Any]],
    categories: Mapping[Any, Mapping[str, Any]],
) -> Annotation:
    if not isinstance(entry, dict):
        raise _error(where, name, "an object", "something else")
    image = _find(images, entry.get("image_id"))
    if image is None:
        raise _error(where, name, "the image_id of a listed image", "one that images lacks")
    uid = _text(image.get("sop_instance_uid"))
    file_name = _text(image.get("file_name"))
    if not uid and not file_name:
        raise _error(where, name, "an image with sop_instance_uid or file_name", "neither")
    category = _find(categories, entry.get("category_id"))
    level = _text((category or {}).get("name")).upper()
    if level not in LEVEL_NAMES:
        came = f"a name of {len(level)} characters" if category else "one that categories lacks"
        raise _error(where, name, "a category named T1 to T12, L1 to L6 or S1 to S5", came)
    return Annotation(where, name, uid, file_name, level, _edges(entry.get("bbox"), where, name))


def _find(entries: Mapping[Any, Mapping[str, Any]], key: Any) -> Mapping[str, Any] | None:
    return entries.get(key) if isinstance(key, int | str) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _edges(box: Any, where: str, name: str) -> tuple[float, float, float, float]:
    numbers = isinstance(box, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in box
    )
    if not numbers or len(box) != 4:
        raise _error(where, name, "a bbox of four numbers: x, y, width, height", "something else")
    x, y, width, height = (float(value) for value in box)
    # Rounded so that 100.1 + 27.9 is 128: a millionth of a pixel is the noise of binary floats.
    return x, y, round(x + width, 6), round(y + height, 6)


def _error(where: str, name: str, expected: str, came: str) -> UserError:
    return UserError(
        where, expected=expected, came=came, remedy="correct the annotation file", private=name
    )
