"""Rectangles and polygons of LabelMe (https://github.com/wkentaro/labelme), one JSON per image.

Its points are places on the image, pixel i covering [i, i + 1), so that their hull is a box. The
image is named by ``imagePath``, or by the field ``sop_instance_uid`` that this project adds.
"""

from typing import Any

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source, positive_size
from dsnet.errors import UserError

_REMEDY = "correct the shape, or delete it"


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
            _edges(source, row, shape),
            sop_instance_uid=names.get("sop_instance_uid", ""),
            file_name=names.get("imagePath", ""),
            size=size,
        )
        for row, shape in enumerate(content["shapes"], start=1)
    ]


def _edges(source: Source, row: int, shape: Any) -> Edges:
    # Versions before 4 name no type and have polygons only.
    kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None
    least = {"rectangle": 2, "polygon": 3}.get(str(kind))
    if least is None:
        raise _error(source, row, "a rectangle or a polygon", "a shape of another type")
    try:
        xs, ys = zip(*((float(x), float(y)) for x, y in shape["points"]), strict=True)
    except (KeyError, TypeError, ValueError):
        xs = ys = ()
    if len(xs) < least:
        expected = f"at least {least} points of two numbers each"
        raise _error(source, row, expected, f"{len(xs)}" if xs else "something else")
    return min(xs), min(ys), max(xs), max(ys)


def _error(source: Source, row: int, expected: str, came: str) -> UserError:
    return source.error(expected, came, _REMEDY, f"shape {row}")
