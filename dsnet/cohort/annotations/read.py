"""The annotation files of a cohort, recognised by their content, as one list of annotations."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dsnet.cohort.annotations.annotation import (
    NO_EDGES,
    Annotation,
    Source,
    UnmatchedError,
    turned,
)
from dsnet.cohort.annotations.box_formats import (
    CLASS_LISTS,
    YoloFolders,
    read_box_table,
    read_coco,
    read_labelme,
    read_voc,
    read_yolo,
)
from dsnet.cohort.annotations.mask_geometry import Body, Series, cut
from dsnet.config.cohort import Annotations
from dsnet.errors import collectable

_NIFTI, _SEG = ("nifti", "label"), ("seg", "segment")
"""Format, and what its rows are."""

_DICOM_AT, _DICOM = 128, b"DICM"
_UNREAD = frozenset({".nrrd", ".mha", ".mhd", ".xlsx"})
"""Suffixes of formats that may hold annotations and are not read."""


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
    _yolo: YoloFolders = field(default_factory=YoloFolders)

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
        return [_turned(one) for one in annotations]

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
            return None if name in CLASS_LISTS else read_yolo(source, self._yolo)
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
        # nibabel takes a second to import: only where there is a mask.
        from dsnet.cohort.annotations.mask_formats import read_nifti  # noqa: PLC0415

        bodies = read_nifti(source, self.params)
        return [] if bodies is None else self._boxes(source, _NIFTI, bodies, set())

    def _seg(self, source: Source) -> list[Annotation]:
        from dsnet.cohort.annotations.mask_formats import read_seg  # noqa: PLC0415 - as above

        segments = read_seg(source, self.params)
        return self._boxes(source, _SEG, segments.bodies, segments.references, segments.patient_id)

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
                raise _no_slice(source)
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


def _no_slice(source: Source) -> UnmatchedError:
    return source.unmatched(
        "no_image",
        expected="a mask that shows on a slice of its series",
        came="one beside or between all of them",
        remedy="bring the mask of these images",
    )


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


def _turned(one: Annotation) -> Annotation:
    if not one.rotation_deg % 360:
        return one
    return replace(one, edges=turned(one.edges, one.rotation_deg), read_as="rotated")


def _read_json(source: Source) -> list[Annotation]:
    content = _load_json(source)
    for read in (read_coco, read_labelme):
        annotations = read(source, content)
        if annotations is not None:
            return annotations
    raise source.error(
        "COCO JSON with images, annotations and categories, or LabelMe JSON with shapes",
        "JSON of another kind",
        "convert it, or move it out of annotations/",
    )


def _load_json(source: Source) -> Any:
    try:
        return json.loads(source.path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise source.error(
            "a readable JSON file in UTF-8",
            "something else",
            "export it again, or move it out of annotations/",
        ) from error


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(_DICOM_AT + len(_DICOM))[_DICOM_AT:] == _DICOM
    except OSError:
        return False
