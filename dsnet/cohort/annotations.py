"""The boxes of a cohort: annotation files found by content, and matched to image files."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dsnet.cohort.annotation import Annotation
from dsnet.cohort.coco import read_coco
from dsnet.contract import BOX
from dsnet.errors import UserError

READERS: tuple[Callable[[Path, str], list[Annotation] | None], ...] = (read_coco,)
"""One reader per format: it returns None for a file that is not its own."""

_SUFFIXES = frozenset({".json"})


def read_annotations(folder: Path) -> list[Annotation]:
    """Return every box below `folder`, in the order of files and rows; none without a folder.

    Hidden files, and files of a kind that no format uses, are passed over.

    Raises
    ------
    UserError
        If a file is of a known kind but no known format, or a row cannot be read.
    """
    found: list[Annotation] = []
    for number, path in enumerate(_tables(folder), start=1):
        found.extend(_read(path, f"annotations[{number}]"))
    return found


def _tables(folder: Path) -> list[Path]:
    paths = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def _read(path: Path, table: str) -> list[Annotation]:
    for reader in READERS:
        annotations = reader(path, table)
        if annotations is not None:
            return annotations
    raise UserError(
        table,
        expected="COCO JSON with images, annotations and categories",
        came="JSON of another kind",
        remedy="convert it, or move it out of annotations/",
        private=path.name,
    )


@dataclass(frozen=True)
class ImageFiles:
    """The cohort's files, found by SOP Instance UID or by path.

    Attributes
    ----------
    path_of : dict of str to str
        Path below ``dicom/`` by file key.
    size_of : dict of str to (int, int)
        Columns and rows by file key, where the header could be read.
    """

    path_of: Mapping[str, str]
    size_of: Mapping[str, tuple[int, int]]
    by_uid: Mapping[str, Sequence[str]] = field(repr=False)
    by_path: Mapping[str, str] = field(repr=False)
    by_name: Mapping[str, Sequence[str]] = field(repr=False)

    @classmethod
    def of(cls, index: pd.DataFrame, identities: pd.DataFrame) -> "ImageFiles":
        """Return the files of `dsnet.contract.INDEX` and its private `dsnet.contract.MAP`."""
        path_of = dict(zip(identities["file_key"], identities["relative_path"], strict=True))
        sized = index.loc[index["rows"].notna() & index["columns"].notna()]
        sizes = zip(sized["columns"].astype(int), sized["rows"].astype(int), strict=True)
        by_uid: dict[str, list[str]] = {}
        by_name: dict[str, list[str]] = {}
        uids = identities["sop_instance_uid"]
        for key, path, uid in zip(path_of, path_of.values(), uids, strict=True):
            by_name.setdefault(path.rpartition("/")[2], []).append(key)
            if uid:
                by_uid.setdefault(uid, []).append(key)
        return cls(
            path_of,
            dict(zip(sized["file_key"], sizes, strict=True)),
            by_uid,
            {path: key for key, path in path_of.items()},
            by_name,
        )

    def matching(self, annotation: Annotation) -> Sequence[str]:
        """Return the keys of the files that an annotation may mean: by UID, else by path.

        Raises
        ------
        UserError
            If there is no such file, or a bare file name fits several.
        """
        if annotation.sop_instance_uid:
            keys = self.by_uid.get(annotation.sop_instance_uid, ())
        else:
            path = _normal(annotation.file_name)
            exact = self.by_path.get(path)
            keys = [exact] if exact else self.by_name.get(path.rpartition("/")[2], ())
        if not keys:
            raise annotation.error(
                expected="an image that lies in dicom/",
                came="no file with its UID or name",
                remedy="add the image, or delete the annotation",
            )
        if len(keys) > 1 and not annotation.sop_instance_uid:
            raise annotation.error(
                expected="a file name that fits one image",
                came=f"one that fits {len(keys)}",
                remedy="give its folders, or its sop_instance_uid",
            )
        return keys

    def named(self, annotation: Annotation, keys: Sequence[str]) -> str:
        """Return which of several copies an annotation's file name picks, or ""."""
        path = _normal(annotation.file_name)
        exact = [key for key in keys if self.path_of[key] == path]
        alike = [key for key in keys if path and self.path_of[key].endswith("/" + path)]
        picked = exact or alike
        return picked[0] if len(picked) == 1 else ""


def _normal(file_name: str) -> str:
    path = file_name.replace("\\", "/")
    while path.startswith(("./", "/")):
        path = path.partition("/")[2]
    return path.removeprefix("dicom/")


def place(annotations: Sequence[Annotation], files: ImageFiles) -> pd.DataFrame:
    """Return the boxes on the files that they belong to.

    Returns
    -------
    DataFrame
        One row per box and file: ``file_key``, ``level``, the edges of `dsnet.contract.BOX` in
        pixels (float64), and ``named``, whether the annotation picks this very file among copies
        that share a SOP Instance UID.

    Raises
    ------
    UserError
        Naming the row of a box without an image, outside it, without a size, or of a level that
        the image has already.
    """
    rows = list(_placed(annotations, files))
    boxes = pd.DataFrame(rows, columns=["file_key", "level", *BOX, "named"])
    return boxes.astype({"file_key": str, "level": str, **dict.fromkeys(BOX, float), "named": bool})


def _placed(
    annotations: Sequence[Annotation], files: ImageFiles
) -> Iterator[tuple[str, str, float, float, float, float, bool]]:
    taken: dict[tuple[str, str], str] = {}
    for annotation in annotations:
        keys = files.matching(annotation)
        picked = files.named(annotation, keys) if len(keys) > 1 else keys[0]
        for key in keys:
            _check_edges(annotation, files.size_of.get(key))
            other = taken.setdefault((key, annotation.level), annotation.where)
            if other != annotation.where:
                raise annotation.error(
                    expected=f"one box of {annotation.level} on {key}",
                    came=f"another in {other}",
                    remedy="delete one of them",
                )
            yield key, annotation.level, *annotation.edges, key == picked


def _check_edges(annotation: Annotation, size: tuple[int, int] | None) -> None:
    x_min, y_min, x_max, y_max = annotation.edges
    came = ", ".join(f"{name} {edge:g}" for name, edge in zip(BOX, annotation.edges, strict=True))
    if not all(math.isfinite(edge) for edge in annotation.edges):
        expected = "a box with finite edges"
    elif x_max <= x_min or y_max <= y_min:
        expected = "a box wider and higher than zero pixels"
    elif size is not None and (x_min < 0 or y_min < 0 or x_max > size[0] or y_max > size[1]):
        expected = f"a box inside its image of {size[0]} x {size[1]} pixels"
    else:
        return
    raise annotation.error(expected=expected, came=came, remedy="correct the box")
