"""Boxes of Pascal VOC (http://host.robots.ox.ac.uk/pascal/VOC), one XML per image.

The format's own definition numbers pixels from 1, both ends included: xmin 1, xmax W is the whole
width. labelImg and others write the edges instead. The config key ``annotations.voc`` says which.
"""

from typing import Literal
from xml.etree import ElementTree as ET

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source, positive_size
from dsnet.errors import UserError

_EDGES = ("xmin", "ymin", "xmax", "ymax")


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
    file_name, uid = _text(root, "filename"), _text(root, "sop_instance_uid")
    if root.tag != "annotation" or not (file_name or uid):
        raise source.error(
            "Pascal VOC XML: an annotation with a filename",
            "XML of another kind",
            "convert it, or move it out of annotations/",
        )
    size = positive_size(_text(root, "size/width"), _text(root, "size/height"))
    return [
        Annotation(
            source,
            "voc",
            "object",
            row,
            _text(entry, "name"),
            _edges(source, row, entry, numbers),
            sop_instance_uid=uid,
            file_name=file_name,
            size=size,
        )
        for row, entry in enumerate(root.findall("object"), start=1)
    ]


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _edges(source: Source, row: int, entry: ET.Element, numbers: str) -> Edges:
    try:
        x_min, y_min, x_max, y_max = (float(_text(entry, f"bndbox/{name}")) for name in _EDGES)
    except ValueError as error:
        expected = "a bndbox with xmin, ymin, xmax and ymax"
        raise _error(source, row, expected, "something else", "correct it") from error
    if numbers == "edges":
        return x_min, y_min, x_max, y_max
    if x_min < 1 or y_min < 1:
        raise _error(
            source,
            row,
            "pixel numbers from 1 on, as VOC defines them",
            f"xmin {x_min:g}, ymin {y_min:g}",
            "set annotations.voc: edges if your tool writes edges from 0, as labelImg does",
        )
    return x_min - 1, y_min - 1, x_max, y_max


def _error(source: Source, row: int, expected: str, came: str, remedy: str) -> UserError:
    return source.error(expected, came, remedy, f"object {row}")
