"""Boxes and polygons of YOLO (https://docs.ultralytics.com/datasets/detect), one TXT per image.

A line is the class number and the box's centre, width and height (or the polygon's points) in
parts of the image's width and height. The image is the one of the same name but for the suffix.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source
from dsnet.errors import UserError

CLASS_LISTS = frozenset({"classes.txt", "obj.names", "predefined_classes.txt"})


Names = dict[int, str]
"""Class names by number."""


def read_yolo(source: Source, known: dict[Path, Names | None]) -> list[Annotation] | None:
    """Return the boxes of a YOLO file, or None if its first line does not begin with a number.

    Parameters
    ----------
    source : Source
    known : dict of Path to Names
        By folder, class names that were found for other files; what is found is added.

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
    names = _class_names(source.path.parent, root, known)
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
            _edges(source, row, cells[1:]),
            file_name=image,
            fraction=True,
        )
        for row, cells in filled
    ]


def _class_names(folder: Path, root: Path, known: dict[Path, Names | None]) -> Names | None:
    """Return the class names of the nearest list in `folder` or above, up to `root`."""
    if folder not in known:
        lists = (_names_of(path) for path in sorted(folder.iterdir()))
        here = next((names for names in lists if names is not None), None)
        above = None if folder == root else folder.parent
        known[folder] = here if here or not above else _class_names(above, root, known)
    return known[folder]


def _names_of(path: Path) -> Names | None:
    """Return the names of a list (one a line), or of a data.yaml (``names``: a list or a map)."""
    plain, suffixes = path.name.lower() in CLASS_LISTS, {".yaml", ".yml"}
    if not plain and path.suffix.lower() not in suffixes:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = {"names": text.splitlines()} if plain else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return None
    return {int(k): str(v).strip() for k, v in names.items() if str(k).isdecimal()}


def _class_name(source: Source, row: int, cell: str, names: Names) -> str:
    number = int(cell) if cell.isdecimal() else -1
    if number not in names:
        raise _error(source, row, "the number of a listed class, from 0", "another")
    return names[number]


def _edges(source: Source, row: int, cells: Sequence[str]) -> Edges:
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
    raise _error(source, row, expected, f"{len(cells)} cells after the class")


def _error(source: Source, row: int, expected: str, came: str) -> UserError:
    remedy = "correct the line, or move the file out of annotations/"
    return source.error(expected, came, remedy, f"line {row}")
