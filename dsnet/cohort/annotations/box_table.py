"""Boxes in a CSV table: one row per box.

Columns, in any order and among others: ``sop_instance_uid`` or ``file_name`` (or both), ``level``,
and ``x_min``, ``y_min``, ``x_max``, ``y_max``, the edges in pixels as `dsnet.schemas.BOX` counts
them. Commas part the cells, or semicolons, and then numbers may have decimal commas.
"""

import csv
from collections.abc import Mapping

from dsnet.cohort.annotations.annotation import Annotation, Edges, Source
from dsnet.schemas import BOX

_IMAGES = ("sop_instance_uid", "file_name")


def read_box_table(source: Source) -> list[Annotation]:
    """Return the boxes of a CSV table; wholly blank rows are left out, but counted.

    Raises
    ------
    UserError
        If it is no such table, naming the row that cannot be read.
    """
    lines, delimiter = _lines(source)
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if not {"level", *BOX} <= set(header) or not set(_IMAGES) & set(header):
        raise source.error(
            "a CSV with level, x_min, y_min, x_max, y_max and sop_instance_uid or file_name",
            "another header",
            "rename its columns, or move it out of annotations/",
        )
    found = []
    for row, line in enumerate(lines[1:], start=2):
        cells = dict(zip(header, (cell.strip() for cell in line), strict=False))
        if any(cells.values()):
            found.append(_annotation(source, row, cells, decimal_comma=delimiter == ";"))
    return found


def _lines(source: Source) -> tuple[list[list[str]], str]:
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


def _annotation(
    source: Source, row: int, cells: Mapping[str, str], *, decimal_comma: bool
) -> Annotation:
    uid, file_name = (cells.get(name, "") for name in _IMAGES)
    if not uid and not file_name:
        expected = "a sop_instance_uid or a file_name"
        raise source.error(expected, "neither", "fill in one of them", f"row {row}")
    return Annotation(
        source,
        "csv",
        "row",
        row,
        cells.get("level", ""),
        _edges(source, row, cells, decimal_comma=decimal_comma),
        sop_instance_uid=uid,
        file_name=file_name,
    )


def _edges(source: Source, row: int, cells: Mapping[str, str], *, decimal_comma: bool) -> Edges:
    texts = [cells.get(name, "") for name in BOX]
    try:
        x_min, y_min, x_max, y_max = (
            float(text.replace(",", ".") if decimal_comma else text) for text in texts
        )
    except ValueError as error:
        expected = f"numbers in {', '.join(BOX)}"
        raise source.error(expected, "something else", "correct the cells", f"row {row}") from error
    return x_min, y_min, x_max, y_max
