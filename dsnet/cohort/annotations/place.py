"""What becomes of each annotation: the image it belongs to, and its peace with the others."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from dsnet.cohort.annotations.annotation import NOWHERE, Annotation, Edges, UnmatchedError
from dsnet.cohort.annotations.images import ImageFiles
from dsnet.cohort.annotations.level import IGNORE, level_of
from dsnet.config import Annotations
from dsnet.schemas import ANNOTATIONS, BOX

_FRACTION_DECIMALS = 2
"""Parts of a width, in six decimals as tools write them, give no finer pixels than that; and a box
up to the image's edge must not end beyond it."""


@dataclass(slots=True)
class _Placed:
    """An annotation on one file: a row of `dsnet.schemas.ANNOTATIONS`, still to be settled."""

    annotation: Annotation
    file_key: str
    level: str
    edges: Edges
    area_mm2: float
    named: bool
    status: str


def place(
    annotations: Sequence[Annotation], files: ImageFiles, params: Annotations
) -> pd.DataFrame:
    """Return the status of each annotation.

    Returns
    -------
    DataFrame
        `dsnet.schemas.ANNOTATIONS`: one row per annotation and file that it means, in their order.

    Raises
    ------
    UserError
        Naming the row of a box outside its image, without a size, or drawn on an image of another
        size; of one without an image or a level, and of two boxes in conflict, unless the config
        has such only reported.
    """
    labels = {annotation.label for annotation in annotations}
    level = {label: level_of(label, params.level_names) for label in labels}
    placed = [one for each in annotations for one in _place(each, level[each.label], files, params)]
    _settle(placed, params)
    rows = [
        {
            "table": one.annotation.source.number,
            "row": one.annotation.row,
            "format": one.annotation.format,
            "file_key": one.file_key,
            "level": one.level,
            **dict(zip(BOX, one.edges, strict=True)),
            "area_mm2": round(one.area_mm2, 1),
            "named": one.named,
            "status": one.status,
        }
        for one in placed
    ]
    kinds = {name: column.dtype.type for name, column in ANNOTATIONS.columns.items()}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def used(table: pd.DataFrame) -> pd.DataFrame:
    """Return the boxes that count, out of `dsnet.schemas.ANNOTATIONS`.

    Returns
    -------
    DataFrame
        One row per box and file: ``file_key``, ``level``, the edges of `dsnet.schemas.BOX` in
        pixels, and ``named``, whether the annotation picks this very file among copies that share
        a SOP Instance UID.
    """
    rows = table[table["status"] == "used"]
    return rows[["file_key", "level", *BOX, "named"]].reset_index(drop=True)


def _place(
    annotation: Annotation, level: str, files: ImageFiles, params: Annotations
) -> Iterator[_Placed]:
    if level == IGNORE:
        yield _Placed(annotation, "", "", NOWHERE, math.nan, False, "ignored")
        return
    if annotation.status:
        key, edges, area_mm2 = annotation.file_key, annotation.edges, annotation.area_mm2
        yield _Placed(annotation, key, level, edges, area_mm2 or math.nan, False, annotation.status)
        return
    try:
        _check_level(annotation, level)
        keys = [annotation.file_key] if annotation.file_key else files.matching(annotation)
    except UnmatchedError as error:
        if params.unmatched == "stop":
            raise
        yield _Placed(annotation, "", level, NOWHERE, math.nan, False, error.status)
        return
    picked = files.named(annotation, keys) if len(keys) > 1 else keys[0]
    for key in keys:
        edges = _edges(annotation, files.size_of.get(key))
        area_mm2 = annotation.area_mm2
        if area_mm2 is None:
            width, height = edges[2] - edges[0], edges[3] - edges[1]
            area_mm2 = width * height * files.pixel_mm2_of.get(key, math.nan)
        yield _Placed(annotation, key, level, edges, area_mm2, key == picked, "used")


def _check_level(annotation: Annotation, level: str) -> None:
    if not level:
        raise annotation.unmatched(
            "unknown_level",
            expected="a level C1 to C7, T1 to T12, L1 to L6 or S1 to S5",
            came=f"a name of {len(annotation.label)} characters",
            remedy="rename it, say what it means in annotations.level_names",
        )


def _edges(annotation: Annotation, size: tuple[int, int] | None) -> Edges:
    """Return the edges in pixels, if they are those of a box inside the image."""
    edges = annotation.edges
    if size is not None and annotation.size is not None and annotation.size != size:
        raise annotation.error(
            expected=f"a box drawn on its image of {size[0]} x {size[1]} pixels",
            came=f"one on {annotation.size[0]} x {annotation.size[1]}",
            remedy="scale the boxes to the DICOM image's own pixels",
        )
    if annotation.fraction:
        if size is None:
            raise annotation.error(
                expected="an image whose header tells its size",
                came="one that does not",
                remedy="delete the annotation",
            )
        across, down = ([round(e * n, _FRACTION_DECIMALS) for e in edges] for n in size)
        edges = across[0], down[1], across[2], down[3]
    x_min, y_min, x_max, y_max = edges
    if not all(math.isfinite(edge) for edge in edges):
        expected = "a box with finite edges"
    elif x_max <= x_min or y_max <= y_min:
        expected = "a box wider and higher than zero pixels"
    elif size is not None and (x_min < 0 or y_min < 0 or x_max > size[0] or y_max > size[1]):
        expected = f"a box inside its image of {size[0]} x {size[1]} pixels"
    else:
        return x_min, y_min, x_max, y_max
    came = ", ".join(f"{name} {edge:g}" for name, edge in zip(BOX, edges, strict=True))
    raise annotation.error(expected=expected, came=came, remedy="correct the box")


def _settle(placed: Sequence[_Placed], params: Annotations) -> None:
    """Merge boxes of one level on one file that are the same; the others are in conflict."""
    groups: dict[tuple[str, str], list[_Placed]] = {}
    for one in placed:
        if one.status == "used":
            groups.setdefault((one.file_key, one.level), []).append(one)
    for group in groups.values():
        first, *others = group
        apart = [one for one in others if _overlap(first.edges, one.edges) < params.conflict_iou]
        if not apart:
            first.named = any(one.named for one in group)
            for one in others:
                one.status = "merged"
            continue
        if params.conflict == "stop":
            raise apart[0].annotation.error(
                expected=f"one box of {first.level} on {first.file_key}",
                came=f"another in {first.annotation.where}",
                remedy="delete one of them, or set annotations.conflict: report to go on without "
                "both",
            )
        for one in group:
            one.status = "conflict"


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)
