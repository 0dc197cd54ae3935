"""Boxes and polygons of YOLO (https://docs.ultralytics.com/datasets/detect), one TXT per image.

A line is the class number and the box's centre, width and height (or the polygon's points) in
fractions of the image's width and height. After a box may come a confidence, the number of a track,
or the keypoints that ``kpt_shape`` in data.yaml announces. The image is the one of the same name
without its suffix, below a folder ``labels``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeGuard

import yaml

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source
from dsnet.errors import UserError, collectable

CLASS_LISTS: Final = frozenset({"classes.txt", "obj.names", "predefined_classes.txt"})
"""Names of the files that list YOLO's classes, one a line."""

_SUBSETS: Final = frozenset({"train", "val", "valid", "validation", "test"})
"""Folders below ``labels`` that do not belong to an image's path."""


@dataclass
class YoloFolders:
    """What YOLO's lists say of the files in a folder, read once.

    Attributes
    ----------
    names : dict of Path to (dict of int to str) or None
        Class names by number, of the nearest list.
    keypoints : dict of Path to int
        Numbers after the box, of the nearest data.yaml with ``kpt_shape``; 0 without one.
    """

    names: dict[Path, dict[int, str] | None] = field(default_factory=dict)
    keypoints: dict[Path, int] = field(default_factory=dict)


def read_yolo(source: Source, folders: YoloFolders) -> list[Annotation] | None:
    """Return the boxes of a YOLO file, or None if its first line does not begin with a number.

    Parameters
    ----------
    source : Source
    folders : YoloFolders
        A cache; what is new is added.

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
    names = _class_names(source.path.parent, root, folders.names)
    if names is None:
        raise source.error(
            "class names in classes.txt or data.yaml, beside it or in a folder above",
            "none",
            "add the list of classes, one a line",
        )
    keypoints = _keypoint_numbers(source.path.parent, root, folders.keypoints)
    annotations = []
    for row, (number, *cells) in filled:
        with collectable():
            edges, read_as = _yolo_edges(source, row, cells, keypoints)
            annotations.append(
                Annotation(
                    source,
                    "yolo",
                    "line",
                    row,
                    _class_name(source, row, number, names),
                    edges,
                    file_name=_yolo_image(source.relative),
                    fraction=True,
                    read_as=read_as,
                )
            )
    return annotations


def _yolo_image(relative: str) -> str:
    """Return the path of the image of a label file: what comes below ``labels``."""
    path = PurePosixPath(relative)
    names = path.with_suffix("").parts
    if "labels" in names[:-1]:
        below = names[len(names) - names[::-1].index("labels") :]
        names = below[1:] if len(below) > 1 and below[0] in _SUBSETS else below
    return "/".join(names)


def _class_names(
    folder: Path, root: Path, cache: dict[Path, dict[int, str] | None]
) -> dict[int, str] | None:
    """Return the class names of the nearest list in `folder` or above, up to `root`."""
    if folder not in cache:
        lists = (_names_of(path) for path in sorted(folder.iterdir()))
        here = next((names for names in lists if names is not None), None)
        above = None if folder == root else folder.parent
        cache[folder] = here if here or not above else _class_names(above, root, cache)
    return cache[folder]


def _names_of(path: Path) -> dict[int, str] | None:
    """Return the names of a list (one a line), or of a data.yaml (``names``: a list or a map)."""
    if path.name.lower() in CLASS_LISTS:
        try:
            names: Any = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError):
            return None
    else:
        names = _yaml(path).get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return None
    return {int(k): str(v).strip() for k, v in names.items() if str(k).isdecimal()}


def _keypoint_numbers(folder: Path, root: Path, cache: dict[Path, int]) -> int:
    """Return how many numbers after a box the nearest ``kpt_shape`` announces."""
    if folder not in cache:
        shapes = (_yaml(path).get("kpt_shape") for path in sorted(folder.iterdir()))
        counts = [shape[0] * shape[1] for shape in shapes if _is_shape(shape)]
        above = None if folder == root or counts else folder.parent
        cache[folder] = _keypoint_numbers(above, root, cache) if above else sum(counts[:1])
    return cache[folder]


def _is_shape(shape: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(shape, list)
        and len(shape) == 2
        and all(isinstance(number, int) and number > 0 for number in shape)
    )


def _yaml(path: Path) -> dict[Any, Any]:
    """Return the mapping of a YAML file; an empty one where it is none."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _class_name(source: Source, row: int, cell: str, names: Mapping[int, str]) -> str:
    number = int(cell) if cell.isdecimal() else -1
    if number not in names:
        raise _line_error(source, row, "the number of a listed class, from 0", "another")
    return names[number]


def _yolo_edges(
    source: Source, row: int, cells: Sequence[str], keypoints: int
) -> tuple[Edges, str]:
    """Return the edges of a line, and how it was read.

    Five numbers are a box with a confidence or a track; six are one with both, if the last is a
    whole number as no coordinate is; an even number of them else a polygon.
    """
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        numbers = []
    count = len(numbers)
    tracked = count == 6 and cells[5].isdecimal() and 0 <= numbers[4] <= 1
    read_as = {4: "", 5: "confidence", 6: "track" if tracked else "polygon"}.get(count, "polygon")
    if count == 5 and cells[4].isdecimal():
        read_as = "track"
    if keypoints and count == 4 + keypoints:
        read_as = "keypoints"
    if read_as != "polygon":
        x, y, width, height = numbers[:4]
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), read_as
    if count >= 6 and count % 2 == 0:
        xs, ys = numbers[::2], numbers[1::2]
        return (min(xs), min(ys), max(xs), max(ys)), ""
    expected = "a class and four numbers (x, y, width, height), or a class and a polygon's points"
    raise _line_error(source, row, expected, f"{len(cells)} cells after the class")


def _line_error(source: Source, row: int, expected: str, came: str) -> UserError:
    remedy = "correct the line, or move the file out of annotations/"
    return source.error(expected, came, remedy, f"line {row}")
