"""What becomes of each annotation of a cohort: its image, its box, and conflicts between boxes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path

import pandas as pd

from dsnet.cohort.annotations.annotation import (
    IGNORE,
    NO_EDGES,
    Annotation,
    Edges,
    UnmatchedError,
    level_of,
)
from dsnet.cohort.annotations.read import Reader
from dsnet.config.cohort import Annotations
from dsnet.schemas import ANNOTATIONS, BOX

_PICTURE_SUFFIXES = frozenset(
    {".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
)
"""What comes off a file's name to make its stem. Not every suffix: UIDs hold full stops."""

_FRACTION_DECIMALS = 2
"""Fractions of a width, in the six decimals that tools write, give no finer pixels than that; and a
box up to the image's edge must not end beyond it."""


def collect(
    folder: Path, index: pd.DataFrame, identities: pd.DataFrame, params: Annotations
) -> pd.DataFrame:
    """Return the status of every annotation below `folder`.

    Parameters
    ----------
    folder : Path
        The cohort's ``annotations/``; it need not exist.
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    params : Annotations

    Returns
    -------
    DataFrame
        `dsnet.schemas.ANNOTATIONS`.

    Raises
    ------
    UserError
        If a file or a row cannot be read, has no image or no level, or two boxes are in
        conflict, unless the config has these only reported.
    """
    annotations = Reader(index, identities, params).read(folder)
    return match(annotations, ImageFiles(index, identities), params)


@dataclass(frozen=True)
class ImageFiles:
    """The cohort's files by SOP Instance UID or path.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    """

    index: pd.DataFrame = field(repr=False)
    identities: pd.DataFrame = field(repr=False)

    @cached_property
    def size_of(self) -> Mapping[str, tuple[int, int]]:
        """Columns and rows by file key, where the header could be read."""
        sized = self.index.loc[self.index["rows"].notna() & self.index["columns"].notna()]
        columns, rows = (sized[name].astype(int).tolist() for name in ("columns", "rows"))
        return dict(zip(sized["file_key"].tolist(), zip(columns, rows, strict=True), strict=True))

    @cached_property
    def pixel_mm2_of(self) -> Mapping[str, float]:
        """Area of a pixel by file key; NaN where the header lacks the spacing."""
        areas = self.index["row_spacing_mm"] * self.index["column_spacing_mm"]
        return dict(zip(self.index["file_key"].tolist(), areas.tolist(), strict=True))

    @cached_property
    def path_of(self) -> Mapping[str, str]:
        """Path below ``dicom/`` by file key."""
        return dict(zip(self._column("file_key"), self._column("relative_path"), strict=True))

    @cached_property
    def by_uid(self) -> Mapping[str, Sequence[str]]:
        """File keys by SOP Instance UID."""
        return _grouped(
            zip(self._column("sop_instance_uid"), self._column("file_key"), strict=True)
        )

    @cached_property
    def by_path(self) -> Mapping[str, str]:
        """File key by path below ``dicom/``."""
        return {path: key for key, path in self.path_of.items()}

    @cached_property
    def by_name(self) -> Mapping[str, Sequence[str]]:
        """File keys by file name."""
        return _grouped((path.rpartition("/")[2], key) for key, path in self.path_of.items())

    @cached_property
    def by_stem(self) -> Mapping[str, Sequence[str]]:
        """File keys by file name without suffix, and by UID: pictures are often named by it."""
        names = ((_stem(name), key) for name, keys in self.by_name.items() for key in keys)
        uids = ((uid, key) for uid, keys in self.by_uid.items() for key in keys)
        return _grouped(chain(names, uids))

    def _column(self, column: str) -> list[str]:
        return list(self.identities[column].to_numpy(object))

    def matching(self, annotation: Annotation) -> Sequence[str]:
        """Return the keys of the files that an annotation may mean.

        By SOP Instance UID if it gives one. Else by path below ``dicom/``, by name, or by name or
        UID without the suffix of a picture; of several the one whose folders fit furthest up.

        Raises
        ------
        UnmatchedError
            If there is no such file, or a file name fits several.
        """
        if annotation.sop_instance_uid:
            keys = self.by_uid.get(annotation.sop_instance_uid, ())
        else:
            keys = self._named(_normal(annotation.file_name))
        if not keys:
            raise annotation.unmatched(
                "no_image",
                expected="an image that lies in dicom/",
                came="no file with its UID or name",
                remedy="add the image, or delete the annotation",
            )
        if len(keys) > 1 and not self._copies(keys, annotation):
            raise annotation.unmatched(
                "ambiguous",
                expected="a file name that fits one image",
                came=f"one that fits {len(keys)}",
                remedy="give its folders, or its sop_instance_uid",
            )
        return keys

    def _named(self, path: str) -> Sequence[str]:
        if path in self.by_path:
            return [self.by_path[path]]
        name = path.rpartition("/")[2]
        keys = self.by_name.get(name) or self.by_stem.get(_stem(name), ())
        shared = [_shared_folders(path, self.path_of[key]) for key in keys]
        nearest = [key for key, n in zip(keys, shared, strict=True) if n == max(shared)]
        return nearest if len(nearest) == 1 else keys

    def _copies(self, keys: Sequence[str], annotation: Annotation) -> bool:
        """Return whether `keys` are copies that share the annotation's SOP Instance UID."""
        uid = annotation.sop_instance_uid or _stem(_normal(annotation.file_name).rpartition("/")[2])
        return set(keys) <= set(self.by_uid.get(uid, ()))

    def named(self, annotation: Annotation, keys: Sequence[str]) -> str:
        """Return the one of several copies that an annotation's file name means, or ""."""
        path = _normal(annotation.file_name)
        exact = [key for key in keys if self.path_of[key] == path]
        alike = [key for key in keys if path and self.path_of[key].endswith("/" + path)]
        picked = exact or alike
        return picked[0] if len(picked) == 1 else ""


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, dict[str, None]] = {}
    for name, key in pairs:
        if name:
            groups.setdefault(name, {})[key] = None
    return {name: list(keys) for name, keys in groups.items()}


def _normal(file_name: str) -> str:
    path = file_name.replace("\\", "/")
    while path.startswith(("./", "../", "/")):
        path = path.partition("/")[2]
    return path.removeprefix("dicom/")


def _shared_folders(one: str, other: str) -> int:
    """Return how many folders two paths share, counted up from the file."""
    pairs = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _stem(path: str) -> str:
    """Return a path without the suffix of an image."""
    head, dot, suffix = path.rpartition(".")
    return head if head and f"{dot}{suffix}".lower() in _PICTURE_SUFFIXES else path


@dataclass(slots=True)
class _Matched:
    """An annotation on one file, before conflicts are resolved."""

    annotation: Annotation
    file_key: str
    level: str
    edges: Edges
    area_mm2: float
    named: bool
    status: str


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
        of one without an image or a level, and of two boxes in conflict, unless the config has
        these only reported.
    """
    labels = {annotation.label for annotation in annotations}
    level = {label: level_of(label, params.level_names) for label in labels}
    matched = [
        one for each in annotations for one in _match(each, level[each.label], files, params)
    ]
    _resolve(matched, params)
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
        yield _Matched(annotation, "", "", NO_EDGES, math.nan, False, "ignored")
        return
    if annotation.status:
        key, edges, area_mm2 = annotation.file_key, annotation.edges, annotation.area_mm2
        yield _Matched(
            annotation, key, level, edges, area_mm2 or math.nan, False, annotation.status
        )
        return
    try:
        _check_level(annotation, level)
        keys = [annotation.file_key] if annotation.file_key else files.matching(annotation)
    except UnmatchedError as error:
        if params.unmatched == "stop":
            raise
        yield _Matched(annotation, "", level, NO_EDGES, math.nan, False, error.status)
        return
    picked = files.named(annotation, keys) if len(keys) > 1 else keys[0]
    for key in keys:
        edges = _edges(annotation, files.size_of.get(key))
        area_mm2 = annotation.area_mm2
        if area_mm2 is None:
            width, height = edges[2] - edges[0], edges[3] - edges[1]
            area_mm2 = width * height * files.pixel_mm2_of.get(key, math.nan)
        yield _Matched(annotation, key, level, edges, area_mm2, key == picked, "used")


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
            raise differing[0].annotation.error(
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
