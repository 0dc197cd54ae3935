"""Which level a slice shows: stated by the user, annotated, or counted from an anchor.

An axial slice does not show its level, and a detector that was trained on L1 to L4 alone finds T12
and L5 as surely. Without one of these sources no level is claimed.
"""

import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dsnet.cohort.annotations.collect import collect, used
from dsnet.config.cohort import Annotations
from dsnet.errors import UserError
from dsnet.evaluate.scene import Floats, iou
from dsnet.schemas import BOX, LEVELS
from dsnet.use.study import Study

Kind = Literal["none", "levels", "range", "annotations", "anchor"]

ORDER = (*(f"T{number}" for number in range(1, 13)), *(f"L{number}" for number in range(1, 6)))
"""From head to foot; counting knows no sixth lumbar vertebra (docs/predict.md)."""

LUMBAR = "L1-L4"
"""Stands for the level of a slice that is known to be lumbar, and not which."""

_SPAN = re.compile(r"(?:(?P<level>[A-Z]\d+)=)?(?P<low>-?[\d.]+):(?P<high>-?[\d.]+)")
_ANCHOR = re.compile(r"(?P<name>sacrum|last-rib|[TL]\d+)=(?P<z_mm>-?[\d.]+)", re.I)

_LOWEST_MM, _HIGHEST_MM = 10.0, 42.0
"""Heights that the boxes of one body of T12 to L5 span; end plates add and lose some."""
_PITCH_MM = Annotations().pitch_mm
_SAME_OVERLAP = 0.5
"""IoU of a detection with an annotated box from which it is that vertebra."""


@dataclass(frozen=True)
class LevelSource:
    """From where levels are known.

    Attributes
    ----------
    kind : str
        ``none``, ``levels``, ``range``, ``annotations`` or ``anchor``.
    spans : tuple of (level, low, high)
        Of ``levels`` and ``range``: z in mm, of the patient (LPS), that a level reaches over.
    anchor : tuple of (name, z)
        Of ``anchor``: ``sacrum`` (its upper end), ``last-rib`` (in the vertebra that bears it, T12)
        or a level that the user clicked.
    annotations : Path, optional
        A mask or box file, or a folder of them, in a format of docs/annotations.md.
    """

    kind: Kind = "none"
    spans: tuple[tuple[str, float, float], ...] = ()
    anchor: tuple[str, float] = ("", math.nan)
    annotations: Path | None = None

    def sentence(self) -> str:
        """Return what outputs say of it."""
        return {
            "none": "No level is claimed: an axial slice does not show which vertebra it cuts, and "
            "the detector finds other levels, too. Results are per slice.",
            "levels": "Levels are those that the user stated.",
            "range": "The user stated which slices are lumbar, not which level each of them shows.",
            "annotations": "Levels are those of the annotations that the user gave.",
            "anchor": f"Levels are counted from the boxes along the spine, from the anchor "
            f"{self.anchor[0]} at z = {self.anchor[1]:g} mm that the user stated.",
        }[self.kind]


def parse_levels(
    levels: str = "", span: str = "", anchor: str = "", annotations: Path | None = None
) -> LevelSource:
    """Return the source of levels that the command line names; at most one.

    Parameters
    ----------
    levels : str
        ``L1=z1:z2,L2=z3:z4``: z in mm, of the patient.
    span : str
        ``z1:z2``: slices between the two are lumbar.
    anchor : str
        ``sacrum=z``, ``last-rib=z`` or ``L3=z``.
    annotations : Path, optional

    Raises
    ------
    UserError
        If there are two, or one cannot be read.

    Examples
    --------
    >>> parse_levels("L2=-30:0.5,L1=1:33").spans
    (('L2', -30.0, 0.5), ('L1', 1.0, 33.0))
    >>> parse_levels(anchor="sacrum=-412.5").anchor
    ('sacrum', -412.5)
    """
    given = [bool(levels), bool(span), bool(anchor), annotations is not None]
    if sum(given) > 1:
        raise UserError(
            "levels",
            expected="one of --levels, --range, --anchor and --annotations",
            came="several",
            remedy="leave out all but one",
        )
    if levels:
        spans = tuple(_span(text, "--levels", "L1=z1:z2,L2=z3:z4") for text in levels.split(","))
        return LevelSource("levels", spans)
    if span:
        return LevelSource("range", (_span(span, "--range", "z1:z2"),))
    if anchor:
        match = _ANCHOR.fullmatch(anchor.strip())
        name = match["name"] if match else ""
        name = name.lower() if name.lower() in ("sacrum", "last-rib") else name.upper()
        if match is None or name not in ("sacrum", "last-rib", *ORDER):
            raise _unread("--anchor", "sacrum=z, last-rib=z or a level from T1 to L5, as L3=z")
        return LevelSource("anchor", anchor=(name, float(match["z_mm"])))
    if annotations is not None:
        return LevelSource("annotations", annotations=annotations)
    return LevelSource()


def _span(text: str, option: str, form: str) -> tuple[str, float, float]:
    match = _SPAN.fullmatch(text.strip())
    level = (match["level"] or LUMBAR) if match else ""
    if match is None or level not in (LEVELS if option == "--levels" else (LUMBAR,)):
        raise _unread(option, f"{form}, z in mm of the patient")
    low, high = sorted((float(match["low"]), float(match["high"])))
    return level, low, high


def _unread(option: str, form: str) -> UserError:
    return UserError(option, expected=form, came="something else", remedy="correct it")


def read_annotations(source: LevelSource, study: Study) -> pd.DataFrame:
    """Return the annotated boxes of a study, as `dsnet.cohort.annotations.collect.used` does.

    Annotations of images that the study does not hold are left out, as are two that contradict
    each other. None without annotations.

    Raises
    ------
    UserError
        If a file cannot be read, or there is none.
    """
    params = Annotations(unmatched="report", conflict="report", implausible="report")
    with tempfile.TemporaryDirectory() as empty:
        folder = source.annotations or Path(empty)
        if not folder.exists():
            raise UserError(
                "--annotations",
                expected="a mask or box file, or a folder of them",
                came="no such file",
                remedy="correct the path",
                private=str(folder),
            )
        if folder.is_file():
            shutil.copy(folder, empty)
            folder = Path(empty)
        return used(collect(folder, study.index, study.identities, params))


def assign(
    source: LevelSource, boxes: pd.DataFrame, slices: pd.DataFrame, annotated: pd.DataFrame
) -> tuple["pd.Series[str]", "pd.Series[str]", list[str]]:
    """Return the level of each box and of each slice, and what stood against it.

    Parameters
    ----------
    source : LevelSource
    boxes : DataFrame
        Columns ``row`` (of `slices`'s index), `BOX` in the pixels of the file, and ``score``.
    slices : DataFrame
        Columns ``file_key``, ``patient``, ``series`` and ``z_mm``.
    annotated : DataFrame
        As `read_annotations` returns it.

    Returns
    -------
    of_boxes, of_slices : Series of str
        A level, `LUMBAR`, or "" where none is claimed.
    notes : list of str
        Why levels could not be counted, by series.
    """
    of_slices = pd.Series("", index=slices.index, dtype=str)
    notes: list[str] = []
    if source.kind == "annotations":
        return *_from_boxes(boxes, slices, annotated), notes
    if source.kind in ("levels", "range"):
        for level, low, high in source.spans:
            of_slices[slices["z_mm"].between(low, high)] = level
    if source.kind == "anchor":
        for (patient, series), own in slices.groupby(["patient", "series"]):
            z_mm = slices.loc[boxes.loc[boxes["row"].isin(own.index), "row"], "z_mm"]
            spans, why = count_levels(z_mm.to_numpy(float), own["z_mm"].to_numpy(float), source)
            for level, low, high in spans:
                of_slices[own.index[own["z_mm"].between(low, high)]] = level
            missing = [level for level in LEVELS if level not in {level for level, *_ in spans}]
            if missing:
                names = ", ".join(missing)
                notes.append(f"{patient}, {series}: {names} were not counted, since {why}")
    return of_slices.reindex(boxes["row"]).set_axis(boxes.index), of_slices, notes


def _from_boxes(
    boxes: pd.DataFrame, slices: pd.DataFrame, annotated: pd.DataFrame
) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    """Return the level of the annotated box that each detection overlaps most, if enough."""
    lumbar = annotated[annotated["level"].isin(LEVELS)]
    levels = {key: " ".join(sorted(own)) for key, own in lumbar.groupby("file_key")["level"]}
    of_slices = pd.Series([levels.get(key, "") for key in slices["file_key"]], slices.index)
    of_boxes = []
    for row, edges in zip(boxes["row"], boxes[list(BOX)].to_numpy(np.float64), strict=True):
        own = lumbar[lumbar["file_key"] == slices["file_key"][row]]
        overlap = iou(edges, own[list(BOX)].to_numpy(np.float64))
        same = overlap.max(initial=0.0) >= _SAME_OVERLAP
        of_boxes.append(str(own["level"].iloc[int(overlap.argmax())]) if same else "")
    return pd.Series(of_boxes, boxes.index, dtype=str), of_slices.astype(str)


def count_levels(
    box_z_mm: Floats, slice_z_mm: Floats, source: LevelSource
) -> tuple[list[tuple[str, float, float]], str]:
    """Return which level each stretch of slices shows, counted from an anchor.

    A vertebra is a stretch of neighbouring slices with a box; a slice without one, or a gap of the
    series, ends it. Stretches lower than a body are taken for false boxes. Counting goes from the
    anchor to head and foot, and ends where the next stretch cannot be the next vertebra.

    Parameters
    ----------
    box_z_mm : float64 (boxes,)
        z of the slices with boxes; repeats do no harm.
    slice_z_mm : float64 (slices,)
        z of all slices of the series.
    source : LevelSource
        Of kind ``anchor``.

    Returns
    -------
    levels : list of (level, low, high)
        Of L1 to L4, in mm, from the foot.
    why : str
        Why counting ended before all four were counted, else "".
    """
    bodies = _bodies(np.unique(box_z_mm), np.unique(slice_z_mm))
    first, level, why = _at_anchor(*source.anchor, bodies)
    if why:
        return [], why
    named = {level: bodies[first]}
    reasons = []
    for way, last in ((1, LEVELS[0]), (-1, LEVELS[-1])):
        number, here = first, ORDER.index(level)
        while (here - ORDER.index(last)) * way > 0:
            why = _no_neighbour(bodies, number, way)
            if why:
                reasons.append(why)
                break
            number, here = number + way, here - way
            named[ORDER[here]] = bodies[number]
    spans = [(name, *named[name]) for name in reversed(LEVELS) if name in named]
    return spans, "; ".join(reasons)


def _no_neighbour(bodies: Sequence[tuple[float, float]], number: int, way: int) -> str:
    """Return why the next stretch, to the head (1) or the foot (-1), is not the next vertebra."""
    where = "above" if way > 0 else "below"
    if not 0 <= number + way < len(bodies):
        return f"no boxes lie {where} z = {bodies[number][way > 0]:.0f} mm"
    own, other = bodies[number], bodies[number + way]
    if why := _too_high(other):
        return why
    gap_mm = abs(sum(other) - sum(own)) / 2
    if not _PITCH_MM[0] <= gap_mm <= _PITCH_MM[1]:
        return f"the vertebrae {where} z = {own[way > 0]:.0f} mm would be {gap_mm:.0f} mm apart"
    return ""


def _too_high(body: tuple[float, float]) -> str:
    low, high = body
    if high - low <= _HIGHEST_MM:
        return ""
    return (
        f"boxes on {high - low:.0f} mm of slices without a gap, from z = {low:.0f} mm, are more "
        "than one vertebra"
    )


def _at_anchor(
    name: str, anchor_mm: float, bodies: Sequence[tuple[float, float]]
) -> tuple[int, str, str]:
    """Return rank, from the foot, and level of the vertebra at the anchor, or why there is none."""
    margin_mm = _LOWEST_MM / 2
    if name == "sacrum":
        level = "L5"
        at = [number for number, (_, high) in enumerate(bodies) if high > anchor_mm][:1]
        at = [number for number in at if bodies[number][0] - anchor_mm <= _PITCH_MM[0]]
        why = f"no vertebra stands on the sacrum at z = {anchor_mm:g} mm"
    else:
        level = "T12" if name == "last-rib" else name
        at = [
            number
            for number, (low, high) in enumerate(bodies)
            if low - margin_mm <= anchor_mm <= high + margin_mm
        ]
        at.sort(key=lambda number: abs(sum(bodies[number]) / 2 - anchor_mm))
        why = f"no box lies at the anchor, z = {anchor_mm:g} mm"
    if not at:
        return 0, level, why
    return at[0], level, _too_high(bodies[at[0]])


def _bodies(boxed: Floats, every: Floats) -> list[tuple[float, float]]:
    """Return the stretches of neighbouring slices with a box, from the foot, less those too low."""
    if len(every) < 2 or not len(boxed):
        return []
    step_mm = float(np.median(np.diff(every)))
    ranks = np.searchsorted(every, boxed)
    new = (np.diff(ranks) > 1) | (np.diff(boxed) > 1.5 * step_mm)
    stretches = np.split(boxed, np.flatnonzero(new) + 1)
    bodies = [(float(one[0] - step_mm / 2), float(one[-1] + step_mm / 2)) for one in stretches]
    return [(low, high) for low, high in bodies if high - low >= _LOWEST_MM]
