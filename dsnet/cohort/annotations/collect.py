"""What becomes of each annotation of a cohort: its image, its box, and conflicts between boxes."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from dsnet.cohort.annotations import (
    IGNORE,
    NO_EDGES,
    Annotation,
    Edges,
    Problem,
    UnmatchedError,
    level_of,
    order_problem,
    size_problem,
)
from dsnet.cohort.annotations.image_files import ImageFiles
from dsnet.cohort.annotations.read import Reader
from dsnet.config.cohort import Annotations
from dsnet.errors import UserError, collectable
from dsnet.files import write_spreadsheet_csv
from dsnet.schemas import ANNOTATIONS, BOX

_FORMATS_WITH_SIZE = frozenset({"coco", "labelme", "voc"})
"""Formats that have a field for the size of the annotated picture."""

_MEASURED_REGIONS = "TL"
"""Regions of the spine whose bodies must have the size of one; a box of the sacrum is larger."""

_VERTEBRA = re.compile(
    r"(LWK?|LW|BWK?|HWK?|LWS|BWS|HWS|SWK|VL|VT|LV|TV|腰椎?|胸椎?) ?\d{1,2}", re.I
)
"""What radiologists call vertebrae elsewhere: a message may repeat it, as it names no person."""

_FRACTION_DECIMALS = 2
"""Fractions of a width, in the six decimals that tools write, give no finer pixels than that; and a
box up to the image's edge must not end beyond it."""


def collect(
    folder: Path,
    index: pd.DataFrame,
    identities: pd.DataFrame,
    params: Annotations,
    near: Path | None = None,
) -> pd.DataFrame:
    """Return the status of every annotation below `folder`.

    Parameters
    ----------
    folder : Path
        The cohort's ``annotations/``; it need not exist.
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    params : Annotations
    near : Path or None
        Written, in the private folder (mode 600): the annotations whose image has its name in
        another folder, and those paths.

    Returns
    -------
    DataFrame
        `dsnet.schemas.ANNOTATIONS`.

    Raises
    ------
    UserError
        If a file or a row cannot be read, has no image or no level, or two boxes are in
        conflict, unless the config has these only reported.

    Examples
    --------
    >>> import dsnet
    >>> from dsnet.config.cohort import Annotations
    >>> study = dsnet.read_study("exports/CT.zip")
    >>> folder = Path("cohort/annotations")
    >>> boxes = dsnet.read_annotations(folder, study.index, study.identities, Annotations())
    >>> boxes[["level", "x_min", "y_min", "x_max", "y_max", "status"]]
      level  x_min  y_min  x_max  y_max status
    0    L1   42.0   50.0   60.0   62.0   used
    """
    annotations = Reader(index, identities, params).read(folder)
    files = ImageFiles(index, identities)
    try:
        return match(annotations, files, params)
    finally:
        if near is not None:
            columns = ["table", "row", "file_name", "same_name"]
            write_spreadsheet_csv(near, pd.DataFrame(files.near, columns=columns), mode=0o600)


@dataclass(slots=True)
class _Matched:
    """An annotation on one file, before conflicts are resolved."""

    annotation: Annotation
    level: str
    status: str
    file_key: str = ""
    edges: Edges = NO_EDGES
    area_mm2: float = math.nan
    named: bool = False


def match(
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
        Naming the row of a box outside its image, without a size, or on a picture of another size;
        of one without an image or a level, of two boxes in conflict, of a box that no vertebral
        body can be, and of levels out of order, unless the config has these only reported.
    """
    labels = {annotation.label for annotation in annotations}
    level = {label: level_of(label, params.level_names) for label in labels}
    matched = []
    for each in annotations:
        with collectable():
            matched += list(_match(each, level[each.label], files, params))
    _resolve(matched, params)
    _check_order(matched, files, params)
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
            "read_as": one.annotation.read_as,
            "status": one.status,
        }
        for one in matched
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


def _match(
    annotation: Annotation, level: str, files: ImageFiles, params: Annotations
) -> Iterator[_Matched]:
    if level == IGNORE:
        yield _Matched(annotation, "", "ignored")
        return
    if annotation.status:
        place = annotation.file_key, annotation.edges, annotation.area_mm2 or math.nan
        yield _Matched(annotation, level, annotation.status, *place)
        return
    try:
        _check_level(annotation, level)
        keys = [annotation.file_key] if annotation.file_key else files.matching(annotation)
    except UnmatchedError as error:
        if params.unmatched == "stop":
            raise
        yield _Matched(annotation, level, error.status)
        return
    picked = files.named(annotation, keys) if len(keys) > 1 else keys[0]
    for key in keys:
        edges = _edges(annotation, files.size_of.get(key), params)
        spacing_mm = files.spacing_mm_of.get(key, (math.nan, math.nan))
        area_mm2 = annotation.area_mm2
        of_mask = area_mm2 is not None
        if area_mm2 is None:
            width, height = edges[2] - edges[0], edges[3] - edges[1]
            area_mm2 = width * height * spacing_mm[0] * spacing_mm[1]
        problem = None
        if level[0] in _MEASURED_REGIONS:
            problem = size_problem(edges, spacing_mm, params.edge_mm, of_mask=of_mask)
        if problem and params.implausible == "stop":
            raise _implausible(annotation, problem)
        status = "implausible" if problem else "used"
        yield _Matched(annotation, level, status, key, edges, area_mm2, key == picked)


def _implausible(annotation: Annotation, problem: Problem) -> UserError:
    return annotation.error(
        expected=problem.expected,
        came=problem.came,
        remedy=f"{problem.remedy}, or set annotations.implausible: report to go on without it",
    )


def _check_level(annotation: Annotation, level: str) -> None:
    if not level:
        name = annotation.label
        known = _VERTEBRA.fullmatch(name)
        example = f" (such as {{{name}: L1}})" if known else ""
        raise UnmatchedError(
            "unknown_level",
            annotation.error(
                expected="a level C1 to C7, T1 to T12, L1 to L6 or S1 to S5",
                came=f"the name {name}" if known else f"a name of {len(name)} characters",
                remedy=f"rename it, say what it means in annotations.level_names{example}",
            ),
        )


def _edges(annotation: Annotation, size: tuple[int, int] | None, params: Annotations) -> Edges:
    """Return the edges in pixels, if they are those of a box inside the image."""
    edges = annotation.edges
    asked = params.missing_size == "stop" and annotation.format in _FORMATS_WITH_SIZE
    if asked and annotation.size is None:
        raise annotation.error(
            expected="the width and height of the annotated picture",
            came="none",
            remedy="add them to the annotation file, or set annotations.missing_size: dicom if "
            "boxes count in the DICOM image's own pixels",
        )
    if size is not None and annotation.size is not None and annotation.size != size:
        raise annotation.error(
            expected=f"a box annotated on its image of {size[0]} x {size[1]} pixels",
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


def _resolve(matched: Sequence[_Matched], params: Annotations) -> None:
    """Merge boxes of one level on one file that are the same; the others are in conflict."""
    groups: dict[tuple[str, str], list[_Matched]] = {}
    for one in matched:
        if one.status == "used":
            groups.setdefault((one.file_key, one.level), []).append(one)
    for group in groups.values():
        first, *others = group
        differing = [
            one for one in others if _overlap(first.edges, one.edges) < params.conflict_iou
        ]
        if not differing:
            first.named = any(one.named for one in group)
            for one in others:
                one.status = "merged"
            continue
        if params.conflict == "stop":
            with collectable():
                raise differing[0].annotation.error(
                    expected=f"one box of {first.level} on {first.file_key}",
                    came=f"another in {first.annotation.where}",
                    remedy="delete one of them, or set annotations.conflict: report to go on "
                    "without both",
                )
        for one in group:
            one.status = "conflict"


def _check_order(matched: Sequence[_Matched], files: ImageFiles, params: Annotations) -> None:
    """Look whether the levels of each series can lie as they do."""
    used = [one for one in matched if one.status == "used"]
    if not used:
        return
    slices = files.slices
    number_of = {key: number for number, key in enumerate(slices.file_key)}
    by_series: dict[str, dict[str, list[tuple[_Matched, np.ndarray]]]] = {}
    for one in used:
        if one.file_key in number_of:
            number = number_of[one.file_key]
            x_min, y_min, x_max, y_max = one.edges
            # The affine counts from the centre of the first pixel.
            index = np.array([(x_min + x_max - 1) / 2, (y_min + y_max - 1) / 2, 0, 1])
            own = by_series.setdefault(str(slices.series[number]), {})
            own.setdefault(one.level, []).append((one, slices.affine[number][:3] @ index))
    for boxes in by_series.values():
        centres_mm = {level: np.array([at for _, at in own]) for level, own in boxes.items()}
        wrong = order_problem(centres_mm, params.pitch_mm)
        if wrong is None:
            continue
        upper, problem = wrong
        if params.implausible == "stop":
            with collectable():
                raise _implausible(boxes[upper][0][0].annotation, problem)
        for one, _ in chain.from_iterable(boxes.values()):
            one.status = "implausible"


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)
