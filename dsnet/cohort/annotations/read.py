"""The annotation files of a cohort, recognised by their content, as one list of annotations.

YOLO (https://docs.ultralytics.com/datasets/detect) is read here, since its classes stand in other
files of the folder. It has one TXT per image. A line is the class number and the box's centre,
width and height (or the polygon's points) in fractions of the image's width and height. After a box
may come a confidence, the number of a track, or the keypoints that ``kpt_shape`` in data.yaml
announces. The image is the one of the same name without its suffix, below a folder ``labels``.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

import pandas as pd
import yaml

from dsnet.cohort.annotations import (
    NO_EDGES,
    Annotation,
    Edges,
    Source,
    UnmatchedError,
    turned,
)
from dsnet.cohort.annotations.box_formats import read_box_table, read_coco, read_labelme, read_voc
from dsnet.cohort.annotations.mask_geometry import Body, Series, cut
from dsnet.config.cohort import Annotations
from dsnet.errors import UserError, collectable

_NIFTI, _SEG = ("nifti", "label"), ("seg", "segment")
"""Format, and what its rows are."""

_DICOM_AT, _DICOM = 128, b"DICM"
_UNREAD = frozenset({".nrrd", ".mha", ".mhd", ".xlsx"})
"""Suffixes of formats that may hold annotations and are not read."""

_CLASS_LISTS: Final = frozenset({"classes.txt", "obj.names", "predefined_classes.txt"})
"""Names of the files that list YOLO's classes, one a line."""

_SUBSETS: Final = frozenset({"train", "val", "valid", "validation", "test"})
"""Folders below ``labels`` that do not belong to an image's path."""

YoloList = tuple[dict[int, str] | None, int]
"""Class names by number, and how many numbers come after a box; None and 0 where not said."""


@dataclass(frozen=True)
class Reader:
    """Reads the annotation files of one cohort.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.
    params : Annotations
    """

    index: pd.DataFrame
    identities: pd.DataFrame
    params: Annotations
    _yolo: dict[Path, YoloList] = field(default_factory=dict)

    @cached_property
    def _series(self) -> Series:
        """The CT in space; only masks ask for it."""
        return Series.of(self.index, self.identities)

    def read(self, folder: Path) -> list[Annotation]:
        """Return all annotations below `folder`, by path and row; none without a folder.

        Hidden files, and files that no format uses, are skipped.

        Raises
        ------
        UserError
            If a file of a recognised kind is in no recognised format, or a row cannot be read.
        """
        paths = (path for path in folder.rglob("*") if not path.name.startswith("."))
        by_path = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
        files = ((relative, path) for relative, path in by_path if path.is_file())
        annotations: list[Annotation] = []
        number = 1
        for relative, path in files:
            of_file: list[Annotation] | None = []
            with collectable():
                of_file = self._read(Source(number, path, relative))
            if of_file is not None:
                annotations.extend(of_file)
                number += 1
        with collectable():
            annotations = list(_voc_as_edges(annotations, self.params))
        return [
            replace(one, edges=turned(one.edges, one.rotation_deg), read_as="rotated")
            if one.rotation_deg % 360
            else one
            for one in annotations
        ]

    def _read(self, source: Source) -> list[Annotation] | None:
        """Return the annotations of one file, or None if it is no annotation file."""
        name, suffix = source.path.name.lower(), source.path.suffix.lower()
        if suffix == ".json":
            return _read_json(source)
        if suffix == ".xml":
            return read_voc(source)
        if suffix == ".csv":
            return read_box_table(source)
        if suffix == ".txt":
            return None if name in _CLASS_LISTS else _read_yolo(source, self._yolo)
        if name.endswith((".nii", ".nii.gz")):
            return self._nifti(source)
        if suffix in _UNREAD:
            raise source.error(
                "an annotation format of docs/annotations.md",
                f"a file {suffix}",
                "convert it, or move it out of annotations/",
            )
        return self._seg(source) if _is_dicom(source.path) else None

    def _nifti(self, source: Source) -> list[Annotation]:
        # nibabel takes a second to import, which masks alone need.
        from dsnet.cohort.annotations.mask_formats import read_nifti  # noqa: PLC0415 - as it says

        bodies = read_nifti(source, self.params)
        return [] if bodies is None else self._boxes(source, _NIFTI, bodies, set())

    def _seg(self, source: Source) -> list[Annotation]:
        from dsnet.cohort.annotations.mask_formats import read_seg  # noqa: PLC0415 - as above

        return self._boxes(source, _SEG, *read_seg(source, self.params))

    def _boxes(
        self,
        source: Source,
        kind: tuple[str, str],
        bodies: list[Body],
        references: set[str],
        patient_id: str = "",
    ) -> list[Annotation]:
        """Return a box for each body and slice of the mask's series."""
        blank = [
            Annotation(source, *kind, row, label, NO_EDGES)
            for row, label in [(body.row, body.label) for body in bodies] or [(0, "")]
        ]
        try:
            series = self._series.holding(source, bodies, references, patient_id)
            boxes = [
                one
                for body, missed in zip(bodies, blank, strict=True)
                for one in self._cut(body, missed, series)
            ]
            if all(one.status == "outside" for one in boxes):
                raise UnmatchedError(
                    "no_image",
                    source.error(
                        expected="a mask that shows on a slice of its series",
                        came="one beside or between all of them",
                        remedy="bring the mask of these images",
                    ),
                )
        except UnmatchedError as error:
            if self.params.unmatched == "stop":
                raise
            return [replace(one, status=error.status) for one in blank]
        return boxes

    def _cut(self, body: Body, blank: Annotation, series: str) -> list[Annotation]:
        """Return `blank` with a box, for each slice that cuts the body; or as outside."""
        slices = self._series.slices
        named = self._series.by_image.get(body.image, {})
        boxes = []
        for number in self._series.rows[series]:
            if body.image and number not in named:
                continue
            columns, rows = (int(length) for length in slices.size[number])
            section = cut(body, slices.affine[number], (columns, rows), self.params.min_area_mm2)
            if section is not None:
                box = replace(blank, edges=section.edges, file_key=slices.file_key[number])
                status = "sliver" if section.sliver else ""
                boxes.append(replace(box, area_mm2=section.area_mm2, status=status))
        return boxes or [replace(blank, status="outside")]


def _voc_as_edges(annotations: Sequence[Annotation], params: Annotations) -> Iterator[Annotation]:
    """Yield annotations, those of Pascal VOC with edges.

    Numbers of pixels, from 1, are whole: a fraction in one file says that the tool writes edges,
    and so into all the others.
    """
    voc = [one for one in annotations if one.format == "voc"]
    fractions = any(edge % 1 for one in voc for edge in one.edges)
    for one in annotations:
        if one.format != "voc" or params.voc == "edges":
            yield one
        elif fractions:
            yield replace(one, read_as="edges")
        else:
            x_min, y_min, x_max, y_max = one.edges
            if x_min < 1 or y_min < 1:
                raise one.error(
                    expected="pixel numbers from 1 on, as VOC defines them",
                    came=f"xmin {x_min:g}, ymin {y_min:g}",
                    remedy="set annotations.voc: edges if your tool writes edges from 0, as "
                    "labelImg does",
                )
            yield replace(one, edges=(x_min - 1, y_min - 1, x_max, y_max))


def _read_json(source: Source) -> list[Annotation]:
    try:
        content = json.loads(source.path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise source.error(
            "a readable JSON file in UTF-8",
            "something else",
            "export it again, or move it out of annotations/",
        ) from error
    for read in (read_coco, read_labelme):
        annotations = read(source, content)
        if annotations is not None:
            return annotations
    raise source.error(
        "COCO JSON with images, annotations and categories, or LabelMe JSON with shapes",
        "JSON of another kind",
        "convert it, or move it out of annotations/",
    )


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(_DICOM_AT + len(_DICOM))[_DICOM_AT:] == _DICOM
    except OSError:
        return False


# YOLO


def _read_yolo(source: Source, lists: dict[Path, YoloList]) -> list[Annotation] | None:
    """Return the boxes of a YOLO file, or None if its first line does not begin with a number.

    What is new is added to `lists`.

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
    names, keypoints = _nearest_lists(source.path.parent, root, lists)
    if names is None:
        raise source.error(
            "class names in classes.txt or data.yaml, beside it or in a folder above",
            "none",
            "add the list of classes, one a line",
        )
    annotations = []
    for row, (number, *cells) in filled:
        with collectable():
            if not number.isdecimal() or int(number) not in names:
                raise _line_error(source, row, "the number of a listed class, from 0", "another")
            edges, read_as = _yolo_edges(source, row, cells, keypoints)
            annotations.append(
                Annotation(
                    source,
                    "yolo",
                    "line",
                    row,
                    names[int(number)],
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


def _nearest_lists(folder: Path, root: Path, cache: dict[Path, YoloList]) -> YoloList:
    """Return what the nearest lists in `folder` or above it, up to `root`, say."""
    if folder not in cache:
        above = (None, 0) if folder == root else _nearest_lists(folder.parent, root, cache)
        names, keypoints = above
        for own, numbers in map(_yolo_list, sorted(folder.iterdir(), reverse=True)):
            names, keypoints = names if own is None else own, numbers or keypoints
        cache[folder] = names, keypoints
    return cache[folder]


def _yolo_list(path: Path) -> YoloList:
    """Return what a list of names says, one a line, or a data.yaml (``names``, ``kpt_shape``)."""
    is_plain = path.name.lower() in _CLASS_LISTS
    if not is_plain and path.suffix.lower() not in (".yaml", ".yml"):
        return None, 0
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = {"names": text.splitlines()} if is_plain else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict):
        return None, 0
    names, shape = content.get("names"), content.get("kpt_shape")
    if isinstance(names, list):
        names = dict(enumerate(names))
    own = None
    if isinstance(names, dict):
        own = {int(k): str(v).strip() for k, v in names.items() if str(k).isdecimal()}
    if not isinstance(shape, list) or len(shape) != 2:
        return own, 0
    return own, shape[0] * shape[1] if all(isinstance(n, int) and n > 0 for n in shape) else 0


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
