"""The cohort's images, by what an annotation says of them: a SOP Instance UID or a path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd

from dsnet.cohort.annotations import Annotation, UnmatchedError
from dsnet.cohort.annotations.mask_geometry import Slices, grouped

_PICTURE_SUFFIXES = frozenset(
    {".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}
)
"""What comes off a file's name to make its stem. Not every suffix: UIDs hold full stops."""


@dataclass(frozen=True)
class ImageFiles:
    """The cohort's files by SOP Instance UID or path.

    Parameters
    ----------
    index, identities : DataFrame
        `dsnet.schemas.INDEX` and its private `dsnet.schemas.MAP`.

    Attributes
    ----------
    near : list of (int, int, str, str)
        Of annotations without an image: table, row, file name, and the path of an image of that
        name in another folder.
    """

    index: pd.DataFrame = field(repr=False)
    identities: pd.DataFrame = field(repr=False)
    near: list[tuple[int, int, str, str]] = field(default_factory=list, repr=False)

    @cached_property
    def size_of(self) -> Mapping[str, tuple[int, int]]:
        """Columns and rows by file key, where the header could be read."""
        sized = self.index.loc[self.index["rows"].notna() & self.index["columns"].notna()]
        columns, rows = (sized[name].astype(int).tolist() for name in ("columns", "rows"))
        return dict(zip(sized["file_key"].tolist(), zip(columns, rows, strict=True), strict=True))

    @cached_property
    def spacing_mm_of(self) -> Mapping[str, tuple[float, float]]:
        """Steps between columns and rows by file key; NaN where the header has no sound ones."""
        sound = self.index["geometry_fault"].eq("").to_numpy()[:, None]
        steps = self.index[["column_spacing_mm", "row_spacing_mm"]].to_numpy(float)
        steps = np.where(sound, steps, np.nan)
        return dict(zip(self.index["file_key"], map(tuple, steps.tolist()), strict=True))

    @cached_property
    def slices(self) -> Slices:
        """The CT slices in space."""
        return Slices.of(self.index, self.identities)

    @cached_property
    def path_of(self) -> Mapping[str, str]:
        """Path below ``dicom/`` by file key."""
        return dict(zip(self.identities["file_key"], self.identities["relative_path"], strict=True))

    @cached_property
    def by_uid(self) -> Mapping[str, Sequence[str]]:
        """File keys by SOP Instance UID."""
        uids = self.identities["sop_instance_uid"]
        return grouped(zip(uids, self.identities["file_key"], strict=True))

    @cached_property
    def by_path(self) -> Mapping[str, str]:
        """File key by path below ``dicom/``."""
        return {path: key for key, path in self.path_of.items()}

    @cached_property
    def by_stem(self) -> Mapping[str, Sequence[str]]:
        """File keys by file name without suffix, and by UID: pictures are often named by it."""
        names = ((_stem(path.rpartition("/")[2]), key) for key, path in self.path_of.items())
        uids = ((uid, key) for uid, keys in self.by_uid.items() for key in keys)
        return grouped(chain(names, uids))

    def matching(self, annotation: Annotation) -> Sequence[str]:
        """Return the keys of the files that an annotation may mean.

        By SOP Instance UID if it gives one. Else by path below ``dicom/``, or by name: the UID of
        an image, or the end of its path, as a picture's suffix allows. Folders that only one of
        them has must stand before all that both have, so that a name in another folder is no match;
        of several images the one whose folders fit furthest up.

        Raises
        ------
        UnmatchedError
            If there is no such file, or a file name fits several.
        """
        near: list[str] = []
        if annotation.sop_instance_uid:
            keys = self.by_uid.get(annotation.sop_instance_uid, ())
        else:
            keys, near = self._named(_normal(annotation.file_name))
        if not keys:
            source = annotation.source.number, annotation.row, annotation.file_name
            self.near.extend((*source, path) for path in near)
            raise UnmatchedError(
                "no_image",
                annotation.error(
                    expected="an image that lies in dicom/",
                    came="no file with its UID or path"
                    + (f", but {len(near)} of its name in other folders" if near else ""),
                    remedy="add the image, give its path below dicom/ or none, or delete the "
                    "annotation",
                    private="; same name: " + ", ".join(near[:5]) if near else "",
                ),
            )
        if len(keys) > 1 and not self._copies(keys, annotation):
            raise UnmatchedError(
                "ambiguous",
                annotation.error(
                    expected="a file name or UID that fits one image",
                    came=f"one that fits {len(keys)}",
                    remedy="give its folders, or a sop_instance_uid of its own",
                ),
            )
        return keys

    def _named(self, path: str) -> tuple[Sequence[str], list[str]]:
        """Return the keys of the files that a path means, and paths of others of that name."""
        if path in self.by_path:
            return [self.by_path[path]], []
        name = path.rpartition("/")[2]
        if _stem(name) in self.by_uid:
            return self.by_uid[_stem(name)], []
        alike = self.by_stem.get(_stem(name), ())
        fitting = [key for key in alike if _is_end(_stem(path), _stem(self.path_of[key]))]
        keys = [key for key in fitting if self.path_of[key].endswith(name)] or fitting
        # Of images that are ends of the path, the longest; those of which it is the end fit alike.
        depth = [min(path.count("/"), self.path_of[key].count("/")) for key in keys]
        furthest = [key for key, n in zip(keys, depth, strict=True) if n == max(depth)]
        return furthest, [] if keys else [self.path_of[key] for key in alike]

    def _copies(self, keys: Sequence[str], annotation: Annotation) -> bool:
        """Return whether `keys` are copies of the image that the annotation's UID names.

        Some writers give one UID to all slices of a series, or to those of two patients.
        """
        uid = annotation.sop_instance_uid or _stem(_normal(annotation.file_name).rpartition("/")[2])
        if not set(keys) <= set(self.by_uid.get(uid, ())):
            return False
        patients, planes = zip(*(self._whose[key] for key in keys), strict=True)
        rounded = {tuple(round(float(x), 1) for x in plane.split()) for plane in planes if plane}
        return len(set(patients) - {""}) <= 1 and len(rounded) <= 1

    @cached_property
    def _whose(self) -> Mapping[str, tuple[str, str]]:
        """Patient ID and plane by file key."""
        pairs = zip(self.identities["patient_id"], self.identities["plane"], strict=True)
        return dict(zip(self.identities["file_key"], pairs, strict=True))

    def named(self, annotation: Annotation, keys: Sequence[str]) -> str:
        """Return the one of several copies that an annotation's file name means, or ""."""
        path = _normal(annotation.file_name)
        exact = [key for key in keys if self.path_of[key] == path]
        alike = [key for key in keys if path and self.path_of[key].endswith("/" + path)]
        picked = exact or alike
        return picked[0] if len(picked) == 1 else ""


def _normal(file_name: str) -> str:
    path = file_name.replace("\\", "/")
    while path.startswith(("./", "../", "/")):
        path = path.partition("/")[2]
    return path.removeprefix("dicom/")


def _is_end(one: str, other: str) -> bool:
    """Return whether one path is the end of the other."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _stem(path: str) -> str:
    """Return a path without the suffix of an image."""
    head, dot, suffix = path.rpartition(".")
    return head if head and f"{dot}{suffix}".lower() in _PICTURE_SUFFIXES else path
