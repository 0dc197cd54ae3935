"""The cohort's images, found by what an annotation says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, takewhile

import pandas as pd

from dsnet.cohort.annotations.annotation import Annotation

_SUFFIXES = frozenset(
    {".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
)
"""What comes off a file's name to make its stem. Not every suffix: UIDs hold full stops."""


@dataclass(frozen=True)
class ImageFiles:
    """The cohort's files, found by SOP Instance UID or by path.

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
        """Area of a pixel by file key; NaN where the header does not tell it."""
        areas = self.index["row_spacing_mm"] * self.index["column_spacing_mm"]
        return dict(zip(self.index["file_key"].tolist(), areas.tolist(), strict=True))

    @cached_property
    def path_of(self) -> Mapping[str, str]:
        """Path below ``dicom/`` by file key."""
        return dict(zip(self._told("file_key"), self._told("relative_path"), strict=True))

    @cached_property
    def by_uid(self) -> Mapping[str, Sequence[str]]:
        """File keys by SOP Instance UID."""
        return _grouped(zip(self._told("sop_instance_uid"), self._told("file_key"), strict=True))

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

    def _told(self, column: str) -> list[str]:
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
        shared = [_shared(path, self.path_of[key]) for key in keys]
        nearest = [key for key, parts in zip(keys, shared, strict=True) if parts == max(shared)]
        return nearest if len(nearest) == 1 else keys

    def _copies(self, keys: Sequence[str], annotation: Annotation) -> bool:
        """Return whether several files are meant because they share a SOP Instance UID."""
        uid = annotation.sop_instance_uid or _stem(_normal(annotation.file_name).rpartition("/")[2])
        return set(keys) <= set(self.by_uid.get(uid, ()))

    def named(self, annotation: Annotation, keys: Sequence[str]) -> str:
        """Return which of several copies an annotation's file name picks, or ""."""
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


def _shared(one: str, other: str) -> int:
    """Return how many folders two paths share, counted up from the file."""
    pairs = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _stem(path: str) -> str:
    """Return a path without the suffix of an image."""
    head, dot, suffix = path.rpartition(".")
    return head if head and f"{dot}{suffix}".lower() in _SUFFIXES else path
